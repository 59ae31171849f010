//! Durable consumers on a mount: kept over a SIGKILL, shared by readers, held against retention, many at once.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Control;
use crate::support::wait::{self, Job};
use crate::support::{Case, Mount, events, hippofs, process};

fn file(mount: &Mount, name: &str, file: &str) -> PathBuf {
    mount.control("consumers").join(name).join(file)
}

fn register(mount: &Mount, name: &str) {
    fs::create_dir(mount.control("consumers").join(name)).unwrap();
}

fn number(mount: &Mount, name: &str, what: &str) -> u64 {
    let text = fs::read_to_string(file(mount, name, what)).unwrap();
    text.trim().parse().unwrap()
}

fn write(mount: &Mount, name: &str, what: &str, text: &str) -> Result<(), Option<i32>> {
    fs::write(file(mount, name, what), text).map_err(|error| error.raw_os_error())
}

fn seqs(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|l| events::number(l, "seq")).collect()
}

fn batch(mount: &Mount, name: &str) -> Vec<u64> {
    seqs(&events::read(&file(mount, name, "events")))
}

#[test]
fn mkdir_registers_and_rmdir_removes() {
    let case = Case::new();
    let mount = case.mount();
    let made = mount.record(|| {
        register(&mount, "c");
        let names = fs::read_dir(mount.control("consumers/c")).unwrap();
        let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(
            names,
            ["ack", "cursor", "events", "filter", "follow", "lag"]
        );
        let again = fs::create_dir(mount.control("consumers/c")).unwrap_err();
        assert_eq!(again.raw_os_error(), Some(libc::EEXIST));
        let bad = fs::create_dir(mount.control("consumers/a b")).unwrap_err();
        assert_eq!(bad.raw_os_error(), Some(libc::EINVAL));
        let elsewhere = fs::create_dir(mount.control("other")).unwrap_err();
        assert_eq!(elsewhere.raw_os_error(), Some(libc::EPERM));
        assert_eq!(
            mount.status()["consumers"],
            json!([{"name": "c", "cursor": 0, "lag": 0}])
        );
        fs::remove_dir(mount.control("consumers/c")).unwrap();
        assert!(!mount.control("consumers/c").exists());
        let gone = fs::remove_dir(mount.control("consumers/c")).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ENOENT));
    });
    assert_eq!(made, [""; 0], "control operations make no events");
}

#[test]
fn the_cursor_survives_a_sigkill() {
    let case = Case::new();
    let mut mount = case.mount();
    register(&mount, "c");
    for name in ["a", "b", "d"] {
        fs::create_dir(mount.path(name)).unwrap();
    }
    write(&mount, "c", "filter", r#"{"op":["mkdir"]}"#).unwrap();
    write(&mount, "c", "ack", "2\n").unwrap();
    mount.kill();
    drop(mount);
    let mount = case.mount();
    assert_eq!(number(&mount, "c", "cursor"), 2);
    fs::create_dir(mount.path("e")).unwrap();
    // The crash itself is an event in between, which the filter leaves out.
    let bytes = fs::read(file(&mount, "c", "events")).unwrap();
    let left = super::lines(&bytes);
    let names: Vec<_> = left.iter().map(|e| events::text(e, "src_path")).collect();
    assert_eq!(names, ["d", "e"]);
    assert_eq!(write(&mount, "c", "ack", "999"), Err(Some(libc::EINVAL)));
}

#[test]
fn two_readers_each_get_everything_whole() {
    let case = Case::new();
    let mount = case.mount();
    register(&mount, "c");
    for n in 0..200 {
        fs::create_dir(mount.path(n.to_string())).unwrap();
    }
    let mut streams = [(); 2].map(|()| File::open(file(&mount, "c", "events")).unwrap());
    let mut read = [Vec::new(), Vec::new()];
    // By turns, in pieces that end in the middle of lines.
    let mut buffer = [0; 777];
    loop {
        let mut any = false;
        for (stream, all) in streams.iter_mut().zip(&mut read) {
            let length = stream.read(&mut buffer).unwrap();
            all.extend_from_slice(&buffer[..length]);
            any |= length > 0;
        }
        write(&mount, "c", "ack", "50").unwrap();
        if !any {
            break;
        }
    }
    for all in &read {
        assert_eq!(seqs(&events::parse(all)), (1..=200).collect::<Vec<_>>());
    }
    assert_eq!(batch(&mount, "c"), (51..=200).collect::<Vec<_>>());
}

#[test]
fn takers_get_each_event_once() {
    let case = Case::new();
    let mount = case.mount();
    register(&mount, "work");
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let mut control = Control::open(&mount);
            Job::start("a taker", move || {
                let mut all = Vec::new();
                loop {
                    let request =
                        json!({"take": {"consumer": "work", "limit": 2, "wait_ms": 60_000}});
                    let mut lines = control.ask(&request);
                    lines.pop();
                    let last = lines.iter().any(|l| l["event_type"] == "mark");
                    all.extend(seqs(&lines));
                    if last {
                        return all;
                    }
                }
            })
        })
        .collect();
    for n in 0..100 {
        fs::create_dir(mount.path(n.to_string())).unwrap();
    }
    for _ in &takers {
        // One mark at a time ends one taker.
        let seq = mount.head();
        Control::open(&mount).ask(&json!({"mark": {"text": "end"}}));
        wait::until("the mark is taken", || {
            number(&mount, "work", "cursor") > seq
        });
    }
    let mut all: Vec<u64> = takers.into_iter().flat_map(Job::finish).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=104).collect::<Vec<_>>());
}

#[test]
fn retention_waits_for_a_consumer_and_then_says_what_is_gone() {
    let case = Case::new();
    let options = [
        "--segment-bytes=64K",
        "--retain-bytes=64K",
        "--retain-max=3x",
        "--sync-interval=10ms",
    ];
    let mount = case.mount_with(&options);
    register(&mount, "c");
    let work = |n: usize| {
        for _ in 0..n {
            fs::create_dir(mount.path("d")).unwrap();
            fs::remove_dir(mount.path("d")).unwrap();
        }
    };
    let bytes = || mount.status()["log"]["bytes"].as_u64().unwrap();
    while bytes() < 160 * 1024 {
        work(20);
    }
    assert_eq!(batch(&mount, "c")[0], 1, "held past the ordinary limit");
    wait::until("retention goes past the consumer", || {
        work(20);
        mount.status()["oldest"].as_u64() > Some(1)
    });
    let lines = events::read(&file(&mount, "c", "events"));
    assert_eq!(lines[0]["event_type"], "gap");
    assert_eq!(lines[0]["reason"], "retention");
    let to = events::number(&lines[0], "to");
    assert_eq!(events::number(&lines[1], "seq"), to + 1);
    write(&mount, "c", "ack", &mount.head().to_string()).unwrap();
    assert_eq!(number(&mount, "c", "lag"), 0);
}

#[test]
fn twenty_consumers_and_twenty_followers_each_get_everything_once_in_order() {
    const WRITERS: usize = 4;
    const EACH: usize = 100;
    const EVENTS: u64 = (WRITERS * EACH * 3) as u64;
    let case = Case::new();
    let mount = case.mount();
    let mut readers = Vec::new();
    for n in 0..20 {
        let name = format!("c{n}");
        register(&mount, &name);
        let (batches, ack) = (file(&mount, &name, "events"), file(&mount, &name, "ack"));
        readers.push(Job::start("a consumer", move || {
            let mut all = Vec::new();
            while all.last() != Some(&EVENTS) {
                let lines = seqs(&events::read(&batches));
                if let Some(last) = lines.last() {
                    fs::write(&ack, last.to_string()).unwrap();
                }
                all.extend(lines);
                std::thread::yield_now();
            }
            all
        }));
        let mut follow = File::open(mount.control("follow")).unwrap();
        readers.push(Job::start("a follower", move || {
            let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
            while all.iter().filter(|b| **b == b'\n').count() < EVENTS as usize {
                let length = follow.read(&mut buffer).unwrap();
                all.extend_from_slice(&buffer[..length]);
            }
            seqs(&events::parse(&all))
        }));
    }
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let mount = &mount;
            scope.spawn(move || {
                for n in 0..EACH {
                    let name = mount.path(format!("{writer}-{n}"));
                    fs::create_dir(&name).unwrap();
                    fs::rename(&name, name.with_extension("x")).unwrap();
                    fs::remove_dir(name.with_extension("x")).unwrap();
                }
            });
        }
    });
    for reader in readers {
        assert_eq!(reader.finish(), (1..=EVENTS).collect::<Vec<_>>());
    }
}

fn shown(mount: &Mount, path: &str, more: &[&str]) -> Vec<Value> {
    let mut run = hippofs::command(&["events", "--json"]);
    let text = process::run(run.arg(mount.path(path)).args(more)).success();
    let lines = text.lines();
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn one_command_says_what_changed_and_one_who_touched_a_file_last() {
    let case = Case::new();
    let mount = case.mount();
    assert_eq!(shown(&mount, "", &["--consumer", "me"]).len(), 0);
    fs::write(mount.path("t"), "x").unwrap();
    fs::rename(mount.path("t"), mount.path("a")).unwrap();
    fs::create_dir(mount.path("d")).unwrap();
    assert_eq!(
        events::briefs(&shown(&mount, "a", &["--last"])),
        ["rename t -> a"]
    );
    let documents = shown(&mount, "", &["--consumer", "me", "--view", "documents"]);
    let brief = |line: &Value| {
        let text = |key| events::text(line, key).to_owned();
        (text("event_type"), text("src_path"))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        documents.iter().map(brief).collect::<Vec<_>>(),
        [pair("created", "a"), pair("created", "d")]
    );
    assert_eq!(shown(&mount, "", &["--consumer", "me"]).len(), 0);
    assert_eq!(number(&mount, "me", "cursor"), mount.head());
    let classes = shown(&mount, "", &["--format", "watchdog", "--last=2"]);
    let classes: Vec<_> = classes.iter().map(|l| l["class"].clone()).collect();
    assert_eq!(classes, ["FileMovedEvent", "DirCreatedEvent"]);
}

//! `events`, `since/SEQ`, `status`, `metrics` and `help`.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::Command;

use super::lines;
use crate::support::events::{self, number, text};
use crate::support::{Case, process};

#[test]
fn events_is_the_log_as_of_the_open() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    let mut open = File::open(mount.control("events")).unwrap();
    fs::write(mount.path("b"), "x").unwrap();
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).unwrap();
    assert_eq!(
        events::briefs(&events::parse(&bytes)),
        ["create a", "write a @0+1", "close a"]
    );
    assert_eq!(mount.events().len(), 6);
}

#[test]
fn the_log_on_disk_is_byte_for_byte_what_readers_get() {
    let case = Case::new();
    let mount = case.mount_with(&["--segment-bytes", "64K"]);
    for i in 0..300 {
        fs::write(mount.path(format!("file-with-a-name-{i}")), "x").unwrap();
    }
    let read = fs::read(mount.control("events")).unwrap();
    let log = mount.storage(".hippofs/log");
    mount.unmount();
    let mut segments: Vec<_> = fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    segments.sort();
    assert!(segments.len() > 2, "{segments:?}");
    let disk: Vec<u8> = segments
        .iter()
        .flat_map(|path| fs::read(path).unwrap())
        .collect();
    assert!(
        disk == read,
        "{} bytes on disk, {} read",
        disk.len(),
        read.len()
    );
    for segment in segments {
        let events = events::read(&segment);
        let name = segment.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(name, format!("{:020}", number(&events[0], "seq")));
    }
}

#[test]
fn small_reads_and_jumps_give_the_same_bytes() {
    let case = Case::new();
    let mount = case.mount();
    for i in 0..200 {
        fs::write(mount.path(format!("{i}")), "x").unwrap();
    }
    let whole = fs::read(mount.control("events")).unwrap();
    for size in [1_usize, 7, 300, 4096, 1 << 20] {
        let mut file = File::open(mount.control("events")).unwrap();
        let (mut read, mut buffer) = (Vec::new(), vec![0; size]);
        // One byte at a time is slow by nature: its first part is enough.
        let enough = if size == 1 { 2000 } else { usize::MAX };
        while read.len() < enough {
            match file.read(&mut buffer).unwrap() {
                0 => break,
                length => read.extend_from_slice(&buffer[..length]),
            }
        }
        assert!(
            whole.starts_with(&read) && read.len() >= whole.len().min(enough),
            "in pieces of {size}"
        );
    }
    let tail = process::run(
        Command::new("tail")
            .args(["-n", "1"])
            .arg(mount.control("events")),
    )
    .success();
    assert_eq!(
        tail.as_bytes(),
        whole.split_inclusive(|b| *b == b'\n').next_back().unwrap()
    );
}

#[test]
fn since_gives_what_came_after() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    fs::remove_file(mount.path("a")).unwrap();
    assert_eq!(events::briefs(&mount.since(2)), ["close a", "unlink a"]);
    assert_eq!(mount.since(0), mount.events());
    assert_eq!(mount.since(4).len(), 0);
    let ahead = mount.since(5);
    assert_eq!(
        (
            ahead.len(),
            text(&ahead[0], "event_type"),
            text(&ahead[0], "reason")
        ),
        (1, "gap", "ahead")
    );
    for wrong in ["x", "-1", "1x", "18446744073709551616", "", " 1"] {
        assert!(!mount.control("since").join(wrong).is_file(), "{wrong:?}");
    }
    assert_eq!(fs::read_dir(mount.control("since")).unwrap().count(), 0);
}

#[test]
fn retention_is_told_as_a_gap() {
    let case = Case::new();
    let mount = case.mount_with(&[
        "--segment-bytes",
        "64K",
        "--retain-bytes",
        "128K",
        "--sync-interval",
        "100ms",
    ]);
    for i in 0..2_000 {
        fs::write(mount.path(format!("{}", i % 10)), "x").unwrap();
    }
    // All that are to go: a reader meets a gap of its own for what goes while it reads.
    crate::support::wait::until("the oldest events go", || {
        let status = mount.status();
        let bytes = |of: &str| number(&status[of], "bytes");
        bytes("log") + bytes("content") <= 128 * 1024
    });
    assert!(number(&mount.status(), "oldest") > 1);
    let told = mount.since(0);
    let gap = &told[0];
    assert_eq!(
        (text(gap, "event_type"), text(gap, "reason")),
        ("gap", "retention"),
        "{gap}"
    );
    assert_eq!(
        (number(gap, "from"), number(gap, "to")),
        (1, number(&told[1], "seq") - 1)
    );
    assert_eq!(number(told.last().unwrap(), "seq"), mount.head());
    let reply = super::Control::open(&mount).ask(&serde_json::json!({"events": {"since": 0}}));
    let last = reply.last().unwrap();
    assert_eq!(last["gap"]["reason"], "retention", "{last}");
    assert_eq!(last["next"], mount.head());
}

#[test]
fn status_has_what_the_contract_names() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    let _open = File::open(mount.path("a")).unwrap();
    let status = mount.status();
    for key in [
        "store",
        "version",
        "state",
        "head",
        "oldest",
        "durable",
        "primary_events",
        "missed_events",
        "miss_rate_percent",
        "events_by_source",
        "watch",
        "scan",
        "log",
        "content",
        "consumers",
        "open_files",
        "latency_us",
        "uptime_s",
    ] {
        assert!(status.get(key).is_some(), "{key} in {status}");
    }
    assert_eq!(text(&status, "state"), "ok");
    assert_eq!(
        (
            number(&status, "head"),
            number(&status, "oldest"),
            number(&status, "primary_events")
        ),
        (3, 1, 3)
    );
    assert_eq!(number(&status["events_by_source"], "mount"), 3);
    assert!(number(&status["latency_us"]["create"], "p50") > 0);
    assert!(number(&status["log"], "segments") >= 1 && number(&status["log"], "bytes") > 0);
    assert!(number(&status, "open_files") >= 1);
}

#[test]
fn metrics_are_prometheus_text() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    let metrics = fs::read_to_string(mount.control("metrics")).unwrap();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(name.starts_with("hippofs_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(
        metrics
            .lines()
            .any(|line| line.contains("head") && line.ends_with(" 3")),
        "{metrics}"
    );
}

#[test]
fn help_describes_every_file_and_request() {
    let case = Case::new();
    let mount = case.mount();
    let help = fs::read_to_string(mount.control("help")).unwrap();
    for word in [
        "events",
        "since/SEQ",
        "follow",
        "control",
        "status",
        "metrics",
        "wait_ms",
        "mark",
        "sync",
        "\"next\"",
    ] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn reading_control_files_makes_no_events() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    for name in ["events", "since/1", "status", "metrics", "help"] {
        assert!(!fs::read(mount.control(name)).unwrap().is_empty(), "{name}");
    }
    assert_eq!(
        lines(&super::Control::open(&mount).read()).len(),
        0,
        "no request, no reply"
    );
    assert_eq!(mount.head(), 3);
}

#[test]
fn ordinary_tools_read_them() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    let copied = case.path("copy");
    process::run(Command::new("cp").arg(mount.control("events")).arg(&copied)).success();
    assert_eq!(events::read(&copied), mount.events());
    let count = process::run(Command::new("wc").arg("-l").arg(mount.control("events"))).success();
    assert!(count.starts_with('3'), "{count}");
    let found = process::run(
        Command::new("grep")
            .arg("-c")
            .arg("\"op\":\"create\"")
            .arg(mount.control("events")),
    );
    assert_eq!(found.success().trim(), "1");
    let shell = "exec 9<>.hippofs/control; echo '{\"events\":{\"limit\":1}}' >&9; cat <&9; echo '{\"status\":{}}' >&9; cat <&9";
    let bash = process::run(
        Command::new("bash")
            .arg("-c")
            .arg(shell)
            .current_dir(mount.root()),
    )
    .success();
    assert_eq!(bash.lines().count(), 3, "{bash}");
}

//! What is kept of contents: each version is named by its event, and is there before the event is.

mod faults;
mod model;
mod past;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use serde_json::Value;

use crate::support::case::Case;
use crate::support::events::text;
use crate::support::hippofs::{self, Mount};
use crate::support::{process, wait};

/// A document's size: kept by the thread that answers.
const SMALL: usize = 2_000;
/// A size that a thread of its own keeps.
const LARGE: usize = 3_000_000;

fn bytes(number: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| number ^ (at / 7) as u8).collect()
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Checks a mount's log and contents.
#[track_caller]
fn assert_verified(mount: &Mount) {
    let done = hippofs::run(&[std::ffi::OsStr::new("verify"), mount.root().as_os_str()]);
    let said = done.success();
    assert!(said.contains(": no problem"), "{said}");
}

/// Reads the content of every close that the log still has.
#[track_caller]
fn assert_all_held(mount: &Mount) {
    let events = mount.events();
    let closes: Vec<_> = events
        .iter()
        .filter(|event| event["op"] == "close")
        .collect();
    assert!(closes.len() > 10, "{}", closes.len());
    for event in closes {
        let version = format!("versions/{}/{}", text(event, "src_path"), event["seq"]);
        match fs::read(mount.control(&version)) {
            Ok(content) => assert_eq!(hash(&content), event["blake3"], "{version}"),
            // Retention may go on meanwhile.
            Err(error) => assert!(
                event["seq"].as_u64() < mount.status()["oldest"].as_u64(),
                "{version}: {error}"
            ),
        }
    }
}

#[track_caller]
fn only<'a>(events: &'a [Value], op: &str) -> &'a Value {
    let mut found = events.iter().filter(|event| text(event, "op") == op);
    let first = found.next().unwrap_or_else(|| panic!("no {op}"));
    assert!(found.next().is_none(), "more than one {op}: {events:#?}");
    first
}

#[test]
fn a_close_names_the_content_and_the_one_before() {
    for length in [1, SMALL, LARGE] {
        let case = Case::new();
        let mount = case.mount();
        let (first, second) = (bytes(1, length), bytes(2, length + 1));
        let file = mount.root().join("a");
        let events = mount.events_of(|| fs::write(&file, &first).unwrap());
        assert_eq!(only(&events, "close")["blake3"], hash(&first));
        let events = mount.events_of(|| fs::write(&file, &second).unwrap());
        let close = only(&events, "close");
        assert_eq!(close["blake3"], hash(&second));
        assert_eq!(close["prev_blake3"], hash(&first), "{length}");
        assert_verified(&mount);
    }
}

#[test]
fn what_a_deletion_a_rename_and_a_truncate_destroy_is_kept() {
    for length in [SMALL, LARGE] {
        let case = Case::new();
        // It stood there before anyone watched.
        for name in ["gone", "over", "cut", "edited"] {
            fs::write(case.storage().join(name), bytes(name.as_bytes()[0], length)).unwrap();
        }
        let mount = case.mount();
        let was = |name: &str| hash(&bytes(name.as_bytes()[0], length));
        let at = |name: &str| mount.root().join(name);
        let events = mount.events_of(|| fs::remove_file(at("gone")).unwrap());
        let gone = only(&events, "unlink");
        assert_eq!(gone["prev_blake3"], was("gone"));
        assert_eq!(
            (&gone["mode"], gone["owner"].is_array()),
            (&0o100_644.into(), true)
        );
        fs::write(at("new"), b"new").unwrap();
        let events = mount.events_of(|| fs::rename(at("new"), at("over")).unwrap());
        let rename = only(&events, "rename");
        assert_eq!(rename["replaced"]["blake3"], was("over"));
        assert_eq!(rename["blake3"], hash(b"new"));
        let head = mount.head();
        let script = format!("import os; os.truncate({:?}, 10)", at("cut"));
        process::run(Command::new("python3").args(["-c", &script])).success();
        let events = mount.since(head);
        let cut = only(&events, "truncate");
        assert_eq!(cut["prev_blake3"], was("cut"));
        assert_eq!(cut["blake3"], hash(&bytes(b'c', length)[..10]));
        let events = mount.events_of(|| {
            let file = OpenOptions::new().write(true).open(at("edited")).unwrap();
            file.write_at(b"x", 3).unwrap();
            file.write_at(b"y", 4).unwrap();
        });
        let writes: Vec<_> = events.iter().filter(|e| text(e, "op") == "write").collect();
        assert_eq!(writes[0]["prev_blake3"], was("edited"));
        assert!(writes[1].get("prev_blake3").is_none());
        assert_verified(&mount);
    }
}

#[test]
fn what_is_made_durable_is_a_version() {
    let case = Case::new();
    let mount = case.mount();
    let events = mount.events_of(|| {
        let mut file = File::create(mount.root().join("a")).unwrap();
        file.write_all(b"one").unwrap();
        file.sync_all().unwrap();
        file.sync_all().unwrap();
        file.write_all(b" two").unwrap();
    });
    assert_eq!(only(&events, "fsync")["blake3"], hash(b"one"));
    assert_eq!(only(&events, "close")["blake3"], hash(b"one two"));
}

#[test]
fn what_is_too_large_is_known_by_its_hash_and_said() {
    let case = Case::new();
    let mount = case.mount_with(&["--capture-max", "100K"]);
    let content = bytes(3, LARGE);
    let events = mount.events_of(|| fs::write(mount.root().join("a"), &content).unwrap());
    let close = only(&events, "close");
    assert_eq!(close["blake3"], hash(&content));
    assert_eq!(close["content_missing"], "too_large");
    let events = mount.events_of(|| fs::remove_file(mount.root().join("a")).unwrap());
    assert_eq!(only(&events, "unlink")["content_missing"], "too_large");
}

#[test]
fn nothing_is_kept_unasked() {
    let case = Case::new();
    let mount = case.mount_with(&["--capture", "none"]);
    let events = mount.events_of(|| fs::write(mount.root().join("a"), b"a").unwrap());
    let close = only(&events, "close");
    assert!(close.get("blake3").is_none() && close.get("content_missing").is_none());
    assert_eq!(mount.status()["content"]["objects"], 0);
}

#[test]
fn each_write_is_kept_when_asked_for() {
    let case = Case::new();
    let mount = case.mount_with(&["--capture", "write"]);
    let events = mount.events_of(|| {
        let mut file = File::create(mount.root().join("a")).unwrap();
        file.write_all(b"one").unwrap();
        file.write_all(b" two").unwrap();
    });
    let writes: Vec<_> = events.iter().filter(|e| text(e, "op") == "write").collect();
    assert_eq!(writes[0]["data_blake3"], hash(b"one"));
    assert_eq!(writes[1]["data_blake3"], hash(b" two"));
    assert_verified(&mount);
}

#[test]
fn what_is_found_behind_the_mount_is_kept() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(case.storage().join("a"), b"from behind").unwrap();
    let told = |event: &Value| {
        text(event, "op") == "found" && event["blake3"] == hash(b"from behind").as_str()
    };
    wait::until("it is found", || mount.events().iter().any(told));
    assert!(
        mount
            .events()
            .iter()
            .all(|event| event.get("content_missing").is_none())
    );
    assert_verified(&mount);
}

#[test]
fn a_symbolic_link_that_goes_leaves_its_target() {
    let case = Case::new();
    let mount = case.mount();
    std::os::unix::fs::symlink("over/there", mount.root().join("l")).unwrap();
    let events = mount.events_of(|| fs::remove_file(mount.root().join("l")).unwrap());
    assert_eq!(only(&events, "unlink")["prev_blake3"], hash(b"over/there"));
}

#[test]
fn contents_go_with_the_events_that_name_them() {
    let case = Case::new();
    let options = [
        "--segment-bytes",
        "64K",
        "--retain-bytes",
        "512K",
        "--sync-interval",
        "10ms",
    ];
    let mount = case.mount_with(&options);
    for number in 0..1_500_u32 {
        let content = number.to_le_bytes().repeat(SMALL / 4);
        fs::write(mount.root().join(format!("{}", number % 50)), content).unwrap();
    }
    wait::until("retention has made room", || {
        let status = mount.status();
        let of = |what: &str| status[what]["bytes"].as_u64().unwrap();
        of("log") + of("content") < 700 * 1024
    });
    assert!(mount.status()["oldest"].as_u64().unwrap() > 1_000);
    assert_all_held(&mount);
    assert_verified(&mount);
    // A smaller limit takes the oldest events with their contents, and leaves all contents of the others.
    mount.unmount();
    let options = ["--segment-bytes", "64K", "--retain-bytes", "384K"];
    let mount = case.mount_with(&options);
    wait::until("retention has made room", || {
        let status = mount.status();
        let of = |what: &str| status[what]["bytes"].as_u64().unwrap();
        of("log") + of("content") <= 384 * 1024
    });
    assert_all_held(&mount);
    assert_verified(&mount);
}

#[test]
fn a_killed_daemon_has_every_content_that_an_event_names() {
    let case = Case::new();
    let mut mount = case.mount();
    let mut written = HashMap::new();
    for round in 0..3_u8 {
        for number in 0..40_u8 {
            let length = if number % 20 == 0 { LARGE / 10 } else { SMALL };
            let content = bytes(number ^ (round << 6), length + usize::from(round));
            fs::write(mount.root().join(format!("{number}")), &content).unwrap();
            written.insert(hash(&content), content.len());
        }
        mount.kill();
        mount = mount.remount();
    }
    let events = mount.events();
    let named: Vec<_> = events
        .iter()
        .filter(|event| text(event, "op") == "close")
        .map(|event| text(event, "blake3"))
        .collect();
    assert_eq!(named.len(), 120);
    assert!(named.iter().all(|hash| written.contains_key(*hash)));
    assert_verified(&mount);
    let objects = mount.status()["content"]["objects"].as_u64().unwrap();
    assert!(objects >= written.len() as u64, "{objects}");
}

//! status, events and verify.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::events::{briefs, parse, text};
use crate::support::{Case, Mount, hippofs, process, wait};

fn ask(mount: &Mount, command: &str, more: &[&str]) -> String {
    let mut run = hippofs::command(&[command]);
    process::run(run.arg(mount.root()).args(more)).success()
}

#[test]
fn status_for_people_and_for_programs() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir(mount.path("d")).unwrap();
    let shown = ask(&mount, "status", &[]);
    assert!(shown.contains("ok") && !shown.contains('{'), "{shown}");
    let json: Value = serde_json::from_str(&ask(&mount, "status", &["--json"])).unwrap();
    assert_eq!(
        (json["head"].as_u64(), &json["store"]),
        (Some(1), &mount.status()["store"])
    );
    let inside =
        process::run(hippofs::command(&["status", "--json"]).arg(mount.path("d"))).success();
    assert_eq!(
        serde_json::from_str::<Value>(&inside).unwrap()["store"],
        json["store"],
        "PATH is anything inside"
    );
}

#[test]
fn events_for_programs_are_the_log() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    fs::create_dir(mount.path("d")).unwrap();
    fs::rename(mount.path("a"), mount.path("d/b")).unwrap();
    let all = mount.events();
    assert_eq!(parse(ask(&mount, "events", &["--json"]).as_bytes()), all);
    let check = |more: &[&str], expected: &[&str]| {
        let mut arguments = more.to_vec();
        arguments.push("--json");
        let lines = ask(&mount, "events", &arguments);
        let events: Vec<Value> = lines
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(briefs(&events), expected, "{more:?}");
    };
    check(&["--since", "3"], &["mkdir d", "rename a -> d/b"]);
    check(&["--until", "1"], &["create a"]);
    check(&["--limit", "1"], &["create a"]);
    check(&["--type", "moved"], &["rename a -> d/b"]);
    check(&["--path", "d/*"], &["rename a -> d/b"]);
    check(&["--source", "scan"], &[]);
}

#[test]
fn events_for_people_name_what_happened() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a\nb"), "x").unwrap();
    fs::rename(mount.path("a\nb"), mount.path("c")).unwrap();
    let shown = ask(&mount, "events", &[]);
    assert_eq!(
        shown.lines().count(),
        4,
        "one line for each, whatever the name: {shown}"
    );
    for word in ["create", "write", "close", "rename", "c"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    assert!(!shown.contains('\x1b'), "no colours in a pipe");
}

#[test]
fn events_can_be_followed_until_interrupted() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir(mount.path("before")).unwrap();
    let mut command = hippofs::command(&["events", "--json", "--follow", "--since", "0"]);
    let mut follower = process::start(command.arg(mount.root()));
    wait::until("what was there is shown", || {
        follower.stdout().lines().count() == 1
    });
    fs::create_dir(mount.path("after")).unwrap();
    wait::until("what comes is shown", || {
        follower.stdout().lines().count() == 2
    });
    assert_eq!(parse(follower.stdout().as_bytes()), mount.events());
    follower.signal(Signal::INT);
    wait::until("it ends", || follower.ended().is_some());
}

#[test]
fn output_into_a_closed_pipe_is_no_error() {
    let case = Case::new();
    let mount = case.mount();
    for i in 0..500 {
        fs::create_dir(mount.path(format!("{i}"))).unwrap();
    }
    let script = "\"$0\" events \"$1\" --json | head -n 1; echo \"${PIPESTATUS[0]}\"";
    let mut bash = Command::new("bash");
    let done = process::run(
        bash.arg("-c")
            .arg(script)
            .arg(hippofs::PROGRAM)
            .arg(mount.root()),
    );
    assert_eq!(
        (done.stdout.lines().count(), done.stderr.as_str()),
        (2, ""),
        "{done:?}"
    );
}

#[test]
fn verify_works_mounted_and_unmounted() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    ask(&mount, "verify", &[]);
    mount.unmount();
    let done = hippofs::run(&["verify".as_ref(), case.storage().as_os_str()]);
    assert_eq!(done.code(), Some(0), "{done:?}");
    let log = case
        .storage()
        .join(".hippofs/log/00000000000000000001.jsonl");
    let good = fs::read_to_string(&log).unwrap();
    fs::write(&log, good.replace("\"op\":\"write\"", "\"op\":\"WRITE\"")).unwrap();
    let done = hippofs::run(&["verify".as_ref(), case.storage().as_os_str()]);
    assert_eq!(done.code(), Some(1), "{done:?}");
    assert!(
        format!("{}{}", done.stdout, done.stderr).contains('2'),
        "the damaged event is named: {done:?}"
    );
    fs::write(&log, good).unwrap();
    assert_eq!(text(&case.mount().events()[0], "op"), "create");
}

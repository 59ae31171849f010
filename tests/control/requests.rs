//! `control`: queries with every selector, long polls, paging, marks.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{Control, ask_waiting};
use crate::support::events::{briefs, number, text};
use crate::support::{Case, Mount, process};

const UUID: &str = "0b5e8f3c-9a34-4c0f-8f39-0c2c9a1d7e55";

/// The events of a reply and its last line.
#[track_caller]
fn query(control: &mut Control, selectors: Value) -> (Vec<Value>, Value) {
    let mut reply = control.ask(&json!({"events": selectors}));
    let last = reply.pop().expect("a last line");
    assert!(
        last["next"].is_u64() && last["head"].is_u64() && last.get("gap").is_some(),
        "{last}"
    );
    (reply, last)
}

/// A mount with some events of two sessions.
fn some_events(case: &Case) -> Mount {
    let mount = case.mount();
    let shell = |session: &str, script: &str| {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(script)
            .current_dir(mount.root())
            .env("HIPPOFS_SESSION", session);
        process::run(&mut shell).success();
    };
    shell(
        "one",
        &format!("mkdir d d/e; echo x > d/{UUID}.json; echo y > top.txt"),
    );
    shell(
        "two",
        "ln -s x d/e/link; mv top.txt d/e/moved.txt; rm d/e/link",
    );
    mount
}

#[test]
fn every_selector_selects() {
    let case = Case::new();
    let mount = some_events(&case);
    let all = mount.events();
    let mut control = Control::open(&mount);
    let mut select = |selectors: Value| briefs(&query(&mut control, selectors).0);
    assert_eq!(select(json!({})), briefs(&all));
    assert_eq!(select(json!({"op": ["mkdir"]})), ["mkdir d", "mkdir d/e"]);
    assert_eq!(
        select(json!({"event_type": ["moved", "deleted"]})),
        ["rename top.txt -> d/e/moved.txt", "unlink d/e/link"]
    );
    assert_eq!(select(json!({"uuid": UUID})).len(), 3);
    assert_eq!(
        select(json!({"path": "d/*"})),
        briefs(
            &all.iter()
                .filter(|e| {
                    let path = text(e, "src_path");
                    path.starts_with("d/") && path.matches('/').count() == 1
                })
                .cloned()
                .collect::<Vec<_>>()
        )
    );
    assert_eq!(
        select(json!({"path": "**/*.txt", "op": ["rename"]})).len(),
        1
    );
    assert_eq!(
        select(json!({"path": "d/e/moved.txt"})),
        ["rename top.txt -> d/e/moved.txt"],
        "by where it went"
    );
    assert_eq!(
        select(json!({"session": "two"})),
        [
            "symlink d/e/link",
            "rename top.txt -> d/e/moved.txt",
            "unlink d/e/link"
        ]
    );
    assert_eq!(select(json!({"session": "!one"})).len(), 3);
    assert_eq!(select(json!({"source": ["mount"]})).len(), all.len());
    assert_eq!(select(json!({"source": ["scan"]})).len(), 0);
    let pid = number(&all[0], "pid");
    assert_eq!(
        select(json!({"pid": pid})).len(),
        all.iter().filter(|e| number(e, "pid") == pid).count()
    );
    assert_eq!(select(json!({"since": 3, "until": 5})), briefs(&all[3..5]));
    assert_eq!(select(json!({"limit": 2})), briefs(&all[..2]));
    assert_eq!(
        select(json!({"event_type": ["created"], "session": "two"})),
        ["symlink d/e/link"],
        "both hold"
    );
}

#[test]
fn times_select_to_the_nanosecond() {
    let case = Case::new();
    let mount = some_events(&case);
    let all = mount.events();
    // As text: a floating-point number would not hold nine decimals of today.
    let log = std::fs::read_to_string(mount.control("events")).unwrap();
    let middle = log.lines().nth(4).unwrap();
    let time = middle
        .split("\"timestamp\":")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap();
    let mut control = Control::open(&mount);
    let mut select = |field: &str| {
        control
            .write(format!("{{\"events\":{{\"{field}\":{time}}}}}").as_bytes())
            .unwrap();
        let mut reply = super::lines(&control.read());
        reply.pop();
        briefs(&reply)
    };
    assert_eq!(select("from_time"), briefs(&all[4..]));
    assert_eq!(select("to_time"), briefs(&all[..5]));
}

#[test]
fn a_session_can_leave_itself_out() {
    let case = Case::new();
    let mount = some_events(&case);
    let script =
        "exec 9<>.hippofs/control; echo '{\"events\":{\"session\":\"!self\"}}' >&9; cat <&9";
    let ask = |session: &str| {
        let mut shell = Command::new("bash");
        shell
            .arg("-c")
            .arg(script)
            .current_dir(mount.root())
            .env("HIPPOFS_SESSION", session);
        process::run(&mut shell).success()
    };
    let (one, two) = (ask("one"), ask("two"));
    assert!(
        !one.contains("\"session\":\"one\"") && one.contains("\"session\":\"two\""),
        "{one}"
    );
    assert!(
        two.contains("\"session\":\"one\"") && !two.contains("\"session\":\"two\""),
        "{two}"
    );
}

#[test]
fn paging_with_next_meets_every_event_once() {
    let case = Case::new();
    let mount = case.mount();
    for i in 0..100 {
        fs::write(mount.path(format!("{i}")), "x").unwrap();
    }
    for selectors in [json!({}), json!({"op": ["close"]}), json!({"path": "7*"})] {
        let mut control = Control::open(&mount);
        let whole = query(&mut control, selectors.clone()).0;
        let (mut paged, mut since) = (Vec::new(), 0);
        loop {
            let mut page = selectors.clone();
            page["since"] = json!(since);
            page["limit"] = json!(7);
            let (events, last) = query(&mut control, page);
            let next = number(&last, "next");
            if events.is_empty() {
                assert_eq!(next, number(&last, "head"));
                break;
            }
            assert!(events.len() <= 7 && next > since);
            paged.extend(events);
            since = next;
        }
        assert_eq!(paged, whole, "{selectors}");
    }
}

#[test]
fn a_long_poll_answers_when_something_matches() {
    let case = Case::new();
    let mount = case.mount();
    let request = json!({"events": {"since": 0, "op": ["unlink"], "wait_ms": 25_000}});
    let waiting = ask_waiting(&mount, request);
    fs::write(mount.path("a"), "x").unwrap();
    fs::create_dir(mount.path("d")).unwrap();
    assert!(waiting.running(), "nothing matches yet");
    fs::remove_file(mount.path("a")).unwrap();
    let reply = waiting.finish();
    assert_eq!(briefs(&reply[..1]), ["unlink a"]);
    assert_eq!((reply.len(), number(&reply[1], "next")), (2, 5));
}

#[test]
fn a_long_poll_without_a_match_ends_empty() {
    let case = Case::new();
    let mount = case.mount();
    let reply = ask_waiting(
        &mount,
        json!({"events": {"op": ["unlink"], "wait_ms": 200}}),
    )
    .finish();
    assert_eq!(
        (reply.len(), number(&reply[0], "next")),
        (1, 0),
        "{reply:?}"
    );
}

#[test]
fn a_long_poll_with_a_match_in_the_past_answers_at_once() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir(mount.path("d")).unwrap();
    let reply = ask_waiting(&mount, json!({"events": {"since": 0, "wait_ms": 600_000}})).finish();
    assert_eq!(reply.len(), 2);
}

#[test]
fn a_long_poll_can_be_interrupted() {
    let case = Case::new();
    let mount = case.mount();
    let script = "exec 9<>.hippofs/control; echo '{\"events\":{\"wait_ms\":600000}}' >&9; echo asked; exec cat <&9";
    let mut bash = process::start(
        Command::new("bash")
            .arg("-c")
            .arg(script)
            .current_dir(mount.root()),
    );
    crate::support::wait::until("it has asked", || bash.stdout().contains("asked"));
    bash.signal(rustix::process::Signal::INT);
    crate::support::wait::until("it ends", || bash.ended().is_some());
}

#[test]
fn a_mark_stands_in_the_log() {
    let case = Case::new();
    let mount = case.mount();
    let reply =
        Control::open(&mount).ask(&json!({"mark": {"text": "release", "data": {"n": [1, 2]}}}));
    assert_eq!(reply.len(), 1, "{reply:?}");
    let events = mount.events();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (text(&events[0], "event_type"), text(&events[0], "source")),
        ("mark", "system")
    );
    assert_eq!(
        (text(&events[0], "text"), &events[0]["data"]),
        ("release", &json!({"n": [1, 2]}))
    );
    assert_eq!(number(&reply[0], "seq"), 1, "{reply:?}");
}

#[test]
fn sync_makes_the_log_durable() {
    let case = Case::new();
    let mount = case.mount_with(&["--sync-interval", "600s"]);
    fs::write(mount.path("a"), "x").unwrap();
    let reply = Control::open(&mount).ask(&json!({"sync": {}}));
    assert_eq!(reply.len(), 1, "{reply:?}");
    assert!(number(&mount.status(), "durable") >= 3);
}

#[test]
fn the_log_is_synced_by_itself_at_the_interval() {
    let case = Case::new();
    let mount = case.mount_with(&["--sync-interval", "100ms"]);
    fs::write(mount.path("a"), "x").unwrap();
    crate::support::wait::until("the log is synced", || {
        number(&mount.status(), "durable") == 3
    });
}

#[test]
fn status_and_help_answer_requests_too() {
    let case = Case::new();
    let mount = case.mount();
    let mut control = Control::open(&mount);
    let status = control.ask(&json!({"status": {}}));
    assert_eq!(
        (status.len(), status[0]["store"].clone()),
        (1, mount.status()["store"].clone())
    );
    assert_eq!(control.write(br#"{"help":{}}"#), Ok(()));
    assert!(!control.read().is_empty());
}

#[test]
fn conversations_are_apart() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir(mount.path("d")).unwrap();
    let (mut one, mut two) = (Control::open(&mount), Control::open(&mount));
    one.write(br#"{"events":{"limit":1}}"#).unwrap();
    two.write(br#"{"status":{}}"#).unwrap();
    assert!(super::lines(&two.read())[0].get("store").is_some());
    assert_eq!(super::lines(&one.read()).len(), 2);
    // A new request replaces a reply that was not read.
    one.write(br#"{"events":{}}"#).unwrap();
    one.write(br#"{"status":{}}"#).unwrap();
    assert_eq!(super::lines(&one.read()).len(), 1);
}

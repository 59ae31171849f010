//! Which way changes are found, and that `status` says it.

use std::fs;

use super::{found_since, reconcile, sync};
use crate::support::case::Case;
use crate::support::hippofs;
use crate::support::wait;

#[test]
fn polling_finds_by_scan_what_the_watcher_would_have_told() {
    let case = Case::new();
    let mount = case.mount_with(&["--watch", "poll", "--poll-interval", "100ms"]);
    assert_eq!(mount.status()["watch"]["mode"], "poll");
    let before = mount.head();
    fs::write(case.storage().join("a"), "x").unwrap();
    wait::until("a scan finds it", || mount.head() > before);
    assert_eq!(found_since(&mount, before), ["created scan a"]);
    assert_eq!(mount.status()["missed_events"], 0);
}

#[test]
fn nothing_is_looked_for_when_it_is_off_but_on_request() {
    let case = Case::new();
    let mount = case.mount_with(&["--watch", "off"]);
    let status = mount.status();
    assert_eq!(status["watch"]["mode"], "off");
    assert!(status["scan"]["interval_s"].is_null());
    let before = mount.head();
    fs::create_dir(case.storage().join("d")).unwrap();
    fs::write(case.storage().join("d/a"), "x").unwrap();
    assert_eq!(reconcile(&mount, "d", false)["found"], 2);
    assert_eq!(
        found_since(&mount, before),
        ["created scan d", "created scan d/a"]
    );
    fs::remove_file(case.storage().join("d/a")).unwrap();
    sync(&mount);
    assert_eq!(found_since(&mount, before).len(), 3);
}

#[test]
fn a_network_like_filesystem_is_polled() {
    // The storage of the second mount is the mount of the first: a FUSE filesystem.
    let case = Case::new();
    let lower = case.mount();
    let upper = hippofs::Mount::start(hippofs::Settings::new(
        lower.root().to_owned(),
        Some(case.native()),
        &["--state-dir", &state(&case), "--poll-interval", "100ms"],
    ));
    let watch = &upper.status()["watch"];
    assert_eq!(watch["mode"], "poll", "{watch}");
    assert!(
        watch["reason"].as_str().unwrap().contains("fuse"),
        "{watch}"
    );
    let before = upper.head();
    fs::write(lower.path("a"), "x").unwrap();
    wait::until("a scan finds it", || {
        found_since(&upper, before).contains(&"created scan a".to_owned())
    });
    upper.unmount();
}

fn state(case: &Case) -> String {
    let dir = case.path("state");
    fs::create_dir(&dir).unwrap();
    dir.to_str().unwrap().to_owned()
}

#[test]
fn the_command_prints_what_was_found() {
    let case = Case::new();
    let mount = case.mount_with(&["--watch", "off"]);
    fs::write(case.storage().join("a"), "x").unwrap();
    let text = hippofs::run(&["reconcile", mount.root().to_str().unwrap()]).success();
    assert!(
        text.contains("created/found") && text.contains("1 changes found"),
        "{text}"
    );
    let path = mount.path("a");
    let text = hippofs::run(&["reconcile", "--full", "--json", path.to_str().unwrap()]).success();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["path"], &last["full"], &last["found"]),
        (&"a".into(), &true.into(), &0.into())
    );
    let missing = mount.path("missing/x");
    let refused = hippofs::run(&["reconcile", missing.to_str().unwrap()]);
    assert_eq!(refused.code(), Some(1), "{refused:?}");
}

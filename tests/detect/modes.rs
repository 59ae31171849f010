//! Which way changes are found, and that `status` says it.

use std::fs;
use std::process::Command;

use super::{covered, found, found_since, reconcile, sync};
use crate::support::case::Case;
use crate::support::hippofs;
use crate::support::process;
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
fn the_watcher_works_on_a_memory_filesystem_too() {
    let case = Case::new();
    let tmpfs = Tmpfs::at(case.storage());
    let mount = case.mount();
    covered(&mount);
    let watch = &mount.status()["watch"];
    assert_eq!(watch["mode"], "native", "{watch}");
    let made = found(&mount, || fs::create_dir(case.storage().join("d")).unwrap());
    assert_eq!(made, ["created watch d"]);
    mount.unmount();
    drop(tmpfs);
}

/// A filesystem in memory, taken away at the end.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn at(place: std::path::PathBuf) -> Tmpfs {
        let done = process::run(
            Command::new("mount")
                .args(["-t", "tmpfs", "none"])
                .arg(&place),
        );
        done.success();
        Tmpfs(place)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        let _ = rustix::mount::unmount(&self.0, flags);
    }
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

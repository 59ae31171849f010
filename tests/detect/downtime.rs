//! What happens while no daemon runs is found by the scan of the next start.

use std::fs;

use super::{covered, found_since, reconcile};
use crate::support::case::Case;

/// Directories in which five changes each are made: a thousand in all.
const DIRECTORIES: usize = 200;

#[test]
fn changes_while_the_daemon_was_down_are_found_with_renames_as_renames() {
    let case = Case::new();
    let mount = case.mount();
    covered(&mount);
    for n in 0..DIRECTORIES {
        fs::create_dir(mount.path(format!("d{n}"))).unwrap();
        for file in ["edit", "gone", "name", "stay"] {
            fs::write(mount.path(format!("d{n}/{file}")), format!("{file}{n}")).unwrap();
        }
    }
    let head = mount.head();
    mount.unmount();
    let at = |name: String| case.storage().join(name);
    for n in 0..DIRECTORIES {
        fs::write(at(format!("d{n}/edit")), "edited while it was down").unwrap();
        fs::remove_file(at(format!("d{n}/gone"))).unwrap();
        fs::rename(at(format!("d{n}/name")), at(format!("d{n}/new name"))).unwrap();
        fs::write(at(format!("d{n}/made")), "made").unwrap();
        fs::rename(at(format!("d{n}")), at(format!("e{n}"))).unwrap();
    }
    let mount = case.mount();
    covered(&mount);
    let found = found_since(&mount, head);
    let count = |start: &str| {
        found
            .iter()
            .filter(|brief| brief.starts_with(start))
            .count()
    };
    assert_eq!(count("moved scan d"), DIRECTORIES, "{found:?}");
    assert_eq!(count("moved scan e"), DIRECTORIES, "{found:?}");
    assert_eq!(count("modified scan e"), DIRECTORIES, "{found:?}");
    assert_eq!(count("created scan e"), DIRECTORIES, "{found:?}");
    assert_eq!(count("deleted scan e"), DIRECTORIES, "{found:?}");
    assert_eq!(found.len(), 5 * DIRECTORIES, "{found:?}");
    assert_eq!(mount.status()["missed_events"], 0);
    assert_eq!(reconcile(&mount, "", true)["found"], 0);
}

#[test]
fn a_quiet_restart_finds_nothing() {
    let case = Case::new();
    fs::write(case.storage().join("old"), "stood there before").unwrap();
    let mount = case.mount();
    covered(&mount);
    fs::create_dir(mount.path("d")).unwrap();
    fs::write(mount.path("d/f"), "x").unwrap();
    let head = mount.head();
    let mount = mount.remount();
    covered(&mount);
    assert_eq!(found_since(&mount, head), [""; 0]);
}

#[test]
fn a_killed_daemon_takes_its_own_work_for_its_own() {
    let case = Case::new();
    let mut mount = case.mount();
    covered(&mount);
    for n in 0..100 {
        fs::write(mount.path(format!("f{n}")), format!("{n}")).unwrap();
    }
    // Without any checkpoint nothing would be known of the state before.
    let saved = case.storage().join(".hippofs/catalog");
    crate::support::wait::until("the first checkpoint", || saved.exists());
    let head = mount.head();
    mount.kill();
    drop(mount);
    fs::write(case.storage().join("f7"), "someone else").unwrap();
    let mount = case.mount();
    covered(&mount);
    assert_eq!(found_since(&mount, head), ["modified scan f7"]);
}

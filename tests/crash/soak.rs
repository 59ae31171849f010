//! The short form of `scripts/soak`: sessions, writers past the mount and consumers, and one fault after the other.

use std::process::Command;

use crate::support::{Case, hippofs, process};

const SOAK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/soak");

/// Runs it on this case's ground; it compares everything after each fault and fails at the first that is not right.
#[track_caller]
fn soak(faults: &str, trials: u32) -> String {
    let case = Case::new();
    let done = process::run(
        Command::new(SOAK)
            .args(["--sessions", "3", "--every", "0.15", "--seed", "3"])
            .args(["--trials", &trials.to_string(), "--faults", faults])
            .arg("--place")
            .arg(case.native())
            .args(["--binary", hippofs::PROGRAM]),
    );
    assert_eq!(done.code(), Some(0), "{}{}", done.stdout, done.stderr);
    done.stdout
}

#[test]
fn sessions_and_consumers_lose_nothing_by_kills_stops_and_aborts() {
    let said = soak("kill,stop,abort,stop-kill", 8);
    assert!(said.contains("lost=0 wrong=0"), "{said}");
}

#[test]
fn a_lazy_unmount_under_load_is_a_clean_end() {
    let said = soak("umount", 3);
    assert!(said.contains("umount=3"), "{said}");
}

//! The daemon's own calls on its files fail: the short form of `scripts/disk-faults`, which makes them fail by tracing.

use std::process::Command;

use crate::support::{hippofs, process};

const DISK_FAULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/disk-faults");

#[track_caller]
fn assert_well(faults: &[&str]) {
    let mut command = Command::new(DISK_FAULTS);
    command.args(faults).env("HIPPOFS", hippofs::PROGRAM);
    let done = process::run(&mut command);
    assert_eq!(done.code(), Some(0), "{}{}", done.stdout, done.stderr);
    let summary = format!("{} faults, 0 wrong", faults.len());
    assert!(done.stdout.contains(&summary), "{}", done.stdout);
}

#[test]
fn errors_of_the_storage_reach_the_caller_and_are_no_events() {
    assert_well(&[
        "storage-write-io",
        "storage-write-quota",
        "storage-read-io",
        "storage-read-io-at-capture",
        "storage-fsync-io",
    ]);
}

#[test]
fn errors_of_the_log_refuse_changes_and_are_said() {
    assert_well(&["log-write-io", "log-fsync-io", "log-read-io-at-start"]);
}

#[test]
fn errors_of_contents_and_catalog_refuse_nothing() {
    assert_well(&[
        "content-write-io",
        "content-fsync-io",
        "content-read-io",
        "catalog-write-io",
        "catalog-read-io",
    ]);
}

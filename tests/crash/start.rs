//! What a start after a crash knows: the checkpoint of the catalog and the log after it, however little of the log is kept.

use std::fs;

use super::kill_and_wait_dead;
use crate::support::Case;
use crate::support::events::{self, text};

/// Versions of one round; three of them are more than retention keeps, and less than twice that.
const VERSIONS: u8 = 60;

#[test]
fn retention_leaves_what_the_next_start_needs_to_find_what_changed_behind_the_mount() {
    let case = Case::new();
    let options = [
        "--segment-bytes",
        "64K",
        "--retain-bytes",
        "1M",
        "--sync-interval",
        "50ms",
    ];
    let mut mount = case.mount_with(&options);
    fs::create_dir(mount.path("d")).unwrap();
    for round in 0..3 {
        for version in 0..VERSIONS {
            fs::write(mount.path("d/a"), vec![version ^ round; 9_000]).unwrap();
        }
        // Retention has its turns meanwhile.
        let begun = mount.head();
        crate::support::wait::until("the log is durable", || {
            mount.status()["durable"].as_u64() >= Some(begun)
        });
    }
    kill_and_wait_dead(&mut mount);
    fs::write(case.storage().join("d/behind"), "x").unwrap();
    let again = case.mount_with(&options);
    let after = again.events();
    let told = events::briefs(&after);
    assert!(told.contains(&"found d/behind".to_owned()), "{told:?}");
    assert!(!after.iter().any(|e| text(e, "reason") == "unwatched"));
}

#[test]
fn a_catalog_that_cannot_be_used_is_said() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    mount.unmount();
    let saved = case.storage().join(".hippofs/catalog");
    let mut bytes = fs::read(&saved).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&saved, bytes).unwrap();
    let again = case.mount();
    let events = again.events();
    let last = events.last().unwrap();
    assert_eq!(text(last, "reason"), "unwatched", "{last}");
    assert!(text(last, "detail").contains("damaged"), "{last}");
    let again = again.remount();
    assert_eq!(again.events(), events, "once");
}

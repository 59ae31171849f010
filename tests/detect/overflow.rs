//! More changes than the watcher's queue holds: said as a gap, repaired by a scan.

use std::fs;

use super::{covered, found_since, on_disk, reconcile, replay, sync};
use crate::support::case::Case;
use crate::support::wait;

const LIMIT: &str = "/proc/sys/fs/inotify/max_queued_events";

/// Sets the kernel's limit for queues made meanwhile, and puts it back.
struct Limited(String);

impl Limited {
    fn to(limit: &str) -> Limited {
        let before = fs::read_to_string(LIMIT).expect("read the limit");
        fs::write(LIMIT, limit).expect("set the limit");
        Limited(before)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = fs::write(LIMIT, &self.0);
    }
}

#[test]
fn an_overflow_is_a_gap_and_everything_is_found_by_a_scan() {
    let case = Case::new();
    let limited = Limited::to("16");
    let mount = case.mount();
    drop(limited);
    covered(&mount);
    let before = mount.head();
    for n in 0..3000 {
        let dir = case.storage().join(format!("d{}", n % 5));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{n}")), "x").unwrap();
    }
    sync(&mount);
    let status = mount.status();
    assert!(
        status["watch"]["overflows"].as_u64().unwrap() > 0,
        "{status}"
    );
    let gaps = mount.since(before);
    let gap = gaps
        .iter()
        .find(|e| e["event_type"] == "gap")
        .expect("a gap");
    assert_eq!(gap["reason"], "overflow");
    wait::until("everything is watched again", || {
        mount.status()["watch"]["covered"] == true
    });
    assert_eq!(replay(&mount.events()), on_disk(&case.storage()));
    let found = found_since(&mount, before);
    let created = found
        .iter()
        .filter(|brief| brief.starts_with("created"))
        .count();
    assert_eq!(created, 3005, "each file and directory once");
    // A file may have been found between its making and its writing.
    let others = |brief: &&String| !brief.starts_with("created") && !brief.starts_with("modified");
    assert_eq!(found.iter().find(others), None);
    assert_eq!(reconcile(&mount, "", true)["found"], 0);
}

//! More changes than the watcher's queue holds, more directories than there are watches: said as a gap, repaired by
//! scans.

use std::fs;

use super::{covered, found_since, on_disk, reconcile, replay, sync};
use crate::support::case::Case;
use crate::support::wait;
use crate::support::{events, hippofs, process};

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
    let settings = hippofs::Settings::new(case.storage(), Some(case.mountpoint()), &[]);
    let mount = hippofs::Mount::start_alone(settings, || Limited::to("16"));
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

/// In a user namespace of its own, whose limit on watches is nobody else's: more directories than watches, changes in
/// each, then enough watches again.
const FEW_WATCHES: &str = r#"
set -e
program=$1 storage=$2 mount=$3
echo 3 > /proc/sys/user/max_inotify_watches
for n in 1 2 3 4 5 6; do mkdir $storage/d$n; done
$program mount --daemon --poll-interval 200ms $storage $mount > /dev/null
cat $mount/.hippofs/status
for n in 1 2 3 4 5 6; do echo x > $storage/d$n/f; done
exec 9<>$mount/.hippofs/control
echo '{"sync":{}}' >&9; cat <&9
exec 9>&-
cat $mount/.hippofs/events > $storage/../events
echo 300 > /proc/sys/user/max_inotify_watches
for n in $(seq 300); do
    if grep -q '"mode":"native"' $mount/.hippofs/status; then break; fi
    sleep 0.1
done
cat $mount/.hippofs/status
$program unmount $mount
"#;

#[test]
fn without_watches_left_it_polls_and_says_so_until_there_are_some() {
    let case = Case::new();
    let mut command = std::process::Command::new("unshare");
    command
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            FEW_WATCHES,
            "sh",
        ])
        .args([
            hippofs::PROGRAM.as_ref(),
            case.storage().as_os_str(),
            case.mountpoint().as_os_str(),
        ]);
    let text = process::run(&mut command).success();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["watch"]["mode"], "poll", "{}", lines[0]);
    assert!(
        lines[0]["watch"]["reason"]
            .as_str()
            .unwrap()
            .contains("no inotify watch")
    );
    assert_eq!(lines[2]["watch"]["mode"], "native", "{}", lines[2]);
    let all = events::read(&case.path("events"));
    assert_eq!(all[0]["reason"], "unwatched");
    let created = |event: &&serde_json::Value| event["event_type"] == "created";
    assert_eq!(all.iter().filter(created).count(), 6, "{all:?}");
}

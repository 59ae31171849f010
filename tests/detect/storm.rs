//! Four processes change the storage while four sessions work through the mount on the same directories.

use std::fs;
use std::process::Command;

use super::{covered, on_disk, reconcile, replay, sync};
use crate::support::case::Case;
use crate::support::events;
use crate::support::process;
use crate::support::wait;

/// Works in directories `d0` to `d3` below its first argument, on names that begin with the second; every kind of
/// change, then some files left standing.
const WORKER: &str = r"
import os, random, sys
root, own, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
random.seed(own)
os.chdir(root)
def path(n): return f'd{n % 4}/{own}-{n}'
for n in range(count):
    p = path(n)
    with open(p, 'w') as f: f.write('x' * (n % 50 + 1))
    kind = n % 10
    if kind == 1:
        with open(p, 'r+') as f: f.write('y')
    elif kind == 2:
        with open(p, 'a') as f: f.write('more')
    elif kind == 3: os.truncate(p, 0)
    elif kind == 4: os.chmod(p, 0o600)
    elif kind == 5: os.rename(p, p + '.moved')
    elif kind == 6:
        with open(p + '.tmp', 'w') as f: f.write('replacement')
        os.replace(p + '.tmp', p)
    elif kind == 7: os.unlink(p)
    elif kind == 8:
        os.mkdir(p + '.dir')
        with open(p + '.dir/inner', 'w') as f: f.write('inner')
        os.rename(p + '.dir', p + '.dir2')
    elif kind == 9: os.link(p, p + '.link')
";

fn worker(root: &std::path::Path, own: &str, count: u32) -> Command {
    let mut command = process::python(WORKER);
    command.arg(root).arg(own).arg(count.to_string());
    command
}

/// An event with all others of its name or its inode.
fn among(all: &[serde_json::Value], event: &serde_json::Value) -> String {
    let near = all
        .iter()
        .filter(|e| e["src_path"] == event["src_path"] || e["ino"] == event["ino"]);
    let near: Vec<_> = near.map(ToString::to_string).collect();
    format!("{event}\namong\n{}", near.join("\n"))
}

#[test]
fn afterwards_the_log_is_the_disk_and_nobody_is_mistaken_for_another() {
    // 2400 makes it twenty thousand changes behind the mount.
    let count = std::env::var("HIPPOFS_STORM").map_or(400, |text| text.parse().expect("a number"));
    let case = Case::new();
    let mount = case.mount();
    covered(&mount);
    for n in 0..4 {
        fs::create_dir(mount.path(format!("d{n}"))).unwrap();
    }
    let mut running = Vec::new();
    for n in 0..4 {
        let (bypass, session) = (format!("bypass{n}"), format!("session{n}"));
        running.push(process::start(&mut worker(&case.storage(), &bypass, count)));
        running.push(process::start(&mut worker(mount.root(), &session, count)));
    }
    for done in running {
        done.finish().success();
    }
    sync(&mount);
    let all = mount.events();
    for event in &all {
        let path = events::text(event, "src_path");
        let source = events::text(event, "source");
        if path.contains("/session") {
            assert_eq!(source, "mount", "{}", among(&all, event));
        } else if path.contains("/bypass") {
            assert_ne!(source, "mount", "{}", among(&all, event));
        }
    }
    let disk = on_disk(&case.storage());
    let told = replay(&all);
    let odd: Vec<_> = disk
        .iter()
        .filter(|(path, size)| told.get(*path) != Some(size))
        .chain(told.iter().filter(|(path, _)| !disk.contains_key(*path)))
        .collect();
    assert!(
        odd.is_empty(),
        "{} of them: {:?}",
        odd.len(),
        &odd[..odd.len().min(8)]
    );
    assert_eq!(reconcile(&mount, "", true)["found"], 0);
}

/// A notification to the kernel must not wait for a session that waits for the daemon: a killed daemon would never end.
#[test]
fn a_daemon_killed_in_a_storm_ends_and_lets_everybody_go() {
    for _ in 0..4 {
        let case = Case::new();
        let mut mount = case.mount();
        covered(&mount);
        for n in 0..4 {
            fs::create_dir(mount.path(format!("d{n}"))).unwrap();
        }
        let mut running: Vec<_> = (0..4)
            .flat_map(|n| {
                let (bypass, session) = (format!("bypass{n}"), format!("session{n}"));
                [
                    process::start(&mut worker(&case.storage(), &bypass, 1_000_000)),
                    process::start(&mut worker(mount.root(), &session, 1_000_000)),
                ]
            })
            .collect();
        let busy = || mount.status()["events_by_source"]["watch"].as_u64() > Some(500);
        wait::until("changes on both sides", busy);
        mount.kill();
        for worker in &mut running {
            worker.signal(rustix::process::Signal::KILL);
            wait::until("a worker ends", || worker.ended().is_some());
        }
    }
}

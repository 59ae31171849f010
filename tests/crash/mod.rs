//! The daemon is killed under load: every call that had returned stands in the log, once and in order.

mod soak;
mod start;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::events::{number, text};
use crate::support::process::{self, Running};
use crate::support::{Case, Mount, hippofs, wait};

const WRITER: &str = include_str!("writer.py");
const WRITERS: usize = 3;
/// Seconds after which a daemon's start has succeeded in the eyes of its supervisor, and a little more.
const LIFE_S: f64 = 1.1;
/// Calls that must have returned between two kills, so that each kill meets work.
const CALLS_BETWEEN: usize = 150;

fn start_writers(case: &Case, work: &Path) -> Vec<Running> {
    (0..WRITERS)
        .map(|who| {
            let mut python = process::python(WRITER);
            process::start(
                python
                    .arg(work)
                    .arg(case.path(format!("notes-{who}")))
                    .arg(who.to_string()),
            )
        })
        .collect()
}

fn notes(case: &Case, who: usize) -> Vec<String> {
    let text = fs::read_to_string(case.path(format!("notes-{who}"))).unwrap_or_default();
    // The last line may be half written by a process that was killed.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

fn calls_returned(case: &Case) -> usize {
    (0..WRITERS)
        .map(|who| {
            notes(case, who)
                .iter()
                .filter(|n| !n.starts_with("failed"))
                .count()
        })
        .sum()
}

/// An event of the writers as they write it down.
fn as_note(event: &Value) -> Option<String> {
    let name = |key| text(event, key).strip_prefix("work/").map(str::to_owned);
    let (op, src) = (text(event, "op"), name("src_path")?);
    Some(match op {
        "write" => format!("{op} {src} {}", number(event, "offset")),
        "rename" => format!("{op} {src} {}", name("dest_path")?),
        _ => format!("{op} {src}"),
    })
}

/// Each note has its event exactly once, and in the order written down; what else is there belongs to a failed call.
#[track_caller]
fn assert_all_recorded(case: &Case, events: &[Value]) {
    let mut places: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in events {
        if let Some(note) = as_note(event) {
            places.entry(note).or_default().push(number(event, "seq"));
        }
    }
    let mut noted = 0;
    for who in 0..WRITERS {
        let mut last = 0;
        for note in notes(case, who).iter().filter(|n| !n.starts_with("failed")) {
            let found = places.get(note).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(
                found.len(),
                1,
                "returned to session {who}: {note}: at {found:?}"
            );
            assert!(
                found[0] > last,
                "session {who}: {note} at {} after {last}",
                found[0]
            );
            last = found[0];
            noted += 1;
        }
    }
    assert!(noted >= CALLS_BETWEEN, "only {noted} calls");
    let failed: usize = (0..WRITERS)
        .map(|w| {
            notes(case, w)
                .iter()
                .filter(|n| n.starts_with("failed"))
                .count()
        })
        .sum();
    let unknown = events.iter().filter_map(as_note).count() - noted;
    // One call of each writer may be under way at the end, and a failed document leaves one call open and one close.
    assert!(
        unknown <= 2 * (failed + WRITERS),
        "{unknown} events nobody made, {failed} failed calls"
    );
}

/// What stands in the storage is what the events of a document say.
#[track_caller]
fn assert_storage_agrees(storage: &Path, events: &[Value], kills: usize) {
    let mut present = std::collections::BTreeSet::new();
    for event in events.iter().filter_map(as_note) {
        let words: Vec<_> = event.split(' ').collect();
        match words[..] {
            ["create", name] => drop(present.insert(name.to_owned())),
            ["unlink", name] => drop(present.remove(name)),
            ["rename", from, to] => {
                present.remove(from);
                present.insert(to.to_owned());
            }
            _ => {}
        }
    }
    let found: std::collections::BTreeSet<_> = fs::read_dir(storage.join("work"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    // An operation that was under way at a kill may have reached the storage and not the log.
    let differ: Vec<_> = found.symmetric_difference(&present).collect();
    assert!(differ.len() <= (kills + 1) * WRITERS, "{differ:?}");
}

/// Life of the serving daemon; `None` while there is none.
fn uptime_s(mount: &Mount) -> Option<f64> {
    let status = fs::read_to_string(mount.control("status")).ok()?;
    serde_json::from_str::<Value>(&status).ok()?["uptime_s"].as_f64()
}

/// The daemon below the supervisor.
fn daemon_of(mount: &Mount) -> u32 {
    wait::value("the supervisor has a daemon", || {
        process::children_of(mount.pid()).first().copied()
    })
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("killed");
}

/// Kills the daemon and waits until the mount is dead.
fn kill_and_wait_dead(mount: &mut Mount) {
    mount.kill();
    wait::until("the mount is dead", || {
        fs::read_dir(mount.root())
            .err()
            .and_then(|e| e.raw_os_error())
            == Some(libc::ENOTCONN)
    });
}

/// Kills the daemon of `mount` under load so many times; all that returned must be recorded.
fn kill_under_load(case: &Case, mount: Mount, kills: usize) {
    let mut writers = start_writers(case, &mount.path("work"));
    for _ in 0..kills {
        // Deaths right after a start count as a failure to start, after some of which a supervisor gives up.
        wait::until("the daemon has lived a while", || {
            uptime_s(&mount) > Some(LIFE_S)
        });
        let before = calls_returned(case);
        wait::until("the writers work", || {
            assert!(
                writers.iter_mut().all(|w| w.ended().is_none()),
                "a writer ended"
            );
            calls_returned(case) > before + CALLS_BETWEEN
        });
        kill(daemon_of(&mount));
    }
    let before = calls_returned(case);
    wait::until("the writers work again", || {
        calls_returned(case) > before + CALLS_BETWEEN
    });
    drop(writers);
    let events = wait::value("the log can be read", || {
        mount.control("events").exists().then(|| mount.events())
    });
    mount.unmount();
    assert_all_recorded(case, &events);
    assert_storage_agrees(&case.storage(), &events, kills);
    let gaps: Vec<_> = events
        .iter()
        .filter(|e| text(e, "event_type") == "gap")
        .collect();
    assert_eq!(
        gaps.iter().filter(|e| text(e, "reason") == "crash").count(),
        kills,
        "{gaps:?}"
    );
    hippofs::run(&["verify".as_ref(), case.storage().as_os_str()]).success();
}

#[test]
fn a_supervised_daemon_killed_ten_times_under_load_loses_nothing() {
    let case = Case::new();
    fs::create_dir(case.storage().join("work")).unwrap();
    kill_under_load(&case, case.mount_with(&["--supervise"]), 10);
}

/// Between two daemons the storage must not lie open: what was written to it then would have no event.
#[test]
fn a_supervised_mount_over_the_storage_leaves_no_way_past_it() {
    let case = Case::new();
    fs::create_dir(case.storage().join("work")).unwrap();
    let settings = hippofs::Settings::new(case.storage(), None, &["--supervise"]);
    kill_under_load(&case, Mount::start(settings), 6);
}

#[test]
fn after_a_kill_mount_cleans_up_and_says_the_gap() {
    let case = Case::new();
    fs::create_dir(case.storage().join("work")).unwrap();
    let mut mount = case.mount();
    let mut writers = start_writers(&case, &mount.path("work"));
    wait::until("the writers work", || calls_returned(&case) > CALLS_BETWEEN);
    mount.kill();
    let dead = fs::read_dir(case.mountpoint())
        .err()
        .and_then(|e| e.raw_os_error());
    assert_eq!(dead, Some(libc::ENOTCONN));
    for writer in &mut writers {
        writer.signal(Signal::KILL);
        wait::until("a writer ends", || writer.ended().is_some());
    }
    let again = case.mount();
    let events = again.events();
    assert_all_recorded(&case, &events);
    // What the killed daemon had performed and not recorded is found by the scan, after the gap.
    let told = |event: &&Value| text(event, "op") != "found";
    let last = events.iter().rfind(told).unwrap();
    assert_eq!(
        (
            text(last, "event_type"),
            text(last, "reason"),
            text(last, "source")
        ),
        ("gap", "crash", "system")
    );
    let before = again.head();
    fs::write(again.path("after"), "x").unwrap();
    assert_eq!(again.head(), before + 3);
    drop(again);
}

#[test]
fn a_mount_over_the_storage_survives_a_kill_as_well() {
    let case = Case::new();
    let mut mount = case.mount_over();
    fs::write(mount.path("a"), "x").unwrap();
    mount.kill();
    let again = case.mount_over();
    assert_eq!(fs::read(again.path("a")).unwrap(), b"x");
    let events = again.events();
    assert_eq!((events.len(), text(&events[3], "reason")), (4, "crash"));
    drop(again);
}

#[test]
fn open_files_of_a_killed_daemon_fail_and_do_not_hang() {
    let case = Case::new();
    let mut mount = case.mount();
    let file = fs::File::create(mount.path("a")).unwrap();
    mount.kill();
    let write = wait::Job::start("a write to a dead mount", move || {
        std::io::Write::write(&mut &file, b"x").is_err()
    });
    assert!(write.finish());
}

#[test]
fn a_supervisor_ends_cleanly_with_its_daemon() {
    let case = Case::new();
    let mut mount = case.mount_with(&["--supervise"]);
    let daemon = daemon_of(&mount);
    fs::write(mount.path("a"), "x").unwrap();
    mount.signal(Signal::TERM);
    assert_eq!(mount.wait_end(), Some(0));
    assert!(
        !Path::new(&format!("/proc/{daemon}")).exists(),
        "the daemon is gone too"
    );
    assert!(!hippofs::is_mounted(&case.mountpoint()));
}

#[test]
fn a_clean_unmount_ends_supervision() {
    let case = Case::new();
    let mut mount = case.mount_with(&["--supervise"]);
    hippofs::run(&["unmount".as_ref(), case.mountpoint().as_os_str()]).success();
    assert_eq!(mount.wait_end(), Some(0));
    let mount = case.mount();
    assert_eq!(mount.events().len(), 0, "no gap after a clean end");
}

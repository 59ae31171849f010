//! Random work through the recorder and behind its back: in the end the catalog is the disk, the log told alone gives
//! the same tree, and nothing done through the recorder was taken for a bypass change.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::super::{How, RecordError};
use super::bed::Bed;
use crate::event::Seq;

/// Few names, so that changes meet.
pub(super) const NAMES: [&str; 4] = ["a", "b", "d1", "d2"];

/// A path at most three deep.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4).prop_map(|names| names.join("/"))
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(String),
    Mkdir(String),
    Write(String, u8),
    Remove(String),
    Rename(String, String),
    Link(String, String),
    Chmod(String, u8),
    Observe(String),
    Scan,
}

fn step() -> impl Strategy<Value = (bool, Step)> {
    let step = prop_oneof![
        3 => path().prop_map(Step::Create),
        3 => path().prop_map(Step::Mkdir),
        4 => (path(), any::<u8>()).prop_map(|(p, n)| Step::Write(p, n)),
        2 => path().prop_map(Step::Remove),
        4 => (path(), path()).prop_map(|(a, b)| Step::Rename(a, b)),
        1 => (path(), path()).prop_map(|(a, b)| Step::Link(a, b)),
        1 => (path(), any::<u8>()).prop_map(|(p, n)| Step::Chmod(p, n)),
        2 => path().prop_map(Step::Observe),
        1 => Just(Step::Scan),
    ];
    (any::<bool>(), step)
}

/// Does one step behind the recorder's back.
fn behind(bed: &Bed, step: &Step) {
    use std::os::unix::fs::PermissionsExt;
    let at = |path: &String| bed.path(path);
    // What cannot be done is not done.
    let _ = match step {
        Step::Create(path) => fs::File::create_new(at(path)).map(drop),
        Step::Mkdir(path) => fs::create_dir(at(path)),
        Step::Write(path, n) if at(path).is_file() => fs::write(at(path), [b'x', *n]),
        Step::Remove(path) if at(path).is_dir() => fs::remove_dir_all(at(path)),
        Step::Remove(path) => fs::remove_file(at(path)),
        Step::Rename(from, to) => fs::rename(at(from), at(to)),
        Step::Link(from, to) => fs::hard_link(at(from), at(to)),
        Step::Chmod(path, n) => {
            let mode = fs::Permissions::from_mode(0o700 | u32::from(n % 8));
            fs::set_permissions(at(path), mode)
        }
        Step::Write(..) | Step::Observe(_) | Step::Scan => Ok(()),
    };
}

/// Does one step through the recorder, where it can be done.
pub(super) fn through(bed: &Bed, step: &Step) {
    let there = |path: &str| bed.path(path).symlink_metadata().is_ok();
    let parent = |path: &str| bed.path(path).parent().is_some_and(Path::is_dir);
    let done = match step {
        Step::Create(path) if parent(path) => bed.create(path),
        Step::Mkdir(path) if parent(path) => bed.mkdir(path),
        Step::Write(path, n) if bed.path(path).is_file() => {
            bed.write(path, &n.to_string().repeat(1 + usize::from(*n) % 3))
        }
        Step::Remove(path) if there(path) => bed.remove(path),
        Step::Rename(from, to) if there(from) && parent(to) => bed.rename(from, to),
        Step::Link(from, to) if bed.path(from).is_file() && parent(to) => bed.link(from, to),
        Step::Chmod(path, n) if there(path) => bed.chmod(path, 0o700 | u32::from(n % 8)),
        _ => Ok(()),
    };
    match done {
        Ok(()) | Err(RecordError::Storage(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

fn hint(bed: &Bed, step: &Step) -> usize {
    match step {
        Step::Observe(path) if bed.path(path).parent().is_some_and(Path::is_dir) => bed.hint(path),
        Step::Scan => bed.scan(How::Stat),
        _ => 0,
    }
}

/// The tree the log alone tells of: path to inode.
pub(super) fn replayed(events: &[Value]) -> BTreeMap<String, u64> {
    let mut tree = BTreeMap::new();
    let of_entries = |event: &&Value| !event["src_path"].is_null();
    for event in events.iter().filter(of_entries) {
        let (src, ino) = (event["src_path"].as_str().unwrap(), &event["ino"]);
        let ino = ino.as_u64().unwrap();
        match event["event_type"].as_str().unwrap() {
            "created" => {
                let before = tree.insert(src.to_owned(), ino);
                assert_eq!(before, None, "{event}");
            }
            "deleted" => {
                let below = format!("{src}/");
                assert!(
                    !tree.keys().any(|p: &String| p.starts_with(&below)),
                    "{event}"
                );
                assert_eq!(tree.remove(src), Some(ino), "{event}");
            }
            "moved" => move_in(&mut tree, src, event["dest_path"].as_str().unwrap(), event),
            "modified" if !event["replaced"].is_null() => {
                let before = tree.insert(src.to_owned(), ino);
                assert_eq!(before, event["replaced"]["ino"].as_u64(), "{event}");
            }
            _ => assert!(src == "." || tree.get(src) == Some(&ino), "{event}"),
        }
    }
    tree
}

fn move_in(tree: &mut BTreeMap<String, u64>, src: &str, dest: &str, event: &Value) {
    let ino = event["ino"].as_u64();
    assert_eq!(tree.get(src).copied(), ino, "{event}");
    let replaced = event["replaced"]["ino"].as_u64();
    assert_eq!(tree.get(dest).copied(), replaced, "{event}");
    if replaced == ino {
        return;
    }
    let below = format!("{src}/");
    let moving: Vec<String> = tree
        .keys()
        .filter(|p| *p == src || p.starts_with(&below))
        .cloned()
        .collect();
    for path in moving {
        let moved = tree.remove(&path).unwrap();
        tree.insert(format!("{dest}{}", &path[src.len()..]), moved);
    }
}

pub(super) fn on_disk(dir: &Path, prefix: &str, tree: &mut BTreeMap<String, u64>) {
    use std::os::unix::fs::DirEntryExt;
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            on_disk(&entry.path(), &format!("{path}/"), tree);
        }
        tree.insert(path, entry.ino());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn own_work_is_never_taken_for_bypass(steps in prop::collection::vec(step(), 1..60)) {
        let bed = Bed::new(|_| {});
        for (_, step) in &steps {
            through(&bed, step);
            prop_assert_eq!(hint(&bed, step), 0, "{:?}", bed.told(Seq(0)));
        }
        prop_assert_eq!(bed.scan(How::Content), 0, "{:?}", bed.told(Seq(0)));
        prop_assert!(bed.looks.lock().is_empty());
        bed.assert_same();
    }

    #[test]
    fn the_log_tells_the_whole_tree(steps in prop::collection::vec(step(), 1..80)) {
        let bed = Bed::new(|_| {});
        for (bypass, step) in &steps {
            if *bypass {
                behind(&bed, step);
            } else {
                through(&bed, step);
            }
            hint(&bed, step);
        }
        bed.settle();
        bed.assert_same();
        let mut disk = BTreeMap::new();
        on_disk(bed.dir.path(), "", &mut disk);
        prop_assert_eq!(replayed(&bed.events(Seq(0))), disk);
    }

    #[test]
    fn bypass_work_alone_is_all_found(steps in prop::collection::vec(step(), 1..40)) {
        let bed = Bed::new(|_| {});
        for (_, step) in &steps {
            let before = bed.fingerprint();
            behind(&bed, step);
            let changed = bed.fingerprint() != before;
            let found = bed.scan(How::Stat);
            prop_assert_eq!(found > 0, changed, "{:?}", step);
            bed.assert_same();
        }
        let events = bed.events(Seq(0));
        prop_assert!(events.iter().all(|event| event["source"] == "scan"));
        let mut disk = BTreeMap::new();
        on_disk(bed.dir.path(), "", &mut disk);
        prop_assert_eq!(replayed(&events), disk);
    }
}

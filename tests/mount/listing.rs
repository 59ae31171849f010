//! Listings: complete, hidden where it should be, and steady while entries come and go.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Case, process};

#[test]
fn the_control_directory_is_not_listed_and_can_be_named() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    let names: Vec<_> = fs::read_dir(mount.root())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["a"]);
    let found = process::run(
        std::process::Command::new("find")
            .arg(mount.root())
            .args(["-name", ".hippofs"]),
    );
    assert_eq!(found.success(), "");
    let mut control: Vec<_> = fs::read_dir(mount.path(".hippofs"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    control.sort();
    for name in [
        "control", "events", "follow", "help", "metrics", "since", "status",
    ] {
        assert!(control.iter().any(|n| n == name), "{name} in {control:?}");
    }
    for name in control.iter().filter(|n| *n != "since") {
        assert_eq!(
            fs::metadata(mount.control(name)).unwrap().len(),
            0,
            "{name}"
        );
    }
}

#[test]
fn a_listing_read_during_changes_misses_and_repeats_nothing() {
    let case = Case::new();
    let mount = case.mount();
    const STEADY: usize = 10_000;
    fs::create_dir(case.storage().join("many")).unwrap();
    for i in 0..STEADY {
        fs::write(case.storage().join(format!("many/steady-{i}")), "").unwrap();
    }
    let dir = mount.path("many");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let name = dir.join(format!("passing-{}", i % 50));
                fs::write(&name, "x").unwrap();
                fs::rename(&name, dir.join("passing-renamed")).unwrap();
                fs::remove_file(dir.join("passing-renamed")).unwrap();
            }
        });
        for _ in 0..5 {
            let names: Vec<_> = fs::read_dir(&dir)
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            let steady: Vec<_> = names
                .iter()
                .filter(|n| n.to_string_lossy().starts_with("steady-"))
                .collect();
            let distinct: BTreeSet<_> = steady.iter().collect();
            if (steady.len(), distinct.len()) != (STEADY, STEADY) {
                done.store(true, Ordering::Relaxed);
                panic!("{} listed, {} distinct", steady.len(), distinct.len());
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_listing_can_be_taken_up_where_it_was_left() {
    let case = Case::new();
    let mount = case.mount();
    for i in 0..500 {
        fs::write(case.storage().join(format!("f{i}")), "").unwrap();
    }
    // A second pass over the same open directory, after a rewind, sees what came meanwhile.
    let mut dir = rustix::fs::Dir::read_from(fs::File::open(mount.root()).unwrap()).unwrap();
    let count = |dir: &mut rustix::fs::Dir| {
        dir.by_ref()
            .map(|e| e.unwrap())
            .filter(|e| e.file_name() != c"." && e.file_name() != c"..")
            .count()
    };
    assert_eq!(count(&mut dir), 500);
    fs::write(mount.path("later"), "").unwrap();
    dir.rewind();
    assert_eq!(count(&mut dir), 501);
}

#[test]
fn names_appear_and_vanish_at_once_for_everybody() {
    let case = Case::new();
    let mount = case.mount();
    for i in 0..50 {
        let path = mount.path(format!("f{i}"));
        // A name that was looked for and missed must be found as soon as it is there.
        assert!(!path.exists());
        fs::write(&path, "x").unwrap();
        assert!(path.exists());
        process::run(std::process::Command::new("rm").arg(&path)).success();
        assert!(!path.exists());
    }
}

//! Everybody at once: work through the recorder, work behind it and observation of the same directories, in threads.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::super::How;
use super::bed::Bed;
use crate::event::Seq;

const ROUNDS: usize = 300;
const DIRS: [&str; 2] = ["d1", "d2"];

/// What one does over and over with names that begin with `who`, by the given calls.
fn work(
    who: &str,
    create: &dyn Fn(&str, &str),
    rename: &dyn Fn(&str, &str),
    remove: &dyn Fn(&str),
) {
    for round in 0..ROUNDS {
        let (here, there) = (DIRS[round % 2], DIRS[round / 2 % 2]);
        let doc = format!("{here}/{who}{}", round % 7);
        let tmp = format!("{there}/{who}tmp{round}");
        create(&tmp, &round.to_string());
        rename(&tmp, &doc);
        if round % 5 == 0 {
            remove(&doc);
        }
    }
}

#[test]
fn nobody_is_taken_for_another() {
    let bed = Bed::new(|root| {
        for dir in DIRS {
            fs::create_dir(root.join(dir)).unwrap();
        }
    });
    let working = AtomicUsize::new(4);
    std::thread::scope(|scope| {
        for who in ["own1-", "own2-"] {
            let (bed, working) = (&bed, &working);
            scope.spawn(move || {
                let create = |path: &str, text: &str| {
                    bed.create(path).unwrap();
                    bed.write(path, text).unwrap();
                };
                let rename = |from: &str, to: &str| bed.rename(from, to).unwrap();
                work(who, &create, &rename, &|path| bed.remove(path).unwrap());
                working.fetch_sub(1, SeqCst);
            });
        }
        for who in ["by1-", "by2-"] {
            let (bed, working) = (&bed, &working);
            scope.spawn(move || {
                let create = |path: &str, text: &str| fs::write(bed.path(path), text).unwrap();
                let rename =
                    |from: &str, to: &str| fs::rename(bed.path(from), bed.path(to)).unwrap();
                let remove = |path: &str| fs::remove_file(bed.path(path)).unwrap();
                work(who, &create, &rename, &remove);
                working.fetch_sub(1, SeqCst);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while working.load(SeqCst) > 0 {
                    bed.scan_busy(How::Stat);
                }
            });
        }
    });
    bed.settle();
    bed.assert_same();
    let mut found = 0;
    for event in bed.events(Seq(0)) {
        let path = event["src_path"].as_str().unwrap();
        let mount = event["source"] == "mount";
        assert_eq!(path.contains("/own"), mount, "{event}");
        found += usize::from(!mount);
    }
    assert!(found > 0);
}

#[test]
fn work_during_the_first_scan_is_not_found() {
    let bed = Bed::cold(|root| {
        for dir in DIRS {
            fs::create_dir(root.join(dir)).unwrap();
            for n in 0..200 {
                fs::write(root.join(dir).join(format!("old{n}")), "old").unwrap();
            }
        }
    });
    std::thread::scope(|scope| {
        for who in ["own1-", "own2-"] {
            let bed = &bed;
            scope.spawn(move || {
                for n in 0..200 {
                    bed.write(&format!("{}/old{n}", DIRS[n % 2]), who).unwrap();
                }
                let create = |path: &str, text: &str| {
                    bed.create(path).unwrap();
                    bed.write(path, text).unwrap();
                };
                let rename = |from: &str, to: &str| bed.rename(from, to).unwrap();
                work(who, &create, &rename, &|path| bed.remove(path).unwrap());
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                bed.scan_busy(How::Fill);
            }
        });
    });
    bed.settle();
    bed.assert_same();
    let events = bed.events(Seq(0));
    let other = events.iter().find(|event| event["source"] != "mount");
    assert_eq!(other, None);
}

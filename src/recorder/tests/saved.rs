//! The catalog saved, loaded and brought up to date from the log.

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;

use super::super::catalog::Catalog;
use super::super::{How, Recorder};
use super::bed::{Bed, RESERVED, open_log};
use crate::backing;
use crate::disk::faults::{FAULTS, Fault, MemStorage, Plan};
use crate::disk::{DirStorage, Storage};
use crate::event::Seq;
use crate::event_log::EventLog;

fn some_tree() -> Bed {
    let bed = Bed::new(|root| {
        fs::create_dir_all(root.join("d/s")).unwrap();
        for n in 0..600 {
            fs::write(root.join(format!("d/{n}")), n.to_string()).unwrap();
        }
        fs::write(root.join("d/s/b"), "b").unwrap();
        fs::hard_link(root.join("d/s/b"), root.join("hard")).unwrap();
    });
    bed.scan(How::Fill);
    bed
}

impl Bed {
    fn save(&self) -> Seq {
        self.recorder.save_catalog(&self.files()).unwrap()
    }

    fn files(&self) -> DirStorage {
        DirStorage::new(fs::File::open(self.log_dir.path()).unwrap().into())
    }

    fn saved(&self) -> PathBuf {
        self.log_dir.path().join("catalog")
    }

    /// Ends this daemon as a crash does, or in order, and starts the next one.
    fn restart(self, save: bool) -> (Bed, bool, Vec<String>) {
        if save {
            self.save();
            self.recorder.log().close().unwrap();
        }
        let Bed {
            dir,
            log_dir,
            recorder,
            ..
        } = self;
        drop::<Recorder>(recorder);
        let log = open_log(log_dir.path());
        let start = open(&dir, &log_dir, &log);
        let bed = Bed::with(dir, log_dir, log, start.0);
        (bed, start.1, start.2)
    }
}

fn open(
    dir: &tempfile::TempDir,
    log_dir: &tempfile::TempDir,
    log: &EventLog,
) -> (Catalog, bool, Vec<String>) {
    let root = fs::File::open(dir.path()).unwrap();
    let attr = backing::attr_of(root.as_fd()).unwrap();
    let files = DirStorage::new(fs::File::open(log_dir.path()).unwrap().into());
    let start = Catalog::open(&attr, RESERVED.as_bytes(), None, &files, log);
    (
        start.catalog,
        start.warm,
        start.notes.into_iter().chain(start.left_aside).collect(),
    )
}

#[test]
fn a_warm_start_knows_everything() {
    let bed = some_tree();
    bed.create("own").unwrap();
    bed.write("own", "own").unwrap();
    let before = bed.catalog().stats();
    let (bed, warm, notes) = bed.restart(true);
    assert!(warm && notes.is_empty(), "{notes:?}");
    assert_eq!(bed.catalog().stats(), before);
    bed.assert_same();
    assert_eq!(bed.scan(How::Content), 0);
}

#[test]
fn what_happened_while_nobody_watched_is_found() {
    let (bed, _, _) = {
        let bed = some_tree();
        bed.save();
        bed.recorder.log().close().unwrap();
        fs::rename(bed.path("d"), bed.path("moved")).unwrap();
        fs::write(bed.path("moved/7"), "changed").unwrap();
        fs::remove_file(bed.path("moved/8")).unwrap();
        fs::write(bed.path("new"), "new").unwrap();
        bed.restart(false)
    };
    let head = bed.head();
    bed.scan(How::Stat);
    let mut told = bed.told(head);
    told.sort();
    assert_eq!(
        told,
        [
            "created new scan",
            "deleted moved/8 scan",
            "modified moved/7 scan",
            "moved d > moved scan"
        ]
    );
    bed.assert_same();
}

#[test]
fn after_a_crash_the_log_brings_it_up_to_date() {
    let bed = some_tree();
    bed.save();
    bed.mkdir("e").unwrap();
    bed.create("e/tmp").unwrap();
    bed.write("e/tmp", "text").unwrap();
    bed.rename("e/tmp", "d/1").unwrap();
    bed.rename("d", "dd").unwrap();
    bed.write("dd/2", "longer").unwrap();
    bed.remove("hard").unwrap();
    bed.remove("dd/3").unwrap();
    bed.create("dd/4new").unwrap();
    fs::write(bed.path("dd/5"), "behind").unwrap();
    let (bed, warm, notes) = bed.restart(false);
    assert!(warm && notes.len() == 1, "{notes:?}");
    assert!(bed.catalog().stats().unsure > 0);
    let head = bed.head();
    bed.scan(How::Stat);
    assert_eq!(bed.told(head), ["modified dd/5 scan"]);
    bed.assert_same();
    assert_eq!(bed.catalog().stats().unsure, 0);
}

#[test]
fn an_entry_the_log_told_of_and_that_was_edited_after_the_crash_is_found() {
    let bed = some_tree();
    bed.save();
    bed.write("d/1", "x").unwrap();
    // Of another size: within a tick of the storage's clock the times need not differ.
    fs::write(bed.path("d/1"), "behind").unwrap();
    let (bed, ..) = bed.restart(false);
    let head = bed.head();
    bed.scan(How::Stat);
    assert_eq!(bed.told(head), ["modified d/1 scan"]);
    bed.assert_same();
}

#[test]
fn telling_the_log_twice_does_no_harm() {
    let bed = some_tree();
    let early = bed.save();
    bed.create("a").unwrap();
    bed.write("a", "a").unwrap();
    bed.rename("a", "b").unwrap();
    bed.rename("b", "d/c").unwrap();
    bed.create("a").unwrap();
    bed.mkdir("e").unwrap();
    bed.create("e/x").unwrap();
    bed.remove("e/x").unwrap();
    // As a checkpoint taken while all of this happened: of the early position, with the late state.
    let saved = bed.catalog().save(&bed.files(), early, || Ok(()));
    saved.unwrap();
    let (bed, warm, _) = bed.restart(false);
    assert!(warm);
    let head = bed.head();
    assert_eq!(bed.scan(How::Stat), 0, "{:?}", bed.told(head));
    bed.assert_same();
}

#[test]
fn every_damage_makes_a_cold_start() {
    let bed = some_tree();
    bed.save();
    let good = fs::read(bed.saved()).unwrap();
    let log = bed.recorder.log().clone();
    let cold = |bytes: &[u8]| {
        fs::write(bed.saved(), bytes).unwrap();
        let (catalog, warm, notes) = open(&bed.dir, &bed.log_dir, &log);
        assert!(!warm && notes.len() == 1);
        assert_eq!(catalog.stats().files, 0);
    };
    for at in (0..good.len()).step_by(good.len() / 50) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        cold(&bad);
        cold(&good[..at]);
    }
    cold(&good[..good.len() - 1]);
    fs::remove_file(bed.saved()).unwrap();
    let (_, warm, notes) = open(&bed.dir, &bed.log_dir, &log);
    assert!(!warm && notes.is_empty());
    // A log that ends before the checkpoint is another one.
    fs::write(bed.saved(), &good).unwrap();
    bed.create("late").unwrap();
    bed.save();
    let other = tempfile::tempdir().unwrap();
    let (_, warm, notes) = open(&bed.dir, &bed.log_dir, &open_log(other.path()));
    assert!(!warm && notes[0].contains("ends at 0"), "{notes:?}");
}

/// The start that `files` make; whether it was warm, and how many files it knows.
fn start_of(bed: &Bed, files: &dyn Storage) -> (bool, u64) {
    let root = fs::File::open(bed.dir.path()).unwrap();
    let attr = backing::attr_of(root.as_fd()).unwrap();
    let log = bed.recorder.log();
    let start = Catalog::open(&attr, RESERVED.as_bytes(), None, files, log);
    (start.warm, start.catalog.stats().files)
}

#[test]
fn whichever_call_of_a_checkpoint_fails_the_one_before_serves_or_the_new_one() {
    let bed = some_tree();
    let files = MemStorage::default();
    bed.recorder.save_catalog(&files).unwrap();
    let before = files.0.lock().calls;
    bed.recorder.save_catalog(&files).unwrap();
    let calls = files.0.lock().calls - before;
    assert!(calls > 8, "{calls}");
    for fault in FAULTS {
        for count in [1, u64::MAX] {
            for call in 1..=calls {
                bed.create(&format!("new-{fault:?}-{count}-{call}"))
                    .unwrap();
                let from = files.0.lock().calls + call;
                files.0.lock().plan = Some(Plan { fault, from, count });
                let saved = bed.recorder.save_catalog(&files);
                files.0.lock().plan = None;
                let known = bed.catalog().stats().files;
                // The log after either of the two tells the rest.
                let place = format!("{fault:?} {count} {call} {saved:?}");
                assert_eq!(start_of(&bed, &files), (true, known), "{place}");
                let left = files.names().unwrap();
                let is_left = left.contains(&"catalog.new".to_owned());
                assert!(!is_left || saved.is_err(), "{place}: {left:?}");
            }
        }
    }
}

#[test]
fn whichever_read_of_a_checkpoint_fails_the_start_is_cold() {
    let bed = some_tree();
    let files = MemStorage::default();
    bed.recorder.save_catalog(&files).unwrap();
    let before = files.0.lock().calls;
    assert_eq!(start_of(&bed, &files), (true, 601));
    let calls = files.0.lock().calls - before;
    for call in 1..=calls {
        let (fault, from, count) = (Fault::Io, files.0.lock().calls + call, 1);
        files.0.lock().plan = Some(Plan { fault, from, count });
        let (warm, known) = start_of(&bed, &files);
        files.0.lock().plan = None;
        assert_eq!((warm, known), (false, 0), "call {call}");
    }
}

#[test]
fn a_catalog_of_another_directory_is_left_aside() {
    let bed = some_tree();
    bed.save();
    let log = bed.recorder.log().clone();
    let elsewhere = tempfile::tempdir().unwrap();
    let (catalog, warm, notes) = open(&elsewhere, &bed.log_dir, &log);
    assert!(!warm && notes[0].contains("another directory"), "{notes:?}");
    assert_eq!(catalog.stats().files, 0);
}

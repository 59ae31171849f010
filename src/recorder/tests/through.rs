//! Changes through the recorder: the catalog follows, nothing is taken for a bypass change, and what was changed
//! behind is recorded before it is covered up.

use std::fs;
use std::os::fd::AsFd;

use super::super::{How, Recorder};
use super::bed::{Bed, open_log};
use crate::backing;
use crate::event::Seq;
use crate::health::Health;

#[test]
fn the_catalog_follows_and_nothing_is_found() {
    let bed = Bed::new(|root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/old"), "old").unwrap();
        fs::hard_link(root.join("d/old"), root.join("hard")).unwrap();
        fs::create_dir(root.join(".hippofs")).unwrap();
    });
    bed.create("a").unwrap();
    bed.write("a", "one").unwrap();
    bed.mkdir("e").unwrap();
    bed.create("e/tmp").unwrap();
    bed.write("e/tmp", "two").unwrap();
    bed.rename("e/tmp", "a").unwrap();
    bed.rename("e", "d/e").unwrap();
    bed.create("d/e/x").unwrap();
    bed.remove("hard").unwrap();
    bed.rename("d", "dd").unwrap();
    bed.remove("dd/e/x").unwrap();
    bed.remove("dd/e").unwrap();
    let head = bed.head();
    assert_eq!(bed.scan(How::Content), 0, "{:?}", bed.told(head));
    bed.assert_same();
    assert_eq!(bed.head().0, 12);
    assert!(bed.looks.lock().is_empty());
}

#[test]
fn what_a_rename_destroys_is_told_with_its_hash() {
    let bed = Bed::new(|root| {
        fs::write(root.join("doc"), "old").unwrap();
    });
    bed.scan(How::Fill);
    bed.create("tmp").unwrap();
    bed.write("tmp", "new").unwrap();
    bed.rename("tmp", "doc").unwrap();
    let event = bed.events(Seq(2)).pop().unwrap();
    let hash = blake3::hash(b"old").to_hex();
    assert_eq!(event["replaced"]["blake3"], hash.as_str());
    assert_eq!(event["replaced"]["size"], 3);
}

#[test]
fn a_bypass_edit_is_recorded_before_the_write_that_covers_it() {
    let bed = Bed::new(|root| {
        fs::write(root.join("doc"), "old").unwrap();
    });
    bed.scan(How::Fill);
    fs::write(bed.path("doc"), "bypass").unwrap();
    bed.write("doc", "through").unwrap();
    let events = bed.events(Seq(0));
    assert_eq!(
        bed.told(Seq(0)),
        ["modified doc watch", "modified doc mount"]
    );
    assert_eq!(events[0]["op"], "found");
    assert_eq!(
        events[0]["prev_blake3"],
        blake3::hash(b"old").to_hex().as_str()
    );
    assert_eq!(
        events[0]["blake3"],
        blake3::hash(b"bypass").to_hex().as_str()
    );
    let looks = bed.looks.lock();
    assert_eq!(looks.len(), 1);
    // Its size tells that the content changed, and its name stands.
    assert!(!looks[0].invalidate[0].content && !looks[0].invalidate[0].entry);
    drop(looks);
    assert_eq!(bed.scan(How::Content), 0);
    bed.assert_same();
}

#[test]
fn bypass_changes_of_names_are_recorded_before_those_that_cover_them() {
    let bed = Bed::new(|root| {
        for name in ["gone", "edited", "swapped", "over"] {
            fs::write(root.join(name), name).unwrap();
        }
    });
    fs::remove_file(bed.path("gone")).unwrap();
    bed.create("gone").unwrap();
    fs::write(bed.path("edited"), "by hand").unwrap();
    bed.remove("edited").unwrap();
    fs::write(bed.path("other"), "other").unwrap();
    fs::rename(bed.path("other"), bed.path("swapped")).unwrap();
    bed.remove("swapped").unwrap();
    fs::write(bed.path("unknown"), "new").unwrap();
    bed.rename("unknown", "over").unwrap();
    assert_eq!(
        bed.told(Seq(0)),
        [
            "deleted gone watch",
            "created gone mount",
            "modified edited watch",
            "deleted edited mount",
            "modified swapped watch",
            "deleted swapped mount",
            "created unknown watch",
            "moved unknown > over mount",
        ]
    );
    assert_eq!(bed.scan(How::Content), 0);
    bed.assert_same();
}

#[test]
fn what_went_below_a_directory_is_recorded_before_it_goes() {
    let fill = |bed: &Bed, dir: &str| {
        bed.mkdir(dir).unwrap();
        for number in 0..20 {
            bed.create(&format!("{dir}/{number}")).unwrap();
        }
        bed.mkdir(&format!("{dir}/s")).unwrap();
        bed.create(&format!("{dir}/s/x")).unwrap();
        let head = bed.head();
        for entry in fs::read_dir(bed.path(dir)).unwrap() {
            let path = entry.unwrap().path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
            removed.unwrap();
        }
        head
    };
    let bed = Bed::new(|_| {});
    let head = fill(&bed, "d");
    bed.remove("d").unwrap();
    let told = bed.told(head);
    assert_eq!(told.len(), 23, "{told:?}");
    assert_eq!(told.last().unwrap(), "deleted d mount");
    // Under a directory that takes its place, too.
    let head = fill(&bed, "e");
    bed.mkdir("f").unwrap();
    bed.rename("f", "e").unwrap();
    let told = bed.told(head);
    assert_eq!(told.len(), 24, "{told:?}");
    assert_eq!(told.last().unwrap(), "moved f > e mount");
    assert_eq!(bed.scan(How::Stat), 0);
    bed.assert_same();
}

#[test]
fn a_recorder_without_a_catalog_looks_at_nothing() {
    let bed = Bed::new(|root| fs::write(root.join("doc"), "old").unwrap());
    let log_dir = tempfile::tempdir().unwrap();
    let plain = Recorder::new(
        open_log(log_dir.path()),
        std::sync::Arc::new(Health::default()),
    );
    assert!(plain.catalog().is_none() && plain.place(1).is_none());
    let bed = Bed {
        recorder: plain,
        ..bed
    };
    fs::write(bed.path("doc"), "bypass").unwrap();
    bed.write("doc", "through").unwrap();
    assert_eq!(bed.told(Seq(0)), ["modified doc mount"]);
    let root = fs::File::open(bed.dir.path()).unwrap();
    assert!(backing::attr_of(root.as_fd()).unwrap().is_directory());
}

//! Changes behind the recorder's back, each kind by itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::super::How;
use super::bed::Bed;
use crate::event::Seq;

fn told(fill: impl FnOnce(&Bed), change: impl FnOnce(&Bed)) -> (Bed, Vec<String>) {
    let bed = Bed::new(|_| {});
    fill(&bed);
    bed.scan(How::Fill);
    let head = bed.head();
    change(&bed);
    let found = bed.scan(How::Stat);
    let told = bed.told(head);
    assert_eq!(found, told.len());
    assert_eq!(bed.scan(How::Content), 0, "{:?}", bed.told(head));
    bed.assert_same();
    (bed, told)
}

fn document(bed: &Bed) {
    fs::write(bed.path("doc"), "old").unwrap();
}

fn tree(bed: &Bed) {
    fs::create_dir_all(bed.path("d/s")).unwrap();
    fs::write(bed.path("d/a"), "a").unwrap();
    fs::write(bed.path("d/s/b"), "b").unwrap();
}

#[test]
fn creation_edit_and_deletion() {
    let (_, events) = told(|_| {}, document);
    assert_eq!(events, ["created doc scan"]);
    let (bed, events) = told(document, |bed| fs::write(bed.path("doc"), "newer").unwrap());
    assert_eq!(events, ["modified doc scan"]);
    let event = bed.events(Seq(0)).pop().unwrap();
    assert_eq!(event["prev_blake3"], blake3::hash(b"old").to_hex().as_str());
    assert_eq!(event["blake3"], blake3::hash(b"newer").to_hex().as_str());
    let (_, events) = told(document, |bed| fs::remove_file(bed.path("doc")).unwrap());
    assert_eq!(events, ["deleted doc scan"]);
}

#[test]
fn a_change_of_permissions() {
    let (_, events) = told(document, |bed| {
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(bed.path("doc"), mode).unwrap();
    });
    assert_eq!(events, ["modified doc scan"]);
    let (_, events) = told(tree, |bed| {
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(bed.path("d"), mode).unwrap();
    });
    assert_eq!(events, ["modified d scan"]);
}

#[test]
fn a_rename_is_one_event() {
    let (_, events) = told(document, |bed| {
        fs::rename(bed.path("doc"), bed.path("aaa")).unwrap();
    });
    assert_eq!(events, ["moved doc > aaa scan"]);
    let (_, events) = told(tree, |bed| {
        fs::rename(bed.path("d/a"), bed.path("d/s/z")).unwrap();
    });
    assert_eq!(events, ["moved d/a > d/s/z scan"]);
    let (_, events) = told(tree, |bed| {
        fs::rename(bed.path("d"), bed.path("zz")).unwrap();
    });
    assert_eq!(events, ["moved d > zz scan"]);
}

#[test]
fn a_rename_and_an_edit_are_two() {
    let (_, events) = told(document, |bed| {
        fs::rename(bed.path("doc"), bed.path("new")).unwrap();
        fs::write(bed.path("new"), "newer").unwrap();
    });
    assert_eq!(events, ["moved doc > new scan", "modified new scan"]);
}

#[test]
fn a_directory_that_moves_keeps_what_is_in_it_and_tells_what_changed() {
    let (_, mut events) = told(tree, |bed| {
        fs::rename(bed.path("d"), bed.path("moved")).unwrap();
        fs::write(bed.path("moved/s/b"), "changed").unwrap();
        fs::write(bed.path("moved/c"), "c").unwrap();
        fs::remove_file(bed.path("moved/a")).unwrap();
    });
    assert_eq!(events.remove(0), "moved d > moved scan");
    events.sort();
    assert_eq!(
        events,
        [
            "created moved/c scan",
            "deleted moved/a scan",
            "modified moved/s/b scan"
        ]
    );
}

#[test]
fn a_directory_comes_and_goes_with_what_is_in_it() {
    let (_, events) = told(|_| {}, tree);
    let mut sorted = events.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "created d scan",
            "created d/a scan",
            "created d/s scan",
            "created d/s/b scan"
        ]
    );
    let at = |line: &str| events.iter().position(|e| e == line).unwrap();
    assert!(at("created d scan") < at("created d/s scan"));
    let (_, events) = told(tree, |bed| fs::remove_dir_all(bed.path("d")).unwrap());
    let at = |line: &str| events.iter().position(|e| e == line).unwrap();
    assert_eq!(events.len(), 4);
    assert!(at("deleted d/s/b scan") < at("deleted d/s scan"));
    assert!(at("deleted d/a scan") < at("deleted d scan"));
    assert!(at("deleted d/s scan") < at("deleted d scan"));
}

#[test]
fn a_file_that_leaves_a_directory_before_it_goes_has_moved() {
    let (_, events) = told(tree, |bed| {
        fs::rename(bed.path("d/s/b"), bed.path("saved")).unwrap();
        fs::remove_dir_all(bed.path("d")).unwrap();
    });
    assert_eq!(events[0], "moved d/s/b > saved scan");
    assert!(!events.contains(&"deleted d/s/b scan".to_owned()));
}

#[test]
fn replacement_by_a_file_never_seen_is_one_modification() {
    let (bed, events) = told(document, |bed| {
        fs::write(bed.path("tmp"), "new").unwrap();
        fs::rename(bed.path("tmp"), bed.path("doc")).unwrap();
    });
    assert_eq!(events, ["modified doc scan"]);
    let event = bed.events(Seq(0)).pop().unwrap();
    let (old, new) = (blake3::hash(b"old").to_hex(), blake3::hash(b"new").to_hex());
    assert_eq!(event["replaced"]["blake3"], old.as_str());
    assert_eq!(event["prev_blake3"], old.as_str());
    assert_eq!(event["blake3"], new.as_str());
}

#[test]
fn replacement_by_a_known_file_is_one_move() {
    let (bed, events) = told(
        |bed| {
            document(bed);
            fs::write(bed.path("tmp"), "new").unwrap();
        },
        |bed| fs::rename(bed.path("tmp"), bed.path("doc")).unwrap(),
    );
    assert_eq!(events, ["moved tmp > doc scan"]);
    let event = bed.events(Seq(0)).pop().unwrap();
    assert_eq!(event["replaced"]["size"], 3);
}

#[test]
fn a_backup_and_a_new_file_are_a_move_and_a_creation() {
    let (_, events) = told(document, |bed| {
        fs::rename(bed.path("doc"), bed.path("doc.bak")).unwrap();
        fs::write(bed.path("doc"), "new").unwrap();
    });
    assert_eq!(events, ["moved doc > doc.bak scan", "created doc scan"]);
}

#[test]
fn a_hard_link_is_a_further_name() {
    let (bed, events) = told(document, |bed| {
        fs::hard_link(bed.path("doc"), bed.path("link")).unwrap();
    });
    assert_eq!(events, ["created link scan"]);
    let ino = fs::metadata(bed.path("doc")).unwrap().ino();
    assert_eq!(bed.events(Seq(0)).pop().unwrap()["ino"], ino);
    fs::remove_file(bed.path("doc")).unwrap();
    let head = bed.head();
    bed.scan(How::Stat);
    assert_eq!(bed.told(head), ["deleted doc scan"]);
    bed.assert_same();
}

#[test]
fn a_file_gives_way_to_a_directory_and_back() {
    let (_, events) = told(document, |bed| {
        fs::remove_file(bed.path("doc")).unwrap();
        fs::create_dir(bed.path("doc")).unwrap();
        fs::write(bed.path("doc/in"), "in").unwrap();
    });
    assert_eq!(
        events,
        [
            "deleted doc scan",
            "created doc scan",
            "created doc/in scan"
        ]
    );
    let (_, events) = told(tree, |bed| {
        fs::remove_dir_all(bed.path("d")).unwrap();
        fs::write(bed.path("d"), "file").unwrap();
    });
    assert_eq!(events.last().unwrap(), "created d scan");
    assert_eq!(events.len(), 5);
}

#[test]
fn other_kinds_of_entries() {
    let (_, events) = told(
        |_| {},
        |bed| {
            symlink("nowhere", bed.path("link")).unwrap();
            let at = fs::File::open(bed.dir.path()).unwrap();
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(&at, "fifo", fifo, 0o600.into(), 0).unwrap();
        },
    );
    assert_eq!(events.len(), 2);
}

#[test]
fn silent_corruption_is_found_by_content() {
    let bed = Bed::new(|root| fs::write(root.join("doc"), "content").unwrap());
    bed.scan(How::Fill);
    let before = fs::metadata(bed.path("doc")).unwrap();
    fs::write(bed.path("doc"), "CONTENT").unwrap();
    let file = fs::File::options().write(true).open(bed.path("doc"));
    file.unwrap()
        .set_modified(before.modified().unwrap())
        .unwrap();
    // The change time cannot be set back by hand, so the catalog is told of it.
    let key = bed.catalog().child(bed.catalog().root(), b"doc").unwrap();
    let fd = fs::File::open(bed.dir.path()).unwrap();
    let attr = crate::backing::lookup(std::os::fd::AsFd::as_fd(&fd), "doc".as_ref()).unwrap();
    let state = bed.catalog().state(key).unwrap();
    bed.catalog().set(&super::super::catalog::State::of(
        &attr, state.hash, state.seq,
    ));
    assert_eq!(bed.scan(How::Stat), 0);
    assert_eq!(bed.scan(How::Content), 1);
    assert_eq!(bed.told(Seq(0)), ["modified doc scan"]);
    assert_eq!(bed.scan(How::Content), 0);
}

#[test]
fn the_reserved_name_and_the_root_itself() {
    let (_, events) = told(
        |_| {},
        |bed| {
            fs::create_dir(bed.path(".hippofs")).unwrap();
            fs::write(bed.path(".hippofs/log"), "x").unwrap();
        },
    );
    assert!(events.is_empty());
    let bed = Bed::new(|_| {});
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(bed.dir.path(), mode).unwrap();
    let look = || {
        let root = bed.catalog().root();
        let source = crate::event::Source::Watch;
        let name = std::ffi::OsStr::new(".");
        bed.recorder.observe(root, name, source, How::Stat).unwrap()
    };
    assert_eq!(look().found, 1);
    assert_eq!(look().found, 0);
    assert_eq!(bed.told(Seq(0)), ["modified . watch"]);
}

#[test]
fn an_inode_number_with_a_new_bearer_is_another_entry() {
    let bed = Bed::new(|root| fs::write(root.join("old"), "old").unwrap());
    fs::remove_file(bed.path("old")).unwrap();
    // Where the filesystem gives the number out again at once, this is the same one.
    bed.create("fresh").unwrap();
    bed.scan(How::Stat);
    let mut events = bed.told(Seq(0));
    events.sort();
    assert_eq!(events, ["created fresh mount", "deleted old scan"]);
    bed.assert_same();
}

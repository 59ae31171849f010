//! Every kind of change, one at a time, found by the watcher.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::{covered, found, reconcile};
use crate::support::case::Case;
use crate::support::hippofs::Mount;

#[test]
fn every_kind_of_change_is_found_as_what_it_is() {
    let case = Case::new();
    fs::write(case.storage().join("old"), "before").unwrap();
    fs::create_dir(case.storage().join("dir")).unwrap();
    fs::write(case.storage().join("dir/inner"), "x").unwrap();
    let mount = case.mount();
    covered(&mount);
    changes_of_files(&case, &mount);
    changes_of_directories(&case, &mount);
    assert_eq!(reconcile(&mount, "", true)["found"], 0);
    assert_eq!(mount.status()["missed_events"], 0);
}

fn changes_of_files(case: &Case, mount: &Mount) {
    let at = |name: &str| case.storage().join(name);
    let check = |work: &dyn Fn(), expected: &[&str]| assert_eq!(merged(mount, work), expected);

    check(
        &|| fs::write(at("new"), "1").unwrap(),
        &["created watch new"],
    );
    check(
        &|| fs::write(at("old"), "longer than before").unwrap(),
        &["modified watch old"],
    );
    check(
        &|| fs::write(at("old"), "LONGER THAN BEFORE").unwrap(),
        &["modified watch old"],
    );
    let append = || {
        let mut file = fs::File::options().append(true).open(at("old")).unwrap();
        file.write_all(b"!").unwrap();
    };
    check(&append, &["modified watch old"]);
    let truncate = || {
        fs::File::options()
            .write(true)
            .open(at("old"))
            .unwrap()
            .set_len(3)
            .unwrap()
    };
    check(&truncate, &["modified watch old"]);
    let private = fs::Permissions::from_mode(0o600);
    check(
        &|| fs::set_permissions(at("old"), private.clone()).unwrap(),
        &["modified watch old"],
    );
    check(
        &|| fs::rename(at("old"), at("renamed")).unwrap(),
        &["moved watch old -> renamed"],
    );
    check(
        &|| fs::hard_link(at("renamed"), at("second")).unwrap(),
        &["created watch second"],
    );
    check(
        &|| fs::remove_file(at("second")).unwrap(),
        &["deleted watch second"],
    );
}

fn changes_of_directories(case: &Case, mount: &Mount) {
    let at = |name: &str| case.storage().join(name);
    let check = |work: &dyn Fn(), expected: &[&str]| assert_eq!(merged(mount, work), expected);

    check(
        &|| fs::create_dir(at("empty")).unwrap(),
        &["created watch empty"],
    );
    check(
        &|| fs::remove_dir(at("empty")).unwrap(),
        &["deleted watch empty"],
    );
    check(
        &|| fs::rename(at("dir"), at("moved")).unwrap(),
        &["moved watch dir -> moved"],
    );
    check(
        &|| fs::write(at("moved/inner"), "yy").unwrap(),
        &["modified watch moved/inner"],
    );
    let far = || fs::rename(at("moved/inner"), at("outer")).unwrap();
    check(&far, &["moved watch moved/inner -> outer"]);
    check(
        &|| fs::remove_file(at("outer")).unwrap(),
        &["deleted watch outer"],
    );
    check(
        &|| std::os::unix::fs::symlink("x", at("link")).unwrap(),
        &["created watch link"],
    );
}

/// What was found of `work`; what takes two calls, and may be seen between them, as one.
#[track_caller]
fn merged(mount: &Mount, work: &dyn Fn()) -> Vec<String> {
    let mut found = found(mount, work);
    found.dedup_by(|later, before| {
        let path = |brief: &str| brief.split_once(" watch ").map(|(_, path)| path.to_owned());
        later.starts_with("modified") && path(later) == path(before)
    });
    found
}

#[test]
fn a_file_replaced_by_rename_is_one_move_that_names_what_it_destroyed() {
    let case = Case::new();
    let mount = case.mount();
    covered(&mount);
    fs::write(mount.path("doc.json"), "first").unwrap();
    let before = mount.head();
    // Another process of the storage's side, known to the catalog before it replaces the document.
    fs::write(case.storage().join("doc.tmp"), "second").unwrap();
    super::sync(&mount);
    fs::rename(
        case.storage().join("doc.tmp"),
        case.storage().join("doc.json"),
    )
    .unwrap();
    super::sync(&mount);
    let events = mount.since(before);
    let moved = events
        .iter()
        .find(|e| e["event_type"] == "moved")
        .expect("a move");
    assert_eq!(moved["src_path"], "doc.tmp");
    assert_eq!(moved["dest_path"], "doc.json");
    assert_eq!(moved["replaced"]["size"], 5, "{moved}");
    assert_eq!(
        fs::read_to_string(mount.path("doc.json")).unwrap(),
        "second"
    );
}

#[test]
fn a_tree_made_or_moved_in_at_once_is_found_with_all_it_holds() {
    let case = Case::new();
    let mount = case.mount();
    covered(&mount);
    let outside = case.path("outside");
    for n in 0..20 {
        fs::create_dir_all(outside.join(format!("a/b{n}/c"))).unwrap();
        fs::write(outside.join(format!("a/b{n}/c/f")), "x").unwrap();
    }
    let found_moved = found(&mount, || {
        fs::rename(&outside, case.storage().join("in")).unwrap()
    });
    assert_eq!(found_moved.len(), 2 + 3 * 20, "{found_moved:?}");
    let mut found_made = found(&mount, || {
        for n in 0..20 {
            let dir = case.storage().join(format!("made/b{n}/c"));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("f"), "x").unwrap();
        }
    });
    // A file may have been found between its making and its writing.
    found_made.retain(|brief| !brief.starts_with("modified"));
    assert_eq!(found_made.len(), 1 + 3 * 20, "{found_made:?}");
    let found_gone = found(&mount, || {
        fs::remove_dir_all(case.storage().join("in")).unwrap();
    });
    assert_eq!(found_gone.len(), 2 + 3 * 20, "{found_gone:?}");
    assert!(
        found_gone
            .iter()
            .all(|brief| brief.starts_with("deleted watch in"))
    );
    assert_eq!(reconcile(&mount, "", false)["found"], 0);
}

#[test]
fn a_change_behind_the_mount_stands_before_the_one_that_covers_it() {
    let case = Case::new();
    let mount = case.mount_with(&["--watch", "off"]);
    fs::write(mount.path("doc"), "ours").unwrap();
    let before = mount.head();
    fs::write(case.storage().join("doc"), "theirs, longer").unwrap();
    fs::write(mount.path("doc"), "ours again").unwrap();
    let events = mount.since(before);
    assert_eq!(events[0]["op"], "found", "{events:?}");
    assert_eq!(events[0]["event_type"], "modified");
    assert_eq!(events[0]["size"], 14);
    assert_eq!(events[1]["source"], "mount");
}

#[test]
fn the_daemons_own_work_is_never_reported() {
    let case = Case::new();
    let mount = case.mount();
    covered(&mount);
    let before = mount.head();
    for n in 0..200 {
        let dir = mount.path(format!("d{}", n % 7));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{n}")), "x").unwrap();
        fs::rename(dir.join(format!("f{n}")), dir.join("last")).unwrap();
        fs::set_permissions(dir.join("last"), fs::Permissions::from_mode(0o640)).unwrap();
        if n % 50 == 49 {
            fs::rename(&dir, mount.path(format!("e{n}"))).unwrap();
        }
    }
    super::sync(&mount);
    assert_eq!(super::found_since(&mount, before), [""; 0]);
    assert_eq!(reconcile(&mount, "", true)["found"], 0);
}

#[test]
fn full_reconciliation_finds_a_byte_that_left_no_trace() {
    let case = Case::new();
    let mount = case.mount_with(&["--watch", "off"]);
    fs::write(mount.path("doc"), "content").unwrap();
    assert_eq!(reconcile(&mount, "", true)["found"], 0);
    let path = case.storage().join("doc");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "CONTENT").unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(before)
        .unwrap();
    let head = mount.head();
    assert_eq!(reconcile(&mount, "doc", true)["found"], 1);
    assert_eq!(super::found_since(&mount, head), ["modified scan doc"]);
}

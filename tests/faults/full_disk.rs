//! The disk fills: what cannot be recorded does not happen, reading goes on, and space that comes back is used.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};

use crate::support::disk::{SmallDisk, fill};
use crate::support::events::{self, number, text};
use crate::support::{Case, wait};

fn is_full<T>(result: std::io::Result<T>) -> bool {
    result.err().and_then(|e| e.raw_os_error()) == Some(libc::ENOSPC)
}

#[test]
fn a_full_data_disk_records_exactly_what_was_written() {
    let case = Case::new();
    let _disk = SmallDisk::at(case.storage(), "8m");
    let mount = case.mount_with(&["--segment-bytes", "64K"]);
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(mount.path("a"))
        .unwrap();
    let mut written = 0;
    let refused = loop {
        match (&file).write(&[1; 10_000]) {
            Ok(length) => written += length as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
    drop(file);
    assert_eq!(fs::metadata(mount.storage("a")).unwrap().size(), written);
    let recorded: u64 = mount
        .events()
        .iter()
        .filter(|e| e["op"] == "write")
        .map(|e| number(e, "length"))
        .sum();
    assert_eq!(recorded, written);
    fs::remove_file(mount.path("a")).unwrap();
    wait::until("writing works again", || {
        fs::write(mount.path("b"), "back").is_ok()
    });
    assert_eq!(fs::read(mount.path("b")).unwrap(), b"back");
}

#[test]
fn a_full_log_refuses_changes_and_leaves_the_storage_alone() {
    let case = Case::new();
    let _disk = SmallDisk::at(case.storage(), "8m");
    let mount = case.mount_with(&["--segment-bytes", "64K"]);
    fs::write(mount.path("doc"), "content").unwrap();
    let filler = fill(&case.storage());
    // Changes that need no space but for their events: they go on until the log has no more.
    let mode = |n: u32| PermissionsExt::from_mode(0o600 + (n & 0o77));
    let mut done = 0;
    while fs::set_permissions(mount.path("doc"), mode(done)).is_ok() {
        done += 1;
        assert!(done < 10_000, "the log never filled");
    }
    let refused = fs::set_permissions(mount.path("doc"), mode(done));
    assert!(is_full(refused), "refused as a full disk");
    let expected = if done == 0 {
        0o644
    } else {
        0o600 + ((done - 1) & 0o77)
    };
    assert_eq!(
        fs::metadata(mount.storage("doc")).unwrap().mode() & 0o777,
        expected,
        "the refused change did not happen"
    );
    for (what, result) in [
        ("create", fs::File::create_new(mount.path("new")).map(drop)),
        ("mkdir", fs::create_dir(mount.path("dir"))),
        ("rename", fs::rename(mount.path("doc"), mount.path("moved"))),
        (
            "write",
            OpenOptions::new()
                .write(true)
                .open(mount.path("doc"))
                .and_then(|mut f| f.write_all(b"x")),
        ),
    ] {
        assert!(is_full(result), "{what}");
    }
    assert_eq!(
        fs::read(mount.path("doc")).unwrap(),
        b"content",
        "reading goes on"
    );
    assert_eq!(fs::read(mount.storage("doc")).unwrap(), b"content");
    let names: Vec<_> = fs::read_dir(mount.root())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let status = mount.status();
    assert_eq!(text(&status, "state"), "degraded", "{status}");
    assert!(!text(&status, "reason").is_empty(), "{status}");
    assert_eq!(events::counts(&mount.events())["setattr"], u64::from(done));
    // Deleting through the mount is what gives the space back.
    fs::remove_file(mount.path("filler")).unwrap();
    assert!(!filler.exists());
    wait::until("writing works again", || {
        fs::write(mount.path("after"), "x").is_ok()
    });
    wait::until("the state is good again", || {
        text(&mount.status(), "state") == "ok"
    });
    let all = mount.events();
    assert!(events::briefs(&all).contains(&"unlink filler".to_owned()));
    let remounted = mount.remount();
    assert_eq!(remounted.events(), all);
}

#[test]
fn space_that_comes_back_past_the_mount_is_found() {
    let case = Case::new();
    let _disk = SmallDisk::at(case.storage(), "8m");
    let mount = case.mount_with(&["--segment-bytes", "64K"]);
    let filler = fill(&case.storage());
    let mut done = 0;
    while fs::create_dir(mount.path("d"))
        .and_then(|()| fs::remove_dir(mount.path("d")))
        .is_ok()
    {
        done += 1;
        assert!(done < 10_000, "the log never filled");
    }
    fs::remove_file(filler).unwrap();
    wait::until("writing works again", || {
        fs::write(mount.path("after"), "x").is_ok()
    });
    assert_eq!(fs::read(mount.storage("after")).unwrap(), b"x");
}

#[test]
fn a_file_changed_behind_the_mount_can_be_deleted_from_a_full_disk() {
    let case = Case::new();
    let _disk = SmallDisk::at(case.storage(), "8m");
    let mount = case.mount_with(&["--segment-bytes", "64K"]);
    fs::write(mount.path("doc"), "content").unwrap();
    fill(&case.storage());
    let mode = |n: u32| PermissionsExt::from_mode(0o600 + n % 64);
    let mut done = 0;
    while fs::set_permissions(mount.path("doc"), mode(done)).is_ok() {
        done += 1;
        assert!(done < 10_000, "the log never filled");
    }
    // What the deletion covers up is recorded before it, whatever the watcher could.
    fs::set_permissions(mount.storage("doc"), PermissionsExt::from_mode(0o7)).unwrap();
    fs::remove_file(mount.path("doc")).unwrap();
    let all = events::briefs(&mount.events());
    assert!(
        all.ends_with(&["found doc".to_owned(), "unlink doc".to_owned()]),
        "{:?}",
        all.last_chunk::<3>()
    );
}

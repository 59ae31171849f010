//! A store that is full, and packs that are damaged or gone: what cannot be kept is said, what cannot be read is an
//! error, and nothing wrong is ever given out.

use std::fs;

use super::{bytes, hash};
use crate::support::disk::{SmallDisk, fill};
use crate::support::events::text;
use crate::support::hippofs::{self, Mount};
use crate::support::{Case, wait};

/// Reads the content of `name` as of `seq`.
fn version(mount: &Mount, name: &str, seq: u64) -> std::io::Result<Vec<u8>> {
    fs::read(mount.control(format!("versions/{name}/{seq}")))
}

fn packs(mount: &Mount) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(mount.storage(".hippofs/content")).unwrap();
    let mut packs: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pack"))
        .collect();
    packs.sort();
    packs
}

#[test]
fn a_full_store_says_so_in_each_event_and_keeps_again_when_there_is_room() {
    let case = Case::new();
    let state = case.path("state");
    fs::create_dir(&state).unwrap();
    let _disk = SmallDisk::at(state.clone(), "6m");
    let mount = case.mount_with(&[
        "--state-dir",
        state.to_str().unwrap(),
        "--segment-bytes",
        "256K",
    ]);
    fs::write(mount.path("kept"), bytes(1, 50_000)).unwrap();
    let kept = mount.head();
    let filler = fill(&state);
    // Room that was taken before is used up first.
    let mut missing = None;
    for number in 0..200_u8 {
        let events = mount.events_of(|| {
            fs::write(mount.path("more"), bytes(number, 60_000)).unwrap();
        });
        let close = super::only(&events, "close");
        assert_eq!(close["blake3"], hash(&bytes(number, 60_000)));
        if close.get("content_missing").is_some() {
            missing = Some(close.clone());
            break;
        }
    }
    let missing = missing.expect("the store filled");
    assert_eq!(text(&missing, "content_missing"), "full");
    let seq = missing["seq"].as_u64().unwrap();
    assert_eq!(version(&mount, "kept", kept).unwrap(), bytes(1, 50_000));
    // What stands there still can be read, and what is gone cannot.
    fs::write(mount.path("more"), "after it").unwrap();
    let error = version(&mount, "more", seq).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let status = mount.status();
    assert_eq!(text(&status, "state"), "degraded", "{status}");
    assert!(text(&status, "reason").contains("content"), "{status}");
    fs::remove_file(filler).unwrap();
    wait::until("contents are kept again", || {
        let events = mount.events_of(|| fs::write(mount.path("b"), bytes(7, 900)).unwrap());
        super::only(&events, "close")
            .get("content_missing")
            .is_none()
    });
    let again = mount.head();
    assert_eq!(version(&mount, "b", again).unwrap(), bytes(7, 900));
    super::assert_verified(&mount);
}

#[test]
fn a_disk_that_becomes_read_only_refuses_changes_and_gives_out_what_it_has() {
    let case = Case::new();
    let state = case.path("state");
    fs::create_dir(&state).unwrap();
    let disk = SmallDisk::at(state.clone(), "16m");
    let mount = case.mount_with(&[
        "--state-dir",
        state.to_str().unwrap(),
        "--segment-bytes",
        "256K",
    ]);
    fs::write(mount.path("a"), "one").unwrap();
    let one = mount.head();
    fs::write(mount.path("a"), "two").unwrap();
    // A filesystem with files open for writing stays writable: the kernel itself says no.
    assert_eq!(disk.set_read_only(true), Err(rustix::io::Errno::BUSY));
    assert_eq!(version(&mount, "a", one).unwrap(), b"one");
    mount.unmount();
    disk.set_read_only(true).unwrap();
    let done = hippofs::run(&[
        "mount".as_ref(),
        case.storage().as_os_str(),
        case.mountpoint().as_os_str(),
        "--state-dir".as_ref(),
        state.as_os_str(),
        "--daemon".as_ref(),
    ]);
    assert_eq!(done.code(), Some(1));
    assert!(done.stderr.contains("Read-only"), "{}", done.stderr);
    assert_eq!(fs::read(case.storage().join("a")).unwrap(), b"two");
    disk.set_read_only(false).unwrap();
}

#[test]
fn a_pack_that_is_gone_is_named_and_the_others_are_read() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), bytes(1, 3000)).unwrap();
    let first = mount.head();
    let root = mount.root().to_path_buf();
    // Each start has a pack of its own to write to.
    let mount = mount.remount();
    fs::write(mount.path("a"), bytes(2, 3000)).unwrap();
    let second = mount.head();
    fs::write(mount.path("a"), bytes(3, 3000)).unwrap();
    let packs_now = packs(&mount);
    let sealed = packs_now.first().unwrap().clone();
    mount.unmount();
    fs::remove_file(sealed).unwrap();
    let mount = case.mount();
    assert_eq!(mount.root(), root);
    let told = version(&mount, "a", first);
    if packs_now.len() > 1 {
        assert_eq!(version(&mount, "a", second).unwrap(), bytes(2, 3000));
    }
    assert!(told.is_err(), "{told:?}");
    let lines = hippofs::run(&["log".as_ref(), mount.path("a").as_os_str()]).success();
    assert!(lines.contains("not held"), "{lines}");
    let done = hippofs::run(&["verify".as_ref(), mount.root().as_os_str()]);
    assert_eq!(done.code(), Some(1), "{}", done.stdout);
}

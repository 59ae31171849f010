//! Entries come, go and get other names.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use hippofs::event::line::path_bytes;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};

use super::{errno, same_as_native};
use crate::support::events::{briefs, number, text};
use crate::support::{Case, tree};

#[test]
fn a_new_file_is_created_written_closed() {
    let case = Case::new();
    let mount = case.mount();
    let events = mount.events_of(|| fs::write(mount.path("a.json"), "12345").unwrap());
    assert_eq!(
        briefs(&events),
        ["create a.json", "write a.json @0+5", "close a.json"]
    );
    let types: Vec<_> = events.iter().map(|e| text(e, "event_type")).collect();
    assert_eq!(types, ["created", "modified", "closed"]);
    let meta = fs::metadata(mount.path("a.json")).unwrap();
    let storage = fs::metadata(mount.storage("a.json")).unwrap();
    for event in &events {
        assert_eq!(text(event, "source"), "mount");
        assert_eq!(event["is_directory"], false);
        assert_eq!(number(event, "ino"), storage.ino());
        assert_eq!(number(event, "uid"), 0);
    }
    assert_eq!(number(&events[1], "handle"), number(&events[2], "handle"));
    assert_eq!(
        (
            number(&events[1], "size"),
            number(&events[2], "size"),
            meta.size()
        ),
        (5, 5, 5)
    );
    assert_eq!(fs::read(mount.storage("a.json")).unwrap(), b"12345");
}

#[test]
fn a_file_that_was_not_written_has_no_close() {
    let case = Case::new();
    let mount = case.mount();
    assert_eq!(
        mount.record(|| drop(fs::File::create_new(mount.path("a")).unwrap())),
        ["create a"]
    );
    assert_eq!(
        mount.record(|| drop(fs::File::open(mount.path("a")).unwrap())),
        [""; 0]
    );
    let again = || {
        drop(
            fs::OpenOptions::new()
                .write(true)
                .open(mount.path("a"))
                .unwrap(),
        )
    };
    assert_eq!(mount.record(again), [""; 0]);
}

#[test]
fn an_open_that_truncates_is_a_truncate() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "long content").unwrap();
    let events = mount.record(|| fs::write(mount.path("a"), "new").unwrap());
    assert_eq!(events, ["truncate a", "write a @0+3", "close a"]);
    let events = mount.record(|| drop(fs::File::create(mount.path("a")).unwrap()));
    assert_eq!(events, ["truncate a", "close a"]);
    assert_eq!(fs::metadata(mount.storage("a")).unwrap().len(), 0);
}

#[test]
fn an_exclusive_create_fails_as_it_should() {
    let case = Case::new();
    let mount = case.mount();
    let events = same_as_native(&case, &mount, |dir| {
        let first = errno(fs::File::create_new(dir.join("a")));
        (
            first,
            errno(fs::File::create_new(dir.join("a"))),
            errno(fs::File::create_new(dir.join("no/a"))),
        )
    });
    assert_eq!(events, ["create a"]);
}

#[test]
fn directories_links_and_special_files() {
    let case = Case::new();
    let mount = case.mount();
    let events = same_as_native(&case, &mount, |dir| {
        fs::create_dir(dir.join("d")).unwrap();
        fs::write(dir.join("f"), "x").unwrap();
        std::os::unix::fs::symlink("any/target", dir.join("s")).unwrap();
        fs::hard_link(dir.join("f"), dir.join("h")).unwrap();
        let mode = Mode::from_raw_mode(0o640);
        mknodat(CWD, dir.join("fifo"), FileType::Fifo, mode, 0).unwrap();
        mknodat(CWD, dir.join("sock"), FileType::Socket, mode, 0).unwrap();
        mknodat(CWD, dir.join("plain"), FileType::RegularFile, mode, 0).unwrap();
        mknodat(
            CWD,
            dir.join("null"),
            FileType::CharacterDevice,
            mode,
            makedev(1, 3),
        )
        .unwrap();
        let links = fs::metadata(dir.join("f")).unwrap().nlink();
        let fifo = fs::symlink_metadata(dir.join("fifo"))
            .unwrap()
            .file_type()
            .is_fifo();
        (links, fifo, fs::read_link(dir.join("s")).unwrap())
    });
    let plain: Vec<_> = events.iter().filter(|e| !e.starts_with("link ")).collect();
    assert_eq!(
        plain,
        [
            "mkdir d",
            "create f",
            "write f @0+1",
            "close f",
            "symlink s",
            "mknod fifo",
            "mknod sock",
            "mknod plain",
            "mknod null"
        ]
    );
    let link = events
        .iter()
        .find(|e| e.starts_with("link "))
        .expect("a link event");
    assert!(link.contains('h'), "the new name is told: {link}");
    assert_eq!(tree::read(&case.native()), tree::read(mount.root()));
    assert_eq!(tree::read(&case.storage()), tree::read(mount.root()));
}

#[test]
fn deletes() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir(mount.path("d")).unwrap();
    fs::write(mount.path("d/f"), "x").unwrap();
    assert_eq!(
        errno(fs::remove_dir(mount.path("d"))),
        Some(libc::ENOTEMPTY)
    );
    assert_eq!(errno(fs::remove_file(mount.path("d"))), Some(libc::EISDIR));
    assert_eq!(errno(fs::remove_file(mount.path("no"))), Some(libc::ENOENT));
    let events = mount.events_of(|| {
        fs::remove_file(mount.path("d/f")).unwrap();
        fs::remove_dir(mount.path("d")).unwrap();
    });
    assert_eq!(briefs(&events), ["unlink d/f", "rmdir d"]);
    assert!(events.iter().all(|e| text(e, "event_type") == "deleted"));
    assert_eq!(events[1]["is_directory"], true);
}

#[test]
fn renames() {
    let case = Case::new();
    let mount = case.mount();
    let events = same_as_native(&case, &mount, |dir| {
        fs::write(dir.join("a"), "aa").unwrap();
        fs::write(dir.join("b"), "b").unwrap();
        fs::create_dir(dir.join("d")).unwrap();
        fs::write(dir.join("d/x"), "x").unwrap();
        fs::rename(dir.join("a"), dir.join("b")).unwrap();
        fs::rename(dir.join("d"), dir.join("e")).unwrap();
        let to = |from: &str, to: &str, flags| {
            renameat_with(CWD, dir.join(from), CWD, dir.join(to), flags)
        };
        to("b", "c", RenameFlags::NOREPLACE).unwrap();
        let refused = to("c", "e/x", RenameFlags::NOREPLACE);
        to("c", "e/x", RenameFlags::EXCHANGE).unwrap();
        let missing = to("c", "none", RenameFlags::EXCHANGE);
        let onto = errno(fs::rename(dir.join("c"), dir.join("e")));
        let inside = errno(fs::rename(dir.join("e"), dir.join("e/inner")));
        (
            refused,
            missing,
            onto,
            inside,
            fs::read(dir.join("c")).unwrap(),
            fs::read(dir.join("e/x")).unwrap(),
        )
    });
    let moves: Vec<_> = events.iter().filter(|e| e.contains("->")).collect();
    assert_eq!(
        moves,
        [
            "rename a -> b",
            "rename d -> e",
            "rename b -> c",
            "exchange c -> e/x"
        ]
    );
    assert_eq!(tree::read(&case.native()), tree::read(mount.root()));
}

#[test]
fn a_rename_tells_what_it_destroyed() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("old"), "1234567").unwrap();
    fs::write(mount.path("new"), "12").unwrap();
    let ino = fs::metadata(mount.storage("old")).unwrap().ino();
    let events = mount.events_of(|| fs::rename(mount.path("new"), mount.path("old")).unwrap());
    assert_eq!(briefs(&events), ["rename new -> old"]);
    assert_eq!(text(&events[0], "event_type"), "moved");
    assert_eq!(number(&events[0]["replaced"], "ino"), ino);
    assert_eq!(number(&events[0]["replaced"], "size"), 7);
    let events = mount.events_of(|| fs::rename(mount.path("old"), mount.path("free")).unwrap());
    assert!(events[0].get("replaced").is_none(), "{}", events[0]);
}

#[test]
fn a_rename_to_another_name_of_the_same_file_does_nothing() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    fs::hard_link(mount.path("a"), mount.path("b")).unwrap();
    fs::rename(mount.path("a"), mount.path("b")).unwrap();
    assert!(mount.path("a").exists() && mount.path("b").exists());
}

#[test]
fn names_are_any_bytes() {
    let case = Case::new();
    let mount = case.mount();
    let names: [&[u8]; 6] = [
        b"line\nbreak",
        b"quote\"back\\slash",
        b"not \xff\xfe utf-8",
        b"\x01\x7f control",
        "\u{00e4}\u{4e16}\u{1f600}".as_bytes(),
        &[b'n'; 255],
    ];
    for name in names {
        let path = mount.path(OsStr::from_bytes(name));
        let events = mount.events_of(|| {
            fs::write(&path, "x").unwrap();
            fs::rename(&path, mount.path("other")).unwrap();
            fs::rename(mount.path("other"), &path).unwrap();
            fs::remove_file(&path).unwrap();
        });
        assert_eq!(events.len(), 6);
        for event in &events {
            let exact = ["src_path", "dest_path"].map(|key| path_bytes(event, key));
            assert!(exact.contains(&Some(name.to_vec())), "{event}");
        }
    }
    let long = mount.path(OsStr::from_bytes(&[b'n'; 256]));
    assert_eq!(errno(fs::File::create(long)), Some(libc::ENAMETOOLONG));
}

#[test]
fn a_document_is_found_by_its_uuid() {
    let case = Case::new();
    let mount = case.mount();
    let uuid = "0b5e8f3c-9a34-4c0f-8f39-0c2c9a1d7e55";
    let events = mount.events_of(|| {
        fs::write(mount.path("tmp"), "{}").unwrap();
        fs::rename(mount.path("tmp"), mount.path(format!("{uuid}.json"))).unwrap();
    });
    assert!(events[0].get("uuid").is_none());
    assert_eq!(text(events.last().unwrap(), "uuid"), uuid);
}

#[test]
fn trees_of_any_depth() {
    let case = Case::new();
    let mount = case.mount();
    let depth = 300;
    let name = "d".repeat(20);
    // Deeper than a path can be named: step by step with descriptors.
    let open = |path: &std::path::Path| fs::File::open(path).unwrap();
    let mut dir = open(mount.root());
    let events = mount.events_of(|| {
        for _ in 0..depth {
            rustix::fs::mkdirat(&dir, &name, Mode::from_raw_mode(0o755)).unwrap();
            let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            dir = rustix::fs::openat(&dir, &name, flags, Mode::empty())
                .unwrap()
                .into();
        }
    });
    assert_eq!(events.len(), depth);
    let path = text(&events[depth - 1], "src_path");
    assert_eq!(path.split('/').count(), depth);
    drop(dir);
    fs::remove_dir_all(mount.path(&name)).unwrap();
    assert_eq!(fs::read_dir(mount.root()).unwrap().count(), 0);
}

#[test]
fn an_open_file_is_told_by_the_name_it_has_now() {
    use std::os::unix::fs::FileExt as _;
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir_all(mount.path("a/b")).unwrap();
    let events = mount.record(|| {
        let file = fs::File::create_new(mount.path("a/b/f")).unwrap();
        fs::rename(mount.path("a"), mount.path("z")).unwrap();
        file.write_all_at(b"1", 0).unwrap();
        fs::rename(mount.path("z/b/f"), mount.path("g")).unwrap();
        file.write_all_at(b"2", 0).unwrap();
    });
    assert_eq!(
        events,
        [
            "create a/b/f",
            "rename a -> z",
            "write z/b/f @0+1",
            "rename z/b/f -> g",
            "write g @0+1",
            "close g"
        ]
    );
}

#[test]
fn a_directory_that_is_held_open_is_told_by_the_name_it_has_now() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir(mount.path("a")).unwrap();
    let events = mount.record(|| {
        let dir = fs::File::open(mount.path("a")).unwrap();
        fs::rename(mount.path("a"), mount.path("z")).unwrap();
        rustix::fs::mkdirat(&dir, "d", Mode::from_raw_mode(0o755)).unwrap();
    });
    assert_eq!(events, ["rename a -> z", "mkdir z/d"]);
}

#[test]
fn a_filesystem_mounted_inside_the_storage_is_reached() {
    let case = Case::new();
    let inner = case.storage().join("inner");
    fs::create_dir(&inner).unwrap();
    rustix::mount::mount(
        "tmpfs",
        &inner,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .unwrap();
    let mount = case.mount();
    let events = mount.record(|| {
        fs::write(mount.path("inner/f"), "x").unwrap();
        assert_eq!(
            errno(fs::rename(mount.path("inner/f"), mount.path("f"))),
            Some(libc::EXDEV)
        );
        assert_eq!(
            errno(fs::hard_link(mount.path("inner/f"), mount.path("f"))),
            Some(libc::EXDEV)
        );
    });
    assert_eq!(
        events,
        ["create inner/f", "write inner/f @0+1", "close inner/f"]
    );
    drop(mount);
    rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::DETACH).unwrap();
}

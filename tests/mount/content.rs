//! Bytes: written, cut, allocated, copied, found.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};

use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, seek};

use super::{errno, same_as_native};
use crate::support::events::{briefs, number};
use crate::support::{Case, process};

fn read_write(path: impl AsRef<std::path::Path>) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap()
}

#[test]
fn each_write_is_an_event_with_its_place() {
    let case = Case::new();
    let mount = case.mount();
    let events = mount.record(|| {
        let file = read_write(mount.path("a"));
        file.write_all_at(b"abc", 0).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        file.write_all_at(b"z", 1000).unwrap();
    });
    assert_eq!(
        events,
        [
            "create a",
            "write a @0+3",
            "write a @0+3",
            "write a @1000+1",
            "close a"
        ]
    );
}

#[test]
fn a_large_write_is_contiguous_requests_of_one_handle() {
    let case = Case::new();
    let mount = case.mount();
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    let events = mount.events_of(|| fs::write(mount.path("big"), &bytes).unwrap());
    let writes: Vec<_> = events.iter().filter(|e| e["op"] == "write").collect();
    let mut next = 0;
    for write in &writes {
        assert_eq!(number(write, "offset"), next);
        assert_eq!(write["handle"], writes[0]["handle"]);
        next += number(write, "length");
    }
    assert_eq!(next, bytes.len() as u64);
    assert!(
        fs::read(mount.storage("big")).unwrap() == bytes,
        "same bytes in the storage"
    );
    assert!(
        fs::read(mount.path("big")).unwrap() == bytes,
        "same bytes through the mount"
    );
}

#[test]
fn appends_of_two_sessions_say_where_the_bytes_went() {
    let case = Case::new();
    let mount = case.mount();
    let events = mount.record(|| {
        let append = || {
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(mount.path("log"))
                .unwrap()
        };
        let (mut one, mut two) = (append(), append());
        for _ in 0..3 {
            one.write_all(b"one").unwrap();
            two.write_all(b"second").unwrap();
        }
    });
    let places: Vec<_> = events
        .iter()
        .filter_map(|e| e.strip_prefix("write log "))
        .collect();
    assert_eq!(places, ["@0+3", "@3+6", "@9+3", "@12+6", "@18+3", "@21+6"]);
    assert_eq!(
        fs::read_to_string(mount.storage("log")).unwrap(),
        "onesecond".repeat(3)
    );
}

#[test]
fn appends_of_concurrent_processes_all_land() {
    let case = Case::new();
    let mount = case.mount();
    let program = "import os,sys\nfd=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND|os.O_CREAT)\n\
                   for i in range(200): os.write(fd,(sys.argv[2]*9+'\\n').encode())";
    let writers: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|who| process::start(process::python(program).arg(mount.path("log")).arg(who)))
        .collect();
    for writer in writers {
        writer.finish().success();
    }
    let text = fs::read_to_string(mount.path("log")).unwrap();
    assert_eq!(text.lines().count(), 600);
    assert!(
        text.lines()
            .all(|line| line.len() == 9 && line.bytes().all(|b| b == line.as_bytes()[0]))
    );
    let events = mount.events();
    let mut offsets: Vec<_> = events
        .iter()
        .filter(|e| e["op"] == "write")
        .map(|e| number(e, "offset"))
        .collect();
    assert!(
        offsets.is_sorted(),
        "in the order in which they were applied"
    );
    offsets.dedup();
    assert_eq!(offsets.len(), 600, "no two at the same place");
}

#[test]
fn truncates() {
    let case = Case::new();
    let mount = case.mount();
    let events = same_as_native(&case, &mount, |dir| {
        fs::write(dir.join("a"), "0123456789").unwrap();
        let file = read_write(dir.join("a"));
        file.set_len(4).unwrap();
        file.set_len(6).unwrap();
        fs::read(dir.join("a")).unwrap()
    });
    let cuts: Vec<_> = events
        .iter()
        .filter(|e| e.starts_with("truncate"))
        .collect();
    assert_eq!(cuts, ["truncate a", "truncate a"]);
    let events = same_as_native(&case, &mount, |dir| {
        let file = read_write(dir.join("a"));
        errno(file.set_len(u64::MAX >> 1))
    });
    // Some storages take any size: what they take is an event, what they refuse is none.
    assert!(
        events.is_empty() || events == ["truncate a", "close a"],
        "{events:?}"
    );
}

#[test]
fn allocation_in_every_mode() {
    let case = Case::new();
    let mount = case.mount();
    let events = same_as_native(&case, &mount, |dir| {
        let file = read_write(dir.join("a"));
        file.write_all_at(&[7; 20_000], 0).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, 30_000).unwrap();
        fallocate(&file, FallocateFlags::KEEP_SIZE, 30_000, 30_000).unwrap();
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, punch, 4096, 8192).unwrap();
        let zero = fallocate(&file, FallocateFlags::ZERO_RANGE, 100, 50);
        let bad = fallocate(&file, FallocateFlags::PUNCH_HOLE, 0, 4096);
        let mut all = Vec::new();
        File::open(dir.join("a"))
            .unwrap()
            .read_to_end(&mut all)
            .unwrap();
        (zero, bad, all)
    });
    let calls: Vec<_> = events
        .iter()
        .filter(|e| e.starts_with("fallocate"))
        .map(String::as_str)
        .collect();
    let mut expected = vec![
        "fallocate a @0+30000",
        "fallocate a @30000+30000",
        "fallocate a @4096+8192",
    ];
    if calls.len() == 4 {
        expected.push("fallocate a @100+50");
    }
    assert_eq!(calls, expected);
}

#[test]
fn a_copy_between_files_is_one_event() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("from"), "0123456789").unwrap();
    let events = mount.events_of(|| {
        let from = File::open(mount.path("from")).unwrap();
        let to = read_write(mount.path("to"));
        let (mut start, mut place) = (2, 5);
        assert_eq!(
            copy_file_range(&from, Some(&mut start), &to, Some(&mut place), 4),
            Ok(4)
        );
    });
    let copy = events
        .iter()
        .find(|e| e["op"] == "copy")
        .expect("a copy event");
    assert_eq!(
        (
            number(copy, "offset"),
            number(copy, "length"),
            number(copy, "size")
        ),
        (5, 4, 9)
    );
    assert!(
        copy["src_path"] == "to" || copy["dest_path"] == "to",
        "{copy}"
    );
    assert_eq!(fs::read(mount.storage("to")).unwrap(), b"\0\0\0\0\x002345");
    assert!(briefs(&events).last().unwrap().starts_with("close to"));
}

#[test]
fn holes_are_found() {
    let case = Case::new();
    let mount = case.mount();
    same_as_native(&case, &mount, |dir| {
        let file = read_write(dir.join("sparse"));
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        file.set_len(2 << 20).unwrap();
        let at = [0, 1 << 20, (1 << 20) + 4096, 2 << 20];
        let found = at.map(|at| {
            (
                seek(&file, SeekFrom::Data(at)),
                seek(&file, SeekFrom::Hole(at)),
            )
        });
        (found, fs::metadata(dir.join("sparse")).unwrap().len())
    });
}

#[test]
fn direct_and_synchronous_writes() {
    let case = Case::new();
    let mount = case.mount();
    for (name, flag) in [
        ("sync", libc::O_SYNC),
        ("dsync", libc::O_DSYNC),
        ("direct", libc::O_DIRECT),
    ] {
        let events = same_as_native(&case, &mount, |dir| {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(flag);
            let open = options.open(dir.join(name));
            // Some storages refuse direct I/O: then the mount refuses it the same way.
            let Ok(file) = open else { return errno(open) };
            // One page, aligned by over-allocation: direct I/O asks for it.
            let buffer = vec![5; 8192];
            let start = buffer.as_ptr().align_offset(4096);
            let wrote = file.write_at(&buffer[start..start + 4096], 0);
            assert_eq!(
                fs::metadata(dir.join(name)).unwrap().size(),
                wrote.map_or(0, |n| n as u64)
            );
            None
        });
        assert!(
            events.is_empty() || events.contains(&format!("write {name} @0+4096")),
            "{events:?}"
        );
    }
}

#[test]
fn an_unlinked_open_file_lives_on() {
    let case = Case::new();
    let mount = case.mount();
    let events = mount.record(|| {
        let mut file = read_write(mount.path("a"));
        file.write_all(b"before").unwrap();
        fs::remove_file(mount.path("a")).unwrap();
        file.write_all(b" after").unwrap();
        file.set_len(11).unwrap();
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before afte");
    });
    let ops: Vec<_> = events
        .iter()
        .map(|e| e.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        ops,
        ["create", "write", "unlink", "write", "truncate", "close"]
    );
    assert_eq!(fs::read_dir(mount.root()).unwrap().count(), 0);
}

#[test]
fn a_replaced_open_file_keeps_its_content() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("doc"), "old").unwrap();
    let mut old = File::open(mount.path("doc")).unwrap();
    fs::write(mount.path("tmp"), "new").unwrap();
    fs::rename(mount.path("tmp"), mount.path("doc")).unwrap();
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert_eq!(
        (
            text.as_str(),
            fs::read_to_string(mount.path("doc")).unwrap().as_str()
        ),
        ("old", "new")
    );
}

#[test]
fn fsync_of_files_and_directories_makes_the_log_durable() {
    let case = Case::new();
    let mount = case.mount_with(&["--sync-interval", "600s"]);
    let _quiet = process::quiet();
    let file = read_write(mount.path("a"));
    file.write_all_at(b"x", 0).unwrap();
    file.sync_all().unwrap();
    let status = mount.status();
    assert!(
        number(&status, "durable") >= number(&status, "head"),
        "{status}"
    );
    fs::create_dir(mount.path("d")).unwrap();
    File::open(mount.path("d")).unwrap().sync_all().unwrap();
    let status = mount.status();
    assert!(
        number(&status, "durable") >= number(&status, "head"),
        "{status}"
    );
}

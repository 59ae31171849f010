//! One file open in several ways at once, in every order: the kernel keeps passed-through, cached and direct
//! opens of one inode apart, and no order may fail or show stale bytes.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use crate::support::{Case, Mount, process};

fn open(mount: &Mount, how: &str) -> File {
    let mut options = OpenOptions::new();
    match how {
        "read" => options.read(true),
        "write" => options.read(true).write(true),
        "append" => options.append(true),
        "direct" => options.read(true).custom_flags(libc::O_DIRECT),
        other => panic!("{other}"),
    };
    options
        .open(mount.path("a"))
        .unwrap_or_else(|error| panic!("open {how}: {error}"))
}

#[test]
fn every_order_of_opens_works_and_reads_what_was_written() {
    every_order_of_opens(&[]);
}

#[test]
fn every_order_of_opens_works_with_reads_passed_through() {
    every_order_of_opens(&["--passthrough"]);
}

fn every_order_of_opens(options: &[&str]) {
    let case = Case::new();
    let mount = case.mount_with(options);
    let ways = ["read", "write", "append"];
    let mut round = 0_u64;
    for first in ways {
        for second in ways {
            for third in ways {
                fs::write(mount.path("a"), "________").unwrap();
                let files = [first, second, third].map(|how| (how, open(&mount, how)));
                for (_, writer) in files.iter().filter(|(how, _)| *how == "write") {
                    round += 1;
                    writer.write_all_at(&round.to_le_bytes(), 0).unwrap();
                    for (how, reader) in files.iter().filter(|(how, _)| *how != "append") {
                        let mut seen = [0; 8];
                        reader.read_exact_at(&mut seen, 0).unwrap();
                        assert_eq!(
                            u64::from_le_bytes(seen),
                            round,
                            "{how} of {first} {second} {third}"
                        );
                    }
                    assert_eq!(fs::read(mount.path("a")).unwrap()[..8], round.to_le_bytes());
                }
            }
        }
    }
}

#[test]
fn a_reader_sees_what_another_handle_wrote_and_cut() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "0123456789").unwrap();
    let reader = open(&mount, "read");
    let mut seen = [0; 10];
    reader.read_exact_at(&mut seen, 0).unwrap();
    open(&mount, "write").write_all_at(b"abc", 0).unwrap();
    reader.read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"abc3456789");
    open(&mount, "write").set_len(2).unwrap();
    assert_eq!(reader.read_at(&mut seen, 0).unwrap(), 2);
    assert_eq!(reader.metadata().unwrap().len(), 2);
}

/// Maps the file shared, in each order with other opens; argv: the file, then the order of the opens.
const MAPPER: &str = r#"
import mmap, os, sys
path, order = sys.argv[1], sys.argv[2:]
files, maps = [], []
for how in order:
    if how == "read": files.append(os.open(path, os.O_RDONLY))
    if how == "write": files.append(os.open(path, os.O_RDWR))
    if how == "map-read":
        fd = os.open(path, os.O_RDONLY); maps.append(mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ)); os.close(fd)
    if how == "map-write":
        fd = os.open(path, os.O_RDWR); maps.append(mmap.mmap(fd, 0, mmap.MAP_SHARED)); os.close(fd)
    if how == "map-private":
        fd = os.open(path, os.O_RDONLY); maps.append(mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)); os.close(fd)
for m in maps: m[0:4]
if "write" in order:
    os.pwrite(files[order.index("write") if order[0] == "write" else -1], b"news", 0)
    for m, how in zip(maps, [h for h in order if h.startswith("map")]):
        assert m[0:4] == b"news", (how, m[0:4])
    for fd in files: assert os.pread(fd, 4, 0) == b"news"
if "map-write" in order:
    writer = maps[[h for h in order if h.startswith("map")].index("map-write")]
    writer[4:8] = b"mmap"; writer.flush()
    for fd in files: assert os.pread(fd, 4, 4) == b"mmap", os.pread(fd, 8, 0)
"#;

#[test]
fn mappings_in_every_order_with_other_opens() {
    let case = Case::new();
    let mount = case.mount();
    let ways = ["read", "write", "map-read", "map-write", "map-private"];
    for first in ways {
        for second in ways.into_iter().filter(|w| *w != first) {
            fs::write(mount.path("a"), vec![b'_'; 10_000]).unwrap();
            let mut python = process::python(MAPPER);
            let done = process::run(python.arg(mount.path("a")).args([first, second]));
            assert!(
                done.status.success(),
                "{first} then {second}: {}",
                done.stderr
            );
            if [first, second].contains(&"map-write") {
                assert_eq!(
                    &fs::read(mount.storage("a")).unwrap()[4..8],
                    b"mmap",
                    "{first} then {second}"
                );
            }
        }
    }
}

#[test]
fn bytes_from_a_shared_mapping_are_recorded_as_such() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), vec![0; 10_000]).unwrap();
    let before = mount.head();
    let program = "import mmap,os,sys\nfd=os.open(sys.argv[1],os.O_RDWR)\nm=mmap.mmap(fd,0)\nos.close(fd)\n\
                   m[5000:5004]=b'mmap'\nm.flush()\nm.close()";
    process::run(process::python(program).arg(mount.path("a"))).success();
    let events = mount.since(before);
    let sent: Vec<_> = events.iter().filter(|e| e["op"] == "write").collect();
    assert!(!sent.is_empty(), "{events:?}");
    assert!(
        sent.iter()
            .all(|e| e["via"] == "mmap" && e["src_path"] == "a"),
        "{sent:?}"
    );
    assert_eq!(&fs::read(mount.storage("a")).unwrap()[5000..5004], b"mmap");
}

#[test]
fn a_direct_reader_and_a_writer_agree() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), vec![1; 8192]).unwrap();
    let reader = open(&mount, "direct");
    open(&mount, "write").write_all_at(&[2; 8192], 0).unwrap();
    let buffer = &mut vec![0; 12_288];
    let start = buffer.as_ptr().align_offset(4096);
    let length = reader.read_at(&mut buffer[start..start + 8192], 0).unwrap();
    assert_eq!(buffer[start..start + length], [2; 8192]);
}

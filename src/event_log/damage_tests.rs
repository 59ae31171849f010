//! Logs that were torn, damaged or robbed of a file, and what opening and verifying say of them.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::tests::{append, dir_storage, fill, numbered, open, read_all, reasons, segments, texts};
use super::*;
use crate::disk::{DirStorage, Storage as _};
use crate::event::{GapReason, Seq, line};

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_said() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path(), 3);
    let file = segments(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let end = whole.iter().rposition(|b| *b == b'\n').unwrap();
    let start = whole[..end].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for keep in start..=end {
        // Cut short, and as a preallocated file has it: zeros behind.
        for length in [keep, whole.len()] {
            let mut torn = whole[..keep].to_vec();
            torn.resize(length, 0);
            fs::write(&file, &torn).unwrap();
            let (log, recovery) = open(dir.path());
            assert_eq!(recovery.head, Seq(2), "{keep}");
            let expected: &[_] = if keep == start {
                &[(GapReason::Crash, None)]
            } else {
                &[(GapReason::Torn, None), (GapReason::Crash, None)]
            };
            assert_eq!(reasons(&recovery), expected, "{keep}");
            assert_eq!(append(&log, "3").unwrap(), Seq(3));
            assert_eq!(texts(&log), numbered(1..=3));
        }
    }
}

#[test]
fn a_whole_but_bad_last_line_keeps_its_position_from_being_given_again() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path(), 3);
    let file = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.iter().rposition(|b| *b == b'\n').unwrap();
    bytes[end - 40] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (log, recovery) = open(dir.path());
    let expected = [(GapReason::Torn, Some((3, 3))), (GapReason::Crash, None)];
    assert_eq!(reasons(&recovery), expected);
    record(&log, &recovery);
    assert_eq!(append(&log, "new").unwrap(), Seq(6));
    let hole = Chunk::Gap {
        from: Seq(3),
        to: Seq(3),
        reason: GapReason::Damaged,
    };
    assert_eq!(read_all(&log, Seq(0), 4096).1, std::slice::from_ref(&hole));
    log.close().unwrap();
    let (log, recovery) = open(dir.path());
    assert!(recovery.clean && recovery.gaps.is_empty(), "{recovery:?}");
    assert_eq!(read_all(&log, Seq(0), 4096).1, [hole]);
    log.close().unwrap();
    let report = verify(&*dir_storage(dir.path())).unwrap();
    assert_eq!((report.problems.len(), report.known.len()), (0, 1));
    assert_eq!((report.events, report.last), (5, Some(Seq(6))));
}

#[test]
fn a_flipped_bit_in_the_middle_costs_its_line_and_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for n in 1..=9 {
        append(&log, &n.to_string()).unwrap();
    }
    log.close().unwrap();
    let file = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let line_bytes = bytes.len() / 9;
    // The newline after the fourth line: the fifth must still be found.
    bytes[4 * line_bytes - 1] ^= 0x40;
    fs::write(&file, &bytes).unwrap();
    let storage = dir_storage(dir.path());
    assert_eq!(verify(&*storage).unwrap().problems.len(), 2);
    let (log, recovery) = open(dir.path());
    assert_eq!(reasons(&recovery), [(GapReason::Damaged, Some((4, 4)))]);
    record(&log, &recovery);
    let (lines, gaps) = read_all(&log, Seq(0), 300);
    let seqs: Vec<u64> = lines.iter().map(|l| l.0.0).collect();
    assert_eq!(seqs, [1, 2, 3, 5, 6, 7, 8, 9, 10]);
    assert_eq!(gaps.len(), 1);
    assert_eq!(read_all(&log, Seq(4), 300).1, []);
    log.close().unwrap();
    assert!(open(dir.path()).1.gaps.is_empty());
}

#[test]
fn a_missing_segment_is_a_hole_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path(), 60);
    let all = segments(dir.path());
    assert!(all.len() >= 4, "{all:?}");
    let first = |p: &PathBuf| -> u64 { p.file_stem().unwrap().to_str().unwrap().parse().unwrap() };
    let (from, to) = (first(&all[1]), first(&all[2]) - 1);
    fs::remove_file(&all[1]).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let (log, recovery) = open(dir.path());
    let expected = [
        (GapReason::Damaged, Some((from, to))),
        (GapReason::Crash, None),
    ];
    assert_eq!(reasons(&recovery), expected);
    let (lines, gaps) = read_all(&log, Seq(0), 1000);
    assert_eq!(lines.len() as u64, 60 - (to - from + 1));
    let reason = GapReason::Damaged;
    let (from, to) = (Seq(from), Seq(to));
    assert_eq!(gaps, [Chunk::Gap { from, to, reason }]);
    assert!(dir.path().join("notes.txt").exists());
    assert!(recovery.notes.iter().any(|n| n.contains("notes.txt")));
}

#[test]
fn verify_looks_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path(), 40);
    let before = snapshot(dir.path());
    let fd: OwnedFd = fs::File::open(dir.path()).unwrap().into();
    let storage = DirStorage::open_readonly(fd);
    let report = verify(&storage).unwrap();
    assert_eq!((report.events, report.first), (40, Some(Seq(1))));
    assert_eq!(report.problems, [] as [String; 0]);
    assert!(storage.create("x").is_err() && storage.remove("spare").is_err());
    assert_eq!(snapshot(dir.path()), before);
}

fn snapshot(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(path).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<_> = entries.map(|p| (p.clone(), fs::read(p).unwrap())).collect();
    all.sort();
    all
}

/// Records what recovery asks for, as the recorder does.
fn record(log: &EventLog, recovery: &Recovery) {
    for gap in &recovery.gaps {
        let mut body = String::new();
        line::body(gap, &mut body);
        let room = log.reserve(body.len() + 200, Purpose::Ordinary).unwrap();
        room.append(&body).unwrap();
    }
}

/// A log whose segments hold few lines each, written with `lines` of them and dropped without a close.
fn crashed(path: &Path, lines: u64) {
    let (log, _) = open(path);
    fill(&log, 1..=lines);
}

//! What lies in the storage is damaged, of another version, or in use: said as the contract asks, and nothing
//! else lost.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::events::{self, number, text};
use crate::support::{Case, hippofs};

const EVENTS: u64 = 1_200;

/// A cleanly unmounted store with events in several segments; gives them and the segment files in order.
fn store(case: &Case) -> (Vec<Value>, Vec<PathBuf>) {
    let mount = case.mount_with(&["--segment-bytes", "64K"]);
    for i in 0..EVENTS / 3 {
        fs::write(mount.path(format!("document-{}", i % 20)), "x").unwrap();
    }
    let events = mount.events();
    mount.unmount();
    let mut segments: Vec<_> = fs::read_dir(case.storage().join(".hippofs/log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    segments.sort();
    assert!(segments.len() >= 3, "{segments:?}");
    (events, segments)
}

fn verify(case: &Case) -> crate::support::process::Done {
    hippofs::run(&["verify".as_ref(), case.storage().as_os_str()])
}

/// The events that have a position, by it; and the gaps.
fn kept_and_gaps(events: &[Value]) -> (Vec<&Value>, Vec<&Value>) {
    events.iter().partition(|e| text(e, "event_type") != "gap")
}

/// Mounts the damaged store: every event outside `lost` must be there unchanged, every one inside said to be gone.
#[track_caller]
fn assert_only_lost(
    case: &Case,
    before: &[Value],
    lost: std::ops::RangeInclusive<u64>,
    reason: &str,
) {
    let expected: Vec<_> = before
        .iter()
        .filter(|e| !lost.contains(&number(e, "seq")))
        .collect();
    // The second mount must not say the same gap in the log again.
    let mut gap_events = Vec::new();
    for round in ["first", "second"] {
        let mount = case.mount_with(&["--segment-bytes", "64K"]);
        let read = mount.events();
        let (kept, gaps) = kept_and_gaps(&read);
        assert_eq!(kept.len(), expected.len(), "{round} mount; gaps {gaps:?}");
        assert_eq!(kept, expected, "{round} mount");
        let told = gaps.iter().any(|gap| {
            text(gap, "reason") == reason
                && gap["from"]
                    .as_u64()
                    .is_some_and(|from| from <= *lost.start())
                && gap["to"].as_u64().is_some_and(|to| to >= *lost.end())
        });
        assert!(
            told,
            "{round} mount: a gap with reason {reason} over {lost:?} in {gaps:?}"
        );
        gap_events.push(gaps.iter().filter(|gap| gap.get("seq").is_some()).count());
        assert_eq!(number(read.last().unwrap(), "seq"), mount.head());
        mount.unmount();
    }
    assert_eq!(
        gap_events[0], gap_events[1],
        "gap events in the log after each mount"
    );
    let mount = case.mount_with(&["--segment-bytes", "64K"]);
    let head = mount.head();
    fs::write(mount.path("after"), "x").unwrap();
    assert_eq!(mount.head(), head + 3);
}

#[test]
fn an_undamaged_store_verifies() {
    let case = Case::new();
    let (events, _) = store(&case);
    let done = verify(&case);
    assert_eq!(done.code(), Some(0), "{done:?}");
    assert!(done.stdout.contains(&events.len().to_string()), "{done:?}");
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let case = Case::new();
    let (before, segments) = store(&case);
    let last = segments.last().unwrap();
    let mut bytes = fs::read(last).unwrap();
    bytes.extend_from_slice(b"{\"seq\":9999,\"timestamp\":17");
    fs::write(last, bytes).unwrap();
    // A clean end left no half line: the marker of it must not hide one.
    assert_ne!(verify(&case).code(), Some(0));
    let mount = case.mount();
    let read = mount.events();
    assert_eq!(read[..before.len()], before[..]);
    let gaps: Vec<_> = read[before.len()..]
        .iter()
        .map(|e| text(e, "reason"))
        .collect();
    assert!(gaps.contains(&"torn"), "{gaps:?}");
    mount.unmount();
    assert_eq!(verify(&case).code(), Some(0));
}

#[test]
fn a_line_cut_in_half_is_said() {
    let case = Case::new();
    let (before, segments) = store(&case);
    let last = segments.last().unwrap();
    let length = fs::metadata(last).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(last)
        .unwrap()
        .set_len(length - 10)
        .unwrap();
    let mount = case.mount();
    let read = mount.events();
    let intact = before.len() - 1;
    assert_eq!(read[..intact], before[..intact]);
    assert!(
        read[intact..]
            .iter()
            .any(|e| text(e, "event_type") == "gap"),
        "{:?}",
        &read[intact..]
    );
    let seqs: Vec<_> = read.iter().map(|e| number(e, "seq")).collect();
    assert!(seqs.is_sorted());
}

#[test]
fn a_flipped_bit_in_the_middle_loses_that_line_only() {
    let case = Case::new();
    let (before, segments) = store(&case);
    let segment = &segments[1];
    let text_of = fs::read(segment).unwrap();
    let at = text_of.len() / 2;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(segment)
        .unwrap();
    file.write_all_at(&[text_of[at] ^ 1], at as u64).unwrap();
    drop(file);
    let line = text_of[..at].iter().filter(|b| **b == b'\n').count() as u64;
    let first: u64 = segment
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let lost = first + line;
    let done = verify(&case);
    assert_eq!(done.code(), Some(1), "{done:?}");
    assert!(
        format!("{}{}", done.stdout, done.stderr).contains(&lost.to_string()),
        "{lost} is named: {done:?}"
    );
    assert_only_lost(&case, &before, lost..=lost, "damaged");
}

#[test]
fn a_missing_segment_is_a_gap_over_its_range() {
    let case = Case::new();
    let (before, segments) = store(&case);
    let range_of = |path: &PathBuf| {
        let events = events::read(path);
        number(&events[0], "seq")..=number(events.last().unwrap(), "seq")
    };
    let lost = range_of(&segments[1]);
    fs::remove_file(&segments[1]).unwrap();
    assert_eq!(verify(&case).code(), Some(1));
    assert_only_lost(&case, &before, lost, "damaged");
}

#[test]
fn a_damaged_store_file_is_refused_and_nothing_is_touched() {
    let case = Case::new();
    let (before, _) = store(&case);
    let path = case.storage().join(".hippofs/store.json");
    let good = fs::read(&path).unwrap();
    let mut newer: Value = serde_json::from_slice(&good).unwrap();
    let version = newer
        .as_object_mut()
        .unwrap()
        .iter_mut()
        .find(|(key, value)| (key.contains("version") || key.contains("format")) && value.is_u64());
    *version.expect("a format version in store.json").1 = 999.into();
    for (bad, word) in [
        (newer.to_string(), "999"),
        ("not json".to_owned(), "store.json"),
        (String::new(), "store.json"),
    ] {
        fs::write(&path, &bad).unwrap();
        let done = hippofs::run(&[
            "mount".as_ref(),
            case.storage().as_os_str(),
            case.mountpoint().as_os_str(),
        ]);
        assert_eq!(done.code(), Some(1), "{bad:?}: {done:?}");
        assert!(
            done.stderr.starts_with("hippofs: ") && done.stderr.contains(word),
            "{bad:?}: {done:?}"
        );
        assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), bad, "left as it was");
    }
    fs::write(&path, good).unwrap();
    let mount = case.mount();
    assert_eq!(mount.events(), before);
}

#[test]
fn two_daemons_on_one_storage_are_refused() {
    let case = Case::new();
    let mount = case.mount();
    let other = case.native();
    for place in [Some(other.as_os_str()), None] {
        let mut arguments = vec![
            std::ffi::OsString::from("mount"),
            case.storage().into_os_string(),
        ];
        arguments.extend(place.map(std::ffi::OsStr::to_owned));
        let done = hippofs::run(&arguments);
        assert_eq!(done.code(), Some(1), "{done:?}");
        assert!(
            done.stderr.starts_with("hippofs: ") && done.stderr.lines().count() == 1,
            "{done:?}"
        );
    }
    fs::write(mount.path("a"), "the first goes on").unwrap();
    assert_eq!(mount.events().len(), 3);
}

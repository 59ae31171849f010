//! Power is lost around a checkpoint of the catalog, while changes go on: what the next start knows, finds and tells
//! together is what stands on the disk.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::super::{Catalog, How};
use super::bed::{Bed, RESERVED};
use super::power::{log_options, setting};
use super::random::{NAMES, Step, on_disk, replayed, through};
use crate::backing;
use crate::disk::power::{Chance, HABITS, Habit, Machine};
use crate::event::Seq;
use crate::event_log::EventLog;

/// Workloads in the ordinary run.
const TRIALS_DEFAULT: usize = 200;
/// Moments looked at after each.
const MOMENTS: usize = 4;

fn path(chance: &mut Chance) -> String {
    let names: Vec<_> = (0..1 + chance.below(3))
        .map(|_| NAMES[chance.below(NAMES.len())])
        .collect();
    names.join("/")
}

fn step(chance: &mut Chance) -> Step {
    match chance.below(8) {
        0 | 1 => Step::Create(path(chance)),
        2 => Step::Mkdir(path(chance)),
        3 | 4 => Step::Write(path(chance), chance.below(200) as u8),
        5 => Step::Remove(path(chance)),
        6 => Step::Rename(path(chance), path(chance)),
        _ => Step::Link(path(chance), path(chance)),
    }
}

fn steps(bed: &Bed, count: usize, chance: &mut Chance) {
    for _ in 0..count {
        through(bed, &step(chance));
    }
}

/// The daemon after the loss: whether its start was warm, and the storage with it.
fn start(machine: &Machine, dir: tempfile::TempDir) -> (Bed, bool) {
    let (log, recovery) = EventLog::open(Box::new(machine.storage("log")), log_options()).unwrap();
    let root = std::fs::File::open(dir.path()).unwrap();
    let attr = backing::attr_of(root.as_fd()).unwrap();
    let state = machine.storage("state");
    let start = Catalog::open(&attr, RESERVED.as_bytes(), None, &state, &log);
    let unused = tempfile::tempdir().unwrap();
    let bed = Bed::with(dir, unused, log, start.catalog);
    for gap in &recovery.gaps {
        bed.recorder.note(gap).unwrap();
    }
    (bed, start.warm)
}

/// One workload with a checkpoint; the moments from its last change of the storage on, and the storage.
fn trial(machine: &Machine, chance: &mut Chance) -> (usize, tempfile::TempDir) {
    let (bed, _) = start(machine, tempfile::tempdir().unwrap());
    bed.scan(How::Fill);
    bed.recorder
        .save_catalog(&machine.storage("state"))
        .unwrap();
    let bed = Arc::new(bed);
    for _ in 0..1 + chance.below(2) {
        steps(&bed, chance.below(12), chance);
        if chance.below(3) == 0 {
            bed.recorder.log().sync().unwrap();
        }
        let (busy, seed) = (Arc::clone(&bed), chance.next());
        // Others go on while the checkpoint is being written.
        let files = machine.storage("state").on_create(move |_| {
            let mut chance = Chance(seed);
            steps(&busy, chance.below(4), &mut chance);
        });
        let from = machine.moment();
        match bed.recorder.save_catalog(&files) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Interrupted),
        }
        drop(files);
        if chance.below(2) == 0 {
            return (last_change(machine, from), into_dir(bed));
        }
    }
    let from = machine.moment();
    steps(&bed, chance.below(6), chance);
    (last_change(machine, from), into_dir(bed))
}

fn into_dir(bed: Arc<Bed>) -> tempfile::TempDir {
    let bed = Arc::into_inner(bed).expect("the hook is gone");
    bed.dir
}

/// The moment after the last event from `from` on: the storage was as it is now from there on.
fn last_change(machine: &Machine, from: usize) -> usize {
    machine.last_write("log").map_or(from, |at| at.max(from))
}

#[test]
fn a_checkpoint_never_outlives_the_events_it_knows_of() {
    let trials = setting("HIPPOFS_POWER_TRIALS", TRIALS_DEFAULT);
    let first = setting("HIPPOFS_POWER_SEED", 1);
    let mut warm_starts = 0;
    for seed in first..first + trials {
        let mut chance = Chance(seed as u64);
        let machine = Machine::default();
        let (from, mut dir) = trial(&machine, &mut chance);
        let to = machine.moment();
        for habit in HABITS.into_iter().cycle().take(MOMENTS) {
            let moment = from + chance.below(to - from + 1);
            let place = format!("seed {seed}, moment {moment} of {from} to {to}, {habit:?}");
            let left = machine.after_loss(moment, habit, &mut chance);
            let (bed, warm) = start(&left, dir);
            while bed.scan(How::Stat) > 0 {}
            bed.assert_same();
            let mut disk = BTreeMap::new();
            on_disk(bed.dir.path(), "", &mut disk);
            // A cold start learns what it finds; the gap before it says that something may be missing.
            if warm {
                warm_starts += 1;
                assert_eq!(replayed(&bed.events(Seq(0))), disk, "{place}");
            }
            dir = bed.dir;
        }
    }
    assert!(warm_starts > trials, "{warm_starts} of {trials} trials");
    println!(
        "{} starts after a loss of power, {warm_starts} of them warm",
        trials * MOMENTS
    );
}

#[test]
fn what_came_behind_the_mount_into_a_directory_made_during_a_checkpoint_is_found() {
    let machine = Machine::default();
    let (bed, _) = start(&machine, tempfile::tempdir().unwrap());
    bed.scan(How::Fill);
    let bed = Arc::new(bed);
    let busy = Arc::clone(&bed);
    let files = machine
        .storage("state")
        .on_create(move |_| busy.mkdir("d").unwrap());
    bed.recorder.save_catalog(&files).unwrap();
    drop(files);
    let dir = into_dir(bed);
    std::fs::write(dir.path().join("d/behind"), "x").unwrap();
    let (bed, warm) = start(&machine, dir);
    assert!(warm);
    bed.scan(How::Stat);
    let told = bed.told(Seq(0));
    assert!(
        told.contains(&"created d/behind scan".to_owned()),
        "{told:?}"
    );
}

#[test]
fn a_change_made_while_a_checkpoint_is_written_is_found_when_its_event_is_lost() {
    let machine = Machine::default();
    let (bed, _) = start(&machine, tempfile::tempdir().unwrap());
    bed.scan(How::Fill);
    let bed = Arc::new(bed);
    let busy = Arc::clone(&bed);
    let files = machine
        .storage("state")
        .on_create(move |_| busy.create("late").unwrap());
    bed.recorder.save_catalog(&files).unwrap();
    drop(files);
    let dir = into_dir(bed);
    let left = machine.after_loss(machine.moment(), Habit::Loses, &mut Chance(1));
    let (bed, warm) = start(&left, dir);
    assert!(warm);
    bed.scan(How::Stat);
    let told = bed.told(Seq(0));
    let late = told.iter().filter(|t| t.starts_with("created late "));
    assert_eq!(late.count(), 1, "{told:?}");
}

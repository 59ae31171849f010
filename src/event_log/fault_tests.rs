//! Every storage call made to fail in turn, full disks, power losses, and the healing afterwards.

use std::time::Instant;

use super::tests::{append, body_of, fill, options, read_all, texts};
use super::*;
use crate::disk::faults::{FAULTS, Fault, MemStorage, Plan};
use crate::event::{GapReason, Seq};

/// Lets the next reservation try to heal, as a second of waiting would.
fn hasten(log: &EventLog) {
    let mut state = log.shared.state.lock();
    let now = Instant::now();
    if let Some(latch) = &mut state.latch {
        latch.retry_at = now;
    }
    if let Some(shortage) = &mut state.shortage {
        shortage.retry_at = now;
    }
}

fn open_log(storage: &MemStorage) -> Result<(EventLog, Recovery), LogError> {
    EventLog::open(Box::new(storage.clone()), options())
}

/// What a workload was told.
#[derive(Default)]
struct Told {
    acked: Vec<(Seq, String)>,
    refused: Vec<String>,
}

/// Two lives of a log: appends over several segments, a crash, more of them, an orderly end.
fn workload(storage: &MemStorage, told: &mut Told) {
    let mut number = 0;
    for life in 0..2 {
        // A start that failed is tried once more, as a supervisor would.
        let Ok((log, _)) = open_log(storage).or_else(|_| open_log(storage)) else {
            continue;
        };
        for step in 0..24 {
            number += 1;
            let text = format!("{number}-{}", "x".repeat(600));
            // A large reservation makes a rotation of every few lines.
            let room = log.reserve(50_000, Purpose::Ordinary);
            match room.and_then(|room| room.append(&body_of(&text))) {
                Ok(seq) => told.acked.push((seq, text)),
                Err(_) => told.refused.push(text),
            }
            if step % 8 == 5 {
                let _ = log.sync();
            }
            hasten(&log);
        }
        if life == 1 {
            let _ = log.close();
        }
    }
}

fn check_after(storage: &MemStorage, told: &Told, plan: Plan) {
    let (log, recovery) = open_log(storage).unwrap();
    let (lines, gaps) = read_all(&log, Seq(0), 100_000);
    assert_eq!(gaps, [], "{plan:?}: {recovery:?}");
    for (at, (seq, _)) in lines.iter().enumerate() {
        assert_eq!(seq.0, at as u64 + 1, "{plan:?}: not dense");
    }
    assert_eq!(recovery.head.0, lines.len() as u64, "{plan:?}");
    for (seq, text) in &told.acked {
        let at = usize::try_from(seq.0).unwrap() - 1;
        assert_eq!(lines.get(at).map(|l| &l.1), Some(text), "{plan:?}: lost");
    }
    let others: Vec<&String> = lines
        .iter()
        .filter(|line| !told.acked.contains(line))
        .map(|line| &line.1)
        .collect();
    for text in others {
        let gap = GapReason::parse(text).is_some();
        // A write that was done and called failed may be found by the next start.
        let done = plan.fault == Fault::Done && told.refused.contains(text);
        assert!(gap || done, "{plan:?}: refused and yet there: {text:.9}");
    }
    assert_eq!(append(&log, "on").unwrap(), log.head(), "{plan:?}");
    log.close().unwrap();
    assert_eq!(verify(storage).unwrap().problems, [] as [String; 0]);
}

#[test]
fn whichever_call_fails_nothing_told_is_lost_and_nothing_refused_appears() {
    let clean = MemStorage::default();
    workload(&clean, &mut Told::default());
    let calls = clean.0.lock().calls;
    assert!(calls > 80, "{calls}");
    for fault in FAULTS {
        for count in [1, 3, u64::MAX] {
            for from in 1..=calls {
                let plan = Plan { fault, from, count };
                let storage = MemStorage::default();
                storage.0.lock().plan = Some(plan);
                let mut told = Told::default();
                workload(&storage, &mut told);
                storage.0.lock().plan = None;
                check_after(&storage, &told, plan);
            }
        }
    }
}

#[test]
fn after_a_power_loss_everything_durable_is_there() {
    for steps in 1..40_u64 {
        let storage = MemStorage::default();
        let (log, _) = open_log(&storage).unwrap();
        for n in 1..=steps {
            append(&log, &format!("{n}-{}", "x".repeat(3000))).unwrap();
            if n % 7 == 3 {
                assert_eq!(log.sync().unwrap(), Seq(n));
            }
        }
        let durable = log.durable();
        drop(log);
        storage.lose_power();
        let (log, recovery) = open_log(&storage).unwrap();
        assert!(!recovery.clean);
        assert!(recovery.head >= durable && recovery.head <= Seq(steps));
        let (lines, gaps) = read_all(&log, Seq(0), 9000);
        assert_eq!(gaps, []);
        assert_eq!(lines.len() as u64, recovery.head.0);
    }
}

#[test]
fn a_full_disk_refuses_ordinary_changes_lets_freeing_ones_go_on_and_clears() {
    let storage = MemStorage::default();
    let (log, _) = open_log(&storage).unwrap();
    storage.0.lock().full = true;
    let text = "x".repeat(3000);
    let mut before = 0;
    // The spare that was made in time is used up first.
    let error = loop {
        match append(&log, &text) {
            Ok(_) => before += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_disk_full() && before > 5, "{error} {before}");
    assert_eq!(log.failure().unwrap().kind, FailureKind::DiskFull);
    let tried = storage.0.lock().allocations;
    assert!(append(&log, "small").unwrap_err().is_disk_full());
    let retried = storage.0.lock().allocations - tried;
    assert!(retried <= 1, "{retried}");
    let freeing = |log: &EventLog| -> Result<Seq, LogError> {
        log.reserve(2000, Purpose::Freeing)?
            .append(&body_of("freed"))
    };
    let seq = freeing(&log).unwrap();
    assert_eq!(seq.0, before + 1);
    // The deletion made room: the next one need not wait for the retry time.
    storage.0.lock().full = false;
    freeing(&log).unwrap();
    assert_eq!(log.failure(), None);
    append(&log, &text).unwrap();
    // What is kept for freeing has an end too, and it is told the same way.
    storage.0.lock().full = true;
    let error = (0..1000).find_map(|_| freeing(&log).err()).unwrap();
    assert!(error.is_disk_full());
}

#[test]
fn a_log_opens_on_a_full_disk_and_its_spare_serves_deletions() {
    let storage = MemStorage::default();
    let (log, _) = open_log(&storage).unwrap();
    append(&log, "one").unwrap();
    log.close().unwrap();
    storage.0.lock().full = true;
    let (log, recovery) = open_log(&storage).unwrap();
    assert!(!recovery.notes.is_empty());
    let room = log.reserve(2000, Purpose::Freeing).unwrap();
    room.append(&body_of("two")).unwrap();
    assert!(append(&log, "three").unwrap_err().is_disk_full());
    assert_eq!(texts(&log), ["one", "two"]);
}

#[test]
fn a_log_closed_on_a_full_disk_keeps_room_for_deletions() {
    let storage = MemStorage::default();
    let (log, _) = open_log(&storage).unwrap();
    storage.0.lock().full = true;
    let mut appended = 0;
    while append(&log, &"x".repeat(3000)).is_ok() {
        appended += 1;
    }
    log.close().unwrap();
    let (log, recovery) = open_log(&storage).unwrap();
    assert!(recovery.clean && recovery.head == Seq(appended));
    assert!(append(&log, "no").unwrap_err().is_disk_full());
    let room = log.reserve(2000, Purpose::Freeing).unwrap();
    room.append(&body_of("freed")).unwrap();
}

#[test]
fn a_failed_write_latches_hides_its_bytes_and_is_told_when_healed() {
    let storage = MemStorage::default();
    let (log, _) = open_log(&storage).unwrap();
    append(&log, "one").unwrap();
    let room = log.reserve(5000, Purpose::Ordinary).unwrap();
    let from = storage.0.lock().calls + 1;
    storage.0.lock().plan = Some(Plan {
        fault: Fault::Torn,
        from,
        count: 1,
    });
    assert!(matches!(append(&log, "two"), Err(LogError::Io { .. })));
    assert!(matches!(
        room.append(&body_of("late")),
        Err(LogError::Latched { .. })
    ));
    assert!(matches!(append(&log, "no"), Err(LogError::Latched { .. })));
    assert_eq!(log.failure().unwrap().kind, FailureKind::Io);
    assert_eq!(texts(&log), ["one"]);
    hasten(&log);
    append(&log, "three").unwrap();
    assert_eq!(log.failure(), None);
    assert_eq!(texts(&log), ["one", "failed", "three"]);
    let Chunk::Lines(lines) = log.reader(Seq(1), Seq(2)).next_chunk(9999).unwrap() else {
        panic!("no lines");
    };
    let told = String::from_utf8(lines).unwrap();
    assert!(told.contains("not recorded: 2"), "{told}");
}

#[test]
fn a_failed_sync_latches_and_writing_goes_on_in_a_new_segment() {
    let storage = MemStorage::default();
    let (log, _) = open_log(&storage).unwrap();
    append(&log, "one").unwrap();
    storage.0.lock().sync_fails = true;
    assert!(matches!(log.sync(), Err(LogError::Io { .. })));
    assert!(matches!(log.sync(), Err(LogError::Latched { .. })));
    assert!(matches!(append(&log, "no"), Err(LogError::Latched { .. })));
    hasten(&log);
    assert!(append(&log, "no").is_err(), "the storage still fails");
    storage.0.lock().sync_fails = false;
    hasten(&log);
    append(&log, "two").unwrap();
    assert_eq!(texts(&log), ["one", "failed", "two"]);
    assert_eq!(log.stats().segments, 2);
    assert_eq!(log.sync().unwrap(), Seq(3));
    log.close().unwrap();
    let (log, recovery) = open_log(&storage).unwrap();
    assert!(recovery.clean && recovery.gaps.is_empty());
    assert_eq!(texts(&log), ["one", "failed", "two"]);
}

#[test]
fn a_blank_segment_whose_replacement_failed_is_not_written() {
    for fault in FAULTS {
        for call in 1..8 {
            let storage = MemStorage::default();
            let (log, _) = open_log(&storage).unwrap();
            let from = storage.0.lock().calls + call;
            let count = 1;
            storage.0.lock().plan = Some(Plan { fault, from, count });
            drop(log.reserve(200_000, Purpose::Ordinary));
            storage.0.lock().plan = None;
            hasten(&log);
            append(&log, "kept").unwrap();
            drop(log);
            let (log, _) = open_log(&storage).unwrap();
            let kept = texts(&log);
            assert!(kept.contains(&"kept".to_owned()), "{fault:?} {call}");
        }
    }
}

#[test]
fn the_remains_of_a_failed_write_are_gone_after_healing() {
    let storage = MemStorage::default();
    let (log, _) = open_log(&storage).unwrap();
    let from = storage.0.lock().calls + 1;
    let (fault, count) = (Fault::Torn, 1);
    storage.0.lock().plan = Some(Plan { fault, from, count });
    assert!(append(&log, &"x".repeat(5000)).is_err());
    hasten(&log);
    drop(log.reserve(500, Purpose::Ordinary).unwrap());
    drop(log);
    let (log, recovery) = open_log(&storage).unwrap();
    assert_eq!(recovery.gaps.len(), 1, "a crash, and no torn tail");
    assert_eq!(texts(&log), ["failed"]);
}

#[test]
fn a_segment_that_cannot_be_removed_holds_back_the_later_ones() {
    let storage = MemStorage::default();
    let limits = Options {
        retain_bytes: 0,
        ..options()
    };
    let (log, _) = EventLog::open(Box::new(storage.clone()), limits).unwrap();
    fill(&log, 1..=40);
    log.sync().unwrap();
    let files = storage.0.lock().names.len();
    let from = storage.0.lock().calls + 1;
    let (fault, count) = (Fault::Io, 1);
    storage.0.lock().plan = Some(Plan { fault, from, count });
    assert_eq!(log.shared.retain(), 0);
    assert_eq!(storage.0.lock().names.len(), files);
    let (lines, gaps) = read_all(&log, Seq(0), 9000);
    assert_eq!((gaps.len(), lines.last().unwrap().0), (1, Seq(40)));
    assert!(log.shared.retain() > 1);
    drop(log);
    assert!(
        read_all(&open_log(&storage).unwrap().0, Seq(0), 9000)
            .1
            .len()
            <= 1
    );
}

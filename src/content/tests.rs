//! The contents on files and on storage that fails: nothing held is lost, and no wrong bytes are ever given out.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::format::HEADER_BYTES;
use super::*;
use crate::disk::faults::{FAULTS, MemStorage, Plan};
use crate::disk::{DirStorage, Storage};
use crate::event::Seq;

fn open(storage: &MemStorage) -> Content {
    opened(storage).0
}

fn opened(storage: &MemStorage) -> (Content, Opened) {
    let options = Options {
        pack_bytes: PACK_BYTES_MIN,
    };
    Content::open(Box::new(storage.clone()), options).unwrap()
}

/// Bytes that are like no others.
fn object(number: u64, bytes: usize) -> Vec<u8> {
    let mut out = number.to_le_bytes().repeat(bytes / 8 + 1);
    out.truncate(bytes.max(8));
    out
}

fn hash_of(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

#[track_caller]
fn assert_held(content: &Content, bytes: &[u8]) {
    let read = content.read(&hash_of(bytes)).unwrap();
    assert!(
        read.is_some(),
        "{:?} is not held",
        &bytes[..bytes.len().min(8)]
    );
    assert!(read.as_deref() == Some(bytes), "wrong bytes");
}

#[test]
fn what_is_kept_is_read_back_also_after_a_crash() {
    let storage = MemStorage::default();
    let sizes = [
        0,
        1,
        2000,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        5 * CHUNK_BYTES + 7,
    ];
    let objects: Vec<_> = sizes.iter().map(|size| vec![0xa5; *size]).collect();
    let content = open(&storage);
    for bytes in &objects {
        assert_eq!(content.keep(bytes).unwrap().hash(), hash_of(bytes));
        assert_held(&content, bytes);
    }
    assert_eq!(content.read(&[7; 32]).unwrap(), None);
    drop(content);
    let content = open(&storage);
    objects
        .iter()
        .for_each(|bytes| assert_held(&content, bytes));
    let report = verify(&storage, Seq(1)).unwrap();
    assert_eq!(report.problems, [] as [String; 0]);
}

#[test]
fn the_same_bytes_are_kept_once() {
    let storage = MemStorage::default();
    let content = open(&storage);
    content.keep(&object(1, 2000)).unwrap();
    let before = content.stats();
    content.keep(&object(1, 2000)).unwrap();
    assert_eq!(content.stats(), before);
    // A large object that differs in one piece costs that piece and its list.
    let mut large = vec![3; 20 * CHUNK_BYTES];
    for (at, piece) in large.chunks_mut(CHUNK_BYTES).enumerate() {
        piece[0] = at as u8;
    }
    content.keep(&large).unwrap();
    let before = content.stats();
    large[7 * CHUNK_BYTES + 9] = 0xff;
    content.keep(&large).unwrap();
    assert_eq!(content.stats().objects, before.objects + 2);
    assert_held(&content, &large);
}

#[test]
fn too_large_is_refused() {
    let content = open(&MemStorage::default());
    let refused = content.keep(&vec![0; OBJECT_BYTES_MAX + 1]);
    assert!(matches!(refused, Err(ContentError::TooLarge)));
}

#[test]
fn packs_go_when_no_kept_event_names_them() {
    let storage = MemStorage::default();
    let content = open(&storage);
    for number in 0..200_u64 {
        content
            .keep(&object(number, 2000))
            .unwrap()
            .named(Seq(number + 1));
    }
    let before = content.stats();
    assert!(before.packs > 4);
    assert_eq!(content.retain(Seq(1), u64::MAX), 0);
    let first = content.held(&hash_of(&object(0, 2000))).unwrap();
    assert!(content.retain(Seq(101), u64::MAX) > 0);
    assert_held(&content, &object(0, 2000));
    drop(first);
    content.retain(Seq(101), u64::MAX);
    assert_eq!(content.read(&hash_of(&object(0, 2000))).unwrap(), None);
    for number in 100..200 {
        assert_held(&content, &object(number, 2000));
    }
    // Without room the oldest go, whoever names them; the newest stays.
    content.retain(Seq(1), 0);
    assert_eq!(content.stats().packs, 1);
    assert_held(&content, &object(199, 2000));
    let names = storage.names().unwrap();
    assert_eq!(names.iter().filter(|n| n.ends_with(".pack")).count(), 1);
}

#[test]
fn an_object_that_is_always_there_keeps_no_old_pack() {
    let content = open(&MemStorage::default());
    for number in 0..400_u64 {
        let seq = Seq(number + 1);
        content.keep(b"always the same").unwrap().named(seq);
        content.keep(&object(number, 2000)).unwrap().named(seq);
        content.retain(Seq(number.saturating_sub(100)), u64::MAX);
    }
    assert_held(&content, b"always the same");
    assert!(content.stats().packs <= 7, "{:?}", content.stats());
}

#[test]
fn a_start_knows_what_is_named() {
    let storage = MemStorage::default();
    let content = open(&storage);
    for number in 0..100_u64 {
        content
            .keep(&object(number, 2000))
            .unwrap()
            .named(Seq(number + 1));
    }
    content.sync().unwrap();
    content.save(Seq(100)).unwrap();
    drop(content);
    let (content, opened) = opened(&storage);
    assert_eq!((opened.named_up_to, opened.notes.len()), (Seq(100), 0));
    assert_eq!(content.retain(Seq(1), u64::MAX), 0);
    assert!(content.retain(Seq(60), u64::MAX) > 0);
    assert_held(&content, &object(99, 2000));
    // A pack that somebody removed is said.
    content.close().unwrap();
    let pack = storage
        .names()
        .unwrap()
        .into_iter()
        .find(|n| n.ends_with(".pack"));
    storage.remove(&pack.unwrap()).unwrap();
    assert!(!self::opened(&storage).1.missing.is_empty());
}

#[test]
fn an_index_that_is_missing_or_damaged_is_made_good() {
    let storage = MemStorage::default();
    let content = open(&storage);
    let objects: Vec<_> = (0..100).map(|n| object(n, 2000)).collect();
    objects.iter().for_each(|o| drop(content.keep(o).unwrap()));
    content.close().unwrap();
    let indexes: Vec<_> = storage.names().unwrap();
    let indexes: Vec<_> = indexes.iter().filter(|n| n.ends_with(".index")).collect();
    assert!(indexes.len() > 2);
    storage.remove(indexes[0]).unwrap();
    let file = storage.open(indexes[1]).unwrap();
    file.write_at(&[0xff], 40).unwrap();
    let content = open(&storage);
    objects.iter().for_each(|o| assert_held(&content, o));
}

#[test]
fn no_flipped_bit_gives_wrong_bytes() {
    let storage = MemStorage::default();
    let content = open(&storage);
    let objects = [object(1, 40), object(2, 41), object(3, 42)];
    objects.iter().for_each(|o| drop(content.keep(o).unwrap()));
    let name = pack::pack_name(1);
    let file = storage.open(&name).unwrap();
    let end = content.bytes();
    assert_eq!(end as usize, 3 * HEADER_BYTES + 40 + 41 + 42);
    for at in 0..end {
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        for bit in 0..8 {
            file.write_at(&[byte[0] ^ (1 << bit)], at).unwrap();
            // Both by who knows it and by who finds it so.
            for content in [content.clone(), open(&MemStorage(Arc::clone(&storage.0)))] {
                let mut wrong = 0;
                for object in &objects {
                    match content.read(&hash_of(object)) {
                        Ok(Some(bytes)) => assert_eq!(&bytes, object),
                        Ok(None) | Err(ContentError::Damaged { .. }) => wrong += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
                assert!(wrong <= 1, "byte {at} bit {bit}");
            }
            file.allocate(PACK_BYTES_MIN).unwrap();
        }
        file.write_at(&byte, at).unwrap();
    }
    objects.iter().for_each(|o| assert_held(&content, o));
}

/// Keeps objects over several packs and two lives; gives those that were kept, and those of them that were synced.
fn workload(storage: &MemStorage) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut kept, mut synced) = (Vec::new(), Vec::new());
    for life in 0..2 {
        let options = Options {
            pack_bytes: PACK_BYTES_MIN,
        };
        let Ok((content, _)) = Content::open(Box::new(storage.clone()), options) else {
            continue;
        };
        for number in 0..12_u64 {
            let bytes = object(life * 100 + number, 20_000);
            if content.keep(&bytes).is_ok() {
                kept.push(bytes);
            }
            // As after a tenth of a second.
            if let Some(failure) = &mut content.shared.active.lock().failure {
                failure.hasten();
            }
            if number % 5 == 4 {
                if content.sync().is_ok() {
                    let held =
                        |bytes: &&Vec<u8>| content.read(&hash_of(bytes)).is_ok_and(|b| b.is_some());
                    synced = kept.iter().filter(held).cloned().collect();
                } else {
                    // Said not to be held any more.
                    kept.retain(|b| content.read(&hash_of(b)).is_ok_and(|b| b.is_some()));
                    synced.retain(|b| kept.contains(b));
                }
            }
        }
    }
    (kept, synced)
}

#[test]
fn whichever_call_fails_nothing_kept_is_lost_and_nothing_wrong_is_read() {
    let storage = MemStorage::default();
    workload(&storage);
    let calls = storage.0.lock().calls;
    for fault in FAULTS {
        for from in 1..=calls {
            for power_lost in [false, true] {
                let storage = MemStorage::default();
                let plan = Plan {
                    fault,
                    from,
                    count: 1,
                };
                storage.0.lock().plan = Some(plan);
                let (kept, synced) = workload(&storage);
                storage.0.lock().plan = None;
                if power_lost {
                    storage.lose_power();
                }
                let content = open(&storage);
                for bytes in if power_lost { &synced } else { &kept } {
                    let read = content.read(&hash_of(bytes));
                    assert!(
                        read.is_ok_and(|read| read.as_ref() == Some(bytes)),
                        "{plan:?}, power lost: {power_lost}: {:?}",
                        bytes.first_chunk::<8>()
                    );
                }
                assert!(content.keep(b"and on it goes").is_ok(), "{plan:?}");
            }
        }
    }
}

#[test]
fn what_was_kept_before_a_failed_sync_is_written_again_before_the_next_one() {
    let storage = MemStorage::default();
    let content = open(&storage);
    content.keep(&object(1, 2000)).unwrap();
    content.sync().unwrap();
    let late: Vec<_> = (2..30).map(|n| object(n, 9000)).collect();
    for bytes in &late {
        content.keep(bytes).unwrap().named(Seq(7));
    }
    storage.0.lock().sync_fails = true;
    assert!(content.sync().is_err());
    late.iter().for_each(|bytes| assert_held(&content, bytes));
    assert!(content.failure().is_some());
    storage.0.lock().sync_fails = false;
    let hasten = || {
        if let Some(failure) = content.shared.active.lock().failure.as_mut() {
            failure.hasten();
        }
    };
    // A disk that is full meanwhile keeps it from being called durable.
    storage.0.lock().full = true;
    hasten();
    assert!(content.sync().is_err());
    storage.0.lock().full = false;
    hasten();
    content.sync().unwrap();
    assert!(content.shared.packs.all().len() > 2);
    drop(content);
    storage.lose_power();
    let content = open(&storage);
    late.iter().for_each(|bytes| assert_held(&content, bytes));
}

#[test]
fn a_full_disk_costs_versions_and_heals() {
    let storage = MemStorage::default();
    let content = open(&storage);
    content.keep(&object(1, 2000)).unwrap();
    storage.0.lock().full = true;
    let full = (2..)
        .map(|n| content.keep(&object(n, 2000)))
        .find(Result::is_err);
    assert!(matches!(full, Some(Err(ContentError::Full))));
    assert!(content.failure().is_some());
    assert_held(&content, &object(1, 2000));
    storage.0.lock().full = false;
    content
        .shared
        .active
        .lock()
        .failure
        .as_mut()
        .unwrap()
        .hasten();
    content.keep(&object(9999, 2000)).unwrap();
    assert_eq!(content.failure(), None);
}

#[test]
fn many_keep_and_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let storage = DirStorage::new(std::fs::File::open(dir.path()).unwrap().into());
    let options = Options {
        pack_bytes: PACK_BYTES_MIN,
    };
    let (content, _) = Content::open(Box::new(storage), options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let content = content.clone();
            scope.spawn(move || {
                for number in 0..300 {
                    let seq = Seq(number + 1);
                    let bytes = object(number % (100 + thread), 3000);
                    let kept = content.keep(&bytes).unwrap();
                    assert_held(&content, &bytes);
                    kept.named(seq);
                    if number % 50 == 0 {
                        content.sync().unwrap();
                        content.save(seq).unwrap();
                        content.retain(Seq(number.saturating_sub(150)), u64::MAX);
                    }
                }
            });
        }
    });
    content.close().unwrap();
    let storage = DirStorage::open_readonly(std::fs::File::open(dir.path()).unwrap().into());
    assert_eq!(
        verify(&storage, Seq(1)).unwrap().problems,
        [] as [String; 0]
    );
}

#[derive(Clone, Debug)]
enum Step {
    Keep(u64, usize),
    Sync,
    Reopen,
    PowerLoss,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40_u64, prop::sample::select(vec![0, 10, 3000, 30_000, 70_000, 200_000]))
            .prop_map(|(n, size)| Step::Keep(n, size)),
        2 => Just(Step::Sync),
        1 => Just(Step::Reopen),
        1 => Just(Step::PowerLoss),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_a_plain_map(steps in prop::collection::vec(step(), 1..40)) {
        let storage = MemStorage::default();
        let mut content = open(&storage);
        let mut held: HashMap<Hash, Vec<u8>> = HashMap::new();
        let mut durable = held.clone();
        for step in steps {
            match step {
                Step::Keep(number, size) => {
                    let bytes = object(number, size);
                    content.keep(&bytes).unwrap();
                    held.insert(hash_of(&bytes), bytes);
                }
                Step::Sync => {
                    content.sync().unwrap();
                    durable = held.clone();
                }
                Step::Reopen => content = open(&storage),
                Step::PowerLoss => {
                    storage.lose_power();
                    content = open(&storage);
                    held = durable.clone();
                }
            }
            for (hash, bytes) in &held {
                let read = content.read(hash).unwrap();
                prop_assert!(read.is_some(), "{} bytes are not held", bytes.len());
                prop_assert!(read.as_ref() == Some(bytes));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = recovery::scan(&bytes);
        let _ = (format::read_index(&bytes, 7), format::read_names(&bytes));
    }
}

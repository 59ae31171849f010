//! Power is lost at every moment of a workload on log and contents, and the disk keeps what such a disk may keep: what
//! a sync promised is there, and everything else is whole or said to be missing.
//!
//! `HIPPOFS_POWER_STATES` is the number of states that are looked at, `HIPPOFS_POWER_SEED` the first workload's seed.

use std::collections::BTreeMap;
use std::io;

use crate::content::{self, Content};
use crate::disk::power::{Chance, HABITS, Habit, Machine};
use crate::event::{Event, GapReason, Mark, Seq, line};
use crate::event_log::{Chunk, Companion, EventLog, Options, Purpose, Recovery, SEGMENT_BYTES_MIN};

/// Steps of one workload: some two hundred writes, flushes and changes of names.
const STEPS: usize = 60;
/// A reservation that makes a new segment of every second line.
const LARGE_ROOM: usize = 40_000;
/// States in the ordinary run.
const STATES_DEFAULT: usize = 500;

/// A number from the environment.
pub(super) fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// No round of the keeper comes between the steps.
pub(super) fn log_options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        sync_interval: std::time::Duration::from_secs(3600),
        ..Options::default()
    }
}

/// One life of a daemon, as far as it keeps anything.
struct Life {
    log: EventLog,
    content: Content,
    recovery: Recovery,
}

struct Beside(Content);

impl Companion for Beside {
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn retain(&self, oldest: Seq, bytes_max: u64) {
        self.0.retain(oldest, bytes_max);
    }
}

impl Life {
    fn begin(machine: &Machine) -> Life {
        let (log, recovery) =
            EventLog::open(Box::new(machine.storage("log")), log_options()).unwrap();
        let options = content::Options {
            pack_bytes: content::PACK_BYTES_MIN,
        };
        let (content, _) = Content::open(Box::new(machine.storage("content")), options).unwrap();
        log.accompany(Box::new(Beside(content.clone())));
        for gap in &recovery.gaps {
            let mut body = String::new();
            line::body(gap, &mut body);
            let room = log.reserve(body.len() + line::FRAME_BYTES_MAX, Purpose::Freeing);
            room.unwrap().append(&body).unwrap();
        }
        Life {
            log,
            content,
            recovery,
        }
    }

    fn append(&self, text: &str, room: usize) -> Seq {
        let mark = Mark {
            text: text.into(),
            data: None,
        };
        let mut body = String::new();
        line::body(&Event::mark(mark, None), &mut body);
        let bytes = room.max(line::line_bytes_max(text.len()));
        let room = self.log.reserve(bytes, Purpose::Ordinary).unwrap();
        room.append(&body).unwrap()
    }

    /// Every line by its position.
    fn lines(&self) -> BTreeMap<u64, String> {
        let mut reader = self.log.reader(Seq(0), self.log.head());
        let mut lines = BTreeMap::new();
        loop {
            match reader.next_chunk(1 << 20).unwrap() {
                Chunk::End => return lines,
                Chunk::Gap { .. } => {}
                Chunk::Lines(bytes) => {
                    for one in bytes.split_inclusive(|byte| *byte == b'\n') {
                        let seq = line::check(one).unwrap();
                        let last = lines.last_key_value().map_or(0, |(seq, _)| *seq);
                        assert!(seq.0 > last, "{seq} after {last}");
                        lines.insert(seq.0, String::from_utf8(one.to_vec()).unwrap());
                    }
                }
            }
        }
    }
}

/// What callers were told.
#[derive(Default)]
struct Told {
    /// The text of each event, and its content.
    events: BTreeMap<u64, (String, Vec<u8>)>,
    /// From this moment of the machine on, everything up to that event survives.
    promises: Vec<(usize, Seq)>,
}

impl Told {
    fn promised(&self, moment: usize) -> Seq {
        let made = self.promises.iter().filter(|(at, _)| *at <= moment);
        made.map(|(_, seq)| *seq).max().unwrap_or_default()
    }
}

fn bytes_of(number: u64, chance: &mut Chance) -> Vec<u8> {
    // One large content now and then, of several pieces.
    let length = if chance.below(20) == 0 {
        content::CHUNK_BYTES + chance.below(60_000)
    } else {
        1 + chance.below(9_000)
    };
    let mut bytes = number.to_le_bytes().repeat(length / 8 + 1);
    bytes.truncate(length);
    bytes
}

fn workload(machine: &Machine, chance: &mut Chance) -> Told {
    let mut told = Told::default();
    let mut life = Life::begin(machine);
    for number in 0..STEPS as u64 {
        match chance.below(20) {
            0..=13 => {
                let bytes = bytes_of(number, chance);
                let kept = life.content.keep(&bytes).unwrap();
                let hash = blake3::Hash::from_bytes(kept.hash()).to_hex();
                let text = format!("{number} {hash} {}", "x".repeat(chance.below(900)));
                let room = if chance.below(6) == 0 { LARGE_ROOM } else { 0 };
                let seq = life.append(&text, room);
                kept.named(seq);
                told.events.insert(seq.0, (text, bytes));
            }
            14..=16 => {
                let durable = life.log.sync().unwrap();
                told.promises.push((machine.moment(), durable));
            }
            17 => {
                let durable = life.log.sync().unwrap();
                told.promises.push((machine.moment(), durable));
                life.content.save(durable).unwrap();
            }
            18 => {
                // As after a kill: what was written is there.
                drop(life);
                life = Life::begin(machine);
            }
            _ => {
                life.log.close().unwrap();
                life.content.close().unwrap();
                told.promises.push((machine.moment(), life.log.head()));
                drop(life);
                life = Life::begin(machine);
            }
        }
    }
    told
}

/// What a start after the loss must find.
fn check(machine: &Machine, told: &Told, moment: usize, place: &str) {
    let life = Life::begin(machine);
    let lines = life.lines();
    let promised = told.promised(moment);
    for (seq, (text, bytes)) in &told.events {
        let hash = blake3::hash(bytes);
        let found = lines.get(seq).is_some_and(|line| line.contains(text));
        assert!(found || *seq > promised.0, "{place}: event {seq} is lost");
        match life.content.read(hash.as_bytes()) {
            Ok(Some(read)) => assert!(read == *bytes, "{place}: wrong bytes of {seq}"),
            other => assert!(*seq > promised.0, "{place}: content of {seq}: {other:?}"),
        }
    }
    for (seq, line) in &lines {
        let known = told.events.get(seq).is_some_and(|(t, _)| line.contains(t));
        let is_gap = line.contains("\"event_type\":\"gap\"");
        assert!(known || is_gap, "{place}: nobody wrote {line}");
    }
    let head = life.log.head().0;
    let said: Vec<_> = lines.values().filter_map(|line| range_of(line)).collect();
    for seq in 1..=head {
        let is_said = || said.iter().any(|(from, to)| (*from..=*to).contains(&seq));
        assert!(
            lines.contains_key(&seq) || is_said(),
            "{place}: {seq} is gone and nobody says so: {:?}",
            life.recovery
        );
    }
    goes_on(life, machine, head, place);
}

/// The range a gap event says is lost.
fn range_of(line: &str) -> Option<(u64, u64)> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    (event["event_type"] == "gap").then_some(())?;
    Some((event["from"].as_u64()?, event["to"].as_u64()?))
}

/// What is written after the loss survives the next one.
fn goes_on(life: Life, machine: &Machine, head: u64, place: &str) {
    let bytes = format!("after {place}").into_bytes();
    let hash = life.content.keep(&bytes).unwrap().hash();
    assert_eq!(life.append("on", 0).0, head + 1, "{place}");
    assert_eq!(life.log.sync().unwrap().0, head + 1, "{place}");
    let kept = life.lines();
    drop(life);
    let machine = machine.after_loss(machine.moment(), Habit::Loses, &mut Chance(1));
    let life = Life::begin(&machine);
    let mut lines = life.lines();
    // The gap of this start.
    lines.retain(|seq, _| *seq <= head + 1);
    assert!(lines == kept, "{place}: the second loss took something");
    assert_eq!(life.content.read(&hash).unwrap(), Some(bytes), "{place}");
}

#[test]
fn whenever_power_is_lost_what_a_sync_promised_is_there_and_the_rest_is_whole_or_said() {
    let states = setting("HIPPOFS_POWER_STATES", STATES_DEFAULT);
    let mut seed = setting("HIPPOFS_POWER_SEED", 1) as u64;
    let mut done = 0;
    let mut synced = 0;
    while done < states {
        let mut chance = Chance(seed);
        let machine = Machine::default();
        let told = workload(&machine, &mut chance);
        let moments = machine.moment();
        // Every prefix in the long run; in the short one a part of each workload, so that there are several.
        let step = (moments * HABITS.len()).div_ceil(states.div_ceil(4)).max(1);
        for moment in (chance.below(step)..=moments).step_by(step) {
            for habit in HABITS {
                let place = format!("seed {seed}, moment {moment} of {moments}, {habit:?}");
                let left = machine.after_loss(moment, habit, &mut chance);
                check(&left, &told, moment, &place);
                done += 1;
                synced += usize::from(told.promised(moment) > Seq(0));
            }
        }
        seed += 1;
    }
    assert!(synced * 2 > done, "{synced} of {done} had anything to keep");
    println!("{done} states after a loss of power, up to seed {seed}");
}

#[test]
fn the_recorder_of_writes_tells_the_habits_apart() {
    let machine = Machine::default();
    let life = Life::begin(&machine);
    life.append("kept", 0);
    life.log.sync().unwrap();
    life.append("late", 0);
    drop(life);
    let has = |habit, word: &str| {
        let left = machine.after_loss(machine.moment(), habit, &mut Chance(3));
        let lines = Life::begin(&left).lines();
        lines.values().any(|line| line.contains(word))
    };
    assert!(has(Habit::Loses, "kept") && !has(Habit::Loses, "late"));
    assert!(has(Habit::Keeps, "kept") && has(Habit::Keeps, "late"));
    assert_eq!(GapReason::Crash.word(), "crash");
}

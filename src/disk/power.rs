//! A recorder of every write, flush and change of names, and the states that a loss of power may leave of them.
//!
//! What a disk may do, between two flushes and for each file by itself: every 512-byte sector holds what it held at
//! some moment since the last flush, the length is that of some moment, and each change of a name has happened or has
//! not. [`Habit`] says how far it goes. A flush of a file says nothing of its name, nor that of a directory of bytes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Storage, StoredFile};

/// What a disk writes as one.
const SECTOR_BYTES: usize = 512;

/// How a disk treats what was not flushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Habit {
    /// It is lost.
    Loses,
    /// It is all there: the loss of power came after the write-back.
    Keeps,
    /// Some of it, up to some moment of each file, the last write torn at a sector.
    InOrder,
    /// Any of it, sector by sector.
    Reorders,
}

pub(crate) const HABITS: [Habit; 4] = [Habit::Loses, Habit::Keeps, Habit::InOrder, Habit::Reorders];

type FileId = usize;
type Name = (&'static str, String);
type Hook = Arc<dyn Fn(&str) + Send + Sync>;

#[derive(Clone, Debug)]
enum Op {
    Write {
        file: FileId,
        offset: usize,
        bytes: Vec<u8>,
    },
    Resize {
        file: FileId,
        bytes: usize,
    },
    Flush {
        file: FileId,
    },
    Put {
        name: Name,
        file: FileId,
    },
    Rename {
        from: Name,
        to: Name,
        file: FileId,
    },
    Remove {
        name: Name,
    },
    FlushNames {
        dir: &'static str,
    },
}

#[derive(Default)]
struct Journal {
    names: BTreeMap<Name, FileId>,
    files: Vec<Vec<u8>>,
    ops: Vec<Op>,
}

/// One machine with several directories; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Machine(Arc<Mutex<Journal>>);

/// A directory of it.
#[derive(Clone)]
pub(crate) struct PowerStorage {
    machine: Machine,
    dir: &'static str,
    hook: Option<Hook>,
}

struct PowerFile {
    machine: Machine,
    file: FileId,
}

/// Numbers that look like chance and come again with the same seed.
#[derive(Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

impl Machine {
    pub(crate) fn storage(&self, dir: &'static str) -> PowerStorage {
        PowerStorage {
            machine: self.clone(),
            dir,
            hook: None,
        }
    }

    /// How much has been done so far: a moment to lose power at.
    pub(crate) fn moment(&self) -> usize {
        self.0.lock().ops.len()
    }

    /// The moment after the last write to a file that stands in `dir` now.
    pub(crate) fn last_write(&self, dir: &str) -> Option<usize> {
        let journal = self.0.lock();
        let here = |file: &FileId| journal.names.iter().any(|(n, f)| n.0 == dir && f == file);
        let last = journal
            .ops
            .iter()
            .rposition(|op| matches!(op, Op::Write { file, .. } if here(file)));
        last.map(|at| at + 1)
    }

    /// The machine after it lost power at `moment`, its disk being of that habit.
    pub(crate) fn after_loss(&self, moment: usize, habit: Habit, chance: &mut Chance) -> Machine {
        let journal = self.0.lock();
        let ops = &journal.ops[..moment];
        let names = names_after(ops, habit, chance);
        let mut files: Vec<Vec<u8>> = Vec::new();
        let mut left = BTreeMap::new();
        for (name, file) in names {
            left.insert(name, files.len());
            files.push(bytes_after(ops, file, habit, chance));
        }
        let mut ops: Vec<Op> = Vec::new();
        // What is there after the loss is durable: it was read from the disk.
        for (name, file) in &left {
            let bytes = files[*file].clone();
            ops.push(Op::Put {
                name: name.clone(),
                file: *file,
            });
            ops.push(Op::Resize {
                file: *file,
                bytes: bytes.len(),
            });
            ops.push(Op::Write {
                file: *file,
                offset: 0,
                bytes,
            });
            ops.push(Op::Flush { file: *file });
            ops.push(Op::FlushNames { dir: name.0 });
        }
        Machine(Arc::new(Mutex::new(Journal {
            names: left,
            files,
            ops,
        })))
    }
}

fn names_after(ops: &[Op], habit: Habit, chance: &mut Chance) -> BTreeMap<Name, FileId> {
    let dir_of = |op: &Op| match op {
        Op::Put { name, .. } | Op::Remove { name } => Some(name.0),
        Op::Rename { to, .. } => Some(to.0),
        _ => None,
    };
    let flushed = |dir: &str| {
        ops.iter()
            .rposition(|op| matches!(op, Op::FlushNames { dir: d } if *d == dir))
    };
    let mut last = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        let Some(dir) = dir_of(op) else { continue };
        // Until when this directory's changes are sure, and until when they may have happened.
        let (sure, until) = *last.entry(dir).or_insert_with(|| {
            let sure = flushed(dir).map_or(0, |at| at + 1);
            (sure, sure + chance.below(ops.len() - sure + 1))
        });
        let happens = at < sure
            || match habit {
                Habit::Loses => false,
                Habit::Keeps => true,
                Habit::InOrder => at < until,
                Habit::Reorders => chance.below(2) == 0,
            };
        if !happens {
            continue;
        }
        match op {
            Op::Put { name, file } => drop(names.insert(name.clone(), *file)),
            Op::Remove { name } => drop(names.remove(name)),
            Op::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            _ => {}
        }
    }
    names
}

fn bytes_after(ops: &[Op], file: FileId, habit: Habit, chance: &mut Chance) -> Vec<u8> {
    let of_it = |op: &Op| match op {
        Op::Write { file: f, .. } | Op::Resize { file: f, .. } | Op::Flush { file: f } => {
            *f == file
        }
        _ => false,
    };
    let own: Vec<&Op> = ops.iter().filter(|op| of_it(op)).collect();
    let flushed = own.iter().rposition(|op| matches!(op, Op::Flush { .. }));
    let (sure, pending) = own.split_at(flushed.map_or(0, |at| at + 1));
    let mut bytes = Vec::new();
    sure.iter().for_each(|op| apply(op, &mut bytes));
    let until = match habit {
        Habit::Loses => 0,
        Habit::Keeps => pending.len(),
        Habit::InOrder | Habit::Reorders => chance.below(pending.len() + 1),
    };
    let mut length = bytes.len();
    let mut moments: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, op) in pending.iter().enumerate() {
        match op {
            Op::Resize { bytes: to, .. } => {
                if at < until {
                    length = *to;
                }
                bytes.resize(bytes.len().max(*to), 0);
                // A cut takes what lay behind it, wherever the disk had got to.
                if at < until {
                    bytes[*to..].fill(0);
                }
            }
            Op::Write {
                offset,
                bytes: data,
                ..
            } => {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                for (sector, part) in sectors(*offset, data) {
                    let moment = match habit {
                        Habit::Reorders => *moments
                            .entry(sector)
                            .or_insert_with(|| chance.below(pending.len() + 1)),
                        // The one that was under way when power went is torn at a sector.
                        Habit::InOrder if at + 1 == until => at + chance.below(2),
                        _ => until,
                    };
                    if at < moment {
                        bytes[part.0..part.0 + part.1.len()].copy_from_slice(part.1);
                    }
                }
            }
            _ => {}
        }
    }
    bytes.truncate(length);
    bytes
}

/// The pieces of a write: sector, and offset with the bytes of it.
fn sectors(offset: usize, data: &[u8]) -> Vec<(usize, (usize, &[u8]))> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let sector = (offset + at) / SECTOR_BYTES;
        let end = ((sector + 1) * SECTOR_BYTES - offset).min(data.len());
        pieces.push((sector, (offset + at, &data[at..end])));
        at = end;
    }
    pieces
}

fn apply(op: &Op, content: &mut Vec<u8>) {
    match op {
        Op::Resize { bytes, .. } => content.resize(*bytes, 0),
        Op::Write { offset, bytes, .. } => {
            content[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        _ => {}
    }
}

impl PowerStorage {
    /// The same, calling `hook` with the name of each file that is made.
    pub(crate) fn on_create(self, hook: impl Fn(&str) + Send + Sync + 'static) -> PowerStorage {
        PowerStorage {
            hook: Some(Arc::new(hook)),
            ..self
        }
    }

    fn name(&self, name: &str) -> Name {
        (self.dir, name.to_owned())
    }

    fn file(&self, file: FileId) -> Arc<dyn StoredFile> {
        Arc::new(PowerFile {
            machine: self.machine.clone(),
            file,
        })
    }
}

impl Storage for PowerStorage {
    fn names(&self) -> io::Result<Vec<String>> {
        let journal = self.machine.0.lock();
        let here = journal.names.keys().filter(|(dir, _)| *dir == self.dir);
        Ok(here.map(|(_, name)| name.clone()).collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let journal = self.machine.0.lock();
        let file = journal.names.get(&self.name(name)).copied();
        drop(journal);
        Ok(self.file(file.ok_or(io::ErrorKind::NotFound)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let mut journal = self.machine.0.lock();
        let file = match journal.names.get(&self.name(name)).copied() {
            Some(file) => {
                journal.files[file].clear();
                journal.ops.push(Op::Resize { file, bytes: 0 });
                file
            }
            None => {
                let file = journal.files.len();
                journal.files.push(Vec::new());
                journal.names.insert(self.name(name), file);
                let name = self.name(name);
                journal.ops.push(Op::Put { name, file });
                file
            }
        };
        drop(journal);
        if let Some(hook) = &self.hook {
            hook(name);
        }
        Ok(self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut journal = self.machine.0.lock();
        let (from, to) = (self.name(from), self.name(to));
        let file = journal.names.remove(&from).ok_or(io::ErrorKind::NotFound)?;
        journal.names.insert(to.clone(), file);
        journal.ops.push(Op::Rename { from, to, file });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut journal = self.machine.0.lock();
        let name = self.name(name);
        journal.names.remove(&name).ok_or(io::ErrorKind::NotFound)?;
        journal.ops.push(Op::Remove { name });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut journal = self.machine.0.lock();
        journal.ops.push(Op::FlushNames { dir: self.dir });
        Ok(())
    }
}

impl PowerFile {
    fn change(&self, op: Op) {
        let mut journal = self.machine.0.lock();
        apply(&op, &mut journal.files[self.file]);
        journal.ops.push(op);
    }
}

impl StoredFile for PowerFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.machine.0.lock().files[self.file].len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let journal = self.machine.0.lock();
        let bytes = &journal.files[self.file];
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let read = buffer.len().min(bytes.len() - from);
        buffer[..read].copy_from_slice(&bytes[from..from + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.change(Op::Write {
            file: self.file,
            offset: usize::try_from(offset).unwrap(),
            bytes: bytes.to_vec(),
        });
        Ok(bytes.len())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).unwrap();
        if bytes > self.machine.0.lock().files[self.file].len() {
            let file = self.file;
            self.change(Op::Resize { file, bytes });
        }
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.change(Op::Resize {
            file: self.file,
            bytes: usize::try_from(bytes).unwrap(),
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.change(Op::Flush { file: self.file });
        Ok(())
    }
}

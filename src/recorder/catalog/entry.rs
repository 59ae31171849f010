//! One entry as the catalog keeps it: a million of them must be small, so the state is packed and a name is shared
//! by the directory that holds it and the entry it names.

use std::collections::HashMap;
use std::sync::Arc;

use crate::backing::{Identity, Time};
use crate::event::{HASH_BYTES, Seq};

use super::state::State;

/// A name, as bytes.
pub(super) type Name = Arc<[u8]>;

/// What is known of one inode.
pub(super) struct Entry {
    packed: Packed,
    pub(super) links: Links,
    /// For a directory of the storage's own filesystem.
    pub(super) dir: Option<Box<Dir>>,
}

/// The names in a directory.
#[derive(Default)]
pub(super) struct Dir {
    pub(super) names: HashMap<Name, u64>,
    /// Whether every name in it is known, so that an unknown one has come since.
    pub(super) listed: bool,
}

/// Where an entry stands: nearly always at one name.
pub(super) enum Links {
    One(u64, Name),
    /// None, for the root and for an entry in between; or several, for a hard link.
    Many(Vec<(u64, Name)>),
}

impl Entry {
    pub(super) fn new(state: &State) -> Entry {
        Entry {
            packed: Packed::new(state),
            links: Links::Many(Vec::new()),
            dir: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.packed.state()
    }

    pub(super) fn set(&mut self, state: &State) {
        self.packed = Packed::new(state);
    }
}

impl Links {
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Name)> {
        let (one, many) = match self {
            Links::One(dir, name) => (Some((*dir, name)), &[][..]),
            Links::Many(many) => (None, many.as_slice()),
        };
        one.into_iter()
            .chain(many.iter().map(|(dir, name)| (*dir, name)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn add(&mut self, dir: u64, name: &Name) {
        if self.iter().any(|(d, n)| d == dir && n == name) {
            return;
        }
        *self = match std::mem::replace(self, Links::Many(Vec::new())) {
            Links::Many(none) if none.is_empty() => Links::One(dir, Arc::clone(name)),
            Links::Many(mut many) => {
                many.push((dir, Arc::clone(name)));
                Links::Many(many)
            }
            Links::One(d, n) => Links::Many(vec![(d, n), (dir, Arc::clone(name))]),
        };
    }

    pub(super) fn remove(&mut self, dir: u64, name: &[u8]) {
        *self = match std::mem::replace(self, Links::Many(Vec::new())) {
            Links::One(d, n) if d == dir && *n == *name => return,
            Links::Many(mut many) => {
                many.retain(|(d, n)| *d != dir || **n != *name);
                match many.pop() {
                    Some((d, n)) if many.is_empty() => Links::One(d, n),
                    Some(last) => {
                        many.push(last);
                        Links::Many(many)
                    }
                    None => return,
                }
            }
            other @ Links::One(..) => other,
        };
    }

    /// Makes every link in `from` one in `to`.
    pub(super) fn reparent(&mut self, from: u64, to: u64) {
        match self {
            Links::One(dir, _) if *dir == from => *dir = to,
            Links::One(..) => {}
            Links::Many(many) => {
                for (dir, _) in many.iter_mut().filter(|(dir, _)| *dir == from) {
                    *dir = to;
                }
            }
        }
    }
}

const HASHED: u8 = 1;
const UNSURE: u8 = 2;

/// A [`State`] without its padding.
struct Packed {
    dev: u64,
    ino: u64,
    secs: [i64; 3],
    size: u64,
    seq: u64,
    nanos: [u32; 3],
    nlink: u32,
    uid: u32,
    gid: u32,
    hash: [u8; HASH_BYTES],
    mode: u16,
    flags: u8,
}

impl Packed {
    fn new(state: &State) -> Packed {
        let hashed = if state.hash.is_some() { HASHED } else { 0 };
        let unsure = if state.unsure { UNSURE } else { 0 };
        let birth = state.identity.birth;
        Packed {
            dev: state.identity.dev,
            ino: state.identity.ino,
            secs: [birth.0, state.mtime.secs, state.ctime.secs],
            size: state.size,
            seq: state.seq.0,
            nanos: [birth.1, state.mtime.nanos, state.ctime.nanos],
            nlink: state.nlink,
            uid: state.uid,
            gid: state.gid,
            hash: state.hash.unwrap_or_default(),
            mode: state.mode,
            flags: hashed | unsure,
        }
    }

    fn state(&self) -> State {
        let time = |at: usize| Time {
            secs: self.secs[at],
            nanos: self.nanos[at],
        };
        State {
            identity: Identity {
                dev: self.dev,
                ino: self.ino,
                birth: (self.secs[0], self.nanos[0]),
            },
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            mtime: time(1),
            ctime: time(2),
            hash: (self.flags & HASHED != 0).then_some(self.hash),
            seq: Seq(self.seq),
            unsure: self.flags & UNSURE != 0,
        }
    }
}

//! The look before a change: where the disk no longer is what the catalog says, that is a change behind the mount,
//! and it is recorded before the change that would cover it up.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use crate::backing::{self, Attr, Errno, FileType};
use crate::event::{Event, MissingContent, Source};
use crate::event_log::Purpose;

use super::catalog::State;
use super::change::Change;
use super::keep::{Captured, INLINE_BYTES_MAX, capture_open};
use super::locks::Held;
use super::reach::Tracked;
use super::{How, Located, Observed, RecordError, Recorder, Stale};

/// Times a change looks again because a name changed behind the mount: a storm of bypass changes on one name must
/// not keep a session waiting for ever. After the last one the change goes ahead, and the next look tells.
const LOOKS_MAX: usize = 8;

/// Something a change touches, and so covers up.
pub enum Touch<'a> {
    /// Content or attributes of an entry; a descriptor of it where one is open.
    Entry(&'a dyn Located, Option<BorrowedFd<'a>>),
    /// What stands at a name.
    Name(&'a dyn Located, &'a OsStr),
    /// What stands at a name and goes; of a directory also what is known below it.
    Going(&'a dyn Located, &'a OsStr),
    /// A name at which nothing stands.
    NewName(&'a dyn Located, &'a OsStr),
}

/// What has to be recorded first, and needs other locks.
enum Odd {
    /// This name is not what the catalog says.
    Name(u64, OsString),
    /// Names in this directory went unseen.
    Below(u64),
    /// Something on this path came unseen.
    Way(Vec<u8>),
}

/// Most things one change touches.
pub const TOUCHES_MAX: usize = 2;

impl Recorder {
    /// Takes what `change` must hold, with everything it touches as the catalog says.
    pub(super) fn hold_looked<C: Change>(&self, change: &C) -> Result<Held<'_>, RecordError> {
        let (scope, purpose) = (change.scope(), change.purpose());
        let Some(tracked) = &self.tracked else {
            return Ok(self.locks.hold(&scope));
        };
        let mut way_looked = false;
        for _ in 0..LOOKS_MAX {
            let held = self.locks.hold(&scope);
            let Some(odd) = self.first_odd(tracked, change)? else {
                return Ok(held);
            };
            if matches!(odd, Odd::Way(_)) && std::mem::replace(&mut way_looked, true) {
                // It led nowhere: the entry is on another filesystem, or moved again.
                return Ok(held);
            }
            // What must be held to record it is more than the change holds.
            drop(held);
            match odd {
                Odd::Name(dir, name) => self.record_odd_name(tracked, (dir, &name), purpose)?,
                Odd::Below(dir) => {
                    for (name, _) in tracked.catalog.names(dir) {
                        let name = OsStr::from_bytes(&name);
                        self.record_odd_name(tracked, (dir, name), purpose)?;
                    }
                }
                Odd::Way(path) => self.record_way(tracked, &path, purpose)?,
            }
        }
        Ok(self.locks.hold(&scope))
    }

    fn first_odd<C: Change>(
        &self,
        tracked: &Tracked,
        change: &C,
    ) -> Result<Option<Odd>, RecordError> {
        for touch in change.touches().iter().flatten() {
            let odd = match touch {
                Touch::Entry(entry, fd) => {
                    self.look_at_entry(tracked, (*entry, *fd), change.purpose())?
                }
                Touch::Name(dir, name) => tracked.odd_name(*dir, name, true),
                Touch::Going(dir, name) => tracked
                    .odd_name(*dir, name, true)
                    .or_else(|| tracked.odd_below(*dir, name)),
                Touch::NewName(dir, name) => tracked.odd_name(*dir, name, false),
            };
            if odd.is_some() {
                return Ok(odd);
            }
        }
        Ok(None)
    }

    /// Tells `hook` what the look before a change found, so that kernel caches can be invalidated. It is called from
    /// the threads that serve the mount and must only enqueue. Only the first call counts.
    pub fn on_look(&self, hook: Box<dyn Fn(Observed) + Send + Sync>) {
        if let Some(tracked) = &self.tracked {
            let _ = tracked.on_look.set(hook);
        }
    }

    fn record_odd_name(
        &self,
        tracked: &Tracked,
        at: (u64, &OsStr),
        purpose: Purpose,
    ) -> Result<(), RecordError> {
        let observe = |settled| self.observe_name(at, Source::Watch, How::Stat, settled, purpose);
        let observed = observe(false).and_then(|mut observed| {
            if std::mem::take(&mut observed.missing) {
                observed.replaced = false;
                observed.add(observe(true)?);
            }
            Ok(observed)
        });
        match observed {
            Ok(observed) => {
                tracked.tell(observed);
                Ok(())
            }
            // The change itself will meet what the storage answers here.
            Err(RecordError::Storage(_)) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Records what came unseen on the way to `path`, so that nothing is told of an entry before its creation.
    fn record_way(
        &self,
        tracked: &Tracked,
        path: &[u8],
        purpose: Purpose,
    ) -> Result<(), RecordError> {
        let mut dir = tracked.catalog.root();
        for name in path.split(|byte| *byte == b'/') {
            if name != b"." {
                self.record_odd_name(tracked, (dir, OsStr::from_bytes(name)), purpose)?;
                match tracked.catalog.child(dir, name) {
                    Some(child) => dir = child,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Compares an entry, whose lock is held, and records at once how it changed.
    fn look_at_entry(
        &self,
        tracked: &Tracked,
        (entry, fd): (&dyn Located, Option<BorrowedFd<'_>>),
        purpose: Purpose,
    ) -> Result<Option<Odd>, RecordError> {
        let catalog = &tracked.catalog;
        let key = catalog.key_of(&entry.identity());
        let kept;
        let fd = match fd {
            Some(fd) => fd,
            // Where it cannot be reached the change will say so.
            None => match entry.descriptor() {
                Ok(descriptor) => {
                    kept = descriptor;
                    kept.as_fd()
                }
                Err(_) => return Ok(None),
            },
        };
        let attr = backing::attr_of(fd)?;
        let Some(state) = catalog.state(key).filter(|state| state.is_of(&attr)) else {
            // An open file without a name is nobody's business; any other came unseen.
            return Ok((attr.nlink > 0).then(|| Odd::Way(entry.path())));
        };
        if let Some(way) = tracked.other_way(key, entry) {
            return Ok(Some(way));
        }
        let difference = state.difference(&attr);
        if difference.is_none() && !state.unsure {
            return Ok(None);
        }
        let explained = difference.only_touched() && tracked.names_explain(key, &state, &attr);
        if difference.is_none() || explained {
            catalog.set(&State::of(&attr, state.hash, state.seq));
            return Ok(None);
        }
        let read = self.read_under_lock(fd, &attr);
        let hash = read.hash;
        let content = difference.content || (state.hash.is_some() && hash != state.hash);
        let event = Event {
            blake3: hash,
            prev_blake3: state.hash,
            content_missing: read.missing,
            ..found(entry, &attr)
        };
        let seq = self.note_for(&event, purpose)?;
        let kept = state.hash.filter(|_| !content);
        catalog.set(&State::of(&attr, hash.or(kept), seq));
        tracked.tell(stale_entry(tracked, key, content && !state.tells(&attr)));
        Ok(None)
    }
}

impl Recorder {
    /// A small file's content, kept where content is kept; nothing of a large one, or of one that cannot be read.
    fn read_under_lock(&self, fd: BorrowedFd<'_>, attr: &Attr) -> Captured {
        if attr.kind != FileType::RegularFile {
            return Captured::default();
        }
        if attr.size > INLINE_BYTES_MAX {
            let missing = self.keeper.as_ref().map(|_| MissingContent::Busy);
            return Captured {
                missing,
                ..Captured::default()
            };
        }
        capture_open(fd, attr, self.keeper.as_ref()).unwrap_or_default()
    }
}

impl Tracked {
    /// The name, when what stands there is not what the catalog says. `expected` is whether something is to stand
    /// there; if not, the disk is only asked when the catalog knows better.
    fn odd_name(&self, dir: &dyn Located, name: &OsStr, expected: bool) -> Option<Odd> {
        let identity = dir.identity();
        let key = self.catalog.key_of(&identity);
        let bytes = name.as_bytes();
        let known = self.catalog.state(key);
        if !known.is_some_and(|state| state.unsure || state.identity == identity) {
            return Some(Odd::Way(dir.path()));
        }
        if let Some(way) = self.other_way(key, dir) {
            return Some(way);
        }
        let known = self.catalog.child(key, bytes);
        if known.is_none() && !(expected && self.catalog.is_listed(key)) {
            return None;
        }
        let found = match backing::lookup(dir.descriptor().ok()?.as_fd(), name) {
            Ok(attr) => Some(attr),
            Err(Errno::NOENT) => None,
            Err(_) => return None,
        };
        let odd = self.catalog.differs(key, bytes, found.as_ref());
        odd.then(|| Odd::Name(key, name.to_owned()))
    }

    /// A name that is known in the directory at `name` and does not stand there any more: only an empty directory can
    /// go, so one that still stands there keeps it.
    fn odd_below(&self, dir: &dyn Located, name: &OsStr) -> Option<Odd> {
        let key = self
            .catalog
            .child(self.catalog.key_of(&dir.identity()), name.as_bytes())?;
        let names = self.catalog.names(key);
        let (below, _) = names.first()?;
        let at = self.place(key)?.descriptor().ok()?;
        let below = OsStr::from_bytes(below);
        let gone = matches!(backing::lookup(at.as_fd(), below), Err(Errno::NOENT));
        gone.then_some(Odd::Below(key))
    }

    /// The way to an entry that stands elsewhere than the catalog says: it, or a directory above, has moved.
    fn other_way(&self, key: u64, entry: &dyn Located) -> Option<Odd> {
        let path = entry.path();
        let mut places = self.catalog.places(key).into_iter();
        let known = key == self.catalog.root()
            || places.any(|(dir, name)| self.path_at(dir, &name) == path);
        (!known).then_some(Odd::Way(path))
    }

    /// Whether a name of `key` that came, went or moved explains that only its change time differs.
    fn names_explain(&self, key: u64, state: &State, attr: &Attr) -> bool {
        if state.nlink != attr.nlink {
            return true;
        }
        let mut places = self.catalog.places(key).into_iter();
        places.any(|(dir, name)| !self.holds(dir, &name, attr).unwrap_or(true))
    }

    /// Lets the kernel forget what a change that it did not ask for made stale.
    pub(super) fn tell_stale(&self, stale: Stale) {
        self.tell(Observed {
            invalidate: vec![stale],
            ..Observed::default()
        });
    }

    fn tell(&self, observed: Observed) {
        if observed != Observed::default()
            && let Some(hook) = self.on_look.get()
        {
            hook(observed);
        }
    }
}

fn stale_entry(tracked: &Tracked, key: u64, content: bool) -> Observed {
    let place = tracked.catalog.places(key).into_iter().next();
    let (parent, name) = place.unwrap_or((tracked.catalog.root(), b".".to_vec()));
    let stale = Stale {
        parent,
        name,
        ino: Some(key),
        content,
        entry: false,
    };
    Observed {
        invalidate: vec![stale],
        found: 1,
        ..Observed::default()
    }
}

fn found(entry: &dyn Located, attr: &Attr) -> Event {
    use crate::event::{EventType, Op};
    Event {
        src_path: Some(entry.path()),
        is_directory: attr.is_directory(),
        ino: Some(attr.identity.ino),
        size: Some(attr.size),
        ..Event::new(EventType::Modified, Some(Op::Found), Source::Watch)
    }
}

//! The contents of one change: what it destroys, what it leaves, what its event names. Its locks are held.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use crate::backing::{self, Attr, FileType};
use crate::event::{Event, Seq};

use super::super::catalog::{Hash, State};
use super::super::change::Change;
use super::super::digest::same;
use super::super::reach::Tracked;
use super::super::{Located, Recorder};
use super::{Ahead, Captured, Destroyed, INLINE_BYTES_MAX, KeepOptions};

/// Times a large content is read ahead because it changed meanwhile, before it is read with its entry locked.
const READS_AHEAD_MAX: usize = 2;

impl Recorder {
    /// What is kept; `None` when nothing is.
    #[must_use]
    pub fn keeps(&self) -> Option<KeepOptions> {
        self.keeper.as_ref().map(|keeper| keeper.options)
    }

    /// What `change` is about to destroy, kept if no event holds it yet. Its locks are held.
    pub(in super::super) fn keep_destroyed<C: Change>(&self, change: &C) -> Captured {
        let (Some(tracked), Some(destroyed)) = (&self.tracked, change.destroys()) else {
            return Captured::default();
        };
        let known = match &destroyed {
            Destroyed::Of(entry, _) => tracked.state_of(*entry),
            Destroyed::At(dir, name) => tracked.state_at(*dir, name),
        };
        let hash = known.and_then(|state| state.hash);
        let Some(keeper) = &self.keeper else {
            return Captured::known(hash);
        };
        if let Some(held) = hash.and_then(|hash| keeper.held(&hash)) {
            return held;
        }
        if let Some(state) = known {
            let at_a_name = matches!(destroyed, Destroyed::At(..));
            let has_content = matches!(state.kind(), FileType::RegularFile | FileType::Symlink);
            if !has_content || (at_a_name && state.nlink > 1) {
                return Captured::known(hash);
            }
            if matches!(destroyed, Destroyed::Of(..)) && state.size == 0 {
                return Captured::default();
            }
        }
        let kept = keeper.keep_what(&destroyed);
        Captured {
            hash: kept.hash.or(hash),
            ..kept
        }
    }

    /// Completes the event of a change that was performed: the content it left, what it wrote, what moved with it.
    pub(in super::super) fn keep_left<C: Change>(
        &self,
        change: &C,
        done: &C::Done,
        before: &Captured,
        event: &mut Event,
    ) -> Captured {
        if let Some(replaced) = &mut event.replaced {
            replaced.blake3 = before.hash;
        }
        if event.dest_path.is_none() {
            event.prev_blake3 = event.prev_blake3.or(before.hash);
        }
        event.content_missing = before.missing;
        if let (Some(tracked), Some(attr)) = (&self.tracked, change.carries(done)) {
            event.blake3 = tracked.hash_of(attr);
        }
        if let (Some(tracked), Some(attr)) = (&self.tracked, change.swaps(done)) {
            event.prev_blake3 = tracked.hash_of(attr);
        }
        let Some(keeper) = &self.keeper else {
            return Captured::default();
        };
        if keeper.options.every_write
            && let Some(data) = change.data(done)
        {
            let kept = keeper.keep(&data);
            event.data_blake3 = kept.hash;
            event.content_missing = event.content_missing.or(kept.missing);
            return kept;
        }
        let Some((file, attr)) = change.leaves(done) else {
            return Captured::default();
        };
        let ahead = change.ahead().filter(|ahead| self.still(ahead, attr));
        let kept = match ahead {
            Some(ahead) => ahead.captured.clone(),
            None => keeper.keep_open(file, attr),
        };
        event.blake3 = kept.hash;
        event.content_missing = event.content_missing.or(kept.missing);
        kept
    }

    /// The event `seq` names its contents: they stay for as long as it does.
    pub(in super::super) fn name_content(&self, event: &Event, seq: Seq) {
        let Some(keeper) = &self.keeper else { return };
        let replaced = event.replaced.as_ref().and_then(|r| r.blake3);
        let hashes = [event.blake3, event.prev_blake3, event.data_blake3, replaced];
        for hash in hashes.iter().flatten() {
            keeper.store.named(hash, seq);
        }
    }

    /// The catalog knows the content that `change` left.
    pub(in super::super) fn learn_left(&self, left: Option<&Attr>, kept: &Captured) {
        if let (Some(tracked), Some(attr), Some(hash)) = (&self.tracked, left, kept.hash) {
            let key = tracked.catalog.key_of(&attr.identity);
            if let Some(state) = tracked.catalog.state(key)
                && state.is_of(attr)
                && state.difference(attr).is_none()
            {
                tracked.catalog.set_hash(key, &state, hash);
            }
        }
    }

    /// Whether keeping the content of this open file, which is `attr`, takes longer than a kernel-facing thread may.
    #[must_use]
    pub fn is_long_to_keep(&self, attr: &Attr) -> bool {
        self.keeper.is_some() && attr.size > INLINE_BYTES_MAX
    }

    /// Whether keeping what stands at `name` takes longer than a kernel-facing thread may. Only a hint.
    #[must_use]
    pub fn is_long_to_destroy(&self, dir: &dyn Located, name: &OsStr) -> bool {
        let state = || self.tracked.as_ref()?.state_at(dir, name);
        self.keeper.is_some() && state().is_some_and(|state| self.is_unheld_and_large(&state))
    }

    /// Whether keeping the content of `entry` takes longer than a kernel-facing thread may. Only a hint.
    #[must_use]
    pub fn is_long_to_empty(&self, entry: &dyn Located) -> bool {
        let state = || self.tracked.as_ref()?.state_of(entry);
        self.keeper.is_some() && state().is_some_and(|state| self.is_unheld_and_large(&state))
    }

    fn is_unheld_and_large(&self, state: &State) -> bool {
        let held = |hash: &Hash| self.keeper.as_ref().and_then(|k| k.store.held(hash));
        state.kind() == FileType::RegularFile
            && state.size > INLINE_BYTES_MAX
            && state.hash.as_ref().and_then(held).is_none()
    }

    /// Reads and keeps a large content before its entry is locked, so that nobody waits for that but the caller.
    #[must_use]
    pub fn read_ahead(&self, entry: &dyn Located, file: BorrowedFd<'_>) -> Option<Ahead> {
        let (keeper, tracked) = (self.keeper.as_ref()?, self.tracked.as_ref()?);
        let key = tracked.catalog.key_of(&entry.identity());
        let mut ahead = None;
        for _ in 0..READS_AHEAD_MAX {
            let seq = tracked.catalog.state(key).map(|state| state.seq);
            let attr = backing::attr_of(file).ok()?;
            let captured = keeper.keep_or_hash(file, &attr);
            let now = Ahead {
                attr,
                seq,
                captured,
            };
            let stands = backing::attr_of(file).is_ok_and(|after| self.still(&now, &after));
            ahead = Some(now);
            if stands {
                break;
            }
        }
        ahead
    }

    fn still(&self, ahead: &Ahead, attr: &Attr) -> bool {
        let state = self.tracked.as_ref().and_then(|tracked| {
            let key = tracked.catalog.key_of(&attr.identity);
            tracked.catalog.state(key)
        });
        same(&ahead.attr, attr) && state.map(|state| state.seq) == ahead.seq
    }
}

impl Tracked {
    fn state_of(&self, entry: &dyn Located) -> Option<State> {
        let key = self.catalog.key_of(&entry.identity());
        self.catalog.state(key).filter(|state| !state.unsure)
    }

    fn state_at(&self, dir: &dyn Located, name: &OsStr) -> Option<State> {
        let dir = self.catalog.key_of(&dir.identity());
        let key = self.catalog.child(dir, name.as_bytes())?;
        self.catalog.state(key).filter(|state| !state.unsure)
    }

    /// The hash of the content of an entry whose name alone has changed.
    fn hash_of(&self, attr: &Attr) -> Option<Hash> {
        let state = self.catalog.state(self.catalog.key_of(&attr.identity))?;
        state
            .hash
            .filter(|_| !state.unsure && state.is_of(attr) && !state.tells(attr))
    }
}

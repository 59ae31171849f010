//! What a comparison of disk and catalog means. Pure: everything it needs was read before, and all of it holds
//! while the locks are held.

use crate::backing::Attr;

use super::super::catalog::{Difference, Hash, State};
use super::super::keep::Captured;

/// A directory and a name in it.
pub(super) type Place = (u64, Vec<u8>);

/// Where else the catalog knows what was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Elsewhere {
    /// Nowhere.
    Unknown,
    /// At other names, which all still hold it.
    Linked,
    /// At this name, which no longer holds it.
    Left(Place),
}

/// Everything known of one name.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    /// What the catalog knows there.
    pub(super) known: Option<(u64, State)>,
    /// What stands there.
    pub(super) found: Option<Attr>,
    /// Hash of what stands there, when it was read.
    pub(super) hash: Option<Hash>,
    /// That content, where it is kept for the event that will tell of it.
    pub(super) captured: Captured,
    /// Where else the catalog knows what stands there.
    pub(super) elsewhere: Elsewhere,
    /// Whether every name of the directory was known.
    pub(super) listed: bool,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Disk and catalog agree; a hash that was read may be new.
    Same,
    /// The catalog follows without an event: it stood there before anyone watched, or a change of names that is
    /// recorded where it happened explains it.
    Learn,
    /// It changed in place.
    Modified { content: bool },
    /// It came; or it got this further name.
    Created,
    /// It came from this place, over what stood here.
    Moved(Place),
    /// It is not here any more.
    Deleted,
    /// Another entry took its place.
    Replaced,
    /// It is not here any more, and an appearance that is still to be observed may say where it went.
    Missing,
}

/// Decides; `settled` says that no appearance is still to be observed.
pub(super) fn decide(sight: &Sight, settled: bool) -> Verdict {
    match (&sight.known, &sight.found) {
        (None, None) => Verdict::Same,
        (Some(_), None) if settled => Verdict::Deleted,
        (Some(_), None) => Verdict::Missing,
        (None, Some(_)) => appeared(sight),
        (Some((_, state)), Some(attr)) if state.is_of(attr) => compared(sight, state, attr),
        (Some(_), Some(_)) if settled => Verdict::Replaced,
        (Some(_), Some(_)) => Verdict::Missing,
    }
}

/// What an entry at a name of which nothing (more) is known means.
pub(super) fn appeared(sight: &Sight) -> Verdict {
    match &sight.elsewhere {
        Elsewhere::Left(from) => Verdict::Moved(from.clone()),
        Elsewhere::Unknown | Elsewhere::Linked if sight.listed => Verdict::Created,
        Elsewhere::Unknown | Elsewhere::Linked => Verdict::Learn,
    }
}

fn compared(sight: &Sight, state: &State, attr: &Attr) -> Verdict {
    let mut difference = state.difference(attr);
    if let (Some(before), Some(now)) = (state.hash, sight.hash) {
        difference.content |= before != now;
    }
    if difference.is_none() {
        return if state.unsure {
            Verdict::Learn
        } else {
            Verdict::Same
        };
    }
    if difference.only_touched() && names_explain(sight, state, attr, difference) {
        return Verdict::Learn;
    }
    Verdict::Modified {
        content: difference.content,
    }
}

/// A name that comes, goes or moves changes the inode's time at its other names too.
fn names_explain(sight: &Sight, state: &State, attr: &Attr, difference: Difference) -> bool {
    debug_assert!(difference.touched);
    state.nlink != attr.nlink || matches!(sight.elsewhere, Elsewhere::Left(_))
}

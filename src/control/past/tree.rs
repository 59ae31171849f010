//! The whole tree as of an event: the present one, with everything since undone.

use std::collections::BTreeMap;

use memchr::memmem;

use crate::event::{Access, EventType, Op, Seq};
use crate::event_log::Chunk;

use super::change::Change;
use super::{EntryKind, Past, PastError, moved_along};

/// Bytes of the log read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Type bits of a mode, and those of a symbolic link.
const TYPE_BITS: u32 = 0o170_000;
const SYMLINK_BITS: u32 = 0o120_000;

/// What stood at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct What {
    pub(in super::super) kind: EntryKind,
    /// Permission bits and owner, of what is gone since.
    pub(in super::super) access: Option<Access>,
}

/// A tree by its paths.
pub(in super::super) type Tree = BTreeMap<Vec<u8>, What>;

impl Past {
    /// The tree as it is.
    pub(super) fn present_tree(&self) -> Tree {
        let entries = self.present.entries().into_iter();
        let what = |kind| What { kind, access: None };
        entries
            .map(|entry| (entry.path, what(entry.kind)))
            .collect()
    }

    /// The tree right after the event `seq`.
    ///
    /// # Errors
    /// [`PastError::Lost`] when events since are gone: they cannot be undone.
    pub(in super::super) fn tree_at(&self, seq: Seq) -> Result<Tree, PastError> {
        let head = self.log.head();
        let mut tree = self.present_tree();
        let mut since = Vec::new();
        let mut reader = self.log.reader(seq.min(head), head);
        let types = ["created", "deleted", "moved"];
        let sieves = types.map(|word| format!("\"event_type\":\"{word}\""));
        loop {
            match reader.next_chunk(CHUNK_BYTES)? {
                Chunk::Lines(lines) => {
                    let names = |line: &&[u8]| {
                        sieves
                            .iter()
                            .any(|s| memmem::find(line, s.as_bytes()).is_some())
                    };
                    let lines = lines.split(|byte| *byte == b'\n').filter(names);
                    since.extend(lines.filter_map(Change::parse));
                }
                Chunk::Gap { .. } => return Err(PastError::Lost),
                Chunk::End => break,
            }
        }
        for change in since.iter().rev() {
            undo(&mut tree, change);
        }
        Ok(tree)
    }
}

fn undo(tree: &mut Tree, change: &Change) {
    match (change.event_type, &change.dest) {
        (EventType::Created, _) => {
            tree.remove(&change.src);
        }
        (EventType::Deleted, _) => {
            tree.insert(change.src.clone(), what_went(change));
        }
        (EventType::Moved, Some(dest)) if change.op == Op::Exchange => {
            let (a, b) = (take(tree, &change.src), take(tree, dest));
            put(tree, &change.src, dest, a);
            put(tree, dest, &change.src, b);
        }
        (EventType::Moved, Some(dest)) => {
            let moved = take(tree, dest);
            put(tree, dest, &change.src, moved);
            if change.line.get("replaced").is_some() {
                // Only a directory is replaced by a directory.
                tree.insert(dest.clone(), what_went(change));
            }
        }
        _ => {}
    }
}

fn what_went(change: &Change) -> What {
    let access = change.access();
    let is_link = access.is_some_and(|access| access.mode & TYPE_BITS == SYMLINK_BITS);
    What {
        kind: match (change.is_directory, is_link) {
            (true, _) => EntryKind::Directory,
            (false, true) => EntryKind::Symlink,
            (false, false) => EntryKind::File,
        },
        access,
    }
}

/// Takes out what stands at `path`, with all below it.
fn take(tree: &mut Tree, path: &[u8]) -> Tree {
    let mut taken = Tree::new();
    if let Some(what) = tree.remove(path) {
        taken.insert(path.to_vec(), what);
    }
    let below = [path, b"/"].concat();
    let names: Vec<Vec<u8>> = tree
        .range(below.clone()..)
        .take_while(|(name, _)| name.starts_with(&below))
        .map(|(name, _)| name.clone())
        .collect();
    for name in names {
        if let Some(what) = tree.remove(&name) {
            taken.insert(name, what);
        }
    }
    taken
}

/// Puts what stood at `from` to `to`.
fn put(tree: &mut Tree, from: &[u8], to: &[u8], taken: Tree) {
    for (path, what) in taken {
        let path = moved_along(&path, from, to).unwrap_or_else(|| to.to_vec());
        tree.insert(path, what);
    }
}

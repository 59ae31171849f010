//! The entries the kernel knows, by the number it knows them by.
//!
//! A node holds no descriptor of an ordinary file: it is found again by its directory and name, and proven by its
//! identity, so a million cached entries cost no descriptors. Directories keep theirs while the budget lasts, and
//! an entry whose last name goes while the kernel still knows it keeps one until it is forgotten.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::backing::{self, Attr, Errno, FileType, Identity, OFlags};
use crate::recorder::{Descriptor, Located};

use super::handles::OpenFile;

/// Number of the root, as the kernel fixes it.
pub const ROOT: u64 = 1;
/// Numbers from here on are given to entries whose inode number cannot serve: other devices, and number 1.
const GIVEN_FROM: u64 = 1 << 61;
/// Names remembered of one entry; hard links beyond these are found again by lookup.
const NAMES_MAX: usize = 8;
/// Times an entry may move while it is looked for, before the kernel is told to look it up anew.
const MOVES_MAX: usize = 8;
/// Share of the descriptors this process may open that directories may keep.
const KEPT_SHARE: usize = 2;

/// One entry.
pub struct Node {
    /// Number the kernel knows it by.
    pub id: u64,
    /// Tells a number's present bearer from earlier ones.
    pub generation: u64,
    /// What it is.
    pub identity: Identity,
    /// Type.
    pub kind: FileType,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where it stands; the name used last comes last.
    names: Vec<(Arc<Node>, OsString)>,
    /// Kept descriptor that stands for it.
    kept: Option<Arc<OwnedFd>>,
    /// Its place in the budget, for a directory.
    budget: Option<Budget>,
    /// Its open files, which stand for it too.
    open: Vec<Weak<OpenFile>>,
    /// The last name it had, once it has none.
    last_path: Option<Vec<u8>>,
}

impl Node {
    fn new(id: u64, generation: u64, attr: &Attr) -> Node {
        Node {
            id,
            generation,
            identity: attr.identity,
            kind: attr.kind,
            state: Mutex::default(),
        }
    }

    /// Attributes, by whatever way is cheapest.
    ///
    /// # Errors
    /// ESTALE when it is not where it was last seen.
    pub fn attr(&self) -> Result<Attr, Errno> {
        match self.at_hand() {
            Some(fd) => backing::attr_of(fd.as_fd()),
            None => self.at_its_name(
                |dir, name| backing::lookup(dir.as_fd(), name),
                |attr| Ok(*attr),
            ),
        }
    }

    /// Opens the file anew.
    ///
    /// # Errors
    /// As open(2); ESTALE when it is not where it was last seen.
    pub fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        match self.at_hand() {
            Some(fd) => backing::reopen(fd.as_fd(), flags),
            None => self.at_its_name(
                |dir, name| backing::open_entry(dir.as_fd(), name, flags),
                |file| backing::attr_of(file.as_fd()),
            ),
        }
    }

    /// A descriptor someone already holds.
    fn at_hand(&self) -> Option<Descriptor> {
        let state = self.state.lock();
        if let Some(kept) = &state.kept {
            return Some(Descriptor::Shared(Arc::clone(kept)));
        }
        let open = state.open.iter().find_map(Weak::upgrade);
        open.map(|file| Descriptor::Shared(Arc::clone(&file.fd)))
    }

    /// Tries its names, the latest first; what `reach` gives must turn out to be this very entry.
    fn at_its_name<T>(
        &self,
        reach: impl Fn(&Descriptor, &OsStr) -> Result<T, Errno>,
        attr: impl Fn(&T) -> Result<Attr, Errno>,
    ) -> Result<T, Errno> {
        let mut names = self.state.lock().names.clone();
        for _ in 0..MOVES_MAX {
            let mut answer = Errno::STALE;
            for (dir, name) in names.iter().rev() {
                match dir.descriptor().and_then(|dir| reach(&dir, name)) {
                    Ok(found) if attr(&found)?.identity == self.identity => return Ok(found),
                    Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::STALE) => {}
                    // A symbolic link now stands where the file stood.
                    Err(Errno::LOOP) => {}
                    Err(error) => answer = error,
                }
            }
            // It may have moved while it was looked for.
            let now = self.state.lock().names.clone();
            let moved = now.len() != names.len()
                || now
                    .iter()
                    .zip(&names)
                    .any(|(a, b)| !Arc::ptr_eq(&a.0, &b.0) || a.1 != b.1);
            if !moved {
                return Err(answer);
            }
            names = now;
        }
        Err(Errno::STALE)
    }

    /// Remembers that it stands at `name` in `dir`.
    fn stands_at(&self, dir: &Arc<Node>, name: &OsStr) {
        let mut state = self.state.lock();
        if let Some((last, last_name)) = state.names.last()
            && last.id == dir.id
            && last_name == name
        {
            return;
        }
        state.names.retain(|(d, n)| d.id != dir.id || n != name);
        if self.kind == FileType::Directory {
            state.names.clear();
        } else if state.names.len() >= NAMES_MAX {
            state.names.remove(0);
        }
        state.names.push((Arc::clone(dir), name.to_owned()));
        state.last_path = None;
    }

    /// Forgets that it stands at `name` in `dir`; when that was its last name, the path stays for its last events.
    fn leaves(&self, dir: &Node, name: &OsStr) {
        let path = path_of(dir, name);
        let mut state = self.state.lock();
        state.names.retain(|(d, n)| d.id != dir.id || n != name);
        if state.names.is_empty() {
            state.last_path = Some(path);
        }
    }

    /// Keeps a descriptor, so that the entry can be reached without a name.
    fn keep(&self, budget: Option<Budget>) {
        // Outside the state's lock, because the way to the entry leads through it.
        if let Ok(Descriptor::Own(fd)) = self.descriptor() {
            let mut state = self.state.lock();
            if state.kept.is_none() {
                state.kept = Some(fd);
                state.budget = budget;
            }
        }
    }

    fn keeps(&self) -> bool {
        self.state.lock().kept.is_some()
    }

    /// Counts an open file as a way to reach it.
    pub fn opened(&self, file: &Arc<OpenFile>) {
        let mut state = self.state.lock();
        state.open.retain(|known| known.strong_count() > 0);
        state.open.push(Arc::downgrade(file));
    }
}

impl Located for Node {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn path(&self) -> Vec<u8> {
        let place = {
            let state = self.state.lock();
            match state.names.last() {
                Some((dir, name)) => Ok((Arc::clone(dir), name.clone())),
                None => Err(state.last_path.clone()),
            }
        };
        match place {
            Ok((dir, name)) => path_of(&dir, &name),
            Err(last) => last.unwrap_or_else(|| b".".to_vec()),
        }
    }

    fn descriptor(&self) -> Result<Descriptor, Errno> {
        if let Some(fd) = self.at_hand() {
            return Ok(fd);
        }
        let fd = self.at_its_name(
            |dir, name| backing::open_handle(dir.as_fd(), name),
            |fd| backing::attr_of(fd.as_fd()),
        )?;
        Ok(Descriptor::Own(Arc::new(fd)))
    }
}

fn path_of(dir: &Node, name: &OsStr) -> Vec<u8> {
    let mut path = dir.path();
    if dir.id == ROOT {
        path.clear();
    } else {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    path
}

/// One of the descriptors that directories may keep, given back when dropped.
struct Budget(Arc<AtomicUsize>);

impl Budget {
    fn take(used: &Arc<AtomicUsize>, most: usize) -> Option<Budget> {
        let taken = used
            .fetch_update(Relaxed, Relaxed, |n| (n < most).then_some(n + 1))
            .is_ok();
        taken.then(|| Budget(Arc::clone(used)))
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// All nodes.
pub(super) struct Nodes {
    root: Arc<Node>,
    table: Mutex<Table>,
    kept_dirs: Arc<AtomicUsize>,
    kept_dirs_max: usize,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<u64, Slot>,
    given: HashMap<(u64, u64), u64>,
    next_given: u64,
}

struct Slot {
    /// Alive while the kernel knows it or something below it, or it is open.
    node: Weak<Node>,
    /// Held while the kernel knows it.
    known: Option<Arc<Node>>,
    lookups: u64,
}

impl Nodes {
    /// A table with the storage's root in it.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub(super) fn new(root: OwnedFd) -> Result<Nodes, Errno> {
        let attr = backing::attr_of(root.as_fd())?;
        let node = Arc::new(Node::new(ROOT, 0, &attr));
        node.state.lock().kept = Some(Arc::new(root));
        let mut table = Table::default();
        let slot = Slot {
            node: Arc::downgrade(&node),
            known: Some(Arc::clone(&node)),
            lookups: 1,
        };
        table.by_id.insert(ROOT, slot);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .current
            .unwrap_or(1 << 20);
        let kept_dirs_max = usize::try_from(limit).unwrap_or(usize::MAX) / KEPT_SHARE;
        Ok(Nodes {
            root: node,
            table: Mutex::new(table),
            kept_dirs: Arc::default(),
            kept_dirs_max,
        })
    }

    /// The root.
    #[must_use]
    pub(super) fn root(&self) -> &Arc<Node> {
        &self.root
    }

    /// The node the kernel knows by `id`.
    ///
    /// # Errors
    /// ESTALE when there is none.
    pub(super) fn get(&self, id: u64) -> Result<Arc<Node>, Errno> {
        self.table
            .lock()
            .by_id
            .get(&id)
            .and_then(|slot| slot.node.upgrade())
            .ok_or(Errno::STALE)
    }

    /// The node of the entry found at `name` in `dir`, if the kernel knows it.
    #[must_use]
    pub(super) fn known(&self, attr: &Attr) -> Option<Arc<Node>> {
        let table = self.table.lock();
        let id = table.id_of(&attr.identity, self.root.identity.dev)?;
        let node = table.by_id.get(&id)?.node.upgrade()?;
        (node.identity == attr.identity).then_some(node)
    }

    /// The number by which the kernel knows an entry with the inode number of `identity`, if it knows one.
    #[must_use]
    pub(super) fn number_of(&self, identity: &Identity) -> Option<u64> {
        let table = self.table.lock();
        let id = table.id_of(identity, self.root.identity.dev)?;
        table.by_id.contains_key(&id).then_some(id)
    }

    /// Counts one more lookup of the entry found at `name` in `dir`; the kernel will forget it as often.
    pub(super) fn looked_up(&self, dir: &Arc<Node>, name: &OsStr, attr: &Attr) -> Arc<Node> {
        let node = self.count(attr);
        node.stands_at(dir, name);
        if attr.is_directory()
            && !node.keeps()
            && let Some(budget) = Budget::take(&self.kept_dirs, self.kept_dirs_max)
        {
            node.keep(Some(budget));
        }
        node
    }

    fn count(&self, attr: &Attr) -> Arc<Node> {
        let mut table = self.table.lock();
        let id = table.give_id(&attr.identity, self.root.identity.dev);
        let slot = table.by_id.entry(id).or_insert_with(|| Slot {
            node: Weak::new(),
            known: None,
            lookups: 0,
        });
        slot.lookups += 1;
        let before = slot.node.upgrade();
        let node = match before {
            Some(node) if node.identity == attr.identity => node,
            // The number has a new bearer: the kernel tells them apart by the generation.
            Some(old) => Arc::new(Node::new(id, old.generation + 1, attr)),
            None => Arc::new(Node::new(id, generation_of(&attr.identity), attr)),
        };
        slot.node = Arc::downgrade(&node);
        let displaced = slot.known.replace(Arc::clone(&node));
        drop(table);
        // Dropping a node may drop its directories' nodes; never under the table's lock.
        drop(displaced);
        node
    }

    /// The kernel forgets `count` lookups of `id`.
    pub(super) fn forget(&self, id: u64, count: u64) {
        if id == ROOT {
            return;
        }
        let mut table = self.table.lock();
        let Some(slot) = table.by_id.get_mut(&id) else {
            return;
        };
        slot.lookups = slot.lookups.saturating_sub(count);
        if slot.lookups > 0 {
            return;
        }
        let forgotten = slot.known.take();
        drop(table);
        let mut node = forgotten;
        // A directory lives on in the names of what stands below; with the last of them its slot goes too.
        while let Some(gone) = node {
            let id = gone.id;
            let parent = gone
                .state
                .lock()
                .names
                .last()
                .map(|(dir, _)| Arc::clone(dir));
            drop(gone);
            let mut table = self.table.lock();
            let dead = table
                .by_id
                .get(&id)
                .is_some_and(|slot| slot.node.strong_count() == 0);
            if dead {
                table.by_id.remove(&id);
                if id >= GIVEN_FROM {
                    table.given.retain(|_, given| *given != id);
                }
            }
            drop(table);
            node = parent.filter(|_| dead);
        }
    }

    /// An entry got a further name, or its first.
    pub(super) fn came(&self, dir: &Arc<Node>, name: &OsStr, attr: &Attr) {
        if let Some(node) = self.known(attr) {
            node.stands_at(dir, name);
        }
    }

    /// Before an entry's name goes: what the kernel knows stays reachable.
    pub(super) fn going(&self, attr: &Attr) {
        if let Some(node) = self.known(attr) {
            node.keep(None);
        }
    }

    /// After an entry's name has gone.
    pub(super) fn gone(&self, dir: &Node, name: &OsStr, attr: &Attr) {
        if let Some(node) = self.known(attr) {
            node.leaves(dir, name);
        }
    }
}

/// A first generation that differs between two bearers of one number, so that a number forgotten and given anew is
/// never mistaken.
fn generation_of(identity: &Identity) -> u64 {
    identity.birth.0.unsigned_abs().wrapping_shl(30) ^ u64::from(identity.birth.1)
}

impl Table {
    fn id_of(&self, identity: &Identity, root_dev: u64) -> Option<u64> {
        if identity.dev == root_dev && identity.ino > ROOT && identity.ino < GIVEN_FROM {
            return Some(identity.ino);
        }
        self.given.get(&(identity.dev, identity.ino)).copied()
    }

    fn give_id(&mut self, identity: &Identity, root_dev: u64) -> u64 {
        if let Some(id) = self.id_of(identity, root_dev) {
            return id;
        }
        self.next_given += 1;
        let id = GIVEN_FROM + self.next_given;
        self.given.insert((identity.dev, identity.ino), id);
        id
    }
}

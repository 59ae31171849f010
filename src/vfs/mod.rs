//! What a filesystem operation means, without a kernel: which entry, which handle, storage or control directory.
//!
//! Nothing here blocks on another session, and nothing here knows FUSE: requests come as numbers and names, and
//! answers go back as values.

mod attributes;
mod consumers;
mod controls;
mod dirs;
mod entries;
mod error;
mod files;
mod handles;
mod nodes;
mod restore;

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::backing::{Attr, Errno};
use crate::control::Control;
use crate::event::Caller;
use crate::recorder::{Callers, Recorder};

pub use attributes::SetAttr;
pub use controls::{CONTROL_NAME, is_control};
pub use dirs::ListedName;
pub use entries::{NewEntry, RenameKind};
pub use error::{Error, Result};
pub use files::{OpenHow, Opened, WriteHow};
pub use handles::{Handle, OpenFile};
pub use nodes::ROOT;
pub use restore::Past;

/// An entry as the kernel is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Number of the node.
    pub id: u64,
    /// Tells a number's present bearer from earlier ones.
    pub generation: u64,
    /// Attributes.
    pub attr: Attr,
}

/// The filesystem.
pub struct Vfs {
    recorder: Arc<Recorder>,
    control: Control,
    callers: Callers,
    nodes: nodes::Nodes,
    handles: handles::Handles,
}

impl Vfs {
    /// The filesystem whose root is the storage directory open at `storage`.
    ///
    /// # Errors
    /// When the storage's root cannot be read.
    pub fn new(
        storage: OwnedFd,
        recorder: Arc<Recorder>,
        control: Control,
    ) -> std::result::Result<Vfs, Errno> {
        Ok(Vfs {
            recorder,
            control,
            callers: Callers::default(),
            nodes: nodes::Nodes::new(storage)?,
            handles: handles::Handles::default(),
        })
    }

    /// Who calls, as far as it can be known.
    #[must_use]
    pub fn caller(&self, pid: u32, uid: u32, gid: u32) -> Arc<Caller> {
        self.callers.identify(pid, uid, gid)
    }

    /// The recorder behind it.
    #[must_use]
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// The number by which the kernel knows the entry that the catalog knows by `key`; `None` when it knows none.
    #[must_use]
    pub fn number_of(&self, key: u64) -> Option<u64> {
        let catalog = self.recorder.catalog()?;
        if key == catalog.root() {
            return Some(ROOT);
        }
        match catalog.state(key) {
            Some(state) => self.nodes.number_of(&state.identity),
            // It is gone already; on the storage's own filesystem both numbers are the inode's.
            None => self.nodes.get(key).ok().map(|node| node.id),
        }
    }

    /// The ordinary directory `id`, when `name` in it may be changed.
    fn dir_to_change(&self, id: u64, name: &OsStr) -> Result<Arc<nodes::Node>> {
        if is_control(id) || (id == ROOT && name == CONTROL_NAME) {
            return Err(Error::Reserved);
        }
        Ok(self.nodes.get(id)?)
    }

    /// The ordinary entry `id`, when it may be changed.
    fn entry_to_change(&self, id: u64) -> Result<Arc<nodes::Node>> {
        if is_control(id) {
            return Err(Error::Reserved);
        }
        Ok(self.nodes.get(id)?)
    }
}

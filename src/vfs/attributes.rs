//! Attributes and extended attributes.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::backing::{self, Attr, Errno, NewTime, OFlags, StatVfs, Times, XattrFlags};
use crate::event::Caller;
use crate::recorder::Located;
use crate::recorder::change::{RemoveXattr, SetAttributes, SetXattr, Truncate};

use super::nodes::Node;
use super::{Error, Found, Result, Vfs, is_control};

/// Attributes to set; `None` leaves one alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<NewTime>,
    /// Last change of content.
    pub mtime: Option<NewTime>,
}

impl SetAttr {
    /// Whether anything but the size is set.
    fn beyond_size(&self) -> bool {
        self.mode.is_some()
            || self.uid.is_some()
            || self.gid.is_some()
            || self.atime.is_some()
            || self.mtime.is_some()
    }
}

impl Vfs {
    /// Attributes of `id`.
    ///
    /// # Errors
    /// ESTALE when it is gone.
    pub fn getattr(&self, id: u64) -> Result<Found> {
        if is_control(id) {
            return self.control_attr(id);
        }
        let node = self.nodes.get(id)?;
        Ok(Found {
            id,
            generation: node.generation,
            attr: node.attr()?,
        })
    }

    /// Sets attributes; gives those after.
    ///
    /// # Errors
    /// As chmod(2), chown(2), truncate(2), utimensat(2).
    pub fn setattr(
        &self,
        id: u64,
        set: &SetAttr,
        fh: Option<u64>,
        caller: &Arc<Caller>,
    ) -> Result<Found> {
        if is_control(id) {
            // `>` and `>>` of a shell truncate what they open; the control files have no size to lose.
            return if set.beyond_size() {
                Err(Error::Reserved)
            } else {
                self.control_attr(id)
            };
        }
        let node = self.nodes.get(id)?;
        let mut attr = None;
        if let Some(size) = set.size {
            attr = Some(self.truncate(&node, size, fh, caller)?);
        }
        if set.beyond_size() || (set.size.is_none() && !self.only_drops_set_id(&node)?) {
            let change = SetAttributes {
                entry: &*node,
                mode: set.mode,
                uid: set.uid,
                gid: set.gid,
                times: Times {
                    atime: set.atime,
                    mtime: set.mtime,
                },
            };
            attr = Some(self.recorder.apply(change, caller, |_| {})?);
        }
        let attr = attr.map_or_else(|| node.attr(), Ok)?;
        Ok(Found {
            id,
            generation: node.generation,
            attr,
        })
    }

    /// A request that sets nothing is the kernel's word that set-id bits go before a write (the write itself drops
    /// them) when the file has some, and a chown(2) of nothing when not.
    fn only_drops_set_id(&self, node: &Node) -> Result<bool> {
        const SET_ID: u32 = 0o6000;
        let attr = node.attr()?;
        Ok(!attr.is_directory() && attr.perm & SET_ID != 0)
    }

    fn truncate(
        &self,
        node: &Arc<Node>,
        size: u64,
        fh: Option<u64>,
        caller: &Arc<Caller>,
    ) -> Result<Attr> {
        let drop_set_id = super::files::ordinary_writer(caller);
        let open = fh
            .and_then(|fh| self.handles.file(fh).ok())
            .filter(|file| file.writable);
        if let Some(file) = open {
            let handle = Some(file.number(&self.recorder));
            let change = Truncate {
                entry: &**node,
                file: file.as_fd(),
                handle,
                size,
                drop_set_id,
                before: (!file.is_written()).then_some(&file.before),
            };
            return Ok(self.recorder.apply(change, caller, |_| file.wrote())?);
        }
        let file = node.open(OFlags::WRONLY)?;
        let change = Truncate {
            entry: &**node,
            file: file.as_fd(),
            handle: None,
            size,
            drop_set_id,
            before: None,
        };
        Ok(self.recorder.apply(change, caller, |_| {})?)
    }

    /// Figures of the storage's filesystem.
    ///
    /// # Errors
    /// As statfs(2).
    pub fn statfs(&self) -> Result<StatVfs> {
        Ok(backing::statfs(self.nodes.root().descriptor()?.as_fd())?)
    }

    /// Value of an extended attribute.
    ///
    /// # Errors
    /// As getxattr(2).
    pub fn get_xattr(&self, id: u64, name: &OsStr) -> Result<Vec<u8>> {
        if is_control(id) {
            return Err(Errno::NODATA.into());
        }
        Ok(backing::get_xattr(
            self.nodes.get(id)?.descriptor()?.as_fd(),
            name,
        )?)
    }

    /// Names of the extended attributes, each ended by NUL.
    ///
    /// # Errors
    /// As listxattr(2).
    pub fn list_xattrs(&self, id: u64) -> Result<Vec<u8>> {
        if is_control(id) {
            return Ok(Vec::new());
        }
        Ok(backing::list_xattrs(
            self.nodes.get(id)?.descriptor()?.as_fd(),
        )?)
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// As setxattr(2).
    pub fn set_xattr(
        &self,
        id: u64,
        name: &OsStr,
        value: &[u8],
        flags: u32,
        caller: &Arc<Caller>,
    ) -> Result<()> {
        let node = self.entry_to_change(id)?;
        let flags = XattrFlags::from_bits_retain(flags);
        self.recorder.apply(
            SetXattr {
                entry: &*node,
                name,
                value,
                flags,
            },
            caller,
            |_| {},
        )?;
        Ok(())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// As removexattr(2).
    pub fn remove_xattr(&self, id: u64, name: &OsStr, caller: &Arc<Caller>) -> Result<()> {
        let node = self.entry_to_change(id)?;
        self.recorder.apply(
            RemoveXattr {
                entry: &*node,
                name,
            },
            caller,
            |_| {},
        )?;
        Ok(())
    }
}

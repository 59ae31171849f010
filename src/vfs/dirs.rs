//! Listings.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::backing::{self, DirReader, FileType};
use crate::recorder::Located;

use super::handles::{Handle, OpenDir};
use super::nodes::ROOT;
use super::{CONTROL_NAME, Error, Found, Result, Vfs, is_control};

/// One name of a listing.
#[derive(Debug, Clone)]
pub struct ListedName {
    /// The name.
    pub name: OsString,
    /// Inode number as the listing says it.
    pub ino: u64,
    /// Type.
    pub kind: FileType,
    /// Position after it.
    pub next: u64,
}

impl Vfs {
    /// Whether a listing is made by reading the log, which may take longer than a kernel-facing thread has.
    #[must_use]
    pub fn is_long_to_list(&self, fh: u64) -> bool {
        match self.handles.get(fh) {
            Ok(Handle::ControlDir(dir)) => self.is_long_to_find(super::controls::id_of(dir.entry)),
            _ => false,
        }
    }

    /// opendir(3).
    ///
    /// # Errors
    /// As open(2).
    pub fn opendir(&self, id: u64) -> Result<u64> {
        if is_control(id) {
            return self.control_opendir(id);
        }
        let node = self.nodes.get(id)?;
        let reader = Mutex::new(DirReader::open(node.descriptor()?.as_fd())?);
        Ok(self
            .handles
            .insert(Handle::Dir(Arc::new(OpenDir { node, reader }))))
    }

    /// Hands the names from `position` on to `take` until it says `false`. The control directory is reachable by
    /// name and not listed, so that globbing, backup and search tools never meet it.
    ///
    /// # Errors
    /// As getdents64(2).
    pub fn readdir(
        &self,
        fh: u64,
        position: u64,
        mut take: impl FnMut(ListedName) -> bool,
    ) -> Result<()> {
        match self.handles.get(fh)? {
            Handle::Dir(dir) => {
                let in_root = dir.node.id == ROOT;
                dir.reader.lock().read(position, |entry| {
                    if in_root && entry.name == CONTROL_NAME {
                        return true;
                    }
                    take(ListedName {
                        name: entry.name,
                        ino: entry.ino,
                        kind: entry.kind,
                        next: entry.next,
                    })
                })?;
                Ok(())
            }
            Handle::ControlDir(dir) => {
                let names = dir.names.get_or_init(|| self.control_names(dir.entry));
                list_control(names, position, take);
                Ok(())
            }
            Handle::File(_) | Handle::Control(_) => Err(Error::BadHandle),
        }
    }

    /// Looks a listed name up for a listing with attributes; `None` for names that went meanwhile. The kernel does
    /// not count `.` and `..` as looked up, and is not to be asked for them here.
    #[must_use]
    pub fn lookup_listed(&self, fh: u64, name: &OsStr) -> Option<Found> {
        match self.handles.get(fh).ok()? {
            Handle::Dir(dir) => {
                let attr = backing::lookup(dir.node.descriptor().ok()?.as_fd(), name).ok()?;
                Some(self.found(&dir.node, name, attr))
            }
            Handle::ControlDir(dir) => self.control_child(dir.entry, name),
            Handle::File(_) | Handle::Control(_) => None,
        }
    }
}

fn list_control(
    names: &[(OsString, u64, FileType)],
    position: u64,
    mut take: impl FnMut(ListedName) -> bool,
) {
    let dots = [
        (OsString::from("."), ROOT, FileType::Directory),
        (OsString::from(".."), ROOT, FileType::Directory),
    ];
    let names = dots.iter().chain(names);
    for (at, (name, ino, kind)) in names
        .enumerate()
        .skip(usize::try_from(position).unwrap_or(usize::MAX))
    {
        if !take(ListedName {
            name: name.clone(),
            ino: *ino,
            kind: *kind,
            next: at as u64 + 1,
        }) {
            return;
        }
    }
}

//! An entry of the catalog as a place on the disk: reached from the storage's root by its names, one after the
//! other and none followed, and proven by its identity.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

use crate::backing::{self, Errno, Identity};

use super::catalog::Catalog;
use super::{Descriptor, Located, Observed};

/// What the recorder compares with the disk.
pub(super) struct Tracked {
    pub(super) catalog: Arc<Catalog>,
    pub(super) storage: Arc<OwnedFd>,
    pub(super) on_look: OnceLock<OnLook>,
}

/// Takes what a look before a change found.
pub(super) type OnLook = Box<dyn Fn(Observed) + Send + Sync>;

/// An entry the catalog knows.
pub struct CatalogPlace<'a> {
    tracked: &'a Tracked,
    key: u64,
    identity: Identity,
}

impl Tracked {
    /// The place of `key`; `None` for one that is not known.
    pub(super) fn place(&self, key: u64) -> Option<CatalogPlace<'_>> {
        let identity = self.catalog.state(key)?.identity;
        Some(CatalogPlace {
            tracked: self,
            key,
            identity,
        })
    }
}

impl Located for CatalogPlace<'_> {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn path(&self) -> Vec<u8> {
        self.tracked.catalog.path(self.key).unwrap_or_default()
    }

    fn descriptor(&self) -> Result<Descriptor, Errno> {
        if self.key == self.tracked.catalog.root() {
            return Ok(Descriptor::Shared(Arc::clone(&self.tracked.storage)));
        }
        let components = self.tracked.catalog.components(self.key);
        let mut at = Arc::clone(&self.tracked.storage);
        for name in components.ok_or(Errno::STALE)? {
            let next = backing::open_handle(at.as_fd(), OsStr::from_bytes(&name));
            at = Arc::new(next.map_err(|errno| match errno {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Errno::STALE,
                other => other,
            })?);
        }
        let attr = backing::attr_of(at.as_fd())?;
        let known = self.tracked.catalog.state(self.key).ok_or(Errno::STALE)?;
        if known.is_of(&attr) {
            Ok(Descriptor::Own(at))
        } else {
            Err(Errno::STALE)
        }
    }
}

//! Durable consumers in the tree: their numbers, and mkdir and rmdir as the words for them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::backing::Errno;
use crate::control::{ConsumerError, ConsumerFile, ConsumerId, Entry};

use super::controls;
use super::{Error, Found, Result, Vfs};

/// Numbers of the control directory from here on, up to those of `since/`, are of consumers.
const CONSUMERS_FROM: u64 = 1 << 61;
/// Bits of a number for the file; 0 is the directory itself.
const FILE_BITS: u32 = 4;

/// The number of a consumer's entry, within those of the control directory.
pub(super) fn id_of(entry: Entry) -> u64 {
    let (id, file) = match entry {
        Entry::Consumer(id) => (id, 0),
        Entry::ConsumerFile(id, file) => {
            let at = ConsumerFile::ALL.iter().position(|known| *known == file);
            (id, at.unwrap_or(0) as u64 + 1)
        }
        _ => return 0,
    };
    CONSUMERS_FROM | u64::from(id.0) << FILE_BITS | file
}

/// The consumer's entry of a number.
pub(super) fn entry_of(id: u64) -> Option<Entry> {
    if id < CONSUMERS_FROM {
        return None;
    }
    let number = (id & !CONSUMERS_FROM) >> FILE_BITS;
    let consumer = ConsumerId(u32::try_from(number).ok()?);
    match usize::try_from(id & ((1 << FILE_BITS) - 1)).ok()? {
        0 => Some(Entry::Consumer(consumer)),
        at => {
            let file = ConsumerFile::ALL.get(at - 1)?;
            Some(Entry::ConsumerFile(consumer, *file))
        }
    }
}

impl Vfs {
    /// Refuses the entry of a consumer that was removed.
    pub(super) fn consumer_lives(&self, entry: Entry) -> Result<()> {
        if self.control.lives(entry) {
            Ok(())
        } else {
            Err(Error::Storage(Errno::NOENT))
        }
    }

    /// mkdir(2) in the control directory `dir`.
    pub(super) fn consumer_mkdir(&self, dir: u64, name: &OsStr) -> Result<Found> {
        let registered = self
            .control
            .register(controls::entry_of(dir)?, name.as_bytes());
        Ok(self.control_found(registered.map_err(failed)?))
    }

    /// rmdir(2) in the control directory `dir`.
    pub(super) fn consumer_rmdir(&self, dir: u64, name: &OsStr) -> Result<()> {
        let removed = self
            .control
            .unregister(controls::entry_of(dir)?, name.as_bytes());
        removed.map_err(failed)
    }
}

fn failed(error: ConsumerError) -> Error {
    match error {
        ConsumerError::Name => Error::Invalid,
        ConsumerError::Exists => Error::Storage(Errno::EXIST),
        ConsumerError::Missing => Error::Storage(Errno::NOENT),
        ConsumerError::TooMany => Error::Storage(Errno::DQUOT),
        ConsumerError::Reserved => Error::Reserved,
        ConsumerError::Store(error) => {
            log::warn!("consumers: {error}");
            Error::Storage(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        for number in [1, 7, u32::MAX] {
            let id = ConsumerId(number);
            let files = ConsumerFile::ALL.map(|file| Entry::ConsumerFile(id, file));
            for entry in files.into_iter().chain([Entry::Consumer(id)]) {
                assert_eq!(entry_of(id_of(entry)), Some(entry));
            }
        }
        assert_eq!(entry_of(7), None);
        assert_eq!(entry_of(CONSUMERS_FROM | 15), None);
    }
}

//! The files of the state directory, and the fault seam: every call that log, contents and catalog make on their
//! files goes through [`Storage`] and [`StoredFile`]. Rank 0.
//!
//! [`DirStorage`] is the real one: a directory reached by its descriptor only, so a mount over it changes nothing.
//! The tests have two others: one fails, tears or refuses each call in turn, one records them and loses power.

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
pub(crate) mod power;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

/// Zero bytes written at a time where the filesystem has no fallocate.
const ZERO_FILL_BYTES: usize = 64 * 1024;

/// A flat directory of files.
pub trait Storage: Send + Sync {
    /// Names of all entries; names that are not UTF-8 are left out, the log has none.
    ///
    /// # Errors
    /// What the system said.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file.
    ///
    /// # Errors
    /// `NotFound` when there is none; else what the system said.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>>;
    /// Makes an empty file, in the place of any earlier one of that name.
    ///
    /// # Errors
    /// What the system said.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>>;
    /// Renames a file, over any earlier one.
    ///
    /// # Errors
    /// What the system said.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when there is none; else what the system said.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    ///
    /// # Errors
    /// What the system said.
    fn sync(&self) -> io::Result<()>;
}

/// One open file.
pub trait StoredFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system said.
    fn bytes(&self) -> io::Result<u64>;
    /// Reads at an offset; 0 at the end.
    ///
    /// # Errors
    /// What the system said.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at an offset; may write less than given.
    ///
    /// # Errors
    /// What the system said.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes the file at least `bytes` long with room on the medium for all of it; new bytes are zero. After an
    /// error the length is what it was.
    ///
    /// # Errors
    /// What the system said.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Sets the length.
    ///
    /// # Errors
    /// What the system said.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Makes the bytes, and the length that is needed to read them, durable.
    ///
    /// # Errors
    /// What the system said.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of `bytes` at `offset`.
///
/// # Errors
/// What the system said; some of the bytes may have been written.
pub fn write_all_at(file: &dyn StoredFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => done += written,
        }
    }
    Ok(())
}

/// A directory of the state.
pub struct DirStorage {
    dir: OwnedFd,
    writable: bool,
}

impl DirStorage {
    /// One that is written.
    #[must_use]
    pub fn new(dir: OwnedFd) -> DirStorage {
        DirStorage {
            dir,
            writable: true,
        }
    }

    /// One that is only looked at; every change gives `ReadOnlyFilesystem`.
    #[must_use]
    pub fn open_readonly(dir: OwnedFd) -> DirStorage {
        DirStorage {
            dir,
            writable: false,
        }
    }

    fn may_write(&self) -> io::Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(Errno::ROFS.into())
        }
    }

    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<Arc<dyn StoredFile>> {
        // A fifo put in the place of a segment is an error and not a wait.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = retry_on_intr(|| fs::openat(&self.dir, name, flags, mode))?;
        Ok(Arc::new(DirFile(file)))
    }
}

impl Storage for DirStorage {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.dir)? {
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let access = if self.writable {
            OFlags::RDWR
        } else {
            OFlags::RDONLY
        };
        self.open_with(name, access)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        self.may_write()?;
        self.open_with(name, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_write()?;
        Ok(fs::renameat(&self.dir, from, &self.dir, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_write()?;
        Ok(fs::unlinkat(&self.dir, name, AtFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::fsync(&self.dir))?)
    }
}

struct DirFile(OwnedFd);

impl DirFile {
    fn fill_with_zeros(&self, mut from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; ZERO_FILL_BYTES];
        while from < to {
            let step = usize::try_from(to - from).map_or(zeros.len(), |n| n.min(zeros.len()));
            write_all_at(self, &zeros[..step], from)?;
            from += step as u64;
        }
        Ok(())
    }
}

impl StoredFile for DirFile {
    fn bytes(&self) -> io::Result<u64> {
        let size = fs::fstat(&self.0)?.st_size;
        u64::try_from(size).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| {
            rustix::io::pread(&self.0, &mut *buffer, offset)
        })?)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| {
            rustix::io::pwrite(&self.0, bytes, offset)
        })?)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let before = self.bytes()?;
        if before >= bytes {
            return Ok(());
        }
        let tried = retry_on_intr(|| fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes));
        let result = match tried {
            Ok(()) => return Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill_with_zeros(before, bytes),
            Err(errno) => Err(errno.into()),
        };
        if result.is_err() {
            // What was allocated before the failure would be lost to everybody.
            self.truncate(before)?;
        }
        result
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::ftruncate(&self.0, bytes))?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::fdatasync(&self.0))?)
    }
}

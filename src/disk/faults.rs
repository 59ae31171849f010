//! Storage in memory whose calls can be made to fail one by one.
//!
//! It also knows what a power loss would leave: the bytes and names of the last sync.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Storage, StoredFile};

/// What the chosen call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing, and gives EIO.
    Io,
    /// Nothing, and gives ENOSPC.
    NoSpace,
    /// Half of a write, and says so.
    Short,
    /// Half of a write, and gives EIO; other calls as `Io`.
    Torn,
    /// Everything, and gives EIO.
    Done,
}

pub(crate) const FAULTS: [Fault; 5] = [
    Fault::Io,
    Fault::NoSpace,
    Fault::Short,
    Fault::Torn,
    Fault::Done,
];

/// Which calls fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    pub(crate) from: u64,
    /// How many calls from there on.
    pub(crate) count: u64,
}

#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) names: BTreeMap<String, Arc<MemFile>>,
    durable_names: BTreeMap<String, Arc<MemFile>>,
    pub(crate) calls: u64,
    pub(crate) plan: Option<Plan>,
    /// Preallocation finds no room.
    pub(crate) full: bool,
    /// Syncs fail.
    pub(crate) sync_fails: bool,
    pub(crate) allocations: u64,
}

#[derive(Default)]
pub(crate) struct MemFile {
    bytes: Mutex<Vec<u8>>,
    durable: Mutex<Vec<u8>>,
}

/// A handle of one disk; everything opened on it sees the same files.
#[derive(Clone, Default)]
pub(crate) struct MemStorage(pub(crate) Arc<Mutex<Disk>>);

struct MemHandle {
    disk: MemStorage,
    file: Arc<MemFile>,
}

impl MemStorage {
    fn fault(&self) -> Option<Fault> {
        let mut disk = self.0.lock();
        disk.calls += 1;
        let plan = disk.plan?;
        let hit = disk.calls >= plan.from && disk.calls - plan.from < plan.count;
        hit.then_some(plan.fault)
    }

    /// Runs one call that cannot be done by halves.
    fn call<T>(&self, action: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        match self.fault() {
            None | Some(Fault::Short) => action(&mut self.0.lock()),
            Some(Fault::Io | Fault::Torn) => Err(eio()),
            Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Done) => action(&mut self.0.lock()).and_then(|_| Err(eio())),
        }
    }

    /// Leaves what was synced.
    pub(crate) fn lose_power(&self) {
        let mut disk = self.0.lock();
        disk.names = disk.durable_names.clone();
        for file in disk.names.values() {
            *file.bytes.lock() = file.durable.lock().clone();
        }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Storage for MemStorage {
    fn names(&self) -> io::Result<Vec<String>> {
        self.call(|disk| Ok(disk.names.keys().cloned().collect()))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let file = self.call(|disk| {
            let found = disk.names.get(name).cloned();
            found.ok_or_else(|| io::ErrorKind::NotFound.into())
        })?;
        let disk = self.clone();
        Ok(Arc::new(MemHandle { disk, file }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let file = self.call(|disk| {
            let file = disk.names.entry(name.to_owned()).or_default();
            file.bytes.lock().clear();
            Ok(Arc::clone(file))
        })?;
        let disk = self.clone();
        Ok(Arc::new(MemHandle { disk, file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|disk| {
            let file = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            disk.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|disk| {
            disk.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.call(|disk| {
            disk.durable_names = disk.names.clone();
            Ok(())
        })
    }
}

impl StoredFile for MemHandle {
    fn bytes(&self) -> io::Result<u64> {
        self.disk.call(|_| Ok(self.file.bytes.lock().len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call(|_| {
            let bytes = self.file.bytes.lock();
            let from = usize::try_from(offset).unwrap().min(bytes.len());
            let read = buffer.len().min(bytes.len() - from);
            buffer[..read].copy_from_slice(&bytes[from..from + read]);
            Ok(read)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let half = bytes.len().div_ceil(2);
        let (length, result) = match self.disk.fault() {
            None => (bytes.len(), Ok(bytes.len())),
            Some(Fault::Io) => (0, Err(eio())),
            Some(Fault::NoSpace) => (0, Err(io::ErrorKind::StorageFull.into())),
            Some(Fault::Short) => (half, Ok(half)),
            Some(Fault::Torn) => (half, Err(eio())),
            Some(Fault::Done) => (bytes.len(), Err(eio())),
        };
        let mut content = self.file.bytes.lock();
        let from = usize::try_from(offset).unwrap();
        assert!(from + bytes.len() <= content.len(), "a write past its room");
        content[from..from + length].copy_from_slice(&bytes[..length]);
        result
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.disk.call(|disk| {
            disk.allocations += 1;
            let mut content = self.file.bytes.lock();
            let bytes = usize::try_from(bytes).unwrap();
            if disk.full && bytes > content.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if bytes > content.len() {
                let missing = bytes - content.len();
                content.extend_from_slice(&vec![0; missing]);
            }
            Ok(())
        })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.call(|_| {
            let bytes = usize::try_from(bytes).unwrap();
            self.file.bytes.lock().resize(bytes, 0);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call(|disk| {
            if disk.sync_fails {
                return Err(eio());
            }
            *self.file.durable.lock() = self.file.bytes.lock().clone();
            Ok(())
        })
    }
}

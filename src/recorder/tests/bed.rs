//! A storage, a log and a recorder, with a plain scan in the place of the engine.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::super::catalog::{Catalog, State};
use super::super::change::{
    Create, Link, Mkdir, Rename, Rmdir, SetAttributes, UmaskedMode, Unlink, Write,
};
use super::super::{Descriptor, How, Located, Observed, RecordError, Recorder, Tree};
use crate::backing::{self, Attr, DirReader, Errno, Identity, OFlags, Times};
use crate::disk::DirStorage;
use crate::event::{Caller, Seq, Source};
use crate::event_log::{Chunk, EventLog, Options};
use crate::health::Health;

pub(super) const RESERVED: &str = ".hippofs";

pub(super) struct Bed {
    pub(super) dir: tempfile::TempDir,
    pub(super) log_dir: tempfile::TempDir,
    pub(super) recorder: Recorder,
    pub(super) looks: Arc<Mutex<Vec<Observed>>>,
}

/// An entry of the disk, as the owner of names would give it.
pub(super) struct Place {
    path: PathBuf,
    identity: Identity,
    fd: Arc<OwnedFd>,
}

impl Located for Place {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn path(&self) -> Vec<u8> {
        self.path.as_os_str().as_bytes().to_vec()
    }

    fn descriptor(&self) -> Result<Descriptor, Errno> {
        Ok(Descriptor::Shared(Arc::clone(&self.fd)))
    }
}

pub(super) fn open_log(dir: &Path) -> EventLog {
    let dir = fs::File::open(dir).unwrap();
    let options = Options {
        segment_bytes: 1 << 20,
        ..Options::default()
    };
    EventLog::open(Box::new(DirStorage::new(dir.into())), options)
        .unwrap()
        .0
}

impl Bed {
    /// A storage filled by `fill`, then scanned cold.
    pub(super) fn new(fill: impl FnOnce(&Path)) -> Bed {
        let bed = Bed::cold(fill);
        assert_eq!(bed.scan(How::Stat), 0, "a cold scan makes no events");
        bed
    }

    /// A storage filled by `fill`, of which nothing is known yet.
    pub(super) fn cold(fill: impl FnOnce(&Path)) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        let log_dir = tempfile::tempdir().unwrap();
        let log = open_log(log_dir.path());
        let root: OwnedFd = fs::File::open(dir.path()).unwrap().into();
        let attr = backing::attr_of(root.as_fd()).unwrap();
        let catalog = Catalog::new(&attr, RESERVED.as_bytes(), None);
        Bed::with(dir, log_dir, log, catalog)
    }

    pub(super) fn with(
        dir: tempfile::TempDir,
        log_dir: tempfile::TempDir,
        log: EventLog,
        catalog: Catalog,
    ) -> Bed {
        let root: OwnedFd = fs::File::open(dir.path()).unwrap().into();
        let recorder = Recorder::with_catalog(
            log,
            Arc::new(Health::default()),
            Arc::new(catalog),
            Arc::new(root),
        );
        let looks = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&looks);
        recorder.on_look(Box::new(move |observed| told.lock().push(observed)));
        Bed {
            dir,
            log_dir,
            recorder,
            looks,
        }
    }

    pub(super) fn catalog(&self) -> &Catalog {
        self.recorder.catalog().unwrap()
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// The entry at `path` (empty for the root).
    pub(super) fn at(&self, path: &Path) -> Place {
        let fd = fs::File::open(self.dir.path()).unwrap();
        let name = if path.as_os_str().is_empty() {
            OsStr::new(".")
        } else {
            path.as_os_str()
        };
        let fd = backing::open_handle(fd.as_fd(), name).unwrap();
        Place {
            path: if path.as_os_str().is_empty() {
                ".".into()
            } else {
                path.into()
            },
            identity: backing::attr_of(fd.as_fd()).unwrap().identity,
            fd: Arc::new(fd),
        }
    }

    fn split(&self, path: &str) -> (Place, OsString) {
        let path = Path::new(path);
        let name = path.file_name().unwrap().to_owned();
        (self.at(path.parent().unwrap()), name)
    }

    pub(super) fn create(&self, path: &str) -> Result<(), RecordError> {
        let (dir, name) = self.split(path);
        let change = Create {
            dir: &dir,
            name: &name,
            flags: OFlags::WRONLY,
            mode: mode(0o644),
            handle: 1,
        };
        self.recorder.apply(change, &caller(), |_| {}).map(drop)
    }

    pub(super) fn mkdir(&self, path: &str) -> Result<(), RecordError> {
        let (dir, name) = self.split(path);
        let change = Mkdir {
            dir: &dir,
            name: &name,
            mode: mode(0o755),
        };
        self.recorder.apply(change, &caller(), |_| {}).map(drop)
    }

    pub(super) fn write(&self, path: &str, text: &str) -> Result<(), RecordError> {
        let entry = self.at(Path::new(path));
        let file = backing::reopen(entry.fd.as_fd(), OFlags::WRONLY).unwrap();
        let change = Write {
            entry: &entry,
            file: file.as_fd(),
            handle: 1,
            offset: Some(0),
            data: text.as_bytes(),
            via_mmap: false,
            drop_set_id: None,
            before: None,
        };
        self.recorder.apply(change, &caller(), |_| {}).map(drop)
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), RecordError> {
        let (dir, name) = self.split(path);
        let entry = self.at(Path::new(path));
        let (dir, name, key) = (&dir, &*name, entry.identity.ino);
        if self.path(path).symlink_metadata().unwrap().is_dir() {
            let change = Rmdir { dir, name, key };
            self.recorder.apply(change, &caller(), |_| {}).map(drop)
        } else {
            let change = Unlink { dir, name, key };
            self.recorder.apply(change, &caller(), |_| {}).map(drop)
        }
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), RecordError> {
        let moving = self.at(Path::new(from)).identity.ino;
        let standing = self.path(to).symlink_metadata().is_ok();
        let standing = standing.then(|| self.at(Path::new(to)).identity.ino);
        let is_dir = self.path(from).symlink_metadata().unwrap().is_dir();
        let (from, to) = (self.split(from), self.split(to));
        let change = Rename {
            from: (&from.0, &from.1),
            to: (&to.0, &to.1),
            no_replace: false,
            tree: if is_dir {
                Tree::Exclusive
            } else {
                Tree::Shared
            },
            keys: (moving, standing),
        };
        self.recorder.apply(change, &caller(), |_| {}).map(drop)
    }

    pub(super) fn link(&self, from: &str, to: &str) -> Result<(), RecordError> {
        let entry = self.at(Path::new(from));
        let (dir, name) = self.split(to);
        let change = Link {
            entry: &entry,
            dir: &dir,
            name: &name,
        };
        self.recorder.apply(change, &caller(), |_| {}).map(drop)
    }

    pub(super) fn chmod(&self, path: &str, mode: u32) -> Result<(), RecordError> {
        let entry = self.at(Path::new(path));
        let change = SetAttributes {
            entry: &entry,
            mode: Some(mode),
            uid: None,
            gid: None,
            times: Times::default(),
        };
        self.recorder.apply(change, &caller(), |_| {}).map(drop)
    }

    /// Observes one name, as a hint makes the engine do; gives the number of events.
    pub(super) fn hint(&self, path: &str) -> usize {
        let (dir, name) = self.split(path);
        let key = self.catalog().key_of(&dir.identity);
        let look = self.recorder.observe(key, &name, Source::Watch, How::Stat);
        match look {
            Ok(observed) => observed.found,
            // A directory that came unseen.
            Err(RecordError::Storage(Errno::STALE)) => 0,
            Err(error) => panic!("{error}"),
        }
    }

    /// Scans until nothing is found any more.
    pub(super) fn settle(&self) {
        const SCANS_MAX: usize = 10;
        for _ in 0..SCANS_MAX {
            if self.scan(How::Stat) == 0 {
                return;
            }
        }
        panic!("every scan finds something");
    }

    /// Everything that a scan compares, by path.
    pub(super) fn fingerprint(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut dirs = vec![self.dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = path.symlink_metadata().unwrap();
                let times = (meta.ctime(), meta.ctime_nsec(), meta.mtime_nsec());
                let seen = if meta.is_dir() {
                    dirs.push(path.clone());
                    format!("{} {}", meta.ino(), meta.mode())
                } else {
                    format!("{} {} {times:?}", meta.ino(), meta.mode())
                };
                lines.push(format!("{} {seen}", path.display()));
            }
        }
        lines.sort();
        lines
    }

    /// Walks everything, appearances first and what is missing at the end; gives the number of events.
    pub(super) fn scan(&self, how: How) -> usize {
        let (found, busy) = self.scan_busy(how);
        assert!(!busy);
        found
    }

    /// As [`Bed::scan`], and whether something kept changing.
    pub(super) fn scan_busy(&self, how: How) -> (usize, bool) {
        let mut busy = false;
        let mut found = 0;
        let mut missing = Vec::new();
        let mut dirs = vec![self.catalog().root()];
        let mut seen = std::collections::HashSet::new();
        let stale = |error: &RecordError| matches!(error, RecordError::Storage(Errno::STALE));
        while let Some(dir) = dirs.pop() {
            if !seen.insert(dir) {
                continue;
            }
            let names = match self.list(dir) {
                Ok(names) => names,
                // Gone, and its number may already be a file's.
                Err(Errno::STALE | Errno::NOTDIR) => continue,
                Err(errno) => panic!("{errno}"),
            };
            let mut odd: Vec<OsString> = names.iter().map(|(name, _)| name.clone()).collect();
            if !self.catalog().is_listed(dir) {
                odd = self.recorder.adopt(dir, &names).unwrap().odd;
            }
            let known = self.catalog().names(dir);
            odd.extend(known.iter().map(|(n, _)| OsStr::from_bytes(n).to_owned()));
            odd.sort();
            odd.dedup();
            for name in odd {
                match self.recorder.observe(dir, &name, Source::Scan, how) {
                    Ok(observed) => {
                        busy |= observed.busy;
                        found += observed.found;
                        if observed.missing {
                            missing.push((!observed.replaced, dir, name));
                        }
                    }
                    Err(error) if stale(&error) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            self.recorder.listed(dir);
            for (_, child) in self.catalog().names(dir) {
                let state = self.catalog().state(child);
                if state.is_some_and(|state| state.is_directory()) {
                    dirs.push(child);
                }
            }
        }
        missing.sort();
        let mut again = false;
        for (_, dir, name) in missing {
            match self.recorder.observe_gone(dir, &name, Source::Scan) {
                Ok(observed) => {
                    found += observed.found;
                    again |= observed.descend.is_some();
                }
                Err(error) if stale(&error) => {}
                Err(error) => panic!("{error}"),
            }
        }
        if again {
            let (more, still) = self.scan_busy(how);
            (found, busy) = (found + more, busy | still);
        }
        (found, busy)
    }

    fn list(&self, dir: u64) -> Result<Vec<(OsString, u64)>, Errno> {
        let place = self.recorder.place(dir).ok_or(Errno::STALE)?;
        let mut reader = DirReader::open(place.descriptor()?.as_fd())?;
        let mut names = Vec::new();
        reader.read(0, |entry| {
            if entry.name != "." && entry.name != ".." {
                names.push((entry.name, entry.ino));
            }
            true
        })?;
        Ok(names)
    }

    /// The events after `seq`.
    pub(super) fn events(&self, seq: Seq) -> Vec<Value> {
        let log = self.recorder.log();
        let mut reader = log.reader(seq, log.head());
        let mut events = Vec::new();
        while let Chunk::Lines(lines) = reader.next_chunk(1 << 20).unwrap() {
            let text = String::from_utf8(lines).unwrap();
            events.extend(text.lines().map(|l| serde_json::from_str(l).unwrap()));
        }
        events
    }

    pub(super) fn head(&self) -> Seq {
        self.recorder.log().head()
    }

    /// `type path[ > dest] source` of the events after `seq`.
    pub(super) fn told(&self, seq: Seq) -> Vec<String> {
        let text = |e: &Value, key: &str| e[key].as_str().unwrap_or_default().to_owned();
        self.events(seq)
            .iter()
            .map(|e| {
                let mut line = format!("{} {}", text(e, "event_type"), text(e, "src_path"));
                if let Some(dest) = e["dest_path"].as_str() {
                    line += &format!(" > {dest}");
                }
                line + " " + &text(e, "source")
            })
            .collect()
    }

    /// The catalog is what the disk is: names, attributes and, where it is known, content.
    pub(super) fn assert_same(&self) {
        let mut entries = 1;
        let mut dirs = vec![(self.catalog().root(), self.dir.path().to_owned())];
        while let Some((dir, path)) = dirs.pop() {
            assert!(self.catalog().is_listed(dir), "{}", path.display());
            let fd = fs::File::open(&path).unwrap();
            let mut names = Vec::new();
            for entry in fs::read_dir(&path).unwrap() {
                let name = entry.unwrap().file_name();
                if name == RESERVED {
                    continue;
                }
                let here = path.join(&name);
                let attr = backing::lookup(fd.as_fd(), &name).unwrap();
                let key = self.catalog().child(dir, name.as_bytes());
                let key = key.unwrap_or_else(|| panic!("{} is unknown", here.display()));
                let state = self.catalog().state(key).unwrap();
                assert_state(&here, &state, &attr);
                if attr.is_directory() {
                    dirs.push((key, here));
                    entries += 1;
                } else {
                    let places = self.catalog().places(key);
                    assert_eq!(places.len() as u32, attr.nlink, "{}", here.display());
                }
                names.push(name.as_bytes().to_vec());
            }
            let mut known: Vec<_> = self.catalog().names(dir);
            known.retain(|(name, _)| !names.contains(name));
            assert!(known.is_empty(), "{}: {known:?}", path.display());
        }
        assert_eq!(self.catalog().stats().directories, entries);
    }
}

fn assert_state(path: &Path, state: &State, attr: &Attr) {
    assert!(!state.unsure);
    assert!(state.is_of(attr), "{}", path.display());
    let difference = state.difference(attr);
    assert!(difference.is_none(), "{}: {difference:?}", path.display());
    if let Some(hash) = state.hash {
        let content = fs::read(path).unwrap();
        assert_eq!(
            hash,
            *blake3::hash(&content).as_bytes(),
            "{}",
            path.display()
        );
    }
}

fn mode(mode: u32) -> UmaskedMode {
    UmaskedMode {
        mode,
        umask: 0o022,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

fn caller() -> Arc<Caller> {
    Arc::new(Caller::default())
}

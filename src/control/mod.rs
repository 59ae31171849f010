//! WHAT can be asked: the control directory, its requests and replies. Text in, lines out.
//!
//! Rank 3. It reads the log and appends nothing but marks, knows no kernel, never waits for another session, and no
//! text written to it can make it panic. A reply is produced as it is read: a reader that stops reading holds one
//! chunk of the log and nothing else.

mod answer;
mod consumers;
mod copy;
mod detection;
mod documents;
mod error;
mod fields;
mod glob;
mod help;
mod hole;
mod metrics;
mod past;
mod query;
mod scan;
mod select;
mod status;
mod stream;
mod times;
mod tree;
mod view;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::content::Content;
use crate::event::{Caller, Mark, Seq};
use crate::event_log::EventLog;
use crate::health::Health;
use crate::recorder::{RecordError, Recorder};

use past::Past;

pub use consumers::{ConsumerError, ConsumerFile, ConsumerId, Consumers, Shelf};
pub use detection::{Detection, DetectionFigures, Failed, Promise, ScanFigures};
pub use error::ControlError;
pub use past::{EntryKind, Present, PresentEntry, Returned, VersionId};
pub use query::REQUEST_BYTES_MAX;
pub use stream::{Read, Stream};
pub use tree::Entry;

/// What of the mount never changes while it is up, for `status` and `metrics`.
pub struct Facts {
    /// Identity of the store.
    pub store: uuid::Uuid,
    /// The storage directory, as given to `mount`.
    pub storage: PathBuf,
    /// Where sessions see it.
    pub mountpoint: PathBuf,
    /// Version of the program.
    pub version: &'static str,
    /// Longest time an event may wait for the disk.
    pub sync_interval: Duration,
    /// Bytes of log that retention keeps.
    pub retain_bytes: u64,
    /// Age to which retention keeps events.
    pub retain_age: Duration,
    /// Whether changes are recorded; not so in a mount for measurements.
    pub records: bool,
}

/// Appends a user's note. A function and not the recorder itself, so that everything here can be tested on a log alone.
type MarkFn = dyn Fn(Mark, Option<Arc<Caller>>) -> Result<Seq, RecordError> + Send + Sync;

/// The control directory of one mount. A clone is the same directory.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

/// What every open control file works on.
struct Shared {
    log: EventLog,
    health: Arc<Health>,
    mark: Box<MarkFn>,
    facts: Facts,
    consumers: OnceLock<Consumers>,
    detection: OnceLock<Arc<dyn Detection>>,
    content: OnceLock<Content>,
    past: OnceLock<Arc<Past>>,
}

impl Control {
    /// The control directory over `recorder`'s log.
    #[must_use]
    pub fn new(recorder: Arc<Recorder>, facts: Facts) -> Control {
        let shared = Shared {
            log: recorder.log().clone(),
            health: Arc::clone(recorder.health()),
            mark: Box::new(move |mark, caller| recorder.mark(mark, caller)),
            facts,
            consumers: OnceLock::new(),
            detection: OnceLock::new(),
            content: OnceLock::new(),
            past: OnceLock::new(),
        };
        Control {
            shared: Arc::new(shared),
        }
    }

    /// Lets past contents be read from `content`; once.
    pub fn serve_content(&self, content: Content) {
        let _ = self.shared.content.set(content);
    }

    /// Lets the past be asked for, with `present` to tell and to change what is; once, after
    /// [`Control::serve_content`].
    pub fn look_back_with(&self, present: Arc<dyn Present>) {
        if let Some(content) = self.shared.content.get() {
            let past = Past::new(self.shared.log.clone(), content.clone(), present);
            let _ = self.shared.past.set(Arc::new(past));
        }
    }

    /// The entry `name` of the directory `entry`. Below `versions/` this may read much of the log.
    #[must_use]
    pub fn child(&self, entry: Entry, name: &[u8]) -> Option<Entry> {
        match entry {
            Entry::ConsumersDir => self.consumer_child(name),
            Entry::VersionsDir | Entry::VersionDir(_) => {
                let past = self.shared.past.get()?;
                let dir = past.directory(entry)?;
                let found = past.child(&dir, name).unwrap_or_else(|error| {
                    log::warn!("versions: {error}");
                    None
                });
                found.map(|(id, is_dir)| {
                    if is_dir {
                        Entry::VersionDir(id)
                    } else {
                        Entry::VersionFile(id)
                    }
                })
            }
            _ => entry.child(name).filter(|_| self.lives(entry)),
        }
    }

    /// The listing of the directory `entry`. Below `versions/` it reads the log, and the entries stand for their
    /// kind alone.
    #[must_use]
    pub fn children(&self, entry: Entry) -> Vec<(OsString, Entry)> {
        match entry {
            Entry::ConsumersDir => self.consumer_children(),
            Entry::VersionsDir | Entry::VersionDir(_) => {
                let past = self.shared.past.get();
                let listed = past.and_then(|past| past.children(&past.directory(entry)?).ok());
                let kind = |is_dir| match is_dir {
                    true => Entry::VersionDir(VersionId(0)),
                    false => Entry::VersionFile(VersionId(0)),
                };
                let listed = listed.unwrap_or_default().into_iter();
                listed
                    .map(|(name, is_dir)| (OsString::from_vec(name), kind(is_dir)))
                    .collect()
            }
            _ => entry
                .children()
                .into_iter()
                .map(|(name, child)| (name.into(), child))
                .collect(),
        }
    }

    /// The kernel forgets `count` lookups of an entry below `versions/`.
    pub fn forget_version(&self, id: VersionId, count: u64) {
        if let Some(past) = self.shared.past.get() {
            past.names.forget(id, count);
        }
    }

    /// Lets requests and figures about changes behind the mount go to `detection`; once.
    pub fn detect_with(&self, detection: Arc<dyn Detection>) {
        // A second one would be a mistake of the start order; the first stays.
        let _ = self.shared.detection.set(detection);
    }

    /// Opens a file of the control directory for `caller`. What `events` and `since` show is fixed here, and `follow`
    /// begins after the newest event of this moment.
    ///
    /// # Errors
    /// [`ControlError::IsDirectory`] for a directory: those are listed by [`Entry::children`] and not opened.
    pub fn open(&self, entry: Entry, caller: Arc<Caller>) -> Result<Stream, ControlError> {
        if entry.is_dir() {
            return Err(ControlError::IsDirectory);
        }
        if let Entry::ConsumerFile(id, file) = entry {
            return Stream::open_consumer(Arc::clone(&self.shared), id, file, caller);
        }
        if let Entry::VersionFile(id) = entry {
            return Stream::open_version(Arc::clone(&self.shared), id, caller);
        }
        Ok(Stream::open(Arc::clone(&self.shared), entry, caller))
    }
}

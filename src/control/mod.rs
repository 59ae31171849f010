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

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::content::Content;
use crate::event::{Caller, Mark, Seq};
use crate::event_log::EventLog;
use crate::health::Health;
use crate::recorder::{RecordError, Recorder};

pub use consumers::{ConsumerError, ConsumerFile, ConsumerId, Consumers, Shelf};
pub use detection::{Detection, DetectionFigures, Failed, Promise, ScanFigures};
pub use error::ControlError;
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
        };
        Control {
            shared: Arc::new(shared),
        }
    }

    /// Lets past contents be read from `content`; once.
    pub fn serve_content(&self, content: Content) {
        let _ = self.shared.content.set(content);
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
        Ok(Stream::open(Arc::clone(&self.shared), entry, caller))
    }
}

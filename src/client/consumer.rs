//! A durable consumer: a named place in the log that the daemon keeps, as a directory of small files. At least once,
//! in order; [`Consumer::take`] at most once.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::event::Seq;

use super::control::{Control, Reply};
use super::error::ClientError;
use super::line::Line;
use super::query::Query;
use super::root::Client;

/// One consumer; several programs may use the same.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: String,
    dir: PathBuf,
    control: PathBuf,
}

impl Client {
    /// The consumer `name`, registered at the newest event when there is none.
    ///
    /// # Errors
    /// It is not a name (letters, digits, and `.` `_` `-` inside), or it cannot be registered.
    pub fn consumer(&self, name: &str) -> Result<Consumer, ClientError> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(ClientError::Refused {
                code: "invalid".into(),
                message: format!("`{name}` is not a name of a consumer"),
                hint: "use letters, digits, and . _ - inside".into(),
            });
        }
        let dir = self.file("consumers").join(name);
        match std::fs::create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ClientError::at(&dir)(error)),
        }
        Ok(Consumer {
            name: name.to_owned(),
            dir,
            control: self.file("control"),
        })
    }
}

impl Consumer {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The events after the cursor up to the present. Reading moves nothing: [`Consumer::ack`] does.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn events(
        &self,
    ) -> Result<impl Iterator<Item = Result<Line, ClientError>> + use<>, ClientError> {
        let path = self.dir.join("events");
        let file = File::open(&path).map_err(ClientError::at(&path))?;
        let lines = BufReader::new(file).split(b'\n');
        Ok(lines.map(move |line| {
            let line = line.map_err(ClientError::at(&path))?;
            Line::parse(&line).map_err(|error| ClientError::unexpected(&path, error))
        }))
    }

    /// Everything up to `seq` is done with; on disk when this returns; never moves back.
    ///
    /// # Errors
    /// `seq` lies past the newest event, or the consumer is gone.
    pub fn ack(&self, seq: Seq) -> Result<(), ClientError> {
        self.write("ack", &seq.to_string())
    }

    /// Takes the next events for the caller alone: reads and advances in one step, so that each event goes to one of
    /// several workers. What a worker took is lost with it. Waits so long for the first.
    ///
    /// # Errors
    /// The daemon is away, or the limit is not from 1 to 1,000.
    pub fn take(&self, limit: u64, wait: Duration) -> Result<Reply, ClientError> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let take = json!({"consumer": self.name, "limit": limit, "wait_ms": wait_ms});
        Control::open(self.control.clone())?.into_reply(&json!({ "take": take }))
    }

    /// The last position that was acknowledged.
    ///
    /// # Errors
    /// The consumer is gone.
    pub fn cursor(&self) -> Result<Seq, ClientError> {
        self.number("cursor").map(Seq)
    }

    /// Moves the cursor, either way.
    ///
    /// # Errors
    /// `seq` lies past the newest event, or the consumer is gone.
    pub fn seek(&self, seq: Seq) -> Result<(), ClientError> {
        self.write("cursor", &seq.to_string())
    }

    /// How many events stand after the cursor.
    ///
    /// # Errors
    /// The consumer is gone.
    pub fn lag(&self) -> Result<u64, ClientError> {
        self.number("lag")
    }

    /// From now on only what matches is delivered; a query of nothing delivers everything.
    ///
    /// # Errors
    /// The daemon does not take the selectors; bounds are none.
    pub fn set_filter(&self, selectors: &Query) -> Result<(), ClientError> {
        let fields = Value::Object(selectors.fields().clone());
        self.write("filter", &fields.to_string())
    }

    /// Forgets the consumer and its place in the log.
    ///
    /// # Errors
    /// It is gone already.
    pub fn remove(self) -> Result<(), ClientError> {
        std::fs::remove_dir(&self.dir).map_err(ClientError::at(&self.dir))
    }

    fn number(&self, name: &str) -> Result<u64, ClientError> {
        let path = self.dir.join(name);
        let text = std::fs::read_to_string(&path).map_err(ClientError::at(&path))?;
        let number = text.trim().parse();
        number.map_err(|_| ClientError::unexpected(&path, "not a number"))
    }

    /// One write: the daemon takes each as a whole.
    fn write(&self, name: &str, text: &str) -> Result<(), ClientError> {
        let path = self.dir.join(name);
        let file = File::options().write(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(ClientError::at(&path))
    }
}

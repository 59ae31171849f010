//! The conversation of one open `control` file: a request written, its reply read to the end, then the next one.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;

use serde_json::Value;

use crate::event::Seq;

use super::error::ClientError;
use super::line::Line;
use super::root::OBJECT_BYTES_MAX;

/// Bytes of one read of a reply: the largest request a kernel makes.
const READ_BYTES: usize = 1 << 20;
/// How the last line of an events reply begins; no event does.
const END: &[u8] = b"{\"next\":";

/// An open control file.
#[derive(Debug)]
pub struct Control {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Control {
    pub(super) fn open(path: PathBuf) -> Result<Control, ClientError> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(ClientError::at(&path))?;
        Ok(Control { path, file })
    }

    /// Writes one request.
    pub(super) fn send(&self, request: &Value) -> Result<(), ClientError> {
        let text = request.to_string();
        match (&self.file).write(text.as_bytes()) {
            Ok(count) if count == text.len() => Ok(()),
            Ok(_) => Err(ClientError::Refused {
                code: "too_long".into(),
                message: "it was taken in part".into(),
                hint: "use a shorter one".into(),
            }),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(self.refusal()),
            Err(error) => Err(ClientError::at(&self.path)(error)),
        }
    }

    /// Writes one request and gives each line of its reply, with its newline, to `each`.
    ///
    /// # Errors
    /// The request is refused, the reply cannot be read, or `each` says so; the rest of the reply is then left.
    pub fn each<E: From<ClientError>>(
        &mut self,
        request: &Value,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.send(request)?;
        let mut reply = BufReader::with_capacity(READ_BYTES, &self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = reply
                .read_until(b'\n', &mut line)
                .map_err(ClientError::at(&self.path))?;
            if count == 0 {
                return Ok(());
            }
            each(&line)?;
        }
    }

    /// Writes one request whose reply is one object, and gives it.
    ///
    /// # Errors
    /// The request is refused, or the answer says that it failed.
    pub fn ask(&mut self, request: &Value) -> Result<Value, ClientError> {
        let mut text = Vec::new();
        self.each(request, |line| {
            text.extend_from_slice(line);
            Ok::<_, ClientError>(())
        })?;
        let answer: Value = serde_json::from_slice(&text)
            .map_err(|error| ClientError::unexpected(&self.path, error))?;
        match answer.get("error") {
            Some(error) => Err(refused(error)),
            None => Ok(answer),
        }
    }

    /// Writes one request for events and reads its reply from now on.
    pub(super) fn into_reply(self, request: &Value) -> Result<Reply, ClientError> {
        self.send(request)?;
        Ok(Reply {
            path: self.path,
            lines: BufReader::with_capacity(READ_BYTES, self.file),
            end: None,
            done: false,
        })
    }

    /// What the daemon says of a request it refused.
    fn refusal(&self) -> ClientError {
        let mut text = String::new();
        let read = (&self.file)
            .take(OBJECT_BYTES_MAX)
            .read_to_string(&mut text);
        if let Err(error) = read {
            return ClientError::at(&self.path)(error);
        }
        match serde_json::from_str::<Value>(&text) {
            Ok(reply) => refused(&reply["error"]),
            Err(error) => ClientError::unexpected(&self.path, error),
        }
    }
}

fn refused(error: &Value) -> ClientError {
    let said = |key: &str, default: &str| error[key].as_str().unwrap_or(default).to_owned();
    ClientError::Refused {
        code: said("code", "refused"),
        message: said("message", "refused"),
        hint: said("hint", "see .hippofs/help"),
    }
}

/// The last line of an events reply.
#[derive(Clone, PartialEq, Debug)]
pub struct End {
    /// Given back as `since`, no event is met twice or missed.
    pub next: Seq,
    /// The newest event at that time.
    pub head: Seq,
    /// What is gone between, as a line like those of `.hippofs/events`.
    pub gap: Option<Line>,
}

impl End {
    /// Reads a line that is the end of a reply; `None` for any other.
    pub(super) fn parse(line: &[u8]) -> Option<End> {
        if !line.starts_with(END) {
            return None;
        }
        let value: Value = serde_json::from_slice(line).ok()?;
        let gap = value["gap"].as_object().map(|fields| {
            let mut gap = serde_json::Map::new();
            gap.insert("event_type".into(), "gap".into());
            gap.insert("source".into(), "system".into());
            gap.extend(fields.clone());
            Line::from(Value::Object(gap))
        });
        Some(End {
            next: Seq(value["next"].as_u64()?),
            head: Seq(value["head"].as_u64()?),
            gap,
        })
    }
}

/// The reply to one question for events: an iterator of them. Its end says where to go on and what is missing.
#[derive(Debug)]
pub struct Reply {
    path: PathBuf,
    lines: BufReader<File>,
    end: Option<End>,
    done: bool,
}

impl Reply {
    /// Where to go on, known when the iterator has given everything; reads what is left.
    ///
    /// # Errors
    /// The reply cannot be read, or ended too early.
    pub fn end(mut self) -> Result<End, ClientError> {
        for line in self.by_ref() {
            line?;
        }
        self.end
            .ok_or_else(|| ClientError::unexpected(&self.path, "the reply has no end"))
    }

    fn read(&mut self) -> Result<Option<Line>, ClientError> {
        let mut line = Vec::new();
        self.lines
            .read_until(b'\n', &mut line)
            .map_err(ClientError::at(&self.path))?;
        if line.is_empty() {
            return Err(ClientError::unexpected(&self.path, "the reply has no end"));
        }
        if let Some(end) = End::parse(&line) {
            self.end = Some(end);
            return Ok(None);
        }
        let unreadable = |error| ClientError::unexpected(&self.path, error);
        Line::parse(&line).map(Some).map_err(unreadable)
    }
}

impl Iterator for Reply {
    type Item = Result<Line, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let read = self.read().transpose();
        self.done = !matches!(read, Some(Ok(_)));
        read
    }
}

//! Live events as an iterator that blocks, across deaths of the daemon, with a way to stop it from outside.
//!
//! Each step is a long poll of `control` from behind the last one, so that one road carries selectors, gaps and new
//! events, and nothing is lost or repeated between asking and following. The descriptor does not block: the wait is one
//! poll on it and on the stopper's.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde_json::Value;

use crate::event::Seq;

use super::control::{Control, End};
use super::error::ClientError;
use super::line::Line;
use super::query::Query;
use super::root::Client;

/// How long a daemon that is away is waited for: many times what a supervised restart takes.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for.
const RETRY: Duration = Duration::from_millis(50);
/// Longest long poll the daemon takes.
const WAIT: Duration = Duration::from_secs(600);
/// Events of one reply: some 330 KB, so that a long log never has to fit into memory.
const PAGE_EVENTS: u64 = 1000;
const READ_BYTES: usize = 1 << 20;

/// Live events in order, each once. Ends when it is stopped, or after an error: the daemon was away for longer than
/// [`PATIENCE`]. What the log no longer has comes as one gap in its place. Keeps the mount busy, as every open file.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    query: Query,
    since: Seq,
    control: Option<Control>,
    asked: bool,
    reply: Vec<u8>,
    ready: VecDeque<Line>,
    away: Option<Instant>,
    patience: Duration,
    done: bool,
    stop: Stopper,
}

/// Ends a [`Follow`] from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<OwnedFd>);

impl Stopper {
    fn new() -> io::Result<Stopper> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Stopper(Arc::new(rustix::event::eventfd(0, flags)?)))
    }

    /// The iterator ends: at once when it waits, else after the event it is giving.
    pub fn stop(&self) {
        // The counter is full only after it was written before, and that is all that has to be known.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl Follow {
    /// Asks the first question at once, so that what is refused is refused here.
    pub(super) fn start(client: Client, query: Query) -> Result<Follow, ClientError> {
        let since = match query.get_since() {
            Some(since) => since,
            None => client.head()?,
        };
        let stop = Stopper::new().map_err(ClientError::at(client.root()))?;
        let mut follow = Follow {
            client,
            query,
            since,
            control: None,
            asked: false,
            reply: Vec::new(),
            ready: VecDeque::new(),
            away: None,
            patience: PATIENCE,
            done: false,
            stop,
        };
        follow.ask()?;
        Ok(follow)
    }

    /// Another time to wait for a daemon that is away than [`PATIENCE`].
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Follow {
        self.patience = patience;
        self
    }

    /// What ends it, for another thread or the loop's own body.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// Whether the daemon is away at the moment.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// The events that are there, at least one; waits for them. `None` when it was stopped.
    ///
    /// # Errors
    /// The daemon was away for too long.
    pub fn batch(&mut self) -> Result<Option<Vec<Line>>, ClientError> {
        loop {
            if self.done || self.wait(Some(Duration::ZERO))? {
                self.done = true;
                return Ok(None);
            }
            if !self.ready.is_empty() {
                return Ok(Some(self.ready.drain(..).collect()));
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => {
                    self.wait(None)?;
                }
                Err(error) => self.forgive(error)?,
            }
        }
    }

    /// One step without waiting; whether there may be more at once.
    fn step(&mut self) -> Result<bool, ClientError> {
        self.ask()?;
        let Some(control) = &self.control else {
            return Ok(true);
        };
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match (&control.file).read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.reply.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ClientError::at(&control.path)(error)),
            }
        }
        self.asked = false;
        self.away = None;
        let reply = std::mem::take(&mut self.reply);
        self.take(&reply)?;
        Ok(true)
    }

    fn ask(&mut self) -> Result<(), ClientError> {
        let control = match &self.control {
            Some(control) => control,
            None => {
                let path = self.client.file("control");
                let file = File::options()
                    .read(true)
                    .write(true)
                    .custom_flags(libc::O_NONBLOCK)
                    .open(&path)
                    .map_err(ClientError::at(&path))?;
                self.control.insert(Control { path, file })
            }
        };
        if !self.asked {
            let query = self.query.clone().since(self.since);
            control.send(&query.limit(PAGE_EVENTS).wait(WAIT).request())?;
            self.asked = true;
        }
        Ok(())
    }

    /// A whole reply; its gap gets its place among the events.
    fn take(&mut self, reply: &[u8]) -> Result<(), ClientError> {
        let path = self.client.file("control");
        let mut end = None;
        let mut lines = VecDeque::new();
        for line in reply.split_inclusive(|byte| *byte == b'\n') {
            match End::parse(line) {
                Some(found) => end = Some(found),
                None => lines.push_back(
                    Line::parse(line).map_err(|error| ClientError::unexpected(&path, error))?,
                ),
            }
        }
        let end = end.ok_or_else(|| {
            let aborted = io::Error::from_raw_os_error(libc::ECONNABORTED);
            ClientError::at(&path)(aborted)
        })?;
        if let Some(gap) = end.gap {
            let from = gap.value().get("from").and_then(Value::as_u64);
            let after = |line: &Line| line.seq().map(|seq| seq.0) > from;
            let place = lines.iter().position(after).unwrap_or(lines.len());
            lines.insert(place, gap);
        }
        self.since = end.next;
        self.ready.extend(lines);
        Ok(())
    }

    /// Lets go of a daemon that is away, until patience ends; any other failure is one.
    fn forgive(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.control = None;
        self.asked = false;
        self.reply.clear();
        let since = *self.away.get_or_insert_with(Instant::now);
        if !error.is_away() || since.elapsed() >= self.patience {
            self.done = true;
            return Err(error);
        }
        self.wait(Some(RETRY))?;
        Ok(())
    }

    /// Waits for the descriptor or the stopper; whether it was stopped.
    fn wait(&self, limit: Option<Duration>) -> Result<bool, ClientError> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        let mut fds = vec![PollFd::new(&self.stop.0, PollFlags::IN)];
        if let Some(control) = &self.control {
            fds.push(PollFd::from_borrowed_fd(
                control.file.as_fd(),
                PollFlags::IN,
            ));
        }
        match rustix::event::poll(&mut fds, limit.as_ref()) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            // Whoever waits asks again.
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(ClientError::at(self.client.root())(error.into())),
        }
    }
}

impl Iterator for Follow {
    type Item = Result<Line, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            match self.batch() {
                Ok(Some(lines)) => self.ready.extend(lines),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        } else if self.done || self.wait(Some(Duration::ZERO)).is_ok_and(|stopped| stopped) {
            self.done = true;
            return None;
        }
        self.ready.pop_front().map(Ok)
    }
}

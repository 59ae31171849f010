//! What `top` is fed with: one thread that reads the control files and keeps on trying while the daemon is away. It opens
//! them anew each time, so that it keeps no mount busy, and asks four times a second instead of waiting for each event,
//! so that it costs the same under any load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Map, Value};

use super::model::WINDOW_S;
use crate::cli::activity::Change;
use crate::cli::client::Root;
use crate::cli::error::CliError;
use crate::cli::events::exact;
use crate::event::Timestamp;

/// Time between two looks.
const EVENTS_EVERY: Duration = Duration::from_millis(250);
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Most events of one message: they are held in memory.
const EVENTS_MAX: u64 = 4096;
/// Messages on their way; the feed waits when the other end is slow.
const QUEUE_MAX: usize = 4;
/// Further behind than this, the older part is left out and said to be.
const BEHIND_MAX: u64 = 200_000;

/// One message.
#[derive(Debug)]
pub(super) enum News {
    /// What follows begins a minute ago: forget what was counted.
    Again,
    Events(Vec<Change>),
    /// What the reply says is missing.
    Gap(String),
    /// So many events were left out to keep up.
    Skipped(u64),
    Status(Box<Value>),
    /// The daemon does not answer; why.
    Down(String),
}

/// The receiving end. The thread ends after this is dropped.
pub(super) struct Feed {
    pub(super) news: Receiver<News>,
    again: Arc<AtomicBool>,
}

impl Feed {
    /// Starts reading.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(root: Root) -> Result<Feed, CliError> {
        let (sender, news) = bounded(QUEUE_MAX);
        let again = Arc::new(AtomicBool::new(true));
        let reader = Reader {
            root,
            sender,
            again: Arc::clone(&again),
            since: None,
            store: None,
            status_at: None,
        };
        std::thread::Builder::new()
            .name("feed".into())
            .spawn(move || reader.run())
            .map_err(|error| CliError::failed("thread", error, "see the limits of this user"))?;
        Ok(Feed { news, again })
    }

    /// Has the last minute read once more.
    pub(super) fn again(&self) {
        self.again.store(true, Ordering::Relaxed);
    }
}

/// Nobody listens any more.
struct Gone;

struct Reader {
    root: Root,
    sender: Sender<News>,
    again: Arc<AtomicBool>,
    /// The last event that was read; `None` before the first.
    since: Option<u64>,
    store: Option<String>,
    status_at: Option<Instant>,
}

impl Reader {
    fn run(mut self) {
        while let Ok(behind) = self.turn() {
            if !behind {
                std::thread::sleep(EVENTS_EVERY);
            }
        }
    }

    /// Reads once what is new, and says whether there is more.
    fn turn(&mut self) -> Result<bool, Gone> {
        let read = self.read();
        let (news, behind) = match read {
            Ok((news, behind)) => (news, behind),
            Err(error) => {
                self.status_at = None;
                (vec![News::Down(reason(&error))], false)
            }
        };
        for news in news {
            self.sender.send(news).map_err(|_| Gone)?;
        }
        Ok(behind)
    }

    fn read(&mut self) -> Result<(Vec<News>, bool), CliError> {
        let mut news = Vec::new();
        if self.status_at.is_none_or(|at| at.elapsed() >= STATUS_EVERY) {
            let status = self.root.status()?;
            self.status_at = Some(Instant::now());
            let store = status["store"].as_str().map(str::to_owned);
            // Another store was mounted at the same place: its positions are others.
            if self.store != store {
                self.store = store;
                self.since = None;
            }
            news.push(News::Status(Box::new(status)));
        }
        if self.again.swap(false, Ordering::Relaxed) {
            self.since = None;
        }
        let mut query = Map::new();
        query.insert("limit".into(), EVENTS_MAX.into());
        match self.since {
            Some(since) => query.insert("since".into(), since.into()),
            None => {
                news.push(News::Again);
                let window = Duration::from_secs(WINDOW_S + 1).as_nanos() as u64;
                let from = Timestamp(Timestamp::now().0.saturating_sub(window));
                query.insert("from_time".into(), exact(from))
            }
        };
        let mut changes = Vec::new();
        let end = self.root.control()?.events(&query, |line| {
            changes.extend(Change::parse(line));
            Ok(())
        })?;
        let next = end["next"].as_u64().unwrap_or_default();
        let head = end["head"].as_u64().unwrap_or_default();
        news.push(News::Events(changes));
        if let Some(reason) = end["gap"]["reason"].as_str() {
            let detail = end["gap"]["detail"].as_str().unwrap_or_default();
            news.push(News::Gap(format!("{reason}: {detail}")));
        }
        let behind = head.saturating_sub(next);
        self.since = Some(next);
        // The position of another store, or of a log that lost its end, lies past the head: go on from there.
        if next > head {
            self.since = Some(head);
        }
        if behind > BEHIND_MAX {
            self.since = Some(head - BEHIND_MAX);
            news.push(News::Skipped(behind - BEHIND_MAX));
        }
        Ok((news, behind > 0))
    }
}

/// The reason alone: what and what to do are the same all the time.
fn reason(error: &CliError) -> String {
    match error {
        CliError::Failed { why, .. } => why.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_failure_is_said_alone() {
        let error = CliError::failed("a", "because", "do");
        assert_eq!(reason(&error), "because");
        assert!(reason(&CliError::NotMounted("/x".into())).contains("not a hippofs mount"));
    }
}

//! The keeper: one thread that syncs, removes what retention no longer keeps, and puts failures right while
//! nobody writes.
//!
//! It holds the log weakly: a log whose handles are all dropped ends without being closed, as a crash would.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::LogError;
use super::writer::Shared;

/// Longest time between two rounds: retention and healing go on also where syncs are rare.
const ROUND_MAX: Duration = Duration::from_secs(10);

/// The running thread and the way to stop it.
pub(super) struct Keeper {
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Signal {
    stop: Mutex<bool>,
    changed: Condvar,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Keeper, LogError> {
        let signal = Arc::new(Signal::default());
        let theirs = Arc::clone(&signal);
        let weak = Arc::downgrade(shared);
        let interval = shared.options.sync_interval;
        let thread = std::thread::Builder::new()
            .name("log-keeper".into())
            .spawn(move || run(&weak, &theirs, interval))
            .map_err(LogError::io("start of the keeper thread"))?;
        Ok(Keeper {
            signal,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Stops the thread and waits for it.
    pub(super) fn stop(&self) {
        self.tell();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            log::error!("event log: the keeper thread panicked");
        }
    }

    fn tell(&self) {
        *self.signal.stop.lock() = true;
        self.signal.changed.notify_all();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.tell();
    }
}

fn run(shared: &Weak<Shared>, signal: &Signal, interval: Duration) {
    loop {
        let mut stop = signal.stop.lock();
        if !*stop {
            signal.changed.wait_for(&mut stop, interval.min(ROUND_MAX));
        }
        if *stop {
            return;
        }
        drop(stop);
        match shared.upgrade() {
            Some(shared) => shared.round(),
            None => return,
        }
    }
}

impl Shared {
    /// One round of the keeper. Failures are latched, shown by `failure` and tried again in a later round.
    fn round(&self) {
        let mut state = self.state.lock();
        let healed = self.heal(&mut state).unwrap_or(false);
        if state.latch.is_none() {
            let _ = self.ready_spare(&mut state);
        }
        drop(state);
        if healed {
            self.wake.wake();
        }
        if let Err(error) = self.sync_to_head() {
            log::debug!("event log: {error}");
        }
        // Each turn removes a little, and what went with it counts in the next.
        self.retain();
    }
}

//! What a service manager is told: ready, stopping, alive. Without one (`NOTIFY_SOCKET` unset) nothing happens.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

use super::Stop;

/// The watchdog is fed this many times per period: one late turn does not end the service.
const FEEDS_PER_PERIOD: u32 = 2;

/// Says that the mount answers.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How often the manager wants to hear that the service is alive, already halved; `None` when it does not.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    // Absent when a supervisor stands between the manager and this process; else it must mean this process.
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    let interval = Duration::from_micros(number("WATCHDOG_USEC")?) / FEEDS_PER_PERIOD;
    (!interval.is_zero()).then_some(interval)
}

/// Starts the thread that feeds the watchdog for as long as `alive` says so, until `stop`. Does nothing when no
/// watchdog is wanted. A flush that is longer than the period after `stop` is covered by the unit's stop timeout.
///
/// # Errors
/// No thread can be started.
pub fn feed_watchdog(stop: Stop, alive: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
    let Some(interval) = watchdog_interval() else {
        return Ok(());
    };
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || {
            while !stop.wait(interval) {
                if alive() {
                    tell(&[NotifyState::Watchdog]);
                }
            }
        })?;
    Ok(())
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        log::warn!("the service manager cannot be told: {error}");
    }
}

//! What every test stands on: a case with its directories and its watchdog, guards for mounts and processes,
//! waits that end, and events as JSON.
//!
//! Invariant: nothing started here outlives the test, and nothing here waits without a deadline.

pub(crate) mod browser;
pub(crate) mod case;
pub(crate) mod disk;
pub(crate) mod events;
pub(crate) mod hippofs;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod tree;
pub(crate) mod wait;
mod watchdog;

pub(crate) use case::Case;
pub(crate) use hippofs::Mount;

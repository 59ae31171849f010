//! The only module that names fuser: requests in, replies out.
//!
//! A handler is decode, one call, one reply. No lock is held while a reply is sent, and no kernel-facing thread
//! waits: what waits for a disk goes to the `jobs`, what waits for an event is parked (`parking`).

mod adapter;
mod answer;
mod attach;
mod convert;
mod errno;
mod invalidate;
mod io_mode;
mod jobs;
mod listing;
mod negotiate;
mod opens;
mod parking;
mod session;
mod transfer;
mod workers;

pub use attach::{AttachError, Options};
pub use invalidate::Invalidator;
pub use session::{Served, Session};

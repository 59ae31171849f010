//! hippofs: a FUSE filesystem that records every change.
pub mod cli;
pub mod daemon;
pub mod event;
pub mod event_log;
pub mod health;

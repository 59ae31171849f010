//! hippofs: a FUSE filesystem that records every change.
pub mod event;
pub mod event_log;
pub mod health;

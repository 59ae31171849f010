//! hippofs: a FUSE filesystem that records every change.
pub mod backing;
pub mod event;
pub mod health;

//! The process around a mount: starting, serving, stopping, dying, restarting.
//!
//! Rank 6: may use everything but `cli`. Outside signals only set [`Stop`]; [`serve::serve`] owns the order of start
//! and stop. Nothing here opens a path inside the own mount: that would wait for itself.

pub mod config;
pub mod error;
pub mod stop;

mod contents;
mod detection;
mod present;
mod shelf;
mod tracking;

pub mod serve;
pub mod store;

pub mod mounts;

pub mod holders;

pub mod detach;
pub mod service;
pub mod signals;
pub mod supervise;

pub use config::Config;
pub use error::DaemonError;
pub use stop::Stop;

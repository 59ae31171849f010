//! The locks and atomics of the waking and of the group commit: those two are also compiled against a checker of
//! interleavings, which stands in for these.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64};

pub(super) use parking_lot::{Condvar, Mutex};

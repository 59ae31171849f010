//! stub
pub use crate::event_log::{DirStorage, Storage};

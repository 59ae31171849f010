//! The filesystem itself: each operation works as on a plain directory and stands in the log as what it was.

mod access;
mod attributes;
mod content;
mod listing;
mod names;
mod opens;
mod places;
mod sessions;

use std::path::Path;

use crate::support::{Case, Mount};

/// Runs `work` in the native directory and on the mount; the results must be equal. Gives the mount's events.
#[track_caller]
fn same_as_native<T: PartialEq + std::fmt::Debug>(
    case: &Case,
    mount: &Mount,
    work: impl Fn(&Path) -> T,
) -> Vec<String> {
    let native = work(&case.native());
    let mut on_mount = None;
    let events = mount.record(|| on_mount = Some(work(mount.root())));
    assert_eq!(on_mount, Some(native), "on the mount, natively");
    events
}

/// The error number of a failed standard call.
fn errno<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

//! The command line: arguments, messages, exit codes, signals.

mod mounting;
mod queries;
mod recipes;
mod report;
mod top;
mod usage;

use std::ffi::OsStr;

use crate::support::hippofs;
use crate::support::process::Done;

/// A run that must fail with exit code 1 and one line on standard error.
#[track_caller]
fn fails(arguments: &[&OsStr]) -> String {
    let done: Done = hippofs::run(arguments);
    assert_eq!(done.code(), Some(1), "{arguments:?}: {done:?}");
    assert_eq!(
        (done.stdout.as_str(), done.stderr.lines().count()),
        ("", 1),
        "{arguments:?}: {done:?}"
    );
    // `hippofs: what: why: what to do`
    assert!(done.stderr.starts_with("hippofs: "), "{done:?}");
    assert!(
        done.stderr.matches(": ").count() >= 3,
        "{arguments:?}: what, why and what to do: {done:?}"
    );
    done.stderr
}

//! How the process ends. Scripts rely on these numbers.

use std::process::ExitCode;

/// The exit status of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It did what was asked: 0.
    Success,
    /// It could not, or `verify` found something: 1. Standard error says why.
    Failure,
    /// It was asked wrongly: 2.
    Usage,
    /// Whoever read its output went away: 141, as if SIGPIPE had ended it; nothing is said.
    ReaderGone,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::ReaderGone => 128 + 13,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        exit.code().into()
    }
}

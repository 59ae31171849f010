//! Why an operation failed, before it becomes a number.

use crate::backing::Errno;
use crate::control::ControlError;
use crate::recorder::RecordError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The storage refused.
    #[error("the storage refused: {0}")]
    Storage(#[from] Errno),
    /// The change could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The control directory refused.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The name `.hippofs` in the root, and everything below it, is not the caller's to change.
    #[error("`.hippofs` is reserved")]
    Reserved,
    /// No such handle, or one of another kind.
    #[error("not an open handle of that kind")]
    BadHandle,
    /// A combination of flags that does not exist.
    #[error("invalid flags")]
    Invalid,
}

/// Result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

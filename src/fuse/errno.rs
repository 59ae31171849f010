//! Every failure as a number, in one place and without a wildcard.

use fuser::Errno;

use crate::control::ControlError;
use crate::event_log::LogError;
use crate::recorder::RecordError;
use crate::vfs::Error;

/// The number the caller sees.
pub(super) fn errno(error: &Error) -> Errno {
    match error {
        Error::Storage(errno) => storage(*errno),
        Error::Record(error) => record(error),
        Error::Control(error) => control(error),
        Error::Reserved => Errno::EPERM,
        Error::BadHandle => Errno::EBADF,
        Error::Invalid => Errno::EINVAL,
    }
}

fn storage(errno: crate::backing::Errno) -> Errno {
    Errno::from_i32(errno.raw_os_error())
}

fn record(error: &RecordError) -> Errno {
    match error {
        RecordError::Storage(errno) => storage(*errno),
        RecordError::Refused(error) | RecordError::Unrecorded(error) => log(error),
    }
}

fn log(error: &LogError) -> Errno {
    match error {
        LogError::DiskFull => Errno::ENOSPC,
        LogError::TooLong { .. } => Errno::ENAMETOOLONG,
        LogError::Io { .. } | LogError::Latched { .. } | LogError::Closed | LogError::Format(_) => {
            Errno::EIO
        }
    }
}

fn control(error: &ControlError) -> Errno {
    match error {
        ControlError::Invalid(_) | ControlError::TooLong => Errno::EINVAL,
        ControlError::NotWritable => Errno::EACCES,
        ControlError::IsDirectory => Errno::EISDIR,
        ControlError::Gone => Errno::ENOENT,
        ControlError::Past(_) => Errno::EIO,
        ControlError::Log(error) => log(error),
        ControlError::Record(error) => record(error),
    }
}

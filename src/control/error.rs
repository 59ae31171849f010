//! Why a request or a control file was refused: for the caller's errno and, in more words, for the reply.

use std::fmt::Write as _;

use crate::event::line::quote;
use crate::event_log::LogError;
use crate::recorder::RecordError;

/// What a control file answers instead of bytes.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The request is not one; the reply says why and what to write instead.
    #[error("{0}")]
    Invalid(String),
    /// The request is longer than [`REQUEST_BYTES_MAX`](super::REQUEST_BYTES_MAX).
    #[error("the request is too long")]
    TooLong,
    /// A write to a file that is only read.
    #[error("this control file is not written")]
    NotWritable,
    /// A directory of the control directory was opened as a file.
    #[error("this is a directory")]
    IsDirectory,
    /// That content is not there any more.
    #[error("no such version")]
    Gone,
    /// The past could not be read.
    #[error("versions: {0}")]
    Past(String),
    /// The log could not be read or synced.
    #[error("event log: {0}")]
    Log(#[from] LogError),
    /// The mark could not be recorded.
    #[error("mark: {0}")]
    Record(#[from] RecordError),
}

/// A refused request, in the words of the reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reject {
    /// One word for programs.
    pub(super) code: &'static str,
    /// What is wrong.
    pub(super) message: String,
    /// What to do instead; empty when there is nothing to say.
    pub(super) hint: String,
}

impl Reject {
    /// A refusal.
    pub(super) fn new(
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Reject {
        Reject {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The reply: `{"error":{"code":...,"message":...,"hint":...}}` and a newline.
    pub(super) fn line(&self) -> String {
        let mut out = String::new();
        let _ = write!(out, "{{\"error\":{{\"code\":\"{}\",\"message\":", self.code);
        quote(&self.message, &mut out);
        out.push_str(",\"hint\":");
        quote(&self.hint, &mut out);
        out.push_str("}}\n");
        out
    }
}

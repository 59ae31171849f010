//! How events are shown: which view of them, and in whose words. Pure: lines in, lines out; the log keeps everything.

pub(super) mod documents;
pub(super) mod format;
mod path;

pub(super) use format::Format;

#[cfg(test)]
mod tests;

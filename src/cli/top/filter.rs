//! What the user typed to see less: a glob on paths, or a piece of a path or of a session's name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use globset::{GlobBuilder, GlobMatcher};

use crate::cli::activity::{Change, Who};

/// Longest filter in characters: what fits a line of a wide terminal.
pub(super) const CHARS_MAX: usize = 200;

/// A filter.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    text: String,
    /// Only when the text has a character that means something in a glob.
    glob: Option<GlobMatcher>,
}

impl Filter {
    /// `None` for a text of blanks, which takes everything.
    ///
    /// # Errors
    /// It is no glob; says why.
    pub(super) fn parse(text: &str) -> Result<Option<Filter>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let is_glob = text.contains(['*', '?', '[', '{', '\\']);
        let glob = match is_glob {
            true => Some(
                GlobBuilder::new(text)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .build()
                    .map_err(|error| format!("not a glob: {}", error.kind()))?
                    .compile_matcher(),
            ),
            false => None,
        };
        Ok(Some(Filter {
            text: text.to_owned(),
            glob,
        }))
    }

    /// As it was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the event is to be counted.
    pub(super) fn takes(&self, change: &Change) -> bool {
        let who = match &change.who {
            Who::Session(name) | Who::Program(name) => name.as_str(),
            Who::Behind | Who::System => "",
        };
        let path = change.path.as_deref();
        match &self.glob {
            Some(glob) => {
                path.is_some_and(|path| glob.is_match(OsStr::from_bytes(path)))
                    || (!who.is_empty() && glob.is_match(who))
            }
            None => {
                let text = self.text.as_bytes();
                path.is_some_and(|path| memchr::memmem::find(path, text).is_some())
                    || who.contains(&self.text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn takes(filter: &str, path: &str, session: &str) -> bool {
        let line = json!({"event_type": "created", "source": "mount", "src_path": path, "session": session});
        let filter = Filter::parse(filter).unwrap().unwrap();
        filter.takes(&Change::of(&line).unwrap())
    }

    #[test]
    fn globs_and_pieces_match_paths_and_sessions() {
        assert!(takes("notes/*.json", "notes/a.json", "s"));
        assert!(
            !takes("*.json", "notes/a.json", "s"),
            "a star stays within a directory"
        );
        assert!(takes("**/*.json", "notes/a.json", "s"));
        assert!(takes("otes/a", "notes/a.json", "s"));
        assert!(takes("agent-", "x", "agent-7"));
        assert!(takes("agent-?", "x", "agent-7"));
        assert!(!takes("agent-8", "x", "agent-7"));
    }

    #[test]
    fn blanks_take_all_and_a_bad_glob_is_said() {
        assert!(Filter::parse("  ").unwrap().is_none());
        assert!(Filter::parse("a[").unwrap_err().starts_with("not a glob"));
    }
}

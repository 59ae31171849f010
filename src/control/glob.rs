//! The `path` selector: a glob, bounded so that no request can make it large, and never a panic.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::error::Reject;
use super::fields::invalid;

/// A glob over paths relative to the storage root: `*` and `?` stay within a component, `**` crosses them.
#[derive(Clone, Debug)]
pub(super) struct PathGlob {
    set: GlobSet,
    literal: String,
}

impl PathGlob {
    /// Longest glob in bytes: the longest path that a system call takes.
    pub(super) const BYTES_MAX: usize = 4096;
    /// Most `{` in a glob: each nests or multiplies the pattern.
    pub(super) const ALTERNATES_MAX: usize = 64;

    /// Compiles a glob.
    ///
    /// # Errors
    /// When it is no glob, too long, or absolute.
    pub(super) fn new(glob: &str) -> Result<PathGlob, Reject> {
        if glob.len() > PathGlob::BYTES_MAX || glob.matches('{').count() > PathGlob::ALTERNATES_MAX
        {
            let message = format!(
                "the glob in `path` has more than {} bytes or {} alternates",
                PathGlob::BYTES_MAX,
                PathGlob::ALTERNATES_MAX
            );
            return Err(invalid(message, "select more with a shorter glob"));
        }
        if glob.starts_with('/') {
            return Err(invalid(
                "the glob in `path` begins with /",
                "paths are relative to the root of the mount: leave the first / out",
            ));
        }
        // A set, though it holds one glob: building it reports a pattern that is too large, where the matcher of a
        // single glob panics.
        let set = GlobBuilder::new(glob)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .and_then(|glob| GlobSetBuilder::new().add(glob).build());
        match set {
            Ok(set) => Ok(PathGlob {
                set,
                literal: literal_of(glob),
            }),
            Err(error) => Err(invalid(
                format!("`path` is not a glob: {}", error.kind()),
                "for example \"notes/**/*.json\"; a backslash takes the meaning from * ? [ ] { }",
            )),
        }
    }

    /// ASCII text that every matching path holds, as it stands in the line; may be empty.
    pub(super) fn literal(&self) -> &str {
        &self.literal
    }

    /// Whether the path is one of these.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.set.is_match(Path::new(OsStr::from_bytes(path)))
    }
}

/// The longest run of plain characters within one component of a glob, as it stands in every line whose path matches.
/// Separators are left out, since `**/` also stands for nothing.
fn literal_of(glob: &str) -> String {
    if glob.contains(['{', '[', '\\']) {
        return String::new();
    }
    let plain = |c: char| {
        c.is_ascii() && !c.is_ascii_control() && !matches!(c, '*' | '?' | '/' | '"' | '}' | ']')
    };
    glob.split(|c| !plain(c))
        .max_by_key(|run| run.len())
        .unwrap_or_default()
        .to_owned()
}

//! A durable consumer as its users see it: a directory of small files. Uses nothing that a shell script could not use.

use std::io;
use std::path::{Path, PathBuf};

use super::client::Root;
use super::error::CliError;

/// The directory of one consumer.
pub(super) struct Consumer(PathBuf);

impl Root {
    /// The consumer `name`, registered when there is none.
    ///
    /// # Errors
    /// It cannot be registered.
    pub(super) fn consumer(&self, name: &str) -> Result<Consumer, CliError> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            let hint = "use letters, digits, and . _ - inside";
            return Err(CliError::failed(name, "not a name of a consumer", hint));
        }
        let dir = self.file("consumers").join(name);
        match std::fs::create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(CliError::reading(&dir)(error)),
        }
        Ok(Consumer(dir))
    }

    /// A glob that takes `path` alone, and what is below it; `None` for the root of the mount.
    pub(super) fn glob_of(&self, path: &Path) -> Option<String> {
        let path = std::path::absolute(path).ok()?;
        // The directory is resolved, the name itself need not exist any more.
        let dir = path.parent().and_then(|dir| dir.canonicalize().ok());
        let full = match (dir, path.file_name()) {
            (Some(dir), Some(name)) => dir.join(name),
            _ => path,
        };
        let within = full.strip_prefix(self.path()).ok()?.to_str()?;
        if within.is_empty() {
            return None;
        }
        let mut glob = String::new();
        for char in within.chars() {
            if matches!(char, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
                glob.push('\\');
            }
            glob.push(char);
        }
        if full.is_dir() {
            glob = format!("{{{glob},{glob}/**}}");
        }
        Some(glob)
    }
}

impl Consumer {
    /// Where it stands.
    pub(super) fn cursor(&self) -> Result<u64, CliError> {
        let path = self.0.join("cursor");
        let text = std::fs::read_to_string(&path).map_err(CliError::reading(&path))?;
        text.trim().parse().map_err(|_| {
            let hint = "see that hippofs and its daemon are of one version";
            CliError::failed(path.display().to_string(), "not a position", hint)
        })
    }

    /// Everything up to `seq` is done with.
    pub(super) fn ack(&self, seq: u64) -> Result<(), CliError> {
        let path = self.0.join("ack");
        std::fs::write(&path, seq.to_string()).map_err(CliError::reading(&path))
    }
}

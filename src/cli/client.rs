//! A mount as the commands use it: [`crate::client`], with the failures in the commands' own words.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::CliError;
use crate::client::{self, Client, ClientError};

/// A live mount.
#[derive(Debug)]
pub(super) struct Root(Client);

impl Root {
    /// The mount that holds `path`, which need not exist itself.
    ///
    /// # Errors
    /// [`CliError::NotMounted`], or a sentence about a dead mount.
    pub(super) fn of(path: &Path) -> Result<Root, CliError> {
        Root::find(path)?.ok_or_else(|| CliError::NotMounted(path.to_path_buf()))
    }

    /// As [`Root::of`], with the place of `path` in the mount, as requests name it.
    pub(super) fn of_place(path: &Path) -> Result<(Root, String), CliError> {
        let (root, place) = Root::of_entry(path)?;
        Ok((root, place.to_string_lossy().into_owned()))
    }

    /// As [`Root::of_place`] for an entry that may be gone: the directories above are resolved as far as they exist, and
    /// the last name is taken as it is, also that of a symbolic link.
    pub(super) fn of_entry(path: &Path) -> Result<(Root, PathBuf), CliError> {
        let root = Root::of(path)?;
        let place = root.0.place_of(path)?.unwrap_or_default();
        Ok((root, place))
    }

    /// As [`Root::of`], with `None` where no mount is.
    pub(super) fn find(path: &Path) -> Result<Option<Root>, CliError> {
        Ok(Client::look(path)?.map(Root))
    }

    /// The root of the mount.
    pub(super) fn path(&self) -> &Path {
        self.0.root()
    }

    /// A file of the control directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.file(name)
    }

    /// `status` as the daemon gives it.
    pub(super) fn status_text(&self) -> Result<String, CliError> {
        Ok(self.0.status_text()?)
    }

    /// `status`, parsed.
    pub(super) fn status(&self) -> Result<Value, CliError> {
        Ok(self.0.status()?)
    }

    /// The conversation of one open control file.
    pub(super) fn control(&self) -> Result<Control, CliError> {
        Ok(Control(self.0.control()?))
    }
}

/// An open control file.
#[derive(Debug)]
pub(super) struct Control(client::Control);

impl Control {
    /// Writes one request and gives each line of its reply, with its newline, to `each`.
    pub(super) fn ask(
        &mut self,
        request: &Value,
        each: impl FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.0.each(request, each)
    }

    /// Asks for events with the fields of `query`, gives each line to `each`, and returns the last line of the reply:
    /// `next`, `head` and `gap`.
    pub(super) fn events(
        &mut self,
        query: &Map<String, Value>,
        mut each: impl FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<Value, CliError> {
        let mut end = Value::Null;
        self.ask(&json!({ "events": query }), |line| {
            if line.starts_with(b"{\"next\":") {
                end = serde_json::from_slice(line).unwrap_or_default();
                return Ok(());
            }
            each(line)
        })?;
        if end["next"].is_u64() {
            return Ok(end);
        }
        let hint = "ask again; if it stays, see the daemon's messages";
        Err(CliError::failed(
            "events",
            "the reply ended too early",
            hint,
        ))
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> CliError {
        match error {
            ClientError::NotMounted(path) => CliError::NotMounted(path),
            ClientError::Gone(path) => CliError::failed(
                path.display().to_string(),
                "the daemon of this mount is gone",
                "mount it again, or run `hippofs unmount` on it",
            ),
            ClientError::Io { path, source } => CliError::reading(&path)(source),
            ClientError::Refused { message, hint, .. } => {
                CliError::failed("request", message, hint)
            }
            ClientError::Unexpected { path, why } => CliError::failed(
                path.display().to_string(),
                format!("not the expected JSON: {why}"),
                "see that hippofs and its daemon are of one version",
            ),
        }
    }
}

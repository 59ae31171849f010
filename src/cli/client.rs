//! A mount as its users see it: the control directory found from any path inside, requests written, replies read
//! line by line. Uses nothing that a shell script could not use.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::daemon::mounts;

use super::error::CliError;

/// The control directory's name in the root of a mount.
const CONTROL_DIR: &str = ".hippofs";
/// Bytes of one read of a reply: the largest request a kernel makes.
const READ_BYTES: usize = 1 << 20;
/// A status or an error object is a few kilobytes; more than this is not one.
const OBJECT_BYTES_MAX: u64 = 16 << 20;

/// A live mount.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
}

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
        let (root, place) = Root::of_name(path)?;
        Ok((root, place.to_string_lossy().into_owned()))
    }

    /// As [`Root::of_place`] for an entry that may be gone: the directories above are resolved as far as they exist, and
    /// the last name is taken as it is, also that of a symbolic link.
    pub(super) fn of_entry(path: &Path) -> Result<(Root, PathBuf), CliError> {
        let root = Root::of(path)?;
        let absolute = std::path::absolute(path).map_err(CliError::reading(path))?;
        let mut missing = Vec::new();
        for dir in absolute.ancestors() {
            let resolved = match dir.canonicalize() {
                Ok(resolved) if !missing.is_empty() || dir == root.path => resolved,
                _ => match dir.file_name() {
                    Some(name) => {
                        missing.push(name.to_os_string());
                        continue;
                    }
                    None => break,
                },
            };
            if let Ok(place) = resolved.strip_prefix(&root.path) {
                let place = place.join(missing.iter().rev().collect::<PathBuf>());
                return Ok((root, place));
            }
            break;
        }
        Root::of_name(path)
    }

    fn of_name(path: &Path) -> Result<(Root, PathBuf), CliError> {
        let root = Root::of(path)?;
        let absolute = std::path::absolute(path).map_err(CliError::reading(path))?;
        // The root was found by resolved names; an entry that does not exist any more has only its written one.
        let resolved = nearest(path).map_err(CliError::reading(path))?;
        let place = [absolute, resolved]
            .iter()
            .find_map(|path| Some(path.strip_prefix(&root.path).ok()?.to_path_buf()))
            .unwrap_or_default();
        Ok((root, place))
    }

    /// As [`Root::of`], with `None` where no mount is.
    pub(super) fn find(path: &Path) -> Result<Option<Root>, CliError> {
        let gone = || {
            let hint = "mount it again, or run `hippofs unmount` on it";
            CliError::failed(
                path.display().to_string(),
                "the daemon of this mount is gone",
                hint,
            )
        };
        if mounts::is_dead(path) {
            return Err(gone());
        }
        let start = nearest(path).map_err(CliError::reading(path))?;
        for dir in start.ancestors() {
            let control = dir.join(CONTROL_DIR).join("control");
            match std::fs::metadata(&control) {
                Ok(meta) if meta.is_file() => {
                    return Ok(Some(Root {
                        path: dir.to_path_buf(),
                    }));
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => return Err(gone()),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_mount(dir) => {
                    return Err(CliError::reading(&control)(error));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The root of the mount.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the control directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(CONTROL_DIR).join(name)
    }

    /// `status` as the daemon gives it.
    pub(super) fn status_text(&self) -> Result<String, CliError> {
        let path = self.file("status");
        let mut text = String::new();
        File::open(&path)
            .and_then(|file| file.take(OBJECT_BYTES_MAX).read_to_string(&mut text))
            .map_err(CliError::reading(&path))?;
        Ok(text)
    }

    /// `status`, parsed.
    pub(super) fn status(&self) -> Result<Value, CliError> {
        serde_json::from_str(&self.status_text()?)
            .map_err(|error| unreadable(&self.file("status"), &error))
    }

    /// The conversation of one open control file.
    pub(super) fn control(&self) -> Result<Control, CliError> {
        let path = self.file("control");
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(CliError::reading(&path))?;
        Ok(Control { path, file })
    }
}

/// An open control file.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    file: File,
}

impl Control {
    /// Writes one request and gives each line of its reply, with its newline, to `each`.
    pub(super) fn ask(
        &mut self,
        request: &Value,
        mut each: impl FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let text = request.to_string();
        match self.file.write(text.as_bytes()) {
            Ok(count) if count == text.len() => {}
            Ok(_) => {
                return Err(CliError::failed(
                    "request",
                    "it was taken in part",
                    "use a shorter one",
                ));
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Err(self.refusal()),
            Err(error) => return Err(CliError::reading(&self.path)(error)),
        }
        let mut reply = BufReader::with_capacity(READ_BYTES, &self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = reply
                .read_until(b'\n', &mut line)
                .map_err(CliError::reading(&self.path))?;
            if count == 0 {
                return Ok(());
            }
            each(&line)?;
        }
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

    /// What the daemon says of a request it refused.
    fn refusal(&self) -> CliError {
        let mut text = String::new();
        if let Err(error) = (&self.file)
            .take(OBJECT_BYTES_MAX)
            .read_to_string(&mut text)
        {
            return CliError::reading(&self.path)(error);
        }
        let reply: Value = match serde_json::from_str(&text) {
            Ok(reply) => reply,
            Err(error) => return unreadable(&self.path, &error),
        };
        let said =
            |key: &str, default: &str| reply["error"][key].as_str().unwrap_or(default).to_string();
        CliError::failed(
            "request",
            said("message", "refused"),
            said("hint", "see .hippofs/help"),
        )
    }
}

/// `path` as far as it exists, without symbolic links.
fn nearest(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut error = io::ErrorKind::NotFound.into();
    for dir in path.ancestors() {
        match dir.canonicalize() {
            Ok(dir) => return Ok(dir),
            Err(refused) => error = refused,
        }
        let missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        if !missing.contains(&error.kind()) {
            break;
        }
    }
    Err(error)
}

fn is_mount(dir: &Path) -> bool {
    matches!(mounts::at(dir), Ok(Some(mount)) if mount.is_hippofs())
}

fn unreadable(path: &Path, error: &serde_json::Error) -> CliError {
    let hint = "see that hippofs and its daemon are of one version";
    CliError::failed(
        path.display().to_string(),
        format!("not the expected JSON: {error}"),
        hint,
    )
}

//! The mount that holds a path, and everything that is one question to it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde_json::{Value, json};

use crate::event::Seq;

use super::control::{Control, Reply};
use super::error::ClientError;
use super::follow::Follow;
use super::line::Line;
use super::query::Query;

/// The control directory's name in the root of a mount.
pub const CONTROL_DIR: &str = ".hippofs";
/// A status or an error object is a few kilobytes; more than this is not one.
pub(super) const OBJECT_BYTES_MAX: u64 = 16 << 20;

/// A live mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    root: PathBuf,
}

impl Client {
    /// The mount that holds `path`, which need not exist itself. Symbolic links are followed.
    ///
    /// # Errors
    /// [`ClientError::NotMounted`], [`ClientError::Gone`] for a dead mount, or the control files are not for this user.
    pub fn find(path: impl AsRef<Path>) -> Result<Client, ClientError> {
        let path = path.as_ref();
        Client::look(path)?.ok_or_else(|| ClientError::NotMounted(path.to_path_buf()))
    }

    /// As [`Client::find`], with `None` where no mount is.
    ///
    /// # Errors
    /// A dead mount, or control files that are not for this user.
    pub fn look(path: impl AsRef<Path>) -> Result<Option<Client>, ClientError> {
        let path = path.as_ref();
        let gone = || ClientError::Gone(path.to_path_buf());
        if is_dead(path) {
            return Err(gone());
        }
        let start = nearest(path).map_err(ClientError::at(path))?;
        let device = std::fs::metadata(&start)
            .map_err(ClientError::at(&start))?
            .dev();
        for dir in start.ancestors() {
            let control = dir.join(CONTROL_DIR).join("control");
            match std::fs::metadata(&control) {
                // A filesystem mounted inside the mount is not part of it.
                Ok(meta) if meta.is_file() && has_device(dir, device) => {
                    return Ok(Some(Client {
                        root: dir.to_path_buf(),
                    }));
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => return Err(gone()),
                Err(error)
                    if error.kind() == io::ErrorKind::PermissionDenied && is_fuse_root(dir) =>
                {
                    return Err(ClientError::at(&control)(error));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The root of the mount.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the control directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(CONTROL_DIR).join(name)
    }

    /// `path` as events name it: relative to the root, empty for the root itself; `None` outside the mount. An entry
    /// that does not exist any more has its written name; the name itself is never followed when it is a link.
    ///
    /// # Errors
    /// The working directory is gone.
    pub fn place_of(&self, path: &Path) -> Result<Option<PathBuf>, ClientError> {
        let absolute = std::path::absolute(path).map_err(ClientError::at(path))?;
        let within = |path: &Path| Some(path.strip_prefix(&self.root).ok()?.to_path_buf());
        let dir = absolute.parent().and_then(|dir| nearest(dir).ok());
        // The directory is resolved as far as it exists, what is missing of it is as written.
        let resolved = match (dir, absolute.parent(), absolute.file_name()) {
            (Some(dir), Some(parent), Some(name)) if dir.is_dir() => {
                let missing = missing_part(parent).unwrap_or_default();
                Some(dir.join(missing).join(name))
            }
            _ => absolute.canonicalize().ok(),
        };
        Ok(resolved
            .as_deref()
            .and_then(within)
            .or_else(|| within(&absolute.canonicalize().ok()?))
            .or_else(|| within(&absolute)))
    }

    /// A glob that takes `path` alone, and what is below it; `None` for the root and for what is no text.
    #[must_use]
    pub fn glob_of(&self, path: &Path) -> Option<String> {
        let place = self.place_of(path).ok()??;
        let within = place.to_str().filter(|text| !text.is_empty())?;
        let mut glob = String::new();
        for char in within.chars() {
            if matches!(char, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
                glob.push('\\');
            }
            glob.push(char);
        }
        if path.is_dir() {
            glob = format!("{{{glob},{glob}/**}}");
        }
        Some(glob)
    }

    /// `status` as the daemon gives it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn status_text(&self) -> Result<String, ClientError> {
        let path = self.file("status");
        let mut text = String::new();
        File::open(&path)
            .and_then(|file| file.take(OBJECT_BYTES_MAX).read_to_string(&mut text))
            .map_err(ClientError::at(&path))?;
        Ok(text)
    }

    /// Counters and health.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn status(&self) -> Result<Value, ClientError> {
        serde_json::from_str(&self.status_text()?)
            .map_err(|error| ClientError::unexpected(&self.file("status"), error))
    }

    /// Position of the newest event; 0 in a new store.
    ///
    /// # Errors
    /// The status cannot be read.
    pub fn head(&self) -> Result<Seq, ClientError> {
        let status = self.status()?;
        let head = status["head"].as_u64().map(Seq);
        head.ok_or_else(|| ClientError::unexpected(&self.file("status"), "no head"))
    }

    /// A conversation of its own: one request after the other.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn control(&self) -> Result<Control, ClientError> {
        Control::open(self.file("control"))
    }

    /// Asks for events and reads them as they come. The reply is streamed: a long log needs no memory.
    ///
    /// # Errors
    /// The daemon is away or refuses the question.
    pub fn query(&self, query: &Query) -> Result<Reply, ClientError> {
        self.control()?.into_reply(&query.request())
    }

    /// Live events that match, after the query's `since`, or from now on: what happens after this call returned is
    /// seen, each once and in order, across restarts of the daemon. `limit`, `wait` and `last` have no effect.
    ///
    /// # Errors
    /// The daemon is away or refuses the question.
    pub fn follow(&self, query: Query) -> Result<Follow, ClientError> {
        Follow::start(self.clone(), query)
    }

    /// Puts a note of one's own into the log and gives its position.
    ///
    /// # Errors
    /// The daemon is away or refuses it.
    pub fn mark(&self, text: &str, data: Option<Value>) -> Result<Seq, ClientError> {
        let mut mark = json!({ "text": text });
        if let Some(data) = data {
            mark["data"] = data;
        }
        let answer = self.control()?.ask(&json!({ "mark": mark }))?;
        let seq = answer["seq"].as_u64().map(Seq);
        seq.ok_or_else(|| ClientError::unexpected(&self.file("control"), answer))
    }

    /// Returns when everything that was done before, also behind the mount, is in the log and on disk; gives the head.
    ///
    /// # Errors
    /// The daemon is away, or the log cannot be written.
    pub fn sync(&self) -> Result<Seq, ClientError> {
        let answer = self.control()?.ask(&json!({"sync": {}}))?;
        let head = answer["head"].as_u64().map(Seq);
        head.ok_or_else(|| ClientError::unexpected(&self.file("control"), answer))
    }

    /// Waits until the name that an event gave to a file shows that file; to be called before opening what was moved.
    ///
    /// An event can be here a moment before the call that made it returns, and until then the kernel may answer from
    /// the names it remembers. It holds a directory's lock while it changes a name in it, and the lookup of a name that
    /// it does not know takes the same lock: one such lookup waits for exactly as long as needed.
    pub fn settle(&self, event: &Line) {
        let Some(name) = event.dest_path().or_else(|| event.src_path()) else {
            return;
        };
        let path = self.root.join(name);
        let found = std::fs::symlink_metadata(&path).ok().map(|meta| meta.ino());
        if found.is_some() && found == event.number("ino") {
            return;
        }
        // A name not used before: the kernel may remember that others do not exist.
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let unknown = format!(".hippofs-{}-{number}", std::process::id());
        // It does not exist, and that is the whole answer.
        let _ = std::fs::symlink_metadata(path.with_file_name(unknown));
    }
}

/// Whether a dead FUSE mount stands at `path`: the kernel answers that without asking anyone.
fn is_dead(path: &Path) -> bool {
    matches!(rustix::fs::statfs(path), Err(Errno::NOTCONN))
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

/// The part of an absolute path that does not exist.
fn missing_part(path: &Path) -> Option<PathBuf> {
    let there = path.ancestors().find(|dir| dir.canonicalize().is_ok())?;
    Some(path.strip_prefix(there).ok()?.to_path_buf())
}

fn has_device(dir: &Path, device: u64) -> bool {
    std::fs::metadata(dir).is_ok_and(|meta| meta.dev() == device)
}

/// Whether a FUSE filesystem begins at `dir`.
fn is_fuse_root(dir: &Path) -> bool {
    const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;
    let is_fuse =
        |dir: &Path| rustix::fs::statfs(dir).is_ok_and(|fs| fs.f_type as u64 == FUSE_SUPER_MAGIC);
    let device = |dir: &Path| std::fs::metadata(dir).ok().map(|meta| meta.dev());
    is_fuse(dir) && dir.parent().is_none_or(|up| device(up) != device(dir))
}

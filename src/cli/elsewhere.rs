//! `hippofs restore --to`: a tree as of an event, written outside the mount. It is made whole beside the place it is to
//! have and gets its name last, so that a tree that stands there is complete.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::CliError;
use super::exit::Exit;
use super::human;
use super::past::Document;
use crate::event::line;

/// Permission bits of a mode.
const PERMISSION_BITS: u32 = 0o7777;

/// A directory that is removed again unless it is finished.
struct Staging {
    path: PathBuf,
    is_done: bool,
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Writes the tree that `document` was as of the event `at` to `to`. A file whose content is not held is named, left
/// out, and makes the command fail; so does nothing else that stands.
pub(super) fn write(document: &Document, at: u64, to: &Path) -> Result<Exit, CliError> {
    let failed = |error: io::Error| {
        let hint = "see the disk and the permissions";
        CliError::failed(to.display().to_string(), error.to_string(), hint)
    };
    match fs::read_dir(to).map(|mut names| names.next().is_none()) {
        Ok(true) => {}
        Ok(false) => {
            let hint = "give a new directory";
            let place = to.display().to_string();
            return Err(CliError::failed(place, "it is not empty", hint));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut entries = Vec::new();
    let query = json!({"versions": {"path": document.name(), "at": at}});
    document.ask(&query, |line| {
        entries.push(line.clone());
        Ok(())
    })?;
    let mut staging = stage(to).map_err(failed)?;
    let (mut count, mut missing) = (0_u64, 0_u64);
    for entry in &entries {
        if place(document, entry, at, &staging.path).map_err(failed)? {
            count += u64::from(entry["type"] != "directory");
        } else {
            missing += 1;
            let path = line::path_bytes(entry, "path").unwrap_or_default();
            eprintln!("hippofs: {}: its content is not held", human::escape(&path));
        }
    }
    fs::rename(&staging.path, to).map_err(failed)?;
    staging.is_done = true;
    let mut out = io::stdout();
    writeln!(out, "{}: {count} files as of event {at}", to.display()).map_err(CliError::output)?;
    Ok(if missing == 0 {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// Makes the directory beside `to` that gets its name.
fn stage(to: &Path) -> io::Result<Staging> {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let mut name = OsString::from(".");
    name.push(to.file_name().unwrap_or(OsStr::new("restore")));
    name.push(format!(".hippofs-{}", std::process::id()));
    let path = parent.join(name);
    fs::create_dir(&path)?;
    Ok(Staging {
        path,
        is_done: false,
    })
}

/// Writes one entry; `false` when its content is not held.
fn place(document: &Document, entry: &Value, at: u64, staging: &Path) -> io::Result<bool> {
    let path = line::path_bytes(entry, "path").unwrap_or_default();
    let path = PathBuf::from(OsString::from_vec(path));
    let below = path.strip_prefix(&document.path).unwrap_or(&path);
    let target = if below.as_os_str().is_empty() && entry["type"] != "directory" {
        staging.join(path.file_name().unwrap_or_default())
    } else {
        staging.join(below)
    };
    if entry["type"] == "directory" {
        fs::create_dir_all(&target)?;
        return Ok(true);
    }
    let Some(content) = content(document, entry, &path, at)? else {
        return Ok(false);
    };
    if let Some(dir) = target.parent() {
        fs::create_dir_all(dir)?;
    }
    if entry["type"] == "symlink" {
        symlink(OsStr::from_bytes(&content), &target)?;
        return Ok(true);
    }
    fs::write(&target, content)?;
    let said = entry["mode"]
        .as_u64()
        .and_then(|mode| u32::try_from(mode).ok());
    let live = line::path_bytes(entry, "live").map(|live| PathBuf::from(OsString::from_vec(live)));
    let now = document.root.path().join(live.as_ref().unwrap_or(&path));
    let now = || fs::symlink_metadata(&now).ok();
    if let Some(mode) = said.or_else(|| Some(now()?.permissions().mode())) {
        fs::set_permissions(&target, Permissions::from_mode(mode & PERMISSION_BITS))?;
    }
    Ok(true)
}

/// What stood at `path`: a version; or what stands there, as long as no version says that it was replaced since.
fn content(
    document: &Document,
    entry: &Value,
    path: &Path,
    at: u64,
) -> io::Result<Option<Vec<u8>>> {
    let versions = document.root.file("versions").join(path);
    let version = || match fs::read(versions.join(at.to_string())) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let held = version()?;
    let (None, Some(live)) = (&held, line::path_bytes(entry, "live")) else {
        return Ok(held);
    };
    let live = document.root.path().join(OsString::from_vec(live));
    let now = if entry["type"] == "symlink" {
        fs::read_link(&live).map(|target| target.into_os_string().into_vec())
    } else {
        fs::read(&live)
    };
    Ok(version()?.or(now.ok()))
}

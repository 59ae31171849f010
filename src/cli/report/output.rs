//! Where a report goes. A file appears whole under its name or not at all; what is there and is no plain file is left
//! alone, so that a device is not replaced by a page.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::cli::error::CliError;

/// A report names files that only the owner of the mount may know of.
const MODE: u32 = 0o600;

/// A place to write to, looked at before the work begins.
#[derive(Debug)]
pub(super) enum Output {
    Stdout,
    File {
        /// What is replaced: symbolic links are followed.
        target: PathBuf,
        mode: u32,
    },
}

impl Output {
    /// # Errors
    /// It is something else than a file, or its directory does not exist.
    pub(super) fn at(path: &Path) -> Result<Output, CliError> {
        if path == Path::new("-") {
            return Ok(Output::Stdout);
        }
        let shown = path.display().to_string();
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                let hint = "name a file in it";
                Err(CliError::failed(shown, "it is a directory", hint))
            }
            Ok(meta) if !meta.is_file() => {
                let hint = "name another, or `-` for standard output";
                Err(CliError::failed(shown, "it is not a plain file", hint))
            }
            Ok(meta) => Ok(Output::File {
                target: path.canonicalize().map_err(writing(path))?,
                mode: meta.permissions().mode() & 0o777,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.file_name().is_some() => {
                let parent = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new("."));
                let dir = parent.canonicalize().map_err(writing(parent))?;
                Ok(Output::File {
                    target: dir.join(path.file_name().unwrap_or_default()),
                    mode: MODE,
                })
            }
            Err(error) => Err(writing(path)(error)),
        }
    }

    /// Writes all of it.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), CliError> {
        match self {
            Output::Stdout => {
                let mut stdout = io::stdout();
                stdout
                    .write_all(bytes)
                    .and_then(|()| stdout.flush())
                    .map_err(CliError::output)
            }
            Output::File { target, mode } => replace(target, *mode, bytes).map_err(writing(target)),
        }
    }
}

/// A new file beside the target, then its name.
fn replace(target: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let temporary = target.with_file_name(format!(".hippofs-report-{}", uuid::Uuid::new_v4()));
    let write = || {
        let mut file: File = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&temporary, target)
    };
    write().inspect_err(|_| {
        // It may never have been made; the first failure is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    })
}

fn writing(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    move |error| {
        let hint = "see that its directory exists and can be written";
        CliError::failed(path.display().to_string(), error, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.html");
        Output::at(&path).unwrap().write(b"one").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Output::at(&link).unwrap().write(b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o640);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            2,
            "no temporary file is left"
        );
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for bad in [
            dir.path().to_path_buf(),
            "/dev/null".into(),
            dir.path().join("no/r.html"),
            "/".into(),
            "..".into(),
        ] {
            assert!(Output::at(&bad).is_err(), "{bad:?}");
        }
        assert!(matches!(Output::at(Path::new("-")), Ok(Output::Stdout)));
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("r");
        let output = Output::at(&target).unwrap();
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("x"), "").unwrap();
        assert!(output.write(b"one").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

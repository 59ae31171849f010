//! What the kernel has mounted, read from `/proc/self/mountinfo` and never by looking at the mounts themselves: a
//! look into a dead or hung mount may fail or wait for ever.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// Filesystem type of every hippofs mount, as the kernel shows it: `fuse` with subtype `hippofs`.
pub const FS_TYPE: &str = "fuse.hippofs";

/// One line of mountinfo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// The kernel's id of the mount.
    pub id: u64,
    /// The mount it stands on.
    pub parent: u64,
    /// Device number of the filesystem, major and minor.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Type with subtype, `fuse.hippofs` for ours.
    pub fs_type: String,
    /// What is mounted, as given by whoever mounted it.
    pub source: OsString,
}

impl Mount {
    /// Whether it is one of ours.
    #[must_use]
    pub fn is_hippofs(&self) -> bool {
        self.fs_type == FS_TYPE
    }

    /// Whether its daemon is gone, so that every call on it fails with ENOTCONN. The kernel answers that without
    /// asking anyone; a living daemon is asked for the attributes of its root.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        is_dead(&self.mountpoint)
    }
}

/// Whether a dead FUSE mount stands at `path`.
#[must_use]
pub fn is_dead(path: &Path) -> bool {
    matches!(rustix::fs::statfs(path), Err(Errno::NOTCONN))
}

/// Every mount of this mount namespace, in the kernel's order: of several on one point the last one is on top.
///
/// # Errors
/// `/proc` is not mounted or cannot be read.
pub fn list() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The topmost mount at exactly `path`, which must be absolute and without symbolic links.
///
/// # Errors
/// As [`list`].
pub fn at(path: &Path) -> io::Result<Option<Mount>> {
    Ok(top(list()?, path))
}

/// The topmost mount that holds `path`: the one with the longest mount point above or at it.
///
/// # Errors
/// As [`list`].
pub fn holding(path: &Path) -> io::Result<Option<Mount>> {
    let mounts = list()?;
    let holder = path
        .ancestors()
        .find(|dir| mounts.iter().any(|mount| mount.mountpoint == **dir));
    Ok(holder.and_then(|dir| top(mounts.clone(), dir)))
}

fn top(mounts: Vec<Mount>, path: &Path) -> Option<Mount> {
    mounts.into_iter().rev().find(|m| m.mountpoint == path)
}

/// Takes the topmost mount at `path` off; one in use fails with EBUSY. Falls back to `fusermount3 -u` where the caller
/// may not unmount.
///
/// # Errors
/// The kernel's answer.
pub fn unmount(path: &Path) -> io::Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::NOFOLLOW) {
        Err(Errno::PERM) => fusermount(path, &["-u"]),
        answer => answer.map_err(io::Error::from),
    }
}

/// Takes the topmost mount at `path` off the tree at once; users of it keep what they have open.
///
/// # Errors
/// The kernel's answer.
pub fn detach(path: &Path) -> io::Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Err(Errno::PERM) => fusermount(path, &["-u", "-z"]),
        answer => answer.map_err(io::Error::from),
    }
}

/// The set-user-id helper of libfuse, for mounts of an unprivileged owner.
fn fusermount(path: &Path, flags: &[&str]) -> io::Result<()> {
    let output = std::process::Command::new("fusermount3")
        .args(flags)
        .arg("--")
        .arg(path)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::other("not permitted, and fusermount3 is not installed")
            }
            _ => error,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("busy") {
        return Err(Errno::BUSY.into());
    }
    Err(io::Error::other(said.trim().to_string()))
}

fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&b| b == b'\n').filter_map(parse_line).collect()
}

/// `ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS`, see proc_pid_mountinfo(5).
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
    let device = (device.0.parse().ok()?, device.1.parse().ok()?);
    let mountpoint = unescape(fields.nth(1)?);
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let source = fields.next().map(unescape).unwrap_or_default();
    Some(Mount {
        id,
        parent,
        device,
        mountpoint: OsString::from_vec(mountpoint).into(),
        fs_type,
        source: OsString::from_vec(source),
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Undoes the kernel's `\ooo` for space, tab, newline, backslash and number sign.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = (byte == b'\\')
            .then(|| tail.get(..3).and_then(octal))
            .flatten();
        if let Some(code) = code {
            out.push(code);
            rest = &tail[3..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |sum, digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsStr;

    const TEXT: &[u8] = b"22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
        40 22 0:40 / /mnt/a\\040b\\134\\012c rw,nosuid shared:5 master:2 - fuse.hippofs /srv/x\\040y rw,user_id=0\n\
        41 40 0:41 / /mnt/a\\040b\\134\\012c rw - tmpfs tmpfs rw\n\
        42 22 0:42 / /e rw -\n\
        rubbish\n";

    #[test]
    fn lines_are_read_with_their_escapes() {
        let mounts = parse(TEXT);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[1].mountpoint, Path::new("/mnt/a b\\\nc"));
        assert_eq!(mounts[1].source, OsStr::new("/srv/x y"));
        assert_eq!(mounts[1].device, (0, 40));
        assert!(mounts[1].is_hippofs());
        assert_eq!(mounts[0].fs_type, "ext4");
    }

    #[test]
    fn the_last_of_several_is_on_top() {
        let found = top(parse(TEXT), Path::new("/mnt/a b\\\nc"));
        assert_eq!(found.map(|m| m.id), Some(41));
        assert_eq!(top(parse(TEXT), Path::new("/mnt")), None);
    }

    #[test]
    fn the_real_file_names_the_root() {
        assert!(at(Path::new("/")).unwrap().is_some());
        let here = holding(Path::new("/proc/self")).unwrap().unwrap();
        assert_eq!(here.fs_type, "proc");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&text);
        }

        #[test]
        fn escaped_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let escaped: Vec<u8> = bytes.iter().flat_map(|b| match b {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{b:03o}").into_bytes(),
                other => vec![*other],
            }).collect();
            prop_assert_eq!(unescape(&escaped), bytes);
        }
    }
}

//! Who keeps a mount busy. Found by mount id and device number, never by looking into the mount and never by path
//! alone: over the storage itself the daemon's own descriptors have the same paths.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxFlags};

use super::mounts::{self, Mount};

/// Ways one process can use a mount that are worth naming to a person; the rest only lengthens the message.
const USES_PER_PROCESS_MAX: usize = 3;

/// How a process uses a mount.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum How {
    /// Its working directory.
    Cwd,
    /// Its root directory.
    Root,
    /// The program it runs.
    Exe,
    /// An open file.
    Open,
    /// A mapped file.
    Map,
}

impl How {
    fn word(self) -> &'static str {
        match self {
            How::Cwd => "works in",
            How::Root => "has its root at",
            How::Exe => "runs",
            How::Open => "has open",
            How::Map => "has mapped",
        }
    }
}

/// One process and what it uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// What it uses, at most three of each process.
    pub how: Vec<(How, PathBuf)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.comm, self.pid)?;
        for (n, (how, path)) in self.how.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma} {} {}", how.word(), path.display())?;
        }
        Ok(())
    }
}

/// The processes that use the topmost mount at `mountpoint`, as far as the caller may look into them; empty when
/// nothing is mounted there.
#[must_use]
pub fn holders_of(mountpoint: &Path) -> Vec<Holder> {
    let Ok(Some(mount)) = mounts::at(mountpoint) else {
        return Vec::new();
    };
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut holders: Vec<Holder> = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| holder(pid, &mount))
        .collect();
    holders.sort_by_key(|holder| holder.pid);
    holders
}

/// `None` for a process that does not use the mount, is gone, or may not be looked into.
fn holder(pid: u32, mount: &Mount) -> Option<Holder> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let mut uses = BTreeSet::new();
    for (how, name) in [(How::Cwd, "cwd"), (How::Root, "root"), (How::Exe, "exe")] {
        let link = process.join(name);
        if mount_id_of(&link) == Some(mount.id) {
            uses.extend(fs::read_link(&link).ok().map(|path| (how, path)));
        }
    }
    for entry in fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let info = process.join("fdinfo").join(entry.file_name());
        if fs::read_to_string(info).is_ok_and(|text| mount_id_in(&text) == Some(mount.id)) {
            uses.extend(
                fs::read_link(entry.path())
                    .ok()
                    .map(|path| (How::Open, path)),
            );
        }
    }
    if let Ok(maps) = fs::read(process.join("maps")) {
        uses.extend(
            maps.split(|&b| b == b'\n')
                .filter_map(|line| Some((How::Map, mapped(line, mount.device)?))),
        );
    }
    if uses.is_empty() {
        return None;
    }
    let comm = fs::read(process.join("comm")).ok()?;
    Some(Holder {
        pid,
        comm: String::from_utf8_lossy(&comm).trim_end().to_string(),
        how: uses.into_iter().take(USES_PER_PROCESS_MAX).collect(),
    })
}

/// The mount a magic link leads to. Attributes are taken as the kernel has them: the daemon is not asked, and may
/// be dead.
fn mount_id_of(link: &Path) -> Option<u64> {
    let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(rustix::fs::CWD, link, flags, StatxFlags::MNT_ID).ok()?;
    (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
}

/// The `mnt_id:` line of a descriptor's fdinfo.
fn mount_id_in(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    line.trim().parse().ok()
}

/// The path of a line of `maps` (`RANGE PERMS OFFSET MAJ:MIN INODE PATH`) when it lies on `device`.
fn mapped(line: &[u8], device: (u32, u32)) -> Option<PathBuf> {
    let mut fields = line.splitn(6, |&b| b == b' ');
    let on = std::str::from_utf8(fields.nth(3)?).ok()?.split_once(':')?;
    let on = (
        u32::from_str_radix(on.0, 16).ok()?,
        u32::from_str_radix(on.1, 16).ok()?,
    );
    let path = fields.nth(1)?.trim_ascii_start();
    (on == device && !path.is_empty()).then(|| OsString::from_vec(path.to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_matched_by_device() {
        let line = b"7f0-7f1 r--p 00000000 00:2a 1234                       /mnt/a b";
        assert_eq!(mapped(line, (0, 42)), Some("/mnt/a b".into()));
        assert_eq!(mapped(line, (0, 43)), None);
        assert_eq!(mapped(b"7f0-7f1 rw-p 00000000 00:00 0 ", (0, 0)), None);
        assert_eq!(mapped(b"nonsense", (0, 0)), None);
    }

    #[test]
    fn this_process_is_found_at_its_root() {
        let me = std::process::id();
        let found = holders_of(Path::new("/"));
        assert!(
            found
                .iter()
                .any(|holder| holder.pid == me && !holder.comm.is_empty())
        );
    }
}

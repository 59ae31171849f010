//! Operations performed below one root, with what they gave and the events a recording filesystem owes for them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, RenameFlags, SeekFrom, Timespec, Timestamps,
    XattrFlags,
};

use super::action::{Action, Allocate, Onto, SLOTS};
use crate::support::tree;

struct Handle {
    file: File,
    append: bool,
    written: bool,
}

/// A root and the files open below it.
pub(super) struct Session {
    root: PathBuf,
    open: [Option<Handle>; SLOTS],
}

/// What a call gave, or its error number.
pub(super) type Outcome = Result<String, i32>;

fn outcome<T: ToString>(result: io::Result<T>) -> Outcome {
    result
        .map(|value| value.to_string())
        .map_err(|error| error.raw_os_error().unwrap_or(-1))
}

fn done(result: Result<(), rustix::io::Errno>) -> Outcome {
    result
        .map(|()| String::new())
        .map_err(rustix::io::Errno::raw_os_error)
}

impl Session {
    pub(super) fn new(root: &Path) -> Session {
        Session {
            root: root.to_path_buf(),
            open: [const { None }; SLOTS],
        }
    }

    /// Performs `action`; the events name paths with `prefix` before them.
    pub(super) fn perform(&mut self, action: &Action, prefix: &str) -> (Outcome, Vec<String>) {
        let mut events = Vec::new();
        let outcome = match action {
            Action::Open { .. } | Action::OpenToRead { .. } | Action::Close { .. } => {
                self.on_slot(action, prefix, &mut events)
            }
            Action::Write { .. }
            | Action::Read { .. }
            | Action::SetLength { .. }
            | Action::Allocate { .. }
            | Action::Copy { .. }
            | Action::Find { .. }
            | Action::Sync { .. } => self.on_content(action, &mut events),
            Action::Rename { from, to, onto } => self.rename(from, to, *onto, prefix, &mut events),
            _ => self.on_name(action, prefix, &mut events),
        };
        (outcome, events)
    }

    /// Closes everything; gives the events owed for it.
    pub(super) fn close_all(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        for slot in 0..SLOTS {
            self.close(slot, &mut events);
        }
        events
    }

    fn close(&mut self, slot: usize, events: &mut Vec<String>) {
        if self.open[slot].take().is_some_and(|handle| handle.written) {
            events.push("close".to_owned());
        }
    }

    fn on_slot(&mut self, action: &Action, prefix: &str, events: &mut Vec<String>) -> Outcome {
        let mut options = OpenOptions::new();
        // A link is not followed, so that the name used is the name of the file; a fifo is not waited for.
        options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let (slot, path) = match action {
            Action::Open {
                slot,
                path,
                exclusive,
                truncate,
                append,
            } => {
                let cut = *truncate && !*append;
                options
                    .append(*append)
                    .write(!*append)
                    .truncate(cut)
                    .create(true)
                    .create_new(*exclusive);
                (*slot, path)
            }
            Action::OpenToRead { slot, path } => (*slot, path),
            Action::Close { slot } => {
                self.close(*slot, events);
                return Ok(String::new());
            }
            other => panic!("not an open: {other:?}"),
        };
        let full = self.root.join(path);
        let before = fs::symlink_metadata(&full).ok();
        let file = match options.open(&full) {
            Ok(file) => file,
            Err(error) => return outcome::<u8>(Err(error)),
        };
        let mut handle = Handle {
            file,
            append: false,
            written: false,
        };
        if let Action::Open {
            exclusive,
            truncate,
            append,
            ..
        } = action
        {
            handle.append = *append;
            match before {
                None => events.push(format!("create {prefix}{path}")),
                Some(meta) if *truncate && !*append && !*exclusive && meta.is_file() => {
                    events.push("truncate".to_owned());
                    handle.written = true;
                }
                Some(_) => {}
            }
        }
        let size = handle.file.metadata().map(|meta| meta.size());
        self.close(slot, events);
        self.open[slot] = Some(handle);
        outcome(size)
    }

    fn on_content(&mut self, action: &Action, events: &mut Vec<String>) -> Outcome {
        if let Action::Copy {
            from,
            to,
            offset,
            place,
            length,
        } = action
        {
            return self.copy(*from, *to, (*offset, *place, *length), events);
        }
        let slot = match action {
            Action::Write { slot, .. }
            | Action::Read { slot, .. }
            | Action::SetLength { slot, .. }
            | Action::Allocate { slot, .. }
            | Action::Find { slot, .. }
            | Action::Sync { slot } => *slot,
            other => panic!("not on an open file: {other:?}"),
        };
        let Some(handle) = &mut self.open[slot] else {
            return Err(libc::EBADF);
        };
        // Fifos have no content to compare, and reading one could wait.
        if !handle.file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Err(libc::ESPIPE);
        }
        match action {
            Action::Write {
                offset,
                length,
                byte,
                ..
            } => handle.write(*offset, *length, *byte, events),
            Action::Read { offset, length, .. } => {
                let mut buffer = vec![0; *length];
                let read = handle.file.read_at(&mut buffer, *offset);
                outcome(read.map(|length| format!("{:?}", &buffer[..length])))
            }
            Action::SetLength { length, .. } => {
                let result = handle.file.set_len(*length);
                handle.changed(&result, "truncate".to_owned(), events);
                outcome(result.map(|()| ""))
            }
            Action::Allocate {
                how,
                offset,
                length,
                ..
            } => {
                let flags = match how {
                    Allocate::Extend => FallocateFlags::empty(),
                    Allocate::KeepSize => FallocateFlags::KEEP_SIZE,
                    Allocate::Punch => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                    Allocate::Zero => FallocateFlags::ZERO_RANGE,
                };
                let result = rustix::fs::fallocate(&handle.file, flags, *offset, *length);
                handle.changed(&result, format!("fallocate @{offset}+{length}"), events);
                done(result)
            }
            Action::Find { offset, hole, .. } => {
                let from = if *hole {
                    SeekFrom::Hole(*offset)
                } else {
                    SeekFrom::Data(*offset)
                };
                outcome(rustix::fs::seek(&handle.file, from).map_err(io::Error::from))
            }
            _ => outcome(handle.file.sync_all().map(|()| "")),
        }
    }

    fn copy(
        &mut self,
        from: usize,
        to: usize,
        (offset, place, length): (u64, u64, usize),
        events: &mut Vec<String>,
    ) -> Outcome {
        let (Some(source), Some(target)) = (&self.open[from], &self.open[to]) else {
            return Err(libc::EBADF);
        };
        let plain = |handle: &Handle| handle.file.metadata().is_ok_and(|meta| meta.is_file());
        if !plain(source) || !plain(target) {
            return Err(libc::ESPIPE);
        }
        let (mut start, mut end) = (offset, place);
        let result = rustix::fs::copy_file_range(
            &source.file,
            Some(&mut start),
            &target.file,
            Some(&mut end),
            length,
        );
        if let (Ok(copied @ 1..), Some(target)) = (result, &mut self.open[to]) {
            events.push(format!("copy @{place}+{copied}"));
            target.written = true;
        }
        outcome(result.map_err(io::Error::from))
    }

    fn rename(
        &mut self,
        from: &str,
        to: &str,
        onto: Onto,
        prefix: &str,
        events: &mut Vec<String>,
    ) -> Outcome {
        let (source, target) = (self.root.join(from), self.root.join(to));
        let (flags, op) = match onto {
            Onto::Replace => (RenameFlags::empty(), "rename"),
            Onto::Keep => (RenameFlags::NOREPLACE, "rename"),
            Onto::Exchange => (RenameFlags::EXCHANGE, "exchange"),
        };
        let inode = |path: &Path| fs::symlink_metadata(path).ok().map(|meta| meta.ino());
        let same = inode(&source) == inode(&target);
        let result = rustix::fs::renameat_with(CWD, &source, CWD, &target, flags);
        // Two names of one file: the call succeeds and, by POSIX, changes nothing.
        if result.is_ok() && !same {
            events.push(format!("{op} {prefix}{from} -> {prefix}{to}"));
        }
        done(result)
    }

    fn on_name(&mut self, action: &Action, prefix: &str, events: &mut Vec<String>) -> Outcome {
        let at = |path: &str| self.root.join(path);
        let mode = Mode::from_raw_mode(0o644);
        let (outcome, event) = match action {
            Action::MakeDirectory { path } => (
                outcome(fs::create_dir(at(path)).map(|()| "")),
                format!("mkdir {prefix}{path}"),
            ),
            Action::MakeFifo { path } => {
                let made = rustix::fs::mknodat(CWD, at(path), FileType::Fifo, mode, 0);
                (done(made), format!("mknod {prefix}{path}"))
            }
            Action::MakeLink { from, to } => (
                outcome(fs::hard_link(at(from), at(to)).map(|()| "")),
                "link".to_owned(),
            ),
            Action::MakeSymlink { path } => {
                let made = std::os::unix::fs::symlink("leads/nowhere", at(path));
                (
                    outcome(made.map(|()| "")),
                    format!("symlink {prefix}{path}"),
                )
            }
            Action::Unlink { path } => (
                outcome(fs::remove_file(at(path)).map(|()| "")),
                format!("unlink {prefix}{path}"),
            ),
            Action::RemoveDirectory { path } => (
                outcome(fs::remove_dir(at(path)).map(|()| "")),
                format!("rmdir {prefix}{path}"),
            ),
            Action::SetMode { path, mode } => {
                let set = fs::set_permissions(at(path), PermissionsExt::from_mode(*mode));
                (outcome(set.map(|()| "")), "setattr".to_owned())
            }
            Action::SetOwner { path, uid, gid } => {
                let set = std::os::unix::fs::lchown(at(path), Some(*uid), Some(*gid));
                (outcome(set.map(|()| "")), "setattr".to_owned())
            }
            Action::SetTimes { path, seconds } => {
                let time = Timespec {
                    tv_sec: *seconds,
                    tv_nsec: 17,
                };
                let times = Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                let set = rustix::fs::utimensat(CWD, at(path), &times, AtFlags::SYMLINK_NOFOLLOW);
                (done(set), "setattr".to_owned())
            }
            Action::SetAttribute { path, name, value } => {
                let set = rustix::fs::lsetxattr(at(path), *name, value, XattrFlags::empty());
                (done(set), "setxattr".to_owned())
            }
            Action::RemoveAttribute { path, name } => (
                done(rustix::fs::lremovexattr(at(path), *name)),
                "removexattr".to_owned(),
            ),
            Action::List { path } => return list(&at(path)),
            Action::Look { path } => return look(&at(path)),
            other => panic!("not on a name: {other:?}"),
        };
        if outcome.is_ok() {
            events.push(event);
        }
        outcome
    }
}

impl Handle {
    fn write(&mut self, offset: u64, length: usize, byte: u8, events: &mut Vec<String>) -> Outcome {
        let at = if self.append {
            self.file.metadata().map_or(0, |meta| meta.size())
        } else {
            offset
        };
        let result = self.file.write_at(&vec![byte; length], offset);
        let event = format!("write @{at}+{}", result.as_ref().copied().unwrap_or(0));
        self.changed(&result, event, events);
        outcome(result)
    }

    fn changed<T, E>(&mut self, result: &Result<T, E>, event: String, events: &mut Vec<String>) {
        if result.is_ok() {
            self.written = true;
            events.push(event);
        }
    }
}

fn list(path: &Path) -> Outcome {
    let names = fs::read_dir(path).map(|entries| {
        let mut names: Vec<_> = entries
            .flatten()
            .map(|entry| {
                (
                    entry.file_name(),
                    entry
                        .file_type()
                        .map(|kind| (kind.is_dir(), kind.is_file()))
                        .ok(),
                )
            })
            .collect();
        names.sort();
        format!("{names:?}")
    });
    outcome(names)
}

fn look(path: &Path) -> Outcome {
    let seen = fs::symlink_metadata(path).map(|meta| {
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let target = fs::read_link(path).ok();
        let attributes = tree::attributes(path);
        format!(
            "{:o} {} {} {} {size} {target:?} {attributes:?}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink()
        )
    });
    outcome(seen)
}

//! Reading a content whole, exactly as it was when its attributes were read.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};

use crate::backing::{self, Attr, FileType};
use crate::event::MissingContent;

use super::super::digest::{Digest, digest, digest_open};
use super::{Captured, Keeper, has_content};

/// It changed while it was read.
pub(in super::super) struct Moved;

/// The content of the entry at `name` in `dir`, just found to be `attr`: kept by `keeper`, or only hashed without one.
pub(in super::super) fn capture(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    attr: &Attr,
    keeper: Option<&Keeper>,
) -> Result<Captured, Moved> {
    let Some(keeper) = keeper.filter(|_| has_content(attr)) else {
        return hashed(digest(dir, name, attr));
    };
    match backing::open_handle(dir, name) {
        Ok(entry) if attr.kind == FileType::Symlink => Ok(keeper.keep_open(entry.as_fd(), attr)),
        Ok(entry) => capture_open(entry.as_fd(), attr, Some(keeper)),
        Err(_) => Err(Moved),
    }
}

/// The same of what `fd` stands for.
pub(in super::super) fn capture_open(
    fd: BorrowedFd<'_>,
    attr: &Attr,
    keeper: Option<&Keeper>,
) -> Result<Captured, Moved> {
    let captured = match keeper {
        Some(keeper) => keeper.keep_or_hash(fd, attr),
        None => match backing::reopen_quietly(fd) {
            Ok(file) => hashed(digest_open(file.as_fd(), attr))?,
            Err(_) => Captured::default(),
        },
    };
    match captured.missing {
        Some(MissingContent::Changed) => Err(Moved),
        _ => Ok(captured),
    }
}

fn hashed(digest: Digest) -> Result<Captured, Moved> {
    match digest {
        Digest::Hash(hash) => Ok(Captured::known(Some(hash))),
        Digest::None => Ok(Captured::default()),
        Digest::Moved => Err(Moved),
    }
}

/// The whole content of the file that `fd` stands for, exactly as it was when its attributes were `attr`.
pub(super) fn read_whole(fd: BorrowedFd<'_>, attr: &Attr) -> Result<Vec<u8>, MissingContent> {
    let room = usize::try_from(attr.size).map_err(|_| MissingContent::TooLarge)?;
    // One byte more shows a file that has grown.
    let mut bytes = vec![0; room + 1];
    // The session's own descriptor would set the access time; it is what is left where nothing may be opened.
    let count = match backing::reopen_quietly(fd) {
        Ok(file) => fill(file.as_fd(), &mut bytes),
        Err(_) => fill(fd, &mut bytes),
    };
    let count = count.map_err(|_| MissingContent::Io)?;
    let now = backing::attr_of(fd).map_err(|_| MissingContent::Io)?;
    // The number of names and their time may have changed by the very change that is being recorded.
    let stands = now.identity == attr.identity && now.size == attr.size && now.mtime == attr.mtime;
    if count != room || !stands {
        return Err(MissingContent::Changed);
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// Reads until the buffer is full or the file ends; gives the count.
fn fill(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<usize, backing::Errno> {
    let mut done = 0;
    while done < bytes.len() {
        match backing::read_at(fd, done as u64, &mut bytes[done..])? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

//! Changes of content.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd};

use crate::backing::{self, Attr, Errno, FallocateFlags, OFlags, Writer};
use crate::event::{Event, Op, Seq};
use crate::event_log::Purpose;

use super::super::catalog::{Catalog, Hash};
use super::super::keep::{Before, Destroyed};
use super::super::look::{TOUCHES_MAX, Touch};
use super::super::{Located, Scope};
use super::{Change, modified, touched};

/// write(2) and its kin: one request of the kernel.
pub struct Write<'a> {
    /// The file's entry.
    pub entry: &'a dyn Located,
    /// The file, open for writing.
    pub file: BorrowedFd<'a>,
    /// Number of the handle.
    pub handle: u64,
    /// Where; `None` appends.
    pub offset: Option<u64>,
    /// What.
    pub data: &'a [u8],
    /// Whether the bytes come from a shared mapping.
    pub via_mmap: bool,
    /// The writer, when its write takes set-id bits away as the kernel asks for ordinary users.
    pub drop_set_id: Option<Writer>,
    /// Takes the hash of the content before, for the first write of a handle.
    pub before: Option<&'a Before>,
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// Where it went.
    pub offset: u64,
    /// How much, in bytes.
    pub length: usize,
    /// The file right after.
    pub attr: Attr,
}

impl Change for Write<'_> {
    type Done = Written;

    fn op(&self) -> Op {
        Op::Write
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.entry.path().len()
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Entry(self.entry, Some(self.file))), None]
    }

    fn perform(&mut self) -> Result<Written, Errno> {
        if let Some(writer) = self.drop_set_id {
            backing::drop_set_id(self.file, writer)?;
        }
        let (offset, length) = match self.offset {
            Some(offset) => (offset, backing::write_at(self.file, offset, self.data)?),
            None => backing::append_at(self.file, self.data)?,
        };
        Ok(Written {
            offset,
            length,
            attr: backing::attr_of(self.file)?,
        })
    }

    fn describe(&self, done: &Written) -> Event {
        Event {
            offset: Some(done.offset),
            length: Some(done.length as u64),
            handle: Some(self.handle),
            via_mmap: self.via_mmap,
            ..modified(Op::Write, self.entry, &done.attr)
        }
    }

    fn destroys(&self) -> Option<Destroyed<'_>> {
        self.before?;
        Some(Destroyed::Of(self.entry, self.file))
    }

    fn remember(&self, before: Option<Hash>) {
        if let Some(place) = self.before {
            place.remember(before);
        }
    }

    fn data<'b>(&'b self, done: &Written) -> Option<Cow<'b, [u8]>> {
        Some(Cow::Borrowed(&self.data[..done.length]))
    }

    fn follow(&self, done: &Written, seq: Seq, catalog: &Catalog) {
        touched(&done.attr, false, seq, catalog);
    }
}

/// truncate(2), ftruncate(2), or an open with `O_TRUNC`.
pub struct Truncate<'a> {
    /// The file's entry.
    pub entry: &'a dyn Located,
    /// The file, open for writing.
    pub file: BorrowedFd<'a>,
    /// Number of the handle, where there is one.
    pub handle: Option<u64>,
    /// Size it gets, in bytes.
    pub size: u64,
    /// Takes the hash of the content before.
    pub before: Option<&'a Before>,
    /// The writer, when its write takes set-id bits away as the kernel asks for ordinary users.
    pub drop_set_id: Option<Writer>,
}

impl Change for Truncate<'_> {
    type Done = Attr;

    fn op(&self) -> Op {
        Op::Truncate
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.entry.path().len()
    }

    fn purpose(&self) -> Purpose {
        match backing::attr_of(self.file) {
            Ok(attr) if self.size < attr.size => Purpose::Freeing,
            _ => Purpose::Ordinary,
        }
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Entry(self.entry, Some(self.file))), None]
    }

    fn perform(&mut self) -> Result<Attr, Errno> {
        backing::truncate(self.file, self.size)?;
        if let Some(writer) = self.drop_set_id {
            backing::drop_set_id(self.file, writer)?;
        }
        backing::attr_of(self.file)
    }

    fn describe(&self, done: &Attr) -> Event {
        Event {
            handle: self.handle,
            ..modified(Op::Truncate, self.entry, done)
        }
    }

    fn destroys(&self) -> Option<Destroyed<'_>> {
        Some(Destroyed::Of(self.entry, self.file))
    }

    fn remember(&self, before: Option<Hash>) {
        if let Some(place) = self.before {
            place.remember(before);
        }
    }

    fn leaves<'b>(&'b self, done: &'b Attr) -> Option<(BorrowedFd<'b>, &'b Attr)> {
        // What is done through a handle ends with its close.
        self.handle.is_none().then_some((self.file, done))
    }

    fn follow(&self, done: &Attr, seq: Seq, catalog: &Catalog) {
        touched(done, false, seq, catalog);
    }
}

/// fallocate(2).
pub struct Fallocate<'a> {
    /// The file's entry.
    pub entry: &'a dyn Located,
    /// The file, open for writing.
    pub file: BorrowedFd<'a>,
    /// Number of the handle.
    pub handle: u64,
    /// Mode, as fallocate(2) takes it.
    pub mode: FallocateFlags,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The writer, when its write takes set-id bits away as the kernel asks for ordinary users.
    pub drop_set_id: Option<Writer>,
}

impl Change for Fallocate<'_> {
    type Done = Attr;

    fn op(&self) -> Op {
        Op::Fallocate
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.entry.path().len()
    }

    fn purpose(&self) -> Purpose {
        if self.mode.contains(FallocateFlags::PUNCH_HOLE) {
            Purpose::Freeing
        } else {
            Purpose::Ordinary
        }
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Entry(self.entry, Some(self.file))), None]
    }

    fn perform(&mut self) -> Result<Attr, Errno> {
        backing::fallocate(self.file, self.mode, self.offset, self.length)?;
        if let Some(writer) = self.drop_set_id {
            backing::drop_set_id(self.file, writer)?;
        }
        backing::attr_of(self.file)
    }

    fn describe(&self, done: &Attr) -> Event {
        Event {
            offset: Some(self.offset),
            length: Some(self.length),
            handle: Some(self.handle),
            ..modified(Op::Fallocate, self.entry, done)
        }
    }

    fn follow(&self, done: &Attr, seq: Seq, catalog: &Catalog) {
        touched(done, false, seq, catalog);
    }
}

/// copy_file_range(2): the event is the target's.
pub struct Copy<'a> {
    /// What is read, and from where.
    pub from: (BorrowedFd<'a>, u64),
    /// The target's entry.
    pub entry: &'a dyn Located,
    /// The target, open for writing, and where.
    pub to: (BorrowedFd<'a>, u64),
    /// Number of the target's handle.
    pub handle: u64,
    /// Bytes at most.
    pub length: usize,
    /// The writer, when its write takes set-id bits away as the kernel asks for ordinary users.
    pub drop_set_id: Option<Writer>,
}

impl Change for Copy<'_> {
    type Done = Written;

    fn op(&self) -> Op {
        Op::Copy
    }

    fn scope(&self) -> Scope {
        Scope::of(&[self.entry.lock_key()])
    }

    fn path_bytes(&self) -> usize {
        self.entry.path().len()
    }

    fn touches(&self) -> [Option<Touch<'_>>; TOUCHES_MAX] {
        [Some(Touch::Entry(self.entry, Some(self.to.0))), None]
    }

    fn perform(&mut self) -> Result<Written, Errno> {
        let length = backing::copy_range(self.from, self.to, self.length)?;
        if let Some(writer) = self.drop_set_id {
            backing::drop_set_id(self.to.0, writer)?;
        }
        Ok(Written {
            offset: self.to.1,
            length,
            attr: backing::attr_of(self.to.0)?,
        })
    }

    fn describe(&self, done: &Written) -> Event {
        Event {
            offset: Some(done.offset),
            length: Some(done.length as u64),
            handle: Some(self.handle),
            ..modified(Op::Copy, self.entry, &done.attr)
        }
    }

    fn data<'b>(&'b self, done: &Written) -> Option<Cow<'b, [u8]>> {
        // What was copied inside the storage never came by; it stands in the target now.
        const DATA_BYTES_MAX: usize = 1 << 20;
        if done.length > DATA_BYTES_MAX {
            return None;
        }
        let mut copied = vec![0; done.length];
        let target = backing::reopen(self.to.0, OFlags::RDONLY).ok()?;
        let count = backing::read_at(target.as_fd(), done.offset, &mut copied).ok()?;
        (count == copied.len()).then_some(Cow::Owned(copied))
    }

    fn follow(&self, done: &Written, seq: Seq, catalog: &Catalog) {
        touched(&done.attr, false, seq, catalog);
    }
}

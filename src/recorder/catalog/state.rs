//! What the catalog expects of an entry, and how the disk may differ from it. Pure.

use crate::backing::{Attr, FileType, Identity, Time};
use crate::event::{Access, HASH_BYTES, Seq, Timestamp};

/// A content hash (blake3).
pub type Hash = [u8; HASH_BYTES];

/// The expected state of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// What it is.
    pub identity: Identity,
    /// Type and permission bits, as stat(2) packs them.
    pub mode: u16,
    /// Names it has.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of attributes. For an unsure entry, the time by which everything known had been done.
    pub ctime: Time,
    /// Hash of the content, where it is known.
    pub hash: Option<Hash>,
    /// The event that last touched it; 0 for one that stood there before the log.
    pub seq: Seq,
    /// Whether only the log tells of it: its attributes are to be read from the disk.
    pub unsure: bool,
}

/// How the disk differs from what was expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Size or time of content.
    pub content: bool,
    /// Permission bits or owner.
    pub attributes: bool,
    /// Time of attributes or number of names: a change whose nature cannot be seen.
    pub touched: bool,
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Difference::default()
    }

    /// Whether a name came, went or moved would explain it.
    #[must_use]
    pub fn only_touched(self) -> bool {
        self.touched && !self.content && !self.attributes
    }
}

impl State {
    /// The state of an entry just read from the disk.
    #[must_use]
    pub fn of(attr: &Attr, hash: Option<Hash>, seq: Seq) -> State {
        State {
            identity: attr.identity,
            mode: mode_of(attr),
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            size: attr.size,
            mtime: attr.mtime,
            ctime: attr.ctime,
            hash,
            seq,
            unsure: false,
        }
    }

    /// Type.
    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode.into())
    }

    /// What it is, and who might do what with it; `None` where only the log tells of it.
    #[must_use]
    pub fn access(&self) -> Option<Access> {
        (!self.unsure).then(|| Access {
            mode: u32::from(self.mode),
            uid: self.uid,
            gid: self.gid,
        })
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Whether `attr` is of the very entry this is the state of.
    #[must_use]
    pub fn is_of(&self, attr: &Attr) -> bool {
        if self.unsure {
            return self.identity.ino == attr.identity.ino
                && self.identity.dev == attr.identity.dev
                && self.is_directory() == attr.is_directory();
        }
        self.identity == attr.identity && self.kind() == attr.kind
    }

    /// Whether size or time tell that the content may have changed.
    #[must_use]
    pub fn tells(&self, attr: &Attr) -> bool {
        self.size != attr.size || self.mtime != attr.mtime
    }

    /// How the disk differs. A directory's times and size follow what happens in it and are not compared.
    #[must_use]
    pub fn difference(&self, attr: &Attr) -> Difference {
        if self.unsure {
            // The log knows neither owner nor exact times: what was touched after its last word has changed.
            let later = attr.ctime > self.ctime;
            let size = attr.kind == FileType::RegularFile && attr.size != self.size;
            return Difference {
                content: !self.is_directory() && (size || later),
                attributes: false,
                touched: false,
            };
        }
        let attributes = self.mode != mode_of(attr) || self.uid != attr.uid || self.gid != attr.gid;
        if self.is_directory() {
            return Difference {
                attributes,
                ..Difference::default()
            };
        }
        Difference {
            content: self.tells(attr),
            attributes,
            touched: self.ctime != attr.ctime || self.nlink != attr.nlink,
        }
    }

    /// A state the log alone tells of: written by the event `seq` at `time`.
    #[must_use]
    pub fn told(dev: u64, ino: u64, kind: FileType, size: u64, at: (Seq, Timestamp)) -> State {
        const NANOS: u64 = 1_000_000_000;
        let time = Time {
            secs: (at.1.0 / NANOS).cast_signed(),
            nanos: (at.1.0 % NANOS) as u32,
        };
        State {
            identity: Identity {
                dev,
                ino,
                birth: (0, 0),
            },
            mode: kind.as_raw_mode() as u16,
            nlink: 1,
            uid: 0,
            gid: 0,
            size,
            mtime: time,
            ctime: time,
            hash: None,
            seq: at.0,
            unsure: true,
        }
    }
}

/// Type and permission bits as stat(2) packs them: sixteen bits.
fn mode_of(attr: &Attr) -> u16 {
    (attr.kind.as_raw_mode() | attr.perm) as u16
}

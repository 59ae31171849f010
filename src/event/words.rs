//! The words of the event schema, each written once.

/// Declares an enum whose variants are words of the schema.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every word, in the order of the contract.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word as it stands in the log.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// The variant a word names.
            #[must_use]
            pub fn parse(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// Kind of a change, in the words of Python's watchdog, and the two kinds it has not.
    EventType {
        /// An entry came into being.
        Created = "created",
        /// Content or attributes changed.
        Modified = "modified",
        /// An entry is gone.
        Deleted = "deleted",
        /// An entry has another name.
        Moved = "moved",
        /// A written file was closed.
        Closed = "closed",
        /// Something may be missing here.
        Gap = "gap",
        /// A user's note.
        Mark = "mark",
    }
}

words! {
    /// What was called.
    Op {
        /// open(2) with O_CREAT that made the file.
        Create = "create",
        /// mknod(2): fifo, socket, device or empty file.
        Mknod = "mknod",
        /// mkdir(2).
        Mkdir = "mkdir",
        /// symlink(2).
        Symlink = "symlink",
        /// link(2): a further name.
        Link = "link",
        /// write(2) and its kin, one event per request.
        Write = "write",
        /// truncate(2), ftruncate(2) or an open with O_TRUNC.
        Truncate = "truncate",
        /// fallocate(2) in any mode.
        Fallocate = "fallocate",
        /// copy_file_range(2).
        Copy = "copy",
        /// chmod(2), chown(2), utimensat(2).
        Setattr = "setattr",
        /// setxattr(2).
        Setxattr = "setxattr",
        /// removexattr(2).
        Removexattr = "removexattr",
        /// rename(2), also with RENAME_NOREPLACE.
        Rename = "rename",
        /// renameat2(2) with RENAME_EXCHANGE.
        Exchange = "exchange",
        /// unlink(2).
        Unlink = "unlink",
        /// rmdir(2).
        Rmdir = "rmdir",
        /// close(2) of a handle that was written.
        Close = "close",
        /// fsync(2) of a handle that was written, where content is kept: what is durable now can be read back.
        Fsync = "fsync",
        /// An earlier version put back.
        Restore = "restore",
        /// A difference that was found rather than seen.
        Found = "found",
    }
}

words! {
    /// Who saw the change.
    Source {
        /// Seen as a system call on the mount.
        Mount = "mount",
        /// A bypass change found by the watcher.
        Watch = "watch",
        /// A bypass change found by reconciliation.
        Scan = "scan",
        /// Another host.
        Peer = "peer",
        /// hippofs itself: gaps and marks.
        System = "system",
    }
}

words! {
    /// Why the content of an event cannot be read back.
    MissingContent {
        /// It is larger than is kept; its hash is known.
        TooLarge = "too_large",
        /// There was no room for it.
        Full = "full",
        /// More was to be kept at once than the store keeps up with.
        Busy = "busy",
        /// It could not be read, or the store could not be written.
        Io = "io",
        /// It was changed behind the mount while it was read.
        Changed = "changed",
    }
}

words! {
    /// Why something may be missing.
    GapReason {
        /// The daemon died; operations that had not been answered may be unrecorded.
        Crash = "crash",
        /// Lines were cut from the end of the log, where a write had not been finished.
        Torn = "torn",
        /// Lines in the middle of the log are damaged or missing.
        Damaged = "damaged",
        /// The log could not be written for a while; what was refused meanwhile did not happen.
        Failed = "failed",
        /// Older events were removed by retention.
        Retention = "retention",
        /// The position asked for lies past the end of this log.
        Ahead = "ahead",
        /// More changed behind the mount than the watcher's queue holds; a scan finds them.
        Overflow = "overflow",
        /// The watcher does not see every directory, and scans at the poll interval find what changes there; or what
        /// was known before a start is lost, and what changed behind the mount until then cannot be told.
        Unwatched = "unwatched",
        /// A mount for measurements recorded nothing from here on; scans after its end find what is left of it.
        Unrecorded = "unrecorded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        assert!(
            EventType::ALL
                .iter()
                .all(|w| EventType::parse(w.word()) == Some(*w))
        );
        assert!(Op::ALL.iter().all(|w| Op::parse(w.word()) == Some(*w)));
        assert!(
            Source::ALL
                .iter()
                .all(|w| Source::parse(w.word()) == Some(*w))
        );
        assert!(
            GapReason::ALL
                .iter()
                .all(|w| GapReason::parse(w.word()) == Some(*w))
        );
        assert!(
            MissingContent::ALL
                .iter()
                .all(|w| MissingContent::parse(w.word()) == Some(*w))
        );
        assert_eq!(Op::parse("Create"), None);
    }
}

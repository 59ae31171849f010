//! The storage directory by descriptor: system calls and no policy.
//!
//! Everything here names entries by an open directory and one name, or by an open descriptor; no path is ever
//! walked, so a mount that lies over the storage is never entered by its own daemon. Nothing above this module
//! makes a file system call on the storage.

mod attr;
mod caller;
mod directory;
mod entry;
mod object;
pub mod sys;

pub use attr::{Attr, Identity, Time};
pub use caller::{AsCaller, Writer, own_mask};
pub use directory::{DirEntry, DirReader};
pub use entry::{
    create, create_unnamed, exchange, exists, link, lookup, mkdir, mknod, open_entry, open_handle,
    rename, rmdir, symlink, unlink,
};
pub use object::{
    NewTime, Times, XattrFlags, append_at, attr_of, copy_range, drop_set_id, fallocate,
    filesystem_magic, get_xattr, list_xattrs, proc_path, read_at, readlink, remove_xattr, reopen,
    reopen_quietly, seek_data, set_mode, set_owner, set_times, set_xattr, statfs, sync, truncate,
    write_at,
};

pub use rustix::fs::{FallocateFlags, FileType, Mode, OFlags, RenameFlags, StatVfs};
pub use rustix::io::Errno;

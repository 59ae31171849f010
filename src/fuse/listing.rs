//! Listings that bring attributes along.

use fuser::{FileAttr, Generation, INodeNo, ReplyDirectoryPlus};

use super::answer::{answer, lifetime, missing};
use super::convert;
use crate::vfs::Vfs;

/// readdir with the attributes of each name, looked up for the kernel.
pub(super) fn with_attributes(vfs: &Vfs, fh: u64, offset: u64, mut reply: ReplyDirectoryPlus) {
    let listed = vfs.readdir(fh, offset, |name| {
        let dots = name.name == "." || name.name == "..";
        let found = if dots {
            None
        } else {
            vfs.lookup_listed(fh, &name.name)
        };
        let (attr, generation) = match &found {
            Some(found) => (convert::attr(found), found.generation),
            None if dots => (
                FileAttr {
                    ino: INodeNo(name.ino),
                    kind: convert::kind(name.kind),
                    ..missing()
                },
                0,
            ),
            // It went while the listing was read.
            None => return true,
        };
        let full = reply.add(
            attr.ino,
            name.next,
            &name.name,
            &lifetime(&attr),
            &attr,
            Generation(generation),
        );
        if full && let Some(found) = found {
            vfs.forget(found.id, 1);
        }
        !full
    });
    answer!(reply, listed, () => reply.ok());
}

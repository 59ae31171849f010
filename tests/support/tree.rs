//! A whole tree as comparable values: names, types, modes, owners, sizes, contents, targets, extended attributes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// One entry, told completely.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    mode: u32,
    owner: (u32, u32),
    links: u64,
    size: u64,
    device: u64,
    content: Vec<u8>,
    attributes: BTreeMap<OsString, Vec<u8>>,
}

/// The tree below `root`, by path; the hidden control directory and its place in the storage left out.
#[track_caller]
pub(crate) fn read(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut tree = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let listing = std::fs::read_dir(root.join(&relative));
        for entry in listing.unwrap_or_else(|e| panic!("{}: {e}", relative.display())) {
            let entry = entry.expect("an entry");
            let path = relative.join(entry.file_name());
            if path.as_os_str() == ".hippofs" {
                continue;
            }
            if entry.file_type().expect("a type").is_dir() {
                pending.push(path.clone());
            }
            tree.insert(path.clone(), read_entry(&root.join(path)));
        }
    }
    tree
}

fn read_entry(path: &Path) -> Entry {
    let meta =
        std::fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let kind = meta.file_type();
    let content = if kind.is_file() {
        std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    } else if kind.is_symlink() {
        std::fs::read_link(path)
            .expect("a target")
            .into_os_string()
            .into_vec()
    } else {
        Vec::new()
    };
    let special = kind.is_char_device() || kind.is_block_device();
    Entry {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        links: meta.nlink(),
        // Sizes of directories are the filesystem's own business.
        size: if kind.is_dir() { 0 } else { meta.size() },
        device: if special { meta.rdev() } else { 0 },
        content,
        attributes: attributes(path),
    }
}

/// Extended attributes that a user sees, by name.
pub(crate) fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; 64 * 1024];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return BTreeMap::new();
    };
    let names = names[..length]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty());
    names
        .filter_map(|name| {
            let mut value = vec![0; 64 * 1024];
            let name = std::ffi::OsStr::from_bytes(name);
            // Another session may have removed it since it was listed.
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
            value.truncate(length);
            Some((name.to_owned(), value))
        })
        .collect()
}

//! Modes, owners, times, extended attributes, access lists, set-id bits.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, XattrFlags, utimensat,
};
use rustix::fs::{getxattr, listxattr, lsetxattr, removexattr, setxattr};

use super::same_as_native;
use crate::support::{Case, process, tree};

fn time(seconds: i64, nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    }
}

fn set_times(path: &Path, access: Timespec, modify: Timespec) -> rustix::io::Result<()> {
    let times = Timestamps {
        last_access: access,
        last_modification: modify,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

#[test]
fn modes_and_owners() {
    let case = Case::new();
    let mount = case.mount();
    let events = same_as_native(&case, &mount, |dir| {
        let (file, sub) = (dir.join("a"), dir.join("d"));
        fs::write(&file, "x").unwrap();
        fs::create_dir(&sub).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o4711)).unwrap();
        fs::set_permissions(&sub, PermissionsExt::from_mode(0o3777)).unwrap();
        chown(&file, Some(1234), None).unwrap();
        chown(&file, None, Some(4321)).unwrap();
        let meta = fs::metadata(&file).unwrap();
        (
            meta.mode(),
            meta.uid(),
            meta.gid(),
            fs::metadata(&sub).unwrap().mode(),
        )
    });
    let set: Vec<_> = events.iter().filter(|e| e.starts_with("setattr")).collect();
    assert_eq!(set, ["setattr a", "setattr d", "setattr a", "setattr a"]);
}

#[test]
fn times_of_every_kind() {
    let case = Case::new();
    let mount = case.mount();
    let events = same_as_native(&case, &mount, |dir| {
        let file = dir.join("a");
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("a", dir.join("s")).unwrap();
        let read = |path: &Path| {
            let meta = fs::symlink_metadata(path).unwrap();
            (
                meta.atime(),
                meta.atime_nsec(),
                meta.mtime(),
                meta.mtime_nsec(),
            )
        };
        set_times(&file, time(1_000, 5), time(2_000_000_000, 999_999_999)).unwrap();
        let exact = read(&file);
        set_times(&file, time(-86_400, 250), time(-1, 1)).unwrap();
        let before_1970 = read(&file);
        set_times(&file, time(0, UTIME_OMIT), time(77, 0)).unwrap();
        let omitted = read(&file);
        set_times(&file, time(55, 0), time(0, UTIME_NOW)).unwrap();
        let now = fs::metadata(&file).unwrap();
        set_times(&dir.join("s"), time(11, 0), time(12, 0)).unwrap();
        (
            exact,
            before_1970,
            omitted,
            now.atime(),
            now.mtime() > 1_600_000_000,
            read(&dir.join("s")),
        )
    });
    let set: Vec<_> = events.iter().filter(|e| e.starts_with("setattr")).collect();
    assert_eq!(
        set,
        [
            "setattr a",
            "setattr a",
            "setattr a",
            "setattr a",
            "setattr s"
        ]
    );
}

#[test]
fn extended_attributes() {
    let case = Case::new();
    let mount = case.mount();
    let events = same_as_native(&case, &mount, |dir| {
        let file = dir.join("a");
        fs::write(&file, "x").unwrap();
        let create = setxattr(&file, "user.one", b"1", XattrFlags::CREATE);
        let again = setxattr(&file, "user.one", b"1", XattrFlags::CREATE);
        let replace = setxattr(&file, "user.none", b"1", XattrFlags::REPLACE);
        setxattr(&file, "user.one", b"\0binary\xff", XattrFlags::REPLACE).unwrap();
        setxattr(&file, "user.empty", b"", XattrFlags::empty()).unwrap();
        setxattr(dir, "user.on-root", b"r", XattrFlags::empty()).unwrap();
        let trusted = setxattr(&file, "trusted.t", b"t", XattrFlags::empty());
        let unknown = setxattr(&file, "nonsense", b"t", XattrFlags::empty());
        std::os::unix::fs::symlink("a", dir.join("s")).unwrap();
        let link = lsetxattr(dir.join("s"), "user.x", b"t", XattrFlags::empty());
        let mut small = [0; 2];
        let short = getxattr(&file, "user.one", &mut small[..]);
        let list = listxattr(&file, &mut small[..]);
        let removed = removexattr(&file, "user.empty");
        let missing = removexattr(&file, "user.empty");
        let big = setxattr(&file, "user.big", &[1; 70_000], XattrFlags::empty());
        let all = tree::attributes(&file);
        (
            (create, again, replace, trusted, unknown, link),
            (short, list, removed, missing, big, all),
        )
    });
    let set = events.iter().filter(|e| e.starts_with("setxattr")).count();
    let trusted =
        tree::attributes(&mount.storage("a")).contains_key(std::ffi::OsStr::new("trusted.t"));
    assert_eq!(set, 4 + usize::from(trusted));
    assert_eq!(
        events
            .iter()
            .filter(|e| e.starts_with("removexattr"))
            .count(),
        1
    );
    removexattr(case.native(), "user.on-root").unwrap();
}

/// A POSIX access list in its wire form: version 2, then entries of tag, permissions, id.
fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const NOBODY: u32 = u32::MAX;
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const MASK: u16 = 16;
const OTHER: u16 = 32;

#[test]
fn access_lists_are_kept_inherited_and_enforced() {
    let case = Case::new();
    let mount = case.mount_with(&["--allow-other"]);
    let list = access_list(&[
        (USER_OBJ, 6, NOBODY),
        (USER, 4, 1000),
        (GROUP_OBJ, 0, NOBODY),
        (MASK, 4, NOBODY),
        (OTHER, 0, NOBODY),
    ]);
    same_as_native(&case, &mount, |dir| {
        fs::create_dir(dir.join("d")).unwrap();
        fs::set_permissions(dir.join("d"), PermissionsExt::from_mode(0o755)).unwrap();
        fs::write(dir.join("a"), "x").unwrap();
        let set = setxattr(
            dir.join("a"),
            "system.posix_acl_access",
            &list,
            XattrFlags::empty(),
        );
        let default = setxattr(
            dir.join("d"),
            "system.posix_acl_default",
            &list,
            XattrFlags::empty(),
        );
        fs::write(dir.join("d/inherits"), "x").unwrap();
        fs::create_dir(dir.join("d/sub")).unwrap();
        let all = ["a", "d", "d/inherits", "d/sub"].map(|name| tree::attributes(&dir.join(name)));
        let modes =
            ["a", "d/inherits", "d/sub"].map(|name| fs::metadata(dir.join(name)).unwrap().mode());
        (set, default, all, modes)
    });
    for name in ["a", "d/inherits"] {
        let read = |uid| process::run(process::as_user(uid, "cat").arg(mount.path(name))).code();
        assert_eq!((read(1000), read(1001)), (Some(0), Some(1)), "{name}");
    }
}

/// The mode of a file of `owner` and group 4242 after user 1000, member of `group`, has changed it.
fn mode_after(dir: &Path, (mode, owner, group): (u32, u32, u32), change: &str) -> String {
    let file = dir.join("program");
    let _ = fs::remove_file(&file);
    fs::write(&file, "abc").unwrap();
    chown(&file, Some(owner), Some(4242)).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    let groups = format!("--groups={group}");
    let mut shell = std::process::Command::new("setpriv");
    shell
        .args(["--reuid=1000", "--regid=1000", &groups, "sh", "-c", change])
        .arg(&file);
    process::run(&mut shell).success();
    // Asked for the mode alone, the kernel may answer from what it remembers, where a whole stat(2) would not.
    let (flags, mask) = (AtFlags::SYMLINK_NOFOLLOW, rustix::fs::StatxFlags::MODE);
    let mode = rustix::fs::statx(CWD, &file, flags, mask).unwrap().stx_mode;
    format!("{mode:o}")
}

#[test]
fn a_change_by_an_ordinary_user_drops_the_set_id_bits() {
    let case = Case::new();
    let mount = case.mount_with(&["--allow-other"]);
    let changes = [
        ": > \"$0\"",
        "echo x >> \"$0\"",
        "truncate -s 2 \"$0\"",
        "fallocate -l 9 \"$0\"",
    ];
    let mut differ = Vec::new();
    for mode in [0o6777, 0o2777, 0o2767, 0o4767] {
        for who in [(mode, 0, 1000), (mode, 1000, 1000), (mode, 1000, 4242)] {
            for change in changes {
                let [native, seen] = [case.native(), mount.root().to_path_buf()]
                    .map(|dir| mode_after(&dir, who, change));
                let stored = format!(
                    "{:o}",
                    fs::metadata(mount.storage("program")).unwrap().mode()
                );
                if seen != native || stored != native {
                    differ.push(format!(
                        "{mode:o} {who:?} {change}: native {native}, mount {seen}, storage {stored}"
                    ));
                }
            }
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn a_change_of_owner_drops_the_set_id_bits() {
    let case = Case::new();
    let mount = case.mount();
    let events = same_as_native(&case, &mount, |dir| {
        fs::write(dir.join("a"), "x").unwrap();
        fs::set_permissions(dir.join("a"), PermissionsExt::from_mode(0o6777)).unwrap();
        chown(dir.join("a"), Some(1000), Some(1000)).unwrap();
        fs::metadata(dir.join("a")).unwrap().mode()
    });
    assert_eq!(
        events.iter().filter(|e| e.starts_with("setattr")).count(),
        2
    );
    assert_eq!(
        fs::metadata(mount.storage("a")).unwrap().mode() & 0o7777,
        0o777
    );
}

#[test]
fn statfs_is_that_of_the_storage() {
    let case = Case::new();
    let mount = case.mount();
    let (native, seen) = (
        rustix::fs::statvfs(case.native()).unwrap(),
        rustix::fs::statvfs(mount.root()).unwrap(),
    );
    assert_eq!(
        (seen.f_blocks, seen.f_namemax),
        (native.f_blocks, native.f_namemax)
    );
}

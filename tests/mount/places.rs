//! Where a mount can stand, and the reserved name in its root.

use std::fs;

use super::errno;
use crate::support::{Case, events, hippofs, process, tree};

#[test]
fn over_the_storage_itself() {
    let case = Case::new();
    fs::write(case.storage().join("before"), "x").unwrap();
    let mount = case.mount_over();
    assert_eq!(fs::read(mount.path("before")).unwrap(), b"x");
    let events = mount.record(|| {
        fs::write(mount.path("during"), "y").unwrap();
        fs::rename(mount.path("before"), mount.path("after")).unwrap();
    });
    assert_eq!(
        events,
        [
            "create during",
            "write during @0+1",
            "close during",
            "rename before -> after"
        ]
    );
    let seen = tree::read(mount.root());
    mount.unmount();
    assert_eq!(tree::read(&case.storage()), seen);
    assert!(case.storage().join(".hippofs/store.json").is_file());
}

#[test]
fn elsewhere_with_the_line_that_says_so() {
    let case = Case::new();
    let mount = case.mount();
    let (stdout, stderr) = mount.output();
    let expected = format!(
        "hippofs: mounted {} at {} (store ",
        case.storage().display(),
        case.mountpoint().display()
    );
    assert!(stdout.starts_with(&expected), "{stdout}");
    assert!(stdout.trim_end().ends_with(", seq 0)"), "{stdout}");
    assert_eq!((stdout.lines().count(), stderr.as_str()), (1, ""));
    assert_eq!(mount.status()["store"].as_str().map(str::len), Some(36));
}

#[test]
fn the_log_goes_on_after_a_remount() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    let (events, store) = (mount.events(), mount.status()["store"].clone());
    let mount = mount.remount();
    assert_eq!(mount.events(), events, "nothing added by a clean end");
    assert_eq!(mount.status()["store"], store);
    fs::remove_file(mount.path("a")).unwrap();
    assert_eq!(mount.head(), events.len() as u64 + 1);
}

#[test]
fn the_state_can_be_elsewhere() {
    let case = Case::new();
    let state = case.path("state");
    let mount = case.mount_with(&["--state-dir", state.to_str().unwrap()]);
    fs::write(mount.path("a"), "x").unwrap();
    assert!(state.join("store.json").is_file());
    assert!(!case.storage().join(".hippofs").exists());
    assert_eq!(mount.events().len(), 3);
}

#[test]
fn the_reserved_name_cannot_be_taken() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    fs::create_dir(mount.path("d")).unwrap();
    let reserved = mount.path(".hippofs");
    let before = mount.head();
    let answers = [
        errno(fs::create_dir(&reserved)),
        errno(fs::remove_dir(&reserved)),
        errno(fs::rename(mount.path("a"), &reserved)),
        errno(fs::rename(mount.path("d"), &reserved)),
        errno(fs::rename(&reserved, mount.path("other"))),
        errno(std::os::unix::fs::symlink("a", &reserved)),
        errno(fs::hard_link(mount.path("a"), &reserved)),
        errno(fs::hard_link(mount.control("events"), mount.path("events"))),
        errno(fs::write(mount.control("new"), "x")),
        errno(fs::remove_file(mount.control("events"))),
        errno(fs::rename(mount.control("events"), mount.path("events"))),
    ];
    assert!(answers.iter().all(Option::is_some), "{answers:?}");
    // The kernel answers a name that is there by itself; what reaches the filesystem is refused as not permitted.
    let told = [
        libc::EPERM,
        libc::EEXIST,
        libc::EXDEV,
        libc::EACCES,
        libc::EISDIR,
        libc::ENOTDIR,
        libc::ENOTEMPTY,
        libc::EBUSY,
    ];
    assert!(
        answers.iter().all(|a| a.is_some_and(|a| told.contains(&a))),
        "{answers:?}"
    );
    // A directory onto a directory is nothing the kernel refuses by itself.
    assert_eq!(answers[3], Some(libc::EPERM));
    assert_eq!(mount.head(), before);
    // The name is reserved in the root only.
    fs::create_dir(mount.path("d/.hippofs")).unwrap();
    assert_eq!(fs::read_dir(mount.path("d")).unwrap().count(), 1);
}

#[test]
fn a_foreign_entry_of_the_reserved_name_is_refused() {
    for foreign in ["file", "directory"] {
        let case = Case::new();
        let path = case.storage().join(".hippofs");
        if foreign == "file" {
            fs::write(&path, "mine").unwrap();
        } else {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("mine"), "mine").unwrap();
        }
        let before = tree::read(&case.storage());
        let done = hippofs::run(&[
            "mount".as_ref(),
            case.storage().as_os_str(),
            case.mountpoint().as_os_str(),
        ]);
        assert_eq!(done.code(), Some(1), "{done:?}");
        assert!(
            done.stderr.starts_with("hippofs: ") && done.stderr.contains(".hippofs"),
            "{done:?}"
        );
        assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
        assert!(!hippofs::is_mounted(&case.mountpoint()));
        assert_eq!(tree::read(&case.storage()), before);
    }
}

/// As root, in a mount namespace of its own: a device node that everybody may open and a program everybody may run;
/// then, as an ordinary user, a mount and what it recorded. $1 is the place, $2 the program.
const UNPRIVILEGED: &str = r#"
mount -t tmpfs -o mode=755 none "$1"; cd "$1"
mknod -m 666 fuse c 10 229; mount --bind fuse /dev/fuse; cp "$2" hippofs; mkdir s m locked; chown 1000:1000 s m
chmod 700 locked
exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all sh -euc '
    ./hippofs mount s m --daemon; trap "./hippofs unmount m" EXIT
    echo x > m/a; mv m/a m/b; cat m/.hippofs/events; ls m
    ./hippofs mount locked s 2>&1 || echo $?'
"#;

#[test]
fn an_ordinary_user_mounts_what_is_theirs() {
    // Only mounts by others than root need this program, and `scripts/setup` says when it could not be installed.
    if process::run(std::process::Command::new("sh").args(["-c", "command -v fusermount3"])).code()
        != Some(0)
    {
        return;
    }
    let case = Case::new();
    let mut shell = std::process::Command::new("unshare");
    shell
        .args(["--mount", "sh", "-euc", UNPRIVILEGED, "sh"])
        .arg(case.path("native"))
        .arg(hippofs::PROGRAM);
    let said = process::run(&mut shell).success();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 8, "{said}");
    assert!(
        lines[6].starts_with("hippofs: ") && lines[6].contains("locked"),
        "{said}"
    );
    assert_eq!(lines[7], "1");
    let log = lines[1..5].join("\n") + "\n";
    let events = events::parse(log.as_bytes());
    assert_eq!(
        events::briefs(&events),
        ["create a", "write a @0+2", "close a", "rename a -> b"]
    );
    assert!(
        events.iter().all(|e| events::number(e, "uid") == 1000),
        "{said}"
    );
}

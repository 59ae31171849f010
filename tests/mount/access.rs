//! Who may do what: callers own what they make, the kernel checks, the control directory is private.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::Path;

use crate::support::events::{number, text};
use crate::support::{Case, process};

const USER: u32 = 1000;

fn shell(uid: u32, script: &str, directory: &Path) -> process::Done {
    process::run(
        process::as_user(uid, "sh")
            .arg("-c")
            .arg(script)
            .current_dir(directory),
    )
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
}

#[test]
fn files_belong_to_their_maker() {
    let case = Case::new();
    open_to_all(&case.storage());
    let mount = case.mount_with(&["--allow-other"]);
    let before = mount.head();
    let script = "umask 027; echo x > f; mkdir d; ln -s f s; mkfifo p; cp f g; mv g d/g; ln f h";
    shell(USER, script, mount.root()).success();
    for (name, mode) in [
        ("f", 0o640),
        ("d", 0o750),
        ("s", 0o777),
        ("p", 0o640),
        ("d/g", 0o640),
    ] {
        let meta = fs::symlink_metadata(mount.storage(name)).unwrap();
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o7777),
            (USER, USER, mode),
            "{name}"
        );
    }
    for event in mount.since(before) {
        assert_eq!(
            (number(&event, "uid"), number(&event, "gid")),
            (USER.into(), USER.into()),
            "{event}"
        );
        assert!(!text(&event, "comm").is_empty(), "{event}");
    }
}

#[test]
fn a_set_gid_directory_hands_its_group_down() {
    let case = Case::new();
    let dir = case.storage().join("shared");
    fs::create_dir(&dir).unwrap();
    chown(&dir, None, Some(4242)).unwrap();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o2777)).unwrap();
    let mount = case.mount_with(&["--allow-other"]);
    shell(USER, "echo x > f; mkdir d", &mount.path("shared")).success();
    let of = |name: &str| fs::metadata(mount.path("shared").join(name)).unwrap();
    assert_eq!(
        (of("f").gid(), of("d").gid(), of("d").mode() & 0o2000),
        (4242, 4242, 0o2000)
    );
}

#[test]
fn the_kernel_checks_permissions() {
    let case = Case::new();
    let storage = case.storage();
    fs::write(storage.join("secret"), "s").unwrap();
    fs::set_permissions(storage.join("secret"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::create_dir(storage.join("sticky")).unwrap();
    fs::write(storage.join("sticky/f"), "s").unwrap();
    fs::set_permissions(storage.join("sticky"), PermissionsExt::from_mode(0o1777)).unwrap();
    let mount = case.mount_with(&["--allow-other"]);
    let before = mount.head();
    let refused = [
        "cat secret",
        "echo x > secret",
        "echo x > new",
        "mkdir new",
        "rm -f secret",
        "chmod 777 secret",
        "chown 1000 secret",
        "mv secret other",
        "ln -s a b",
        "rm -f sticky/f",
        "mv sticky/f sticky/g",
        "touch -d @1 secret",
    ];
    for script in refused {
        assert_ne!(
            shell(USER, script, mount.root()).code(),
            Some(0),
            "{script}"
        );
    }
    assert_eq!(mount.since(before), [serde_json::Value::Null; 0]);
}

#[test]
fn the_control_directory_is_private() {
    let case = Case::new();
    open_to_all(&case.storage());
    let mount = case.mount_with(&["--allow-other"]);
    for script in [
        "ls .hippofs",
        "cat .hippofs/events",
        "cat .hippofs/status",
        "cat .hippofs/since/0",
        "cat .hippofs/follow",
        "cat .hippofs/help",
        "echo '{\"status\":{}}' > .hippofs/control",
    ] {
        let done = shell(USER, script, mount.root());
        assert_ne!(done.code(), Some(0), "{script}");
        assert!(
            done.stderr.contains("ermission denied"),
            "{script}: {done:?}"
        );
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&mount.path(".hippofs")), 0o500);
    assert_eq!(
        (
            mode(&mount.control("events")),
            mode(&mount.control("control"))
        ),
        (0o400, 0o600)
    );
}

#[test]
fn without_allow_other_nobody_else_comes_in() {
    let case = Case::new();
    open_to_all(&case.storage());
    let mount = case.mount();
    assert_ne!(shell(USER, "ls", Path::new("/")).code(), None);
    let done = process::run(process::as_user(USER, "ls").arg(mount.root()));
    assert_ne!(done.code(), Some(0), "{done:?}");
}

#[test]
fn the_log_in_the_storage_is_private() {
    let case = Case::new();
    open_to_all(&case.storage());
    let mount = case.mount_with(&["--allow-other"]);
    fs::write(mount.path("a"), "x").unwrap();
    let state = fs::metadata(mount.storage(".hippofs")).unwrap();
    assert_eq!(state.mode() & 0o077, 0, "{:o}", state.mode());
}

#[test]
fn the_read_only_option_refuses_changes() {
    let case = Case::new();
    fs::write(case.storage().join("a"), "x").unwrap();
    let mount = case.mount_with(&["--read-only"]);
    assert_eq!(
        super::errno(fs::write(mount.path("a"), "y")),
        Some(libc::EROFS)
    );
    assert_eq!(
        super::errno(fs::create_dir(mount.path("d"))),
        Some(libc::EROFS)
    );
    assert_eq!(fs::read(mount.path("a")).unwrap(), b"x");
}

#[test]
fn further_groups_of_the_caller_count() {
    let case = Case::new();
    let mount = case.mount_with(&["--allow-other"]);
    // Everything here is allowed, or refused, because of a group that is not the caller's first.
    let script = "cd g; echo x > f; mkdir d; chgrp 4242 f; chmod 2755 f; stat -c '%n %a %u %g' f d; mkfifo p; ln f h; ln -s a s; \
                  mv f f2; rm h; echo y >> f2; truncate -s 1 f2; touch -d @5 f2; chgrp 4242 ../own; stat -c %g ../own; \
                  chgrp 4243 ../own || echo refused; cat ../list; ls";
    let mut said = Vec::new();
    for dir in [case.native(), mount.root().to_path_buf()] {
        fs::create_dir(dir.join("g")).unwrap();
        chown(dir.join("g"), Some(0), Some(4242)).unwrap();
        fs::set_permissions(dir.join("g"), PermissionsExt::from_mode(0o770)).unwrap();
        for (name, owner, group, mode) in [("own", USER, USER, 0o600), ("list", 0, 4242, 0o640)] {
            fs::write(dir.join(name), "content\n").unwrap();
            chown(dir.join(name), Some(owner), Some(group)).unwrap();
            fs::set_permissions(dir.join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        let mut shell = std::process::Command::new("setpriv");
        shell
            .args([
                "--reuid=1000",
                "--regid=1000",
                "--groups=4242",
                "sh",
                "-c",
                script,
            ])
            .current_dir(&dir);
        said.push(process::run(&mut shell).stdout);
    }
    assert_eq!(said[1], said[0]);
    assert!(
        said[0].contains("f 2755 1000 4242") && said[0].contains("refused"),
        "{}",
        said[0]
    );
}

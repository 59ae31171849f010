//! Wrong usage, help, completions and manual pages.

use std::fs;

use super::fails;
use crate::support::{Case, hippofs, process};

#[test]
fn wrong_usage_exits_with_two() {
    let wrong: &[&[&str]] = &[
        &[],
        &["explode"],
        &["mount"],
        &["mount", "/a", "/b", "/c"],
        &["mount", "/a", "--no-such-option"],
        &["mount", "/a", "-o", "no_such_option"],
        &["mount", "/a", "-o", "segment_bytes"],
        &["mount", "/a", "-o", "segment_bytes=lots"],
        &["mount", "/a", "--segment-bytes", "1"],
        &["mount", "/a", "--sync-interval", "soon"],
        &["mount", "/a", "--retain-bytes", "-1"],
        &["unmount"],
        &["status"],
        &["events"],
        &["events", "/a", "--since", "whenever"],
        &["events", "/a", "--type", "exploded"],
        &["events", "/a", "--limit", "many"],
        &["verify"],
        &["completions", "no-such-shell"],
        &["top"],
        &["report", "/a"],
        &["report", "/a", "-o", "b", "--from", "7"],
        &["report", "/a", "-o", "b", "--from", "1m", "--since", "7"],
    ];
    for arguments in wrong {
        let done = hippofs::run(arguments);
        assert_eq!(done.code(), Some(2), "{arguments:?}: {done:?}");
        assert!(
            done.stdout.is_empty() && !done.stderr.is_empty(),
            "{arguments:?}: {done:?}"
        );
        assert!(!done.stderr.contains("panicked"), "{done:?}");
    }
}

#[test]
fn help_and_version_are_there() {
    let help = hippofs::run(&["--help"]).success();
    for command in [
        "mount",
        "unmount",
        "status",
        "events",
        "verify",
        "top",
        "report",
        "completions",
        "man",
    ] {
        assert!(help.contains(command), "{command}");
        let own = hippofs::run(&[command, "--help"]).success();
        assert!(own.contains("Usage:"), "{own}");
    }
    assert_eq!(
        hippofs::run(&["--version"]).success().trim(),
        concat!("hippofs ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let script = hippofs::run(&["completions", shell]).success();
        assert!(
            script.contains("hippofs") && script.contains("unmount"),
            "{shell}"
        );
    }
    let bash = hippofs::run(&["completions", "bash"]).success();
    let case = Case::new();
    fs::write(case.path("completions"), bash).unwrap();
    process::run(
        std::process::Command::new("bash")
            .arg("-n")
            .arg(case.path("completions")),
    )
    .success();
    let page = hippofs::run(&["man"]).success();
    assert!(page.contains(".TH") && page.contains("hippofs"), "{page}");
}

#[test]
fn storages_that_cannot_be_mounted() {
    let case = Case::new();
    let mountpoint = case.mountpoint();
    let mount = |storage: &std::path::Path| {
        fails(&[
            "mount".as_ref(),
            storage.as_os_str(),
            mountpoint.as_os_str(),
        ])
    };
    let missing = case.path("missing");
    assert!(mount(&missing).contains("missing"));
    fs::write(case.path("file"), "x").unwrap();
    assert!(mount(&case.path("file")).contains("file"));
    let storage = case.storage();
    for place in [case.path("no-mountpoint"), case.path("file")] {
        fails(&["mount".as_ref(), storage.as_os_str(), place.as_os_str()]);
    }
    let inside = storage.join("inside");
    fs::create_dir(&inside).unwrap();
    let refused = hippofs::run(&["mount".as_ref(), storage.as_os_str(), inside.as_os_str()]);
    assert_eq!(
        refused.code(),
        Some(1),
        "a mountpoint inside the storage: {refused:?}"
    );
    assert!(!hippofs::is_mounted(&mountpoint));
}

#[test]
fn a_live_mount_is_refused() {
    let case = Case::new();
    let mount = case.mount();
    let (storage, mountpoint, native) = (case.storage(), case.mountpoint(), case.native());
    let message = fails(&[
        "mount".as_ref(),
        storage.as_os_str(),
        mountpoint.as_os_str(),
    ]);
    assert!(
        message.contains(mountpoint.to_str().unwrap())
            || message.contains(storage.to_str().unwrap()),
        "{message}"
    );
    fails(&["mount".as_ref(), native.as_os_str(), mountpoint.as_os_str()]);
    fails(&["mount".as_ref(), mountpoint.as_os_str(), native.as_os_str()]);
    fs::write(mount.path("a"), "x").unwrap();
}

#[test]
fn paths_outside_a_mount_are_said_to_be() {
    let case = Case::new();
    let native = case.native();
    for command in ["unmount", "status", "events"] {
        let message = fails(&[command.as_ref(), native.as_os_str()]);
        assert!(message.contains(native.to_str().unwrap()), "{message}");
    }
    fails(&["verify".as_ref(), native.as_os_str()]);
}

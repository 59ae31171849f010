//! mount and unmount: in the foreground, as a daemon, by options, by helper, and ended by signals.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::fails;
use crate::support::hippofs::{self, is_mounted};
use crate::support::{Case, events, process, wait};

/// A daemon started without a guard: unmounted when dropped, and killed by its storage if that fails.
struct Detached<'a>(&'a Case);

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        let mountpoint = self.0.mountpoint();
        if is_mounted(&mountpoint) {
            let _ = rustix::mount::unmount(&mountpoint, rustix::mount::UnmountFlags::DETACH);
        }
        for pid in process::with_argument(&self.0.storage()) {
            let pid = i32::try_from(pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            let _ = pid.map(|pid| rustix::process::kill_process(pid, Signal::KILL));
        }
    }
}

fn unmount(mountpoint: &Path) {
    let done = hippofs::run(&["unmount".as_ref(), mountpoint.as_os_str()]);
    assert_eq!((done.code(), done.stderr.as_str()), (Some(0), ""));
    assert!(!is_mounted(mountpoint));
}

#[test]
fn signals_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let case = Case::new();
        let mut mount = case.mount();
        fs::write(mount.path("a"), "x").unwrap();
        mount.signal(signal);
        assert_eq!(mount.wait_end(), Some(0));
        assert!(!is_mounted(&case.mountpoint()));
        drop(mount);
        assert_eq!(case.mount().events().len(), 3, "no gap after a clean end");
    }
}

#[test]
fn unmount_waits_for_a_clean_end() {
    let case = Case::new();
    let mut mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    unmount(&case.mountpoint());
    assert_eq!(mount.wait_end(), Some(0));
    drop(mount);
    assert_eq!(case.mount().events().len(), 3);
}

#[test]
fn umount_of_the_system_is_as_good() {
    let case = Case::new();
    let mut mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    process::run(Command::new("umount").arg(case.mountpoint())).success();
    assert_eq!(mount.wait_end(), Some(0));
    drop(mount);
    assert_eq!(case.mount().events().len(), 3);
}

#[test]
fn a_busy_mount_names_its_holder() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    let mut sleeper = Command::new("sleep");
    let holder = process::start(sleeper.arg("100").current_dir(mount.root()));
    let mountpoint = case.mountpoint();
    let message = fails(&["unmount".as_ref(), mountpoint.as_os_str()]);
    assert!(
        message.contains("sleep") && message.contains(&holder.id().to_string()),
        "{message}"
    );
    assert!(is_mounted(&mountpoint));
    fs::write(mount.path("a"), "still works").unwrap();
    drop(holder);
    unmount(&mountpoint);
}

#[test]
fn an_open_file_does_not_keep_a_signal_from_ending_it() {
    let case = Case::new();
    let mut mount = case.mount();
    let file = File::create(mount.path("a")).unwrap();
    mount.signal(Signal::TERM);
    // Either the mount goes with the file still open, or the daemon says that it is busy and waits for it.
    wait::until("the daemon reacts", || {
        !is_mounted(&case.mountpoint()) || !mount.output().1.is_empty()
    });
    drop(file);
    mount.signal(Signal::TERM);
    assert_eq!(mount.wait_end(), Some(0));
}

#[test]
fn a_daemon_returns_once_the_mount_answers() {
    let case = Case::new();
    let (storage, mountpoint) = (case.storage(), case.mountpoint());
    for more in [&["--daemon"][..], &["--daemon", "--supervise"]] {
        let _detached = Detached(&case);
        let mut command = hippofs::command(&["mount"]);
        let said = process::run(command.arg(&storage).arg(&mountpoint).args(more)).success();
        assert!(
            said.starts_with("hippofs: mounted ") && said.lines().count() == 1,
            "{said}"
        );
        fs::write(mountpoint.join("a"), "x").unwrap();
        assert!(!events::read(&mountpoint.join(".hippofs/events")).is_empty());
        unmount(&mountpoint);
        wait::until("every daemon ends", || {
            process::with_argument(&storage).is_empty()
        });
    }
    let missing = case.path("missing");
    fails(&[
        "mount".as_ref(),
        missing.as_os_str(),
        mountpoint.as_os_str(),
        "--daemon".as_ref(),
    ]);
}

#[test]
fn options_come_as_mount_passes_them() {
    let case = Case::new();
    let state = case.path("state");
    let options = format!(
        "rw,nodev,nosuid,noatime,allow_other,sync_interval=100ms,retain-age=1h,state_dir={}",
        state.display()
    );
    let mount = case.mount_with(&["-o", &options, "-o", "segment_bytes=64K"]);
    fs::write(mount.path("a"), "x").unwrap();
    assert!(state.join("store.json").exists());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table
        .lines()
        .find(|l| l.contains(case.mountpoint().to_str().unwrap()))
        .unwrap();
    for word in ["nodev", "nosuid", "noatime", "allow_other"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert_eq!(mount.status()["retain_age_s"], 3600);
}

#[test]
fn the_helper_of_mount_works() {
    let case = Case::new();
    let (storage, mountpoint) = (case.storage(), case.mountpoint());
    let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("mount/mount.hippofs");
    let _detached = Detached(&case);
    let directory = Path::new(hippofs::PROGRAM).parent().unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(helper);
    // As mount(8) calls it: source, target, then the options.
    command
        .arg(&storage)
        .arg(&mountpoint)
        .args(["-o", "rw,allow_other,sync_interval=1s"])
        .env("PATH", path);
    let done = process::run(&mut command);
    assert_eq!(done.code(), Some(0), "{done:?}");
    fs::write(mountpoint.join("a"), "x").unwrap();
    assert_eq!(events::read(&mountpoint.join(".hippofs/events")).len(), 3);
    unmount(&mountpoint);
    wait::until("the daemon ends", || {
        process::with_argument(&storage).is_empty()
    });
}

/// In a mount namespace of its own: the helper where mount(8) looks for it, then a mount, a line of fstab, and their
/// ends. $1 is the place, $2 the helper, $3 the program.
const BY_THE_SYSTEM: &str = r#"
mount -t tmpfs none "$1"; cd "$1"; mkdir s m; cp -a "$(readlink -f /sbin)" sbin
cp "$2" sbin/mount.hippofs; cp "$3" sbin/hippofs; mount --bind sbin "$(readlink -f /sbin)"
mount -t hippofs "$1/s" "$1/m" -o allow_other,nodev,sync_interval=1s
echo x > m/a; grep -c "allow_other" /proc/self/mountinfo; umount m
printf '%s %s hippofs supervise,noauto,nofail 0 0\n' "$1/s" "$1/m" > fstab
mount -T fstab "$1/m"; rm m/a; cat m/.hippofs/events; hippofs unmount m; ls s
"#;

#[test]
fn mount_of_the_system_mounts_it() {
    let case = Case::new();
    let place = case.native().canonicalize().unwrap();
    let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("mount/mount.hippofs");
    let mut shell = Command::new("unshare");
    shell
        .args(["--mount", "sh", "-euc", BY_THE_SYSTEM, "sh"])
        .arg(place)
        .arg(helper)
        .arg(hippofs::PROGRAM);
    let said = process::run(&mut shell).success();
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0].parse::<u32>().is_ok_and(|count| count > 0),
        "{said}"
    );
    let events = events::parse((lines[1..].join("\n") + "\n").as_bytes());
    assert_eq!(
        events::briefs(&events),
        ["create a", "write a @0+2", "close a", "unlink a"]
    );
}

#[test]
fn a_relative_path_is_as_good() {
    let case = Case::new();
    let _detached = Detached(&case);
    let mut command = hippofs::command(&["mount", "storage", "mnt", "--daemon"]);
    process::run(command.current_dir(case.path(""))).success();
    fs::write(case.mountpoint().join("a"), "x").unwrap();
    unmount(&case.mountpoint());
    assert!(case.storage().join("a").exists());
}

#[test]
fn a_mount_without_its_log_is_asked_for_twice_and_says_so() {
    let case = Case::new();
    for given in [&["--no-log"][..], &["--i-know-nothing-is-recorded"]] {
        let (storage, mountpoint) = (case.storage(), case.mountpoint());
        let mut arguments = vec![
            "mount".as_ref(),
            storage.as_os_str(),
            mountpoint.as_os_str(),
        ];
        arguments.extend(given.iter().map(std::ffi::OsStr::new));
        let done = hippofs::run(&arguments);
        assert_eq!(done.code(), Some(2), "{done:?}");
        assert!(done.stderr.contains("no change is recorded"), "{done:?}");
    }
    let mount = case.mount();
    fs::write(mount.path("before"), "x").unwrap();
    let head = mount.head();
    mount.unmount();

    let mount = case.mount_with(&["--no-log", "--i-know-nothing-is-recorded"]);
    fs::write(mount.path("unseen"), "x").unwrap();
    fs::rename(mount.path("before"), mount.path("after")).unwrap();
    assert_eq!(fs::read(mount.path("unseen")).unwrap(), b"x");
    let status = mount.status();
    assert_eq!(
        (&status["recording"], &status["state"]),
        (&false.into(), &"degraded".into())
    );
    assert!(
        status["reason"]
            .as_str()
            .unwrap()
            .starts_with("NOTHING IS RECORDED")
    );
    let said = mount.since(head);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["reason"], "unrecorded");
    assert!(mount.output().1.contains("no change is recorded"));
    mount.unmount();

    let mount = case.mount();
    assert_eq!(mount.status()["recording"], true);
    let mut found = events::briefs(&mount.since(head + 1));
    found.sort();
    assert_eq!(found, ["found before -> after", "found unseen"]);
}

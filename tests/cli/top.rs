//! The live view: as text, on a terminal, through an outage.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::fails;
use crate::support::process::{self, Running};
use crate::support::{Case, hippofs, wait};

/// What a program sends to leave the other screen.
const LEAVE: &str = "\x1b[?1049l";

#[track_caller]
fn shows(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn one_frame_as_text() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir(mount.control("consumers/mailer")).unwrap();
    let script = "printf 1234 >\"$1/busy\"; printf 5 >>\"$1/busy\"; : >\"$1/$(printf '\\033[2J')\"";
    let mut session = Command::new("sh");
    session.args(["-c", script, "sh"]).arg(mount.root());
    process::run(session.env("HIPPOFS_SESSION", "agent-7")).success();
    fs::create_dir(mount.path("d")).unwrap();
    let mut top = hippofs::command(&["top", "--once"]);
    let frame = process::run(top.arg(mount.path("d"))).success();
    let busy = frame.lines().find(|line| line.contains("busy ")).unwrap();
    shows(busy, &["5B"]);
    shows(
        &frame,
        &[
            "ok",
            "agent-7",
            "mailer",
            "\\x1b[2J",
            "watch native",
            "created",
            "p50",
        ],
    );
    shows(&frame, &[mount.root().to_str().unwrap()]);
    assert!(!frame.contains('\x1b'), "{frame}");
}

#[test]
fn without_a_terminal_or_a_mount_it_says_so() {
    let case = Case::new();
    let mount = case.mount();
    let said = fails(&["top".as_ref(), mount.root().as_os_str()]);
    shows(&said, &["not a terminal", "--once"]);
    fails(&["top".as_ref(), case.native().as_os_str()]);
    fails(&["top".as_ref(), "--once".as_ref(), case.native().as_os_str()]);
}

/// `top` on a terminal of its own.
struct Live {
    relay: Running,
    keys: PathBuf,
}

impl Live {
    fn start(case: &Case, root: &Path) -> Live {
        let keys = case.path("keys");
        fs::write(&keys, "").unwrap();
        let mut command = Command::new("python3");
        command
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/cli/terminal.py"
            ))
            .arg(&keys)
            .args([hippofs::PROGRAM, "top"])
            .arg(root)
            .env("TERM", "xterm-256color");
        Live {
            relay: process::start(&mut command),
            keys,
        }
    }

    fn press(&self, keys: &str) {
        let mut file = OpenOptions::new().append(true).open(&self.keys).unwrap();
        file.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until a whole picture shows all these words: each look has every cell drawn again.
    #[track_caller]
    fn wait_for(&self, words: &[&str]) {
        wait::until(&format!("{words:?} on the screen"), || {
            let before = self.relay.stdout().len();
            self.press("\x0c");
            let shown = wait::value("something is drawn", || {
                let shown = self.relay.stdout();
                (shown.len() > before).then_some(shown)
            });
            let picture = shown.rsplit("\x1b[2J").next().unwrap_or_default();
            words.iter().all(|word| picture.contains(word))
        });
    }

    #[track_caller]
    fn ended_well(self) {
        let shown = self.relay.finish().success();
        shows(&shown, &[LEAVE, "\x1b[?25h", "ended 0, terminal as before"]);
    }
}

#[test]
fn keys_filter_pause_and_quit() {
    let case = Case::new();
    let mount = case.mount();
    for name in ["wanted.json", "other.txt"] {
        fs::write(mount.path(name), "x").unwrap();
    }
    let live = Live::start(&case, mount.root());
    live.wait_for(&["wanted.json", "other.txt"]);
    live.press("f*.json\r");
    live.wait_for(&["filter:", "wanted.json"]);
    live.press("p");
    live.wait_for(&["PAUSED"]);
    fs::write(mount.path("late.json"), "x").unwrap();
    live.press("p");
    live.wait_for(&["late.json"]);
    let shown = live.relay.stdout();
    let filtered = shown.rsplit("\x1b[2J").next().unwrap();
    assert!(!filtered.contains("other.txt"), "{filtered}");
    live.press("q");
    live.ended_well();
}

#[test]
fn an_interrupt_gives_the_terminal_back() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a-file"), "x").unwrap();
    let live = Live::start(&case, mount.root());
    live.wait_for(&["a-file"]);
    live.relay.signal(Signal::USR1);
    live.ended_well();
}

#[test]
fn it_goes_on_when_the_daemon_comes_back() {
    let case = Case::new();
    let mut mount = case.mount();
    fs::write(mount.path("before"), "x").unwrap();
    let live = Live::start(&case, mount.root());
    live.wait_for(&["before"]);
    mount.kill();
    live.wait_for(&["ANSWER"]);
    let again = mount.remount();
    fs::write(again.path("afterwards"), "x").unwrap();
    live.wait_for(&["before", "afterwards", "crash"]);
    live.press("q");
    live.ended_well();
    drop(again);
}

//! The README's recipes, run as they stand there.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::process::{self, Running};
use crate::support::{Case, Mount, wait};

/// A recipe at work, ended with all it has started.
struct Recipe(Running);

impl Recipe {
    /// Starts the `number`th block of the README's section.
    fn start(number: usize, mount: &Mount, out: &Path) -> Recipe {
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        let section = readme.split("\n## Recipes\n").nth(1).expect("the section");
        let section = section.split("\n## ").next().unwrap();
        let mut blocks = section.split("```sh\n").skip(1);
        let block = blocks.nth(number).expect("a recipe");
        let text = block.split("\n```").next().unwrap();
        let mut bash = Command::new("bash");
        bash.args(["-c", text])
            .current_dir(mount.root())
            .env("OUT", out)
            .process_group(0);
        Recipe(process::start(&mut bash))
    }
}

impl Drop for Recipe {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process_group(group.expect("a process"), Signal::KILL);
    }
}

/// The sorted lines of `out`, once there are `count`.
fn lines(out: &Path, count: usize) -> Vec<String> {
    wait::value("the recipe's lines", || {
        let text = fs::read_to_string(out).ok()?;
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn react_to_each_new_document() {
    let case = Case::new();
    let mut mount = case.mount();
    let out = case.path("out");
    let recipe = Recipe::start(0, &mount, &out);
    let filter = mount.control("consumers/indexer/filter");
    let ready = || fs::read_to_string(&filter).is_ok_and(|text| text.contains("closed"));
    wait::until("the consumer", ready);
    fs::write(mount.path("a.json"), "1").unwrap();
    fs::write(mount.path(".tmp"), "2").unwrap();
    fs::rename(mount.path(".tmp"), mount.path("b.json")).unwrap();
    fs::write(mount.path("other"), "3").unwrap();
    assert_eq!(lines(&out, 2), ["indexed a.json", "indexed b.json"]);
    let events = mount.events();
    let renamed = events.iter().find(|event| event["op"] == "rename").unwrap();
    let renamed = renamed["seq"].to_string();
    wait::until("the acknowledgement", || {
        let cursor = fs::read_to_string(mount.control("consumers/indexer/cursor"));
        cursor.is_ok_and(|cursor| cursor.trim() == renamed)
    });
    // Ended in between, it has lost nothing; the daemon may have been away too.
    drop(recipe);
    fs::write(mount.path("c.json"), "3").unwrap();
    mount.kill();
    let mount = mount.remount();
    let recipe = Recipe::start(0, &mount, &out);
    assert!(lines(&out, 3).contains(&"indexed c.json".to_owned()));
    drop(recipe);
}

#[test]
fn keep_a_cache_current() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("old"), "1").unwrap();
    let out = case.path("out");
    let recipe = Recipe::start(1, &mount, &out);
    let mut count = 0;
    // It takes a while until it listens; what comes before is not for it.
    wait::until("it listens", || {
        count += 1;
        fs::write(mount.path(format!("{count}")), "x").unwrap();
        out.exists()
    });
    fs::write(mount.path("old"), "2").unwrap();
    fs::remove_file(mount.path("1")).unwrap();
    wait::until("both changes", || {
        let text = fs::read_to_string(&out).unwrap_or_default();
        text.contains("modified old") && text.contains("deleted 1")
    });
    drop(recipe);
}

#[test]
fn hand_each_document_to_one_worker() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir(mount.path("jobs")).unwrap();
    let out = case.path("out");
    let recipe = Recipe::start(2, &mount, &out);
    let filter = mount.control("consumers/jobs/filter");
    let ready = || fs::read_to_string(&filter).is_ok_and(|text| text.contains("closed"));
    wait::until("the consumer", ready);
    let mut expected = Vec::new();
    for number in 0..30 {
        fs::write(mount.path(format!("jobs/{number:02}")), "work").unwrap();
        expected.push(format!("has jobs/{number:02}"));
    }
    let mut done: Vec<_> = lines(&out, 30)
        .iter()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect();
    done.sort();
    assert_eq!(done, expected);
    drop(recipe);
}

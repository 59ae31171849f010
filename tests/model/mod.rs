//! Random operations on a plain directory and on a mount: each result, the final trees and the events must agree.
//!
//! A failure prints its seed; `HIPPOFS_MODEL_SEED=N` repeats that one, `HIPPOFS_MODEL_RUNS=N` runs more seeds.

mod action;
mod replay;
mod session;

use std::path::{Path, PathBuf};

use serde_json::Value;

use self::action::Action;
use self::session::Session;
use crate::support::events::{number, text};
use crate::support::random::Random;
use crate::support::{Case, process, tree};

/// Seeds of an ordinary run, and operations for each.
const RUNS: u64 = 8;
const STEPS: usize = 500;
/// Processes of the concurrent variant.
const SESSIONS: usize = 3;
/// How much of the history a failure shows.
const SHOWN: usize = 15;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds() -> Vec<u64> {
    match setting("HIPPOFS_MODEL_SEED") {
        Some(seed) => vec![seed],
        None => (1..=setting("HIPPOFS_MODEL_RUNS").unwrap_or(RUNS)).collect(),
    }
}

/// Does the same in both places, comparing each result; gives the events that must have been made.
fn run_both(seed: u64, native: &Path, mounted: &Path, prefix: &str) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut model = Session::new(native);
    let mut tested = Session::new(mounted);
    let mut expected = Vec::new();
    let mut history: Vec<String> = Vec::new();
    for step in 0..STEPS {
        let action = Action::random(&mut random);
        let (should, events) = model.perform(&action, prefix);
        let (does, _) = tested.perform(&action, prefix);
        history.push(format!("{action:?} -> {should:?}"));
        let shown = &history[history.len().saturating_sub(SHOWN)..];
        assert_eq!(
            does, should,
            "seed {seed}, step {step}: mount, native; after {shown:#?}"
        );
        expected.extend(events);
    }
    expected.extend(model.close_all());
    tested.close_all();
    expected
}

/// An event as far as the model predicts it: operations on an open file are told without its name, because a
/// file may have several names or none by then.
fn foretold(event: &Value) -> String {
    let (op, src) = (text(event, "op"), text(event, "src_path"));
    match op {
        "write" | "fallocate" | "copy" => format!(
            "{op} @{}+{}",
            number(event, "offset"),
            number(event, "length")
        ),
        "create" | "mknod" | "mkdir" | "symlink" | "unlink" | "rmdir" => format!("{op} {src}"),
        "rename" | "exchange" => format!("{op} {src} -> {}", text(event, "dest_path")),
        _ => op.to_owned(),
    }
}

#[track_caller]
fn assert_same_events(seed: u64, events: &[Value], expected: &[String]) {
    // That a content became durable is told beside what was done, where it is a version that nobody closed.
    let (versions, events): (Vec<_>, Vec<_>) = events
        .iter()
        .partition(|event| text(event, "op") == "fsync");
    for version in versions {
        assert!(version["blake3"].is_string(), "seed {seed}: {version}");
    }
    for (at, event) in events.iter().enumerate() {
        let so_far =
            &expected[at.saturating_sub(SHOWN).min(expected.len())..at.min(expected.len())];
        assert_eq!(
            Some(&foretold(event)),
            expected.get(at),
            "seed {seed}: recorded, expected; after {so_far:#?}\n{event}"
        );
    }
    assert_eq!(
        events.len(),
        expected.len(),
        "seed {seed}: missing: {:?}",
        expected.get(events.len())
    );
}

#[test]
fn random_operations_agree_with_a_plain_directory() {
    for seed in seeds() {
        let case = Case::new();
        let mount = case.mount();
        let mut expected = Vec::new();
        let events =
            mount.events_of(|| expected = run_both(seed, &case.native(), mount.root(), ""));
        assert_same_events(seed, &events, &expected);
        let model = tree::read(&case.native());
        assert_eq!(
            tree::read(mount.root()),
            model,
            "seed {seed}: through the mount"
        );
        assert_eq!(
            tree::read(&case.storage()),
            model,
            "seed {seed}: in the storage"
        );
        let mount = mount.remount();
        assert_eq!(
            tree::read(mount.root()),
            model,
            "seed {seed}: after a remount"
        );
        assert_eq!(mount.events(), events, "seed {seed}: after a remount");
    }
}

/// What the model compares must not differ between two plain directories, or it would blame the mount for it.
#[test]
fn the_model_agrees_with_itself() {
    for seed in seeds() {
        let case = Case::new();
        let expected = run_both(seed, &case.native(), &case.storage(), "");
        assert!(
            expected.len() > STEPS / 10,
            "seed {seed}: only {} changes",
            expected.len()
        );
        assert_eq!(
            tree::read(&case.native()),
            tree::read(&case.storage()),
            "seed {seed}"
        );
    }
}

/// The body of one process of the concurrent variant; without its environment it has nothing to do.
#[test]
fn one_session_of_the_model() {
    let Ok(place) = std::env::var("HIPPOFS_MODEL_PLACE") else {
        return;
    };
    let (place, name) = (
        PathBuf::from(place),
        std::env::var("HIPPOFS_SESSION").expect("a session"),
    );
    let seed = setting("HIPPOFS_MODEL_CHILD_SEED").expect("a seed");
    let (native, mounted) = (
        place.join("native").join(&name),
        place.join("mnt").join(&name),
    );
    let expected = run_both(seed, &native, &mounted, &format!("{name}/"));
    std::fs::write(place.join(format!("expected-{name}")), expected.join("\n"))
        .expect("write what is expected");
}

#[test]
fn random_operations_of_processes_at_once_agree() {
    let first = setting("HIPPOFS_MODEL_SEED").unwrap_or(100);
    let case = Case::new();
    let mount = case.mount();
    let names: Vec<_> = (0..SESSIONS).map(|i| format!("s{i}")).collect();
    for name in &names {
        std::fs::create_dir(case.native().join(name)).expect("a directory");
        std::fs::create_dir(mount.path(name)).expect("a directory");
    }
    let start = |(i, name): (usize, &String)| {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
        child
            .args(["--exact", "model::one_session_of_the_model", "--nocapture"])
            .env("HIPPOFS_MODEL_PLACE", case.path(""))
            .env("HIPPOFS_SESSION", name)
            .env("HIPPOFS_MODEL_CHILD_SEED", (first + i as u64).to_string());
        process::start(&mut child)
    };
    let children: Vec<_> = names.iter().enumerate().map(start).collect();
    for child in children {
        child.finish().success();
    }
    let all = mount.events();
    for (i, name) in names.iter().enumerate() {
        let events: Vec<_> = all
            .iter()
            .filter(|e| text(e, "session") == name)
            .cloned()
            .collect();
        let expected = std::fs::read_to_string(case.path(format!("expected-{name}")))
            .expect("its expectation");
        let expected: Vec<_> = expected.lines().map(str::to_owned).collect();
        assert_same_events(first + i as u64, &events, &expected);
    }
    assert_eq!(tree::read(mount.root()), tree::read(&case.native()));
    assert_eq!(tree::read(&case.storage()), tree::read(&case.native()));
}

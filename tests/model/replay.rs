//! Sessions that get in each other's way: whatever they did, the log played back from the start, event by event, must
//! be possible at each step and must end in the tree that is there.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use super::action::Action;
use super::session::Session;
use super::{STEPS, setting};
use crate::support::events::{number, text};
use crate::support::random::Random;
use crate::support::{Case, process};

/// Processes that work in one directory at once.
const SESSIONS: u64 = 4;

/// Names and what they stand for: inode number, and whether it is a directory.
type Names = BTreeMap<String, (u64, bool)>;

/// The body of one session; without its environment it has nothing to do.
#[test]
fn one_wild_session() {
    let Ok(place) = std::env::var("HIPPOFS_WILD_PLACE") else {
        return;
    };
    let mut random = Random::new(setting("HIPPOFS_MODEL_CHILD_SEED").expect("a seed"));
    let mut session = Session::new(Path::new(&place));
    for _ in 0..4 * STEPS {
        // What it gives depends on the others; only the log is judged.
        drop(session.perform(&Action::random(&mut random), ""));
    }
    session.close_all();
}

#[test]
fn the_log_of_sessions_in_one_directory_plays_back_to_the_tree() {
    let first = setting("HIPPOFS_MODEL_SEED").unwrap_or(500);
    let case = Case::new();
    let mount = case.mount();
    let start = |seed: u64| {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
        child
            .args(["--exact", "model::replay::one_wild_session", "--nocapture"])
            .env("HIPPOFS_WILD_PLACE", mount.root())
            .env("HIPPOFS_MODEL_CHILD_SEED", seed.to_string());
        process::start(&mut child)
    };
    let children: Vec<_> = (first..first + SESSIONS).map(start).collect();
    for child in children {
        child.finish().success();
    }
    let events = mount.events();
    assert!(events.len() > STEPS, "only {} events", events.len());
    let mut names = Names::new();
    let mut sizes = BTreeMap::new();
    for event in &events {
        play(&mut names, event);
        if let Some(size) = event.get("size").and_then(Value::as_u64) {
            sizes.insert(number(event, "ino"), size);
        }
    }
    let mut found = Names::new();
    collect(&case.storage(), "", &mut found, &sizes);
    assert_eq!(names, found, "seed {first}");
}

/// Applies one event to the names; what cannot be is a fault of the log's order.
#[track_caller]
fn play(names: &mut Names, event: &Value) {
    let (src, dest) = (
        text(event, "src_path").to_owned(),
        text(event, "dest_path").to_owned(),
    );
    let ino = number(event, "ino");
    let is_directory = event["is_directory"] == true;
    match text(event, "op") {
        "create" | "mknod" | "mkdir" | "symlink" | "link" => {
            assert!(parent_is_there(names, &src), "no parent: {event}");
            let before = names.insert(src, (ino, is_directory));
            assert_eq!(before, None, "there already: {event}");
        }
        "unlink" | "rmdir" => {
            assert!(below(names, &src).is_empty(), "not empty: {event}");
            assert_eq!(names.remove(&src), Some((ino, is_directory)), "{event}");
        }
        "rename" => {
            assert_eq!(names.get(&src), Some(&(ino, is_directory)), "{event}");
            assert!(parent_is_there(names, &dest), "no parent: {event}");
            let replaced = names.get(&dest).map(|(ino, _)| *ino);
            assert_eq!(
                event.get("replaced").map(|r| number(r, "ino")),
                replaced,
                "{event}"
            );
            assert!(below(names, &dest).is_empty(), "not empty: {event}");
            names.remove(&dest);
            for (path, entry) in take(names, &src) {
                names.insert(format!("{dest}{path}"), entry);
            }
        }
        "exchange" => {
            assert_eq!(names.get(&src), Some(&(ino, is_directory)), "{event}");
            assert!(names.contains_key(&dest), "{event}");
            let (one, two) = (take(names, &src), take(names, &dest));
            for (path, entry) in one {
                names.insert(format!("{dest}{path}"), entry);
            }
            for (path, entry) in two {
                names.insert(format!("{src}{path}"), entry);
            }
        }
        // What happens to an open file may come after its name is gone.
        _ => {}
    }
}

fn parent_is_there(names: &Names, path: &str) -> bool {
    path.rsplit_once('/').is_none_or(|(parent, _)| {
        names
            .get(parent)
            .is_some_and(|(_, is_directory)| *is_directory)
    })
}

/// Paths below `path`, itself left out.
fn below(names: &Names, path: &str) -> Vec<String> {
    let prefix = format!("{path}/");
    names
        .keys()
        .filter(|name| name.starts_with(&prefix))
        .cloned()
        .collect()
}

/// Removes `path` and all below it; gives what follows `path` in each name.
fn take(names: &mut Names, path: &str) -> Vec<(String, (u64, bool))> {
    let mut taken: Vec<_> = names
        .remove(path)
        .map(|entry| (String::new(), entry))
        .into_iter()
        .collect();
    for name in below(names, path) {
        let entry = names.remove(&name).expect("just listed");
        taken.push((name[path.len()..].to_owned(), entry));
    }
    taken
}

/// The names that are there; every file has the size its last event told.
fn collect(dir: &Path, prefix: &str, found: &mut Names, sizes: &BTreeMap<u64, u64>) {
    for entry in std::fs::read_dir(dir).expect("a listing") {
        let entry = entry.expect("an entry");
        let name = format!(
            "{prefix}{}",
            entry.file_name().to_str().expect("a plain name")
        );
        if name == ".hippofs" {
            continue;
        }
        let meta = std::fs::symlink_metadata(entry.path()).expect("attributes");
        found.insert(name.clone(), (meta.ino(), meta.is_dir()));
        if meta.is_dir() {
            collect(&entry.path(), &format!("{name}/"), found, sizes);
        } else if meta.is_file() {
            assert_eq!(sizes.get(&meta.ino()), Some(&meta.size()), "size of {name}");
        }
    }
}

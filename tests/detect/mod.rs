//! Changes behind the mount: found, recorded as what they are, told to the kernel, and never mistaken for the daemon's
//! own work or the other way round.

mod downtime;
mod kinds;
mod modes;
mod overflow;
mod sessions;
mod storm;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::events;
use crate::support::hippofs::Mount;
use crate::support::wait;

/// One request to the control file, one JSON object back.
#[track_caller]
fn ask(mount: &Mount, request: &Value) -> Value {
    let mut control = File::options()
        .read(true)
        .write(true)
        .open(mount.control("control"))
        .expect("open control");
    let text = request.to_string();
    assert_eq!(
        control.write(text.as_bytes()).expect("a request"),
        text.len()
    );
    let mut reply = String::new();
    control.read_to_string(&mut reply).expect("a reply");
    serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply}"))
}

/// Everything done before this call, also behind the mount, is in the log after it.
#[track_caller]
fn sync(mount: &Mount) {
    let reply = ask(mount, &json!({"sync": {}}));
    assert!(reply["head"].is_u64(), "{reply}");
}

/// Scans; gives the reply.
#[track_caller]
fn reconcile(mount: &Mount, path: &str, full: bool) -> Value {
    let reply = ask(mount, &json!({"reconcile": {"path": path, "full": full}}));
    assert!(reply["found"].is_u64(), "{reply}");
    reply
}

/// Waits until every directory is watched and has been looked at.
#[track_caller]
fn covered(mount: &Mount) {
    wait::until("every directory is watched", || {
        mount.status()["watch"]["covered"] == true
    });
}

/// `type source path[ -> dest]` of what was found behind the mount after `seq`.
#[track_caller]
fn found_since(mount: &Mount, seq: u64) -> Vec<String> {
    let brief = |event: &Value| {
        let mut brief = format!(
            "{} {} {}",
            events::text(event, "event_type"),
            events::text(event, "source"),
            events::text(event, "src_path")
        );
        if let Some(dest) = event["dest_path"].as_str() {
            brief += &format!(" -> {dest}");
        }
        brief
    };
    let all = mount.since(seq);
    let found = all.iter().filter(|event| event["op"] == "found");
    found.map(brief).collect()
}

/// Does `work` behind the mount and gives what was found of it.
#[track_caller]
fn found(mount: &Mount, work: impl FnOnce()) -> Vec<String> {
    let before = mount.head();
    work();
    sync(mount);
    found_since(mount, before)
}

/// What the log says is there: path to size, for files; replayed from its beginning, for a storage that was empty
/// then.
fn replay(events: &[Value]) -> BTreeMap<String, u64> {
    let mut files: BTreeMap<String, u64> = BTreeMap::new();
    let below = |path: &str| format!("{path}/");
    for event in events {
        let src = events::text(event, "src_path").to_owned();
        let is_directory = event["is_directory"] == true;
        match (
            events::text(event, "event_type"),
            event["dest_path"].as_str(),
        ) {
            ("deleted", _) => {
                files.remove(&src);
            }
            ("moved", Some(dest)) if events::text(event, "op") == "exchange" => {
                panic!("not in these tests: {src} {dest}")
            }
            ("moved", Some(dest)) if is_directory => {
                let inside: Vec<String> = files
                    .keys()
                    .filter(|path| path.starts_with(&below(&src)))
                    .cloned()
                    .collect();
                for path in inside {
                    if let Some(size) = files.remove(&path) {
                        files.insert(format!("{dest}{}", &path[src.len()..]), size);
                    }
                }
            }
            ("moved", Some(dest)) => {
                let size = event["size"].as_u64();
                let known = files.remove(&src);
                files.insert(dest.to_owned(), size.or(known).unwrap_or(0));
            }
            ("created" | "modified" | "closed", _) if !is_directory => {
                if let Some(size) = event["size"].as_u64() {
                    files.insert(src, size);
                }
            }
            _ => {}
        }
    }
    files
}

/// What is there: path to size, for files.
#[track_caller]
fn on_disk(root: &Path) -> BTreeMap<String, u64> {
    let mut files = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory").flatten() {
            let meta = entry.metadata().expect("attributes");
            let path = entry.path();
            let relative = path.strip_prefix(root).expect("below the root");
            if relative.as_os_str() == ".hippofs" {
                continue;
            }
            if meta.is_dir() {
                pending.push(path);
            } else {
                files.insert(relative.to_string_lossy().into_owned(), meta.len());
            }
        }
    }
    files
}

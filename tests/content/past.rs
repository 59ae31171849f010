//! Reading back and putting back: versions by path and position, the tree as of an event, restores.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::case::Case;
use crate::support::hippofs::{self, Mount};

fn ask(mount: &Mount, request: &Value) -> Vec<Value> {
    use std::io::{Read as _, Write as _};
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .open(mount.control("control"))
        .unwrap();
    file.write_all(request.to_string().as_bytes()).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn version(mount: &Mount, path: &str, seq: u64) -> Option<Vec<u8>> {
    fs::read(mount.control(format!("versions/{path}/{seq}"))).ok()
}

fn listed(mount: &Mount, path: &str) -> Vec<String> {
    let names = fs::read_dir(mount.control(format!("versions/{path}"))).unwrap();
    let mut names: Vec<String> = names
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn command(words: &[&str], path: &Path) -> String {
    let mut arguments = vec![words[0].into(), path.as_os_str().to_owned()];
    arguments.extend(words[1..].iter().map(Into::into));
    hippofs::run(&arguments).success()
}

#[test]
fn every_version_of_a_renamed_and_deleted_file_is_read_back() {
    let case = Case::new();
    let mount = case.mount();
    let mut known = Vec::new();
    fs::create_dir(mount.path("d")).unwrap();
    for (name, content) in [("d/a", "one"), ("d/a", "two")] {
        fs::write(mount.path(name), content).unwrap();
        known.push((mount.head(), content));
    }
    fs::rename(mount.path("d/a"), mount.path("d/b")).unwrap();
    known.push((mount.head(), "two"));
    fs::rename(mount.path("d"), mount.path("e")).unwrap();
    // Nothing has happened to it under this name yet.
    assert_eq!(version(&mount, "e/b", known[0].0), Some(b"one".to_vec()));
    fs::write(mount.path("e/b"), "three").unwrap();
    known.push((mount.head(), "three"));
    fs::remove_file(mount.path("e/b")).unwrap();
    let gone = mount.head();
    for (seq, content) in &known {
        assert_eq!(
            version(&mount, "e/b", *seq).as_deref(),
            Some(content.as_bytes()),
            "{seq}"
        );
        assert!(listed(&mount, "e/b").contains(&seq.to_string()), "{seq}");
    }
    assert_eq!(version(&mount, "e/b", gone), None);
    assert_eq!(
        version(&mount, "d/a", known[0].0).as_deref(),
        Some(&b"one"[..])
    );
    assert!(
        listed(&mount, "").contains(&"e".to_owned())
            && listed(&mount, "e").contains(&"b".to_owned())
    );
    // The same after another start.
    let mount = mount.remount();
    for (seq, content) in &known {
        assert_eq!(
            version(&mount, "e/b", *seq).as_deref(),
            Some(content.as_bytes()),
            "{seq}"
        );
    }
    let lines = ask(&mount, &json!({"versions": {"path": "e/b"}}));
    assert!(lines.len() > known.len());
    assert!(
        lines[..lines.len() - 1]
            .iter()
            .all(|line| line["kept"] == true),
        "{lines:#?}"
    );
}

#[test]
fn a_document_replaced_by_rename_keeps_its_own_past() {
    let case = Case::new();
    let mount = case.mount();
    let mut known = Vec::new();
    for content in ["one", "two", "three"] {
        fs::write(mount.path(".tmp"), content).unwrap();
        let before = mount.head();
        fs::rename(mount.path(".tmp"), mount.path("doc")).unwrap();
        known.push((before, mount.head(), content));
    }
    for pair in known.windows(2) {
        let (_, seq, content) = pair[0];
        assert_eq!(
            version(&mount, "doc", seq).as_deref(),
            Some(content.as_bytes())
        );
        // Until it is replaced, whatever else happens.
        assert_eq!(
            version(&mount, "doc", pair[1].0).as_deref(),
            Some(content.as_bytes())
        );
    }
}

#[test]
fn what_stood_there_before_anyone_watched_is_read_back_after_its_first_edit() {
    let case = Case::new();
    fs::write(case.storage().join("a"), "before").unwrap();
    let mount = case.mount();
    let head = mount.head();
    assert_eq!(version(&mount, "a", head), None, "no event names it");
    fs::write(mount.path("a"), "after").unwrap();
    assert_eq!(version(&mount, "a", head).as_deref(), Some(&b"before"[..]));
    assert_eq!(
        command(&["show", "--at", &head.to_string()], &mount.path("a")),
        "before"
    );
}

#[test]
fn each_write_can_be_asked_for() {
    use std::io::Write as _;
    let case = Case::new();
    let mount = case.mount_with(&["--capture", "write"]);
    let mut file = fs::File::create(mount.path("a")).unwrap();
    let mut known = Vec::new();
    for piece in ["one", " two", " three"] {
        file.write_all(piece.as_bytes()).unwrap();
        let so_far: String = known
            .last()
            .map(|(_, text): &(u64, String)| text.clone())
            .unwrap_or_default();
        known.push((mount.head(), so_far + piece));
    }
    file.set_len(2).unwrap();
    known.push((mount.head(), "on".into()));
    for (seq, content) in &known {
        assert_eq!(
            version(&mount, "a", *seq).as_deref(),
            Some(content.as_bytes()),
            "{seq}"
        );
    }
}

#[test]
fn a_directory_comes_back_as_it_was() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir_all(mount.path("d/sub")).unwrap();
    fs::write(mount.path("d/kept"), "kept").unwrap();
    fs::write(mount.path("d/edited"), "before").unwrap();
    fs::write(mount.path("d/sub/gone"), "gone").unwrap();
    fs::set_permissions(mount.path("d/sub/gone"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("kept", mount.path("d/link")).unwrap();
    let at = mount.head().to_string();
    fs::write(mount.path("d/edited"), "after").unwrap();
    fs::remove_dir_all(mount.path("d/sub")).unwrap();
    fs::remove_file(mount.path("d/link")).unwrap();
    fs::write(mount.path("d/new"), "new").unwrap();
    let before = mount.head();
    let told = command(&["restore", "--at", &at, "--dry-run"], &mount.path("d"));
    assert!(told.contains("would_restore  d/sub/gone"), "{told}");
    assert_eq!(mount.head(), before);
    command(&["restore", "--at", &at], &mount.path("d"));
    let read = |name: &str| fs::read_to_string(mount.path(name)).unwrap();
    assert_eq!(
        (read("d/edited"), read("d/sub/gone"), read("d/kept")),
        ("before".into(), "gone".into(), "kept".into())
    );
    assert_eq!(
        fs::read_link(mount.path("d/link")).unwrap(),
        Path::new("kept")
    );
    let mode = fs::metadata(mount.path("d/sub/gone"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(read("d/new"), "new");
    let restored = mount.since(before);
    assert!(restored.iter().any(|e| e["op"] == "restore"
        && e["src_path"] == "d/edited"
        && e["restored_from"].as_u64() == at.parse().ok()));
    command(&["restore", "--at", &at, "--delete"], &mount.path("d"));
    assert!(!mount.path("d/new").exists());
    // Elsewhere, without touching the mount.
    let (elsewhere, before) = (case.path("elsewhere"), mount.head());
    command(
        &["restore", "--at", &at, "--to", elsewhere.to_str().unwrap()],
        &mount.path("d"),
    );
    assert_eq!(
        fs::read_to_string(elsewhere.join("sub/gone")).unwrap(),
        "gone"
    );
    assert_eq!(mount.head(), before);
}

#[test]
fn a_restore_that_cannot_be_done_changes_nothing() {
    let case = Case::new();
    let mount = case.mount();
    fs::create_dir(mount.path("d")).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(mount.path("d").join(name), "before").unwrap();
    }
    let at = mount.head();
    for name in ["a", "b"] {
        fs::write(mount.path("d").join(name), "after").unwrap();
    }
    // A directory stands where the last file must go.
    fs::remove_file(mount.path("d/c")).unwrap();
    fs::create_dir(mount.path("d/c")).unwrap();
    let reply = ask(&mount, &json!({"restore": {"path": "d", "at": at}}));
    let error = &reply.last().unwrap()["error"];
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("everything is as it was before"),
        "{reply:?}"
    );
    for name in ["a", "b"] {
        assert_eq!(
            fs::read_to_string(mount.path("d").join(name)).unwrap(),
            "after"
        );
    }
    let reply = ask(&mount, &json!({"restore": {"path": "nothing", "at": at}}));
    assert_eq!(reply.last().unwrap()["error"]["code"], "missing");
}

#[test]
fn the_commands_tell_the_past() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a.json"), r#"{"b":1,"a":2}"#).unwrap();
    let first = mount.head().to_string();
    fs::write(mount.path("a.json"), r#"{"a":3,"b":1}"#).unwrap();
    let file = mount.path("a.json");
    let log = command(&["log"], &file);
    assert!(log.lines().count() >= 2 && log.contains("kept"), "{log}");
    assert_eq!(
        command(&["show", "--at", &first], &file),
        r#"{"b":1,"a":2}"#
    );
    let diff = command(&["diff", "--at", &first], &file);
    assert!(
        diff.contains("-  \"a\": 2") && diff.contains("+  \"a\": 3") && !diff.contains("-  \"b\""),
        "{diff}"
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(
        command(&["show", "--at", &first], &file),
        r#"{"b":1,"a":2}"#
    );
    command(&["restore", "--at", &first], &file);
    assert_eq!(fs::read_to_string(&file).unwrap(), r#"{"b":1,"a":2}"#);
}

#[test]
fn a_damaged_content_is_never_given_out() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "a content to be damaged").unwrap();
    let seq = mount.head();
    // The newest record may still be under way for who looks; one before a whole one may not.
    fs::write(mount.path("b"), "a content after it").unwrap();
    let pack = fs::read_dir(mount.storage(".hippofs/content"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[60] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let error = fs::read(mount.control(format!("versions/a/{seq}"))).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    let told = hippofs::run(&["verify".as_ref(), mount.root().as_os_str()]);
    assert_eq!(told.code(), Some(1), "{}", told.stdout);
}

//! The report of a period, opened in a real browser.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::fails;
use crate::support::browser::{Browser, WINDOW};
use crate::support::{Case, Mount, hippofs, process, wait};

/// The colour of the bars of events seen on the mount.
const MOUNT_COLOUR: &str = "0072b2";
const HOSTILE: [&[u8]; 4] = [
    b"<script>document.title='owned'",
    b"\"quoted' & <b>bold",
    b"two\nlines\x1b[2J",
    b"no utf-8 \xff<i>",
];

fn report(mount: &Mount, to: &Path, more: &[&str]) {
    let mut command = hippofs::command(&["report"]);
    command.arg(mount.root()).arg("-o").arg(to).args(more);
    assert_eq!(process::run(&mut command).success(), "");
}

/// Width, height, and how many pixels have the colour.
fn pixels(picture: &Path, colour: &str) -> Vec<u32> {
    let mut command = Command::new("python3");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/picture.py"))
        .arg(picture)
        .arg(colour);
    let said = process::run(&mut command).success();
    said.split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect()
}

/// Events of every kind of source: sessions, somebody behind the mount, a crash with its gap, a restore, a mark.
fn eventful(case: &Case) -> Mount {
    let mut mount = case.mount();
    for name in HOSTILE {
        fs::write(mount.path(OsStr::from_bytes(name)), "content").unwrap();
    }
    let mut session = Command::new("sh");
    let script = "for i in 1 2 3 4 5; do printf more >>\"$1/busy\"; done";
    session.args(["-c", script, "sh"]).arg(mount.root());
    process::run(session.env("HIPPOFS_SESSION", "<em>agent")).success();
    let before = mount.head();
    fs::remove_file(mount.path("busy")).unwrap();
    let mut restore = hippofs::command(&["restore"]);
    restore
        .arg(mount.path("busy"))
        .args(["--at", &before.to_string()]);
    process::run(&mut restore).success();
    fs::write(mount.storage("behind <u>"), "x").unwrap();
    wait::until("the change behind the mount is found", || {
        mount.events().iter().any(|event| event["op"] == "found")
    });
    fs::write(
        mount.control("control"),
        r#"{"mark":{"text":"a <mark> & more"}}"#,
    )
    .unwrap();
    mount.kill();
    mount.remount()
}

#[test]
fn a_browser_shows_the_report() {
    let case = Case::new();
    let mount = eventful(&case);
    let page = case.path("report.html");
    report(&mount, &page, &[]);
    let browser = Browser::find(case.path("profile"));
    let dom = browser.dom(&page);
    let head = mount.head();
    for word in [
        "<svg id=\"source\"",
        "<svg id=\"kind\"",
        "<svg id=\"lanes\"",
        &format!("{head} events, 1 to {head}"),
        "&lt;script&gt;document.title=",
        "quoted' &amp; &lt;b&gt;bold",
        "two\\nlines\\x1b[2J",
        "no utf-8 \\xff&lt;i&gt;",
        "&lt;em&gt;agent",
        "behind &lt;u&gt;",
        "a &lt;mark&gt; &amp; more",
        "(behind the mount)",
        "bypass, found by the watcher",
        "restored: 1",
        "crash",
        "latency",
    ] {
        assert!(dom.contains(word), "{word} in {dom}");
    }
    for tag in [
        "<script",
        "<b>",
        "<i>",
        "<em>",
        "<u>",
        "<mark>",
        "<title>owned",
    ] {
        assert!(!dom.contains(tag), "a name became a tag: {tag} in {dom}");
    }
    let picture = case.path("report.png");
    browser.screenshot(&page, &picture);
    let [width, height, coloured] = pixels(&picture, MOUNT_COLOUR)[..] else {
        panic!("three numbers");
    };
    assert_eq!((width, height), WINDOW);
    assert!(coloured > 100, "the bars are drawn: {coloured} pixels");
}

#[test]
fn a_period_is_cut_out() {
    let case = Case::new();
    let mount = case.mount();
    for name in ["first", "second", "third"] {
        fs::create_dir(mount.path(name)).unwrap();
    }
    let mut command = hippofs::command(&["report", "-o", "-", "--since", "2"]);
    let page = process::run(command.arg(mount.root())).success();
    assert!(
        page.contains("1 events, 3 to 3") && page.contains("third") && !page.contains("second"),
        "{page}"
    );
    let mut command = hippofs::command(&["report", "-o", "-", "--from", "1h", "--to", "30m"]);
    let page = process::run(command.arg(mount.root())).success();
    assert!(
        page.contains("No events.") && page.ends_with("</html>\n"),
        "{page}"
    );
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_is_left() {
    let case = Case::new();
    let mount = case.mount();
    let root = mount.root().as_os_str();
    let native = case.native();
    let refused = |to: &OsStr, more: &[&str]| {
        let mut arguments = vec!["report".as_ref(), root, "-o".as_ref(), to];
        arguments.extend(more.iter().map(OsStr::new));
        fails(&arguments)
    };
    assert!(refused(native.as_os_str(), &[]).contains("is a directory"));
    assert!(refused("/dev/null".as_ref(), &[]).contains("not a plain file"));
    refused(native.join("none/r.html").as_os_str(), &[]);
    refused(native.join("r.html").as_os_str(), &["--since", "99"]);
    refused(
        native.join("r.html").as_os_str(),
        &["--from", "1m", "--to", "2m"],
    );
    assert_eq!(fs::read_dir(&native).unwrap().count(), 0);
    report(&mount, &native.join("r.html"), &[]);
    let meta = fs::metadata(native.join("r.html")).unwrap();
    assert_eq!(
        meta.permissions().mode() & 0o777,
        0o600,
        "it names private files"
    );
    assert_eq!(fs::read_dir(&native).unwrap().count(), 1);
}

//! A session that has everything cached sees what was changed behind the mount.

use std::fs;
use std::io::ErrorKind;

use super::{covered, found};
use crate::support::case::Case;
use crate::support::wait;

#[test]
fn a_cached_session_sees_the_new_state() {
    let case = Case::new();
    for name in ["edit", "gone", "from"] {
        fs::write(case.storage().join(name), "old").unwrap();
    }
    fs::create_dir(case.storage().join("dir")).unwrap();
    let mount = case.mount();
    covered(&mount);
    let exists = |name: &str| match fs::metadata(mount.path(name)) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("{error}"),
    };
    // Everything is cached, the missing names too, and the content through an open file.
    let open = fs::File::open(mount.path("edit")).unwrap();
    let read = || {
        let mut bytes = vec![0; 32];
        let count = std::os::unix::fs::FileExt::read_at(&open, &mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    assert_eq!(read(), "old");
    assert!(
        exists("gone") && exists("from") && !exists("new") && !exists("to") && !exists("dir/f")
    );
    assert_eq!(fs::read_dir(mount.root()).unwrap().count(), 4);

    found(&mount, || {
        let at = |name: &str| case.storage().join(name);
        fs::write(at("edit"), "new content").unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::rename(at("from"), at("to")).unwrap();
        fs::write(at("new"), "x").unwrap();
        fs::write(at("dir/f"), "x").unwrap();
    });
    // The events are there; the kernel is told by a thread of its own right after.
    wait::until("the session sees the new state", || {
        read() == "new content"
            && fs::metadata(mount.path("edit")).unwrap().len() == 11
            && !exists("gone")
            && !exists("from")
            && exists("to")
            && exists("new")
            && exists("dir/f")
    });
    let mut names: Vec<_> = fs::read_dir(mount.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["dir", "edit", "new", "to"]);
}

#[test]
fn an_attribute_change_behind_the_mount_leaves_a_session_where_it_works() {
    let case = Case::new();
    fs::create_dir(case.storage().join("work")).unwrap();
    let mount = case.mount();
    covered(&mount);
    let mut session = std::process::Command::new("sh");
    // It works inside, has the directory's attributes changed behind it, and must still know where it is.
    session
        .current_dir(mount.path("work"))
        .args(["-c", r#"chmod 750 "$0" && sleep 0.2 && ls . && pwd -P"#])
        .arg(case.storage().join("work"));
    let text = crate::support::process::run(&mut session).success();
    assert_eq!(text.trim(), mount.path("work").to_str().unwrap());
}

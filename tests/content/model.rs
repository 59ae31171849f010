//! Random work, and afterwards every name as of every event against what a plain map says was there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::Case;
use crate::support::hippofs::{self, Mount};
use crate::support::random::Random;

/// Few names, so that changes meet.
const NAMES: [&str; 3] = ["a", "b", "d"];
const STEPS: u64 = 160;

/// Files with their content, directories with none.
type Tree = BTreeMap<String, Option<Vec<u8>>>;

fn name(random: &mut Random) -> String {
    let depth = 1 + random.below(3);
    let names: Vec<_> = (0..depth).map(|_| random.of(&NAMES)).collect();
    names.join("/")
}

/// Does one thing, if it can be done.
fn step(root: &Path, random: &mut Random) {
    let (first, second) = (name(random), name(random));
    let (a, b) = (root.join(first), root.join(second));
    let content = format!("{:x}", random.next()).repeat(1 + random.below(40) as usize);
    let _ = match random.below(12) {
        0..=2 => fs::write(&a, content),
        3 => OpenOptions::new()
            .append(true)
            .open(&a)
            .and_then(|mut file| file.write_all(content.as_bytes())),
        4 => OpenOptions::new().write(true).open(&a).and_then(|mut f| {
            f.write_all(b"over")?;
            f.set_len(random.below(20))
        }),
        5 | 6 => fs::create_dir(&a),
        7 => fs::remove_file(&a),
        8 => fs::remove_dir(&a),
        9 => renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).map_err(Into::into),
        _ => fs::rename(&a, &b),
    };
}

fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let content = if path.is_dir() {
                open.push(path.clone());
                None
            } else {
                Some(fs::read(&path).unwrap())
            };
            let below = path.strip_prefix(root).unwrap();
            found.insert(below.to_str().unwrap().to_owned(), content);
        }
    }
    found
}

/// What is told of a name as of an event is what stood there; where nothing did it may be what came there later, as it
/// was then under another name.
fn assert_told(tree: &Tree, (name, seq): (&str, u64), told: Option<Vec<u8>>) {
    match tree.get(name).cloned().flatten() {
        Some(was) => assert_eq!(told, Some(was), "{name} as of {seq}"),
        None => assert!(
            told.is_none() || tree.values().any(|was| *was == told),
            "{name} as of {seq}: {told:?}"
        ),
    }
}

fn assert_past(mount: &Mount, moments: &BTreeMap<u64, Tree>) {
    let names: BTreeSet<_> = moments.values().flat_map(BTreeMap::keys).collect();
    for (seq, tree) in moments {
        for name in &names {
            let told = fs::read(mount.control(format!("versions/{name}/{seq}"))).ok();
            assert_told(tree, (name, *seq), told);
        }
    }
}

fn run(seed: u64, options: &[&str]) {
    let case = Case::new();
    let mount = case.mount_with(options);
    let mut random = Random::new(seed);
    let mut moments = BTreeMap::new();
    // What stands there before has a past from its first change on.
    for _ in 0..STEPS {
        step(mount.root(), &mut random);
        moments.insert(mount.head(), tree(mount.root()));
    }
    moments.remove(&0);
    assert_past(&mount, &moments);
    let mount = mount.remount();
    for (number, (seq, was)) in moments.iter().enumerate().step_by(11) {
        let to = case.path(format!("tree-{number}"));
        let words = [
            "restore".as_ref(),
            mount.root().as_os_str(),
            "--at".as_ref(),
            seq.to_string().as_ref(),
            "--to".as_ref(),
            to.as_os_str(),
        ]
        .map(ToOwned::to_owned);
        if was.is_empty() {
            continue;
        }
        hippofs::run(&words).success();
        assert_eq!(&tree(&to), was, "as of {seq}");
    }
    // And in place, forwards and backwards in time.
    for seq in [moments.len() / 2, moments.len() - 1, moments.len() / 3] {
        let (seq, was) = moments.iter().nth(seq).unwrap();
        if was.is_empty() {
            continue;
        }
        let seq = seq.to_string();
        let words = [
            "restore",
            mount.root().to_str().unwrap(),
            "--at",
            &seq,
            "--delete",
        ];
        hippofs::run(&words).success();
        assert_eq!(&tree(mount.root()), was, "as of {seq}");
    }
    super::assert_verified(&mount);
}

#[test]
fn every_name_as_of_every_event() {
    for seed in 1..4 {
        run(seed, &[]);
    }
}

#[test]
fn every_name_as_of_every_event_with_each_write_kept() {
    run(4, &["--capture", "write"]);
}

#[test]
fn what_retention_leaves_is_right_and_the_rest_is_not_told() {
    let case = Case::new();
    let mount = case.mount_with(&["--segment-bytes", "64K", "--retain-bytes", "192K"]);
    let mut random = Random::new(5);
    let mut moments = BTreeMap::new();
    while mount.status()["oldest"].as_u64().unwrap() < 500 {
        for _ in 0..50 {
            step(mount.root(), &mut random);
            moments.insert(mount.head(), tree(mount.root()));
        }
    }
    let mut told = 0;
    for (seq, tree) in moments {
        for name in ["a", "b", "d/a", "d/b", "a/a", "b/d/a"] {
            if let Ok(content) = fs::read(mount.control(format!("versions/{name}/{seq}"))) {
                assert_told(&tree, (name, seq), Some(content));
                told += 1;
            }
        }
    }
    assert!(told > 20, "{told}");
}

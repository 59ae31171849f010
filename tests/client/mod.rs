//! The library's client on a real mount: questions, following over deaths of the daemon, consumers, and the watcher of
//! the crate notify with one type exchanged.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hippofs::client::{Client, ClientError, HippofsWatcher, Query};
use hippofs::event::{EventType, Op, Seq};
use notify::event::{CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Config, EventKind, RecursiveMode, Watcher};

use crate::support::wait::Job;
use crate::support::{Case, Mount, wait};

/// Longer than anything here takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn client(mount: &Mount) -> Client {
    Client::find(mount.root()).unwrap()
}

#[test]
fn questions_are_answered_and_refused() {
    let case = Case::new();
    let mount = case.mount();
    assert!(matches!(
        Client::find(case.path("elsewhere")),
        Err(ClientError::NotMounted(_))
    ));
    fs::create_dir(mount.path("d")).unwrap();
    fs::write(mount.path("d/a"), "one").unwrap();
    fs::rename(mount.path("d/a"), mount.path("d/b")).unwrap();
    // From any path inside, also of what is gone.
    let client = Client::find(mount.path("d/a")).unwrap();
    assert_eq!(client.root(), mount.root());
    assert_eq!(client.head().unwrap(), Seq(mount.head()));
    let moved: Vec<_> = client
        .query(&Query::new().event_types([EventType::Moved]))
        .unwrap()
        .map(|line| line.unwrap())
        .collect();
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].op(), Some(Op::Rename));
    assert_eq!(moved[0].dest_path(), Some("d/b".into()));
    let end = client.query(&Query::new().limit(2)).unwrap().end().unwrap();
    assert_eq!(end.next, Seq(2));
    match client.query(&Query::new().field("nothing", 1)) {
        Err(ClientError::Refused { code, .. }) => assert_eq!(code, "unknown_field"),
        other => panic!("{other:?}"),
    }
    let seq = client.mark("here", None).unwrap();
    assert_eq!(client.sync().unwrap(), seq);
    assert_eq!(
        client.place_of(&mount.path("d/x")).unwrap(),
        Some("d/x".into())
    );
    assert_eq!(client.place_of(Path::new("/tmp")).unwrap(), None);
}

#[test]
fn following_goes_on_when_the_daemon_is_killed() {
    let case = Case::new();
    let mut mount = case.mount();
    let client = client(&mount);
    let follow = client.follow(Query::new().ops([Op::Create])).unwrap();
    let stop = follow.stopper();
    let (send, names) = channel();
    let job = Job::start("following", move || {
        for line in follow {
            send.send(line.unwrap().src_path().unwrap()).unwrap();
        }
    });
    let next = || names.recv_timeout(PATIENCE).unwrap();
    fs::write(mount.path("a"), "").unwrap();
    assert_eq!(next(), Path::new("a"));
    mount.kill();
    let mount = mount.remount();
    fs::write(mount.path("b"), "").unwrap();
    assert_eq!(next(), Path::new("b"));
    stop.stop();
    job.finish();
    drop(mount);
}

#[test]
fn a_consumer_delivers_until_it_is_told_otherwise() {
    let case = Case::new();
    let mount = case.mount();
    let client = client(&mount);
    let consumer = client.consumer("me").unwrap();
    consumer
        .set_filter(&Query::new().ops([Op::Create]))
        .unwrap();
    for name in ["a", "b", "c"] {
        fs::write(mount.path(name), name).unwrap();
    }
    let names = || -> Vec<PathBuf> {
        let events = consumer.events().unwrap();
        events
            .map(|line| line.unwrap().src_path().unwrap())
            .collect()
    };
    assert_eq!(names(), ["a", "b", "c"].map(PathBuf::from));
    let first = consumer.events().unwrap().next().unwrap().unwrap();
    consumer.ack(first.seq().unwrap()).unwrap();
    assert_eq!(names(), ["b", "c"].map(PathBuf::from));
    assert_eq!(consumer.cursor().unwrap(), first.seq().unwrap());
    let taken: Vec<_> = consumer.take(1, Duration::ZERO).unwrap().collect();
    assert_eq!(taken.len(), 1);
    assert_eq!(names(), ["c"].map(PathBuf::from));
    assert!(consumer.lag().unwrap() > 0);
    consumer.seek(Seq(0)).unwrap();
    assert_eq!(names().len(), 3);
    assert!(matches!(
        client.consumer("../x"),
        Err(ClientError::Refused { .. })
    ));
    consumer.remove().unwrap();
    assert!(!mount.control("consumers/me").exists());
}

fn watcher() -> (HippofsWatcher, Receiver<notify::Result<notify::Event>>) {
    let (send, events) = channel();
    let watcher = HippofsWatcher::new(send, Config::default()).unwrap();
    (watcher, events)
}

/// Everything up to the creation of `last`.
fn until_created(
    events: &Receiver<notify::Result<notify::Event>>,
    last: &Path,
) -> Vec<(EventKind, Vec<PathBuf>)> {
    let mut told = Vec::new();
    loop {
        let event = events.recv_timeout(PATIENCE).expect("an event").unwrap();
        if matches!(event.kind, EventKind::Create(_)) && event.paths[0] == last {
            return told;
        }
        told.push((event.kind, event.paths));
    }
}

#[test]
fn a_watcher_is_told_of_every_change() {
    let case = Case::new();
    let mount = case.mount();
    let (mut watcher, events) = watcher();
    watcher
        .watch(mount.root(), RecursiveMode::Recursive)
        .unwrap();
    // What a directory watcher merges or drops: each lives for less than it takes to look.
    let mut expected = BTreeSet::new();
    for number in 0..300 {
        let (temporary, path) = (mount.path(".tmp"), mount.path(format!("{number}.json")));
        fs::write(&temporary, "one").unwrap();
        fs::rename(&temporary, &path).unwrap();
        fs::remove_file(&path).unwrap();
        expected.insert(path);
    }
    fs::create_dir(mount.path("end")).unwrap();
    let told = until_created(&events, &mount.path("end"));
    let of = |kind: EventKind, at: usize| -> BTreeSet<PathBuf> {
        let told = told.iter().filter(|(k, _)| *k == kind);
        told.map(|(_, paths)| paths[at].clone()).collect()
    };
    assert_eq!(of(EventKind::Remove(RemoveKind::File), 0), expected);
    let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
    assert_eq!(of(renamed, 1), expected);
    let created = told
        .iter()
        .filter(|(kind, _)| *kind == EventKind::Create(CreateKind::File));
    assert_eq!(created.count(), 300);
}

#[test]
fn a_watcher_covers_what_it_was_asked_to() {
    let case = Case::new();
    let mount = case.mount();
    for dir in ["d", "d/deep", "e"] {
        fs::create_dir(mount.path(dir)).unwrap();
    }
    fs::write(mount.path("d/before"), "").unwrap();
    let (mut watcher, events) = watcher();
    watcher
        .watch(&mount.path("d"), RecursiveMode::NonRecursive)
        .unwrap();
    watcher
        .watch(&mount.path("e"), RecursiveMode::Recursive)
        .unwrap();
    for name in ["d/deep/no", "d/yes", "no", "e/yes"] {
        fs::create_dir(mount.path(name)).unwrap();
    }
    fs::rename(mount.path("d/yes"), mount.path("out")).unwrap();
    fs::create_dir(mount.path("e/end")).unwrap();
    let told = until_created(&events, &mount.path("e/end"));
    let folder = EventKind::Create(CreateKind::Folder);
    let from = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    assert_eq!(
        told,
        [
            (folder, vec![mount.path("d/yes")]),
            (folder, vec![mount.path("e/yes")]),
            (from, vec![mount.path("d/yes")]),
        ]
    );
    watcher.unwatch(&mount.path("e")).unwrap();
    assert!(watcher.unwatch(&mount.path("e")).is_err());
    fs::create_dir(mount.path("e/unheard")).unwrap();
    fs::create_dir(mount.path("d/end")).unwrap();
    assert_eq!(until_created(&events, &mount.path("d/end")), []);
    let missing = watcher.watch(&mount.path("missing"), RecursiveMode::Recursive);
    assert!(missing.is_err());
}

#[test]
fn a_watcher_works_elsewhere_too() {
    let case = Case::new();
    let mount = case.mount();
    let plain = case.path("plain");
    fs::create_dir(&plain).unwrap();
    let (mut watcher, events) = watcher();
    watcher.watch(&plain, RecursiveMode::Recursive).unwrap();
    watcher
        .watch(mount.root(), RecursiveMode::Recursive)
        .unwrap();
    fs::create_dir(plain.join("native")).unwrap();
    until_created(&events, &plain.join("native"));
    fs::create_dir(mount.path("mounted")).unwrap();
    until_created(&events, &mount.path("mounted"));
    watcher.unwatch(&plain).unwrap();
}

#[test]
fn a_watcher_is_told_to_look_again_where_events_are_missing() {
    let case = Case::new();
    let mut mount = case.mount();
    let (mut watcher, events) = watcher();
    watcher
        .watch(mount.root(), RecursiveMode::Recursive)
        .unwrap();
    mount.kill();
    let mount = mount.remount();
    // The daemon's death is said by a gap.
    wait::value("a rescan", || {
        let event = events.try_recv().ok()?.unwrap();
        event.need_rescan().then_some(())
    });
    drop(mount);
}

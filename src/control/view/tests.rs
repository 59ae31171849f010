//! Views and formats against what they are defined to be; documents also against a plain model of a directory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Format;
use super::documents::{Documents, Seen};

/// Folds events, numbered from 1, one nanosecond apart.
fn fold(events: &[Value]) -> Documents {
    let mut documents = Documents::default();
    for (at, event) in events.iter().enumerate() {
        let mut event = event.clone();
        event["seq"] = (at + 1).into();
        let seen = Seen {
            time: at as u64,
            wanted: true,
        };
        documents.add(&event, seen);
    }
    documents
}

/// `type path[ -> path]` of each line, transient ones left out.
fn told(events: &[Value]) -> Vec<String> {
    let effects = fold(events).effects();
    let brief = |line: &Value| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let mut brief = format!("{} {}", text("event_type"), text("src_path"));
        if line.get("dest_path").is_some() {
            brief += &format!(" -> {}", text("dest_path"));
        }
        brief
    };
    let lasting = effects.iter().filter(|effect| !effect.transient);
    lasting.map(|effect| brief(&effect.line)).collect()
}

fn create(path: &str) -> Value {
    json!({"event_type": "created", "op": "create", "src_path": path, "is_directory": false})
}

fn write(path: &str) -> Value {
    json!({"event_type": "modified", "op": "write", "src_path": path, "is_directory": false})
}

fn unlink(path: &str) -> Value {
    json!({"event_type": "deleted", "op": "unlink", "src_path": path, "is_directory": false})
}

fn rename(from: &str, to: &str, replaces: bool) -> Value {
    let mut event = json!({"event_type": "moved", "op": "rename", "src_path": from, "dest_path": to, "is_directory": false});
    if replaces {
        event["replaced"] = json!({"ino": 1, "size": 1});
    }
    event
}

fn exchange(one: &str, other: &str) -> Value {
    json!({"event_type": "moved", "op": "exchange", "src_path": one, "dest_path": other, "is_directory": false})
}

fn directory(mut event: Value) -> Value {
    event["is_directory"] = true.into();
    event
}

#[test]
fn a_temporary_file_renamed_over_a_document_is_one_change_of_it() {
    let closed =
        json!({"event_type": "closed", "op": "close", "src_path": "a.tmp", "blake3": "b3"});
    let replaced = [
        create("a.tmp"),
        write("a.tmp"),
        closed,
        rename("a.tmp", "a", true),
    ];
    assert_eq!(told(&replaced), ["modified a"]);
    let line = &fold(&replaced).effects()[0].line;
    assert_eq!(line["first_seq"], 1);
    assert_eq!(line["last_seq"], 4);
    assert_eq!(line["changes"], 4);
    assert_eq!(line["blake3"], "b3");
    let fresh = [create("a.tmp"), rename("a.tmp", "a", false)];
    assert_eq!(told(&fresh), ["created a"]);
}

#[test]
fn each_net_effect_has_its_word() {
    assert_eq!(told(&[create("a"), write("a")]), ["created a"]);
    assert_eq!(told(&[write("a"), write("a")]), ["modified a"]);
    assert_eq!(told(&[write("a"), unlink("a")]), ["deleted a"]);
    assert_eq!(told(&[unlink("a"), create("a")]), ["modified a"]);
    assert_eq!(told(&[rename("a", "b", false)]), ["moved a -> b"]);
    assert_eq!(
        told(&[rename("a", "b", false), rename("b", "a", false)]),
        ["modified a"]
    );
    assert_eq!(told(&[rename("a", "b", false), unlink("b")]), ["deleted a"]);
    assert_eq!(
        told(&[exchange("a", "b")]),
        ["moved a -> b", "moved b -> a"]
    );
    let moved = [rename("a", "b", false), create("a")];
    assert_eq!(told(&moved), ["moved a -> b", "created a"]);
    assert_eq!(fold(&moved).effects()[0].line["src_exists"], true);
}

#[test]
fn what_came_and_went_is_counted_and_not_told() {
    let events = [create("a"), write("a"), unlink("a")];
    assert_eq!(told(&events), [""; 0]);
    let effects = fold(&events).effects();
    assert_eq!(effects.len(), 1);
    assert!(effects[0].transient);
    assert_eq!(effects[0].line["transient"], true);
    assert_eq!(effects[0].line["changes"], 3);
}

#[test]
fn what_is_below_a_moved_directory_is_told_by_its_new_path() {
    let events = [
        write("d/a"),
        create("d/b"),
        directory(rename("d", "e", false)),
        write("e/c"),
    ];
    assert_eq!(
        told(&events),
        [
            "modified e/a",
            "created e/b",
            "moved d -> e",
            "modified e/c"
        ]
    );
}

const STORE: uuid::Uuid = uuid::Uuid::nil();

#[test]
fn watchdog_has_its_classes_and_attributes() {
    let mut event = directory(rename("a", "b", false));
    event["seq"] = 3.into();
    assert_eq!(
        Format::Watchdog.event(&event, STORE),
        [
            json!({"class": "DirMovedEvent", "src_path": "a", "dest_path": "b", "event_type": "moved",
            "is_directory": true, "is_synthetic": false, "seq": 3})
        ]
    );
    let classes = |event: &Value| -> Vec<String> {
        let shown = Format::Watchdog.event(event, STORE);
        let class = |line: &Value| line["class"].as_str().unwrap().to_owned();
        shown.iter().map(class).collect()
    };
    assert_eq!(classes(&create("a")), ["FileCreatedEvent"]);
    assert_eq!(classes(&directory(unlink("a"))), ["DirDeletedEvent"]);
    assert_eq!(
        classes(&exchange("a", "b")),
        ["FileMovedEvent", "FileMovedEvent"]
    );
    let gap = json!({"event_type": "gap", "reason": "crash"});
    assert_eq!(Format::Watchdog.event(&gap, STORE), [gap]);
    assert!(
        Format::Watchdog
            .event(&json!({"event_type": "mark"}), STORE)
            .is_empty()
    );
}

#[test]
fn inotify_has_its_masks_and_cookies() {
    let masks = |event: &Value| -> Vec<String> {
        let shown = Format::Inotify.event(event, STORE);
        shown.iter().map(|line| line["mask"].to_string()).collect()
    };
    let op = |event_type: &str, op: &str| json!({"event_type": event_type, "op": op, "src_path": "d/a", "seq": 1});
    assert_eq!(
        masks(&directory(create("a"))),
        [r#"["IN_CREATE","IN_ISDIR"]"#]
    );
    assert_eq!(masks(&op("modified", "write")), [r#"["IN_MODIFY"]"#]);
    assert_eq!(masks(&op("modified", "setattr")), [r#"["IN_ATTRIB"]"#]);
    assert_eq!(masks(&op("closed", "close")), [r#"["IN_CLOSE_WRITE"]"#]);
    assert_eq!(masks(&unlink("a")), [r#"["IN_DELETE"]"#]);
    assert_eq!(
        masks(&json!({"event_type": "gap"})),
        [r#"["IN_Q_OVERFLOW"]"#]
    );
    let mut both = exchange("d/a", "b");
    both["seq"] = 5.into();
    let shown = Format::Inotify.event(&both, STORE);
    assert_eq!(shown.len(), 4);
    assert_eq!(shown[0]["path"], "d");
    assert_eq!(shown[0]["name"], "a");
    assert_eq!(shown[0]["cookie"], shown[1]["cookie"]);
    assert_eq!(shown[2]["cookie"], shown[3]["cookie"]);
    assert_ne!(shown[0]["cookie"], shown[2]["cookie"]);
    assert_ne!(shown[0]["cookie"], 0);
}

#[test]
fn cloudevents_have_what_the_specification_requires() {
    let mut event = create("a b");
    event["seq"] = 7.into();
    event["timestamp"] = json!(1_700_000_000.25);
    let shown = &Format::CloudEvents.event(&event, STORE)[0];
    assert_eq!(shown["specversion"], "1.0");
    assert_eq!(shown["id"], "7");
    assert_eq!(shown["source"], format!("urn:uuid:{STORE}"));
    assert_eq!(shown["type"], "org.hippofs.created");
    assert_eq!(shown["subject"], "a b");
    assert_eq!(shown["time"], "2023-11-14T22:13:20.25Z");
    assert_eq!(shown["datacontenttype"], "application/json");
    assert_eq!(shown["data"], event);
}

/// One step of a session on a handful of names.
#[derive(Clone, Debug)]
enum Act {
    Touch(usize),
    Delete(usize),
    Rename(usize, usize),
    Exchange(usize, usize),
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let name = 0..NAMES.len();
    let act = prop_oneof![
        name.clone().prop_map(Act::Touch),
        name.clone().prop_map(Act::Delete),
        (name.clone(), name.clone()).prop_map(|(a, b)| Act::Rename(a, b)),
        (name.clone(), name).prop_map(|(a, b)| Act::Exchange(a, b)),
    ];
    prop::collection::vec(act, 0..12)
}

/// A directory: which entry stands at each name.
type Model = BTreeMap<&'static str, u32>;

/// Does the acts that are possible; gives the events, and the entries that were written.
fn perform(model: &mut Model, acts: &[Act]) -> (Vec<Value>, BTreeSet<&'static str>) {
    let (mut events, mut names, mut fresh) = (Vec::new(), BTreeSet::new(), 100);
    for act in acts {
        match *act {
            Act::Touch(at) => {
                let name = NAMES[at];
                if model.contains_key(name) {
                    events.push(write(name));
                } else {
                    fresh += 1;
                    model.insert(name, fresh);
                    events.push(create(name));
                }
                names.insert(name);
            }
            Act::Delete(at) => {
                if model.remove(NAMES[at]).is_some() {
                    events.push(unlink(NAMES[at]));
                    names.insert(NAMES[at]);
                }
            }
            Act::Rename(from, to) if from != to => {
                let (from, to) = (NAMES[from], NAMES[to]);
                if let Some(entry) = model.remove(from) {
                    let replaced = model.insert(to, entry);
                    events.push(rename(from, to, replaced.is_some()));
                    names.extend([from, to]);
                }
            }
            Act::Exchange(one, other) if one != other => {
                let (one, other) = (NAMES[one], NAMES[other]);
                if let (Some(a), Some(b)) = (model.get(one).copied(), model.get(other).copied()) {
                    model.insert(one, b);
                    model.insert(other, a);
                    events.push(exchange(one, other));
                    names.extend([one, other]);
                }
            }
            Act::Rename(..) | Act::Exchange(..) => {}
        }
    }
    (events, names)
}

/// What must be told, from the two directories alone.
fn expected(before: &Model, after: &Model, touched: &BTreeSet<&str>) -> BTreeSet<String> {
    let place = |model: &Model, entry: u32| {
        let mut all = model.iter();
        all.find(|(_, known)| **known == entry)
            .map(|(name, _)| *name)
    };
    let mut told = BTreeSet::new();
    for (name, entry) in after {
        if !touched.contains(name) {
            continue;
        }
        match place(before, *entry) {
            Some(start) if start == *name => told.insert(format!("modified {name}")),
            Some(start) => told.insert(format!("moved {start} -> {name}")),
            None => {
                // What stood there before is gone, not moved: its document has other content now.
                let replaces = before
                    .get(name)
                    .is_some_and(|old| place(after, *old).is_none());
                let word = if replaces { "modified" } else { "created" };
                told.insert(format!("{word} {name}"))
            }
        };
    }
    for (name, entry) in before {
        if place(after, *entry).is_none() && !after.contains_key(name) {
            told.insert(format!("deleted {name}"));
        }
    }
    told
}

proptest! {
    #[test]
    fn documents_are_the_difference_of_two_directories(
        standing in prop::collection::btree_set(0..NAMES.len(), 0..=NAMES.len()),
        acts in acts(),
    ) {
        let mut model: Model = standing.iter().map(|at| (NAMES[*at], *at as u32)).collect();
        let before = model.clone();
        let (events, touched) = perform(&mut model, &acts);
        let lines = told(&events);
        let distinct: BTreeSet<String> = lines.iter().cloned().collect();
        prop_assert_eq!(distinct.len(), lines.len());
        prop_assert_eq!(distinct, expected(&before, &model, &touched));
        let effects = fold(&events).effects();
        for effect in &effects {
            prop_assert!(effect.line["first_seq"].as_u64() <= effect.line["last_seq"].as_u64());
        }
    }

    #[test]
    fn any_lines_are_shown_without_panic(
        event_type in "created|modified|deleted|moved|closed|gap|mark|x",
        op in "create|link|rename|exchange|",
        src in prop::option::of("[a-c/]{0,4}"),
        dest in prop::option::of("[a-c/]{0,4}"),
        time in any::<f64>(),
    ) {
        let event = json!({"seq": 1, "event_type": event_type, "op": op, "src_path": src, "dest_path": dest, "timestamp": time});
        for (_, format) in Format::ALL {
            let _ = format.event(&event, STORE);
        }
        let _ = fold(&[event.clone(), event]).effects();
    }
}

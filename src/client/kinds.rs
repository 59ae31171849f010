//! Events in the words of the crate notify, as its inotify backend would give them had it missed none. Pure.

use std::path::PathBuf;

use notify::event::{
    AccessKind, AccessMode, CreateKind, DataChange, Event, EventKind, Flag, MetadataKind,
    ModifyKind, RemoveKind, RenameMode,
};

use crate::event::{EventType, Op};

use super::line::Line;

/// What is delivered for `line`, to a watch that names an entry of the mount by `name` (`None` for one it does not
/// cover): a rename is its two halves and the whole, as far as both names are covered. Notes are nobody's change.
pub(super) fn events(line: &Line, name: impl Fn(PathBuf) -> Option<PathBuf>) -> Vec<Event> {
    let src = line.src_path().and_then(&name);
    match (line.event_type(), line.dest_path()) {
        (Some(EventType::Gap), _) => vec![Event::new(EventKind::Other).set_flag(Flag::Rescan)],
        (Some(EventType::Moved), Some(dest)) => {
            let dest = name(dest);
            let tracker = line
                .seq()
                .map(|seq| usize::try_from(seq.0).unwrap_or(usize::MAX));
            let mut events = moved(src.clone(), dest.clone(), tracker);
            if line.op() == Some(Op::Exchange) {
                events.extend(moved(dest, src, tracker));
            }
            events
        }
        (Some(event_type), _) => {
            let kind = kind(event_type, line.op(), line.is_directory());
            let events = kind
                .zip(src)
                .map(|(kind, path)| Event::new(kind).add_path(path));
            events.into_iter().collect()
        }
        (None, _) => Vec::new(),
    }
}

fn moved(src: Option<PathBuf>, dest: Option<PathBuf>, tracker: Option<usize>) -> Vec<Event> {
    let event = |mode| {
        let event = Event::new(EventKind::Modify(ModifyKind::Name(mode)));
        tracker.into_iter().fold(event, Event::set_tracker)
    };
    let both = src.clone().zip(dest.clone());
    let both = both.map(|(src, dest)| event(RenameMode::Both).add_path(src).add_path(dest));
    let from = src.map(|src| event(RenameMode::From).add_path(src));
    let to = dest.map(|dest| event(RenameMode::To).add_path(dest));
    [from, to, both].into_iter().flatten().collect()
}

fn kind(event_type: EventType, op: Option<Op>, is_directory: bool) -> Option<EventKind> {
    Some(match (event_type, op) {
        (EventType::Created, _) if is_directory => EventKind::Create(CreateKind::Folder),
        (EventType::Created, _) => EventKind::Create(CreateKind::File),
        (EventType::Deleted, _) if is_directory => EventKind::Remove(RemoveKind::Folder),
        (EventType::Deleted, _) => EventKind::Remove(RemoveKind::File),
        (EventType::Closed, _) => EventKind::Access(AccessKind::Close(AccessMode::Write)),
        // It changes nothing.
        (EventType::Modified, Some(Op::Fsync)) => return None,
        (EventType::Modified, Some(Op::Setattr | Op::Setxattr | Op::Removexattr)) => {
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any))
        }
        (EventType::Modified, Some(Op::Found)) => EventKind::Modify(ModifyKind::Any),
        (EventType::Modified, _) => EventKind::Modify(ModifyKind::Data(DataChange::Any)),
        (EventType::Moved | EventType::Gap | EventType::Mark, _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Vec<(EventKind, Vec<PathBuf>)> {
        let line = Line::parse(line.as_bytes()).unwrap();
        let name = |path: PathBuf| path.starts_with("d").then_some(path);
        let events = events(&line, name).into_iter();
        events.map(|event| (event.kind, event.paths)).collect()
    }

    #[test]
    fn each_kind_has_its_word() {
        let of = |event_type: &str, op: &str| {
            let line =
                format!(r#"{{"seq":1,"event_type":"{event_type}","op":"{op}","src_path":"d/a"}}"#);
            told(&line).into_iter().map(|(kind, _)| kind).next()
        };
        assert_eq!(
            of("created", "create"),
            Some(EventKind::Create(CreateKind::File))
        );
        assert_eq!(
            of("deleted", "unlink"),
            Some(EventKind::Remove(RemoveKind::File))
        );
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert_eq!(of("modified", "write"), Some(data));
        assert_eq!(of("modified", "fsync"), None);
        assert_eq!(of("mark", "mark"), None);
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert_eq!(of("closed", "close"), Some(closed));
    }

    #[test]
    fn a_rename_is_told_as_far_as_it_is_covered() {
        let modes = |src: &str, dest: &str| {
            let line = format!(
                r#"{{"seq":1,"event_type":"moved","op":"rename","src_path":"{src}","dest_path":"{dest}"}}"#
            );
            let modes = told(&line).into_iter().map(|(kind, paths)| match kind {
                EventKind::Modify(ModifyKind::Name(mode)) => (mode, paths.len()),
                kind => panic!("{kind:?}"),
            });
            modes.collect::<Vec<_>>()
        };
        let (from, to, both) = (RenameMode::From, RenameMode::To, RenameMode::Both);
        assert_eq!(modes("d/a", "d/b"), [(from, 1), (to, 1), (both, 2)]);
        assert_eq!(modes("d/a", "b"), [(from, 1)]);
        assert_eq!(modes("a", "d/b"), [(to, 1)]);
        assert_eq!(modes("a", "b"), []);
    }

    #[test]
    fn what_may_be_missing_asks_for_a_rescan() {
        let line = Line::parse(br#"{"event_type":"gap","reason":"retention"}"#).unwrap();
        let events = events(&line, |_| None);
        assert!(events[0].need_rescan());
    }
}

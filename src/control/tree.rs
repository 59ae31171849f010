//! The names of the control directory. Pure: an [`Entry`] is all there is to know of a file here, so none is stored.

use crate::event::Seq;

use super::consumers::{ConsumerFile, ConsumerId};
use super::past::VersionId;

/// A file or directory of the control directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Entry {
    /// `.hippofs` itself.
    Root,
    /// `events`: the whole log.
    Events,
    /// `since/`: one file for each position, found by name and never listed.
    SinceDir,
    /// `since/SEQ`: the events after SEQ.
    Since(Seq),
    /// `follow`: new events as they come.
    Follow,
    /// `control`: requests and replies.
    Control,
    /// `status`: one JSON object.
    Status,
    /// `metrics`: the same as Prometheus text.
    Metrics,
    /// `help`: what stands here, as text.
    Help,
    /// `consumers/`: one directory for each durable consumer.
    ConsumersDir,
    /// `consumers/NAME/`.
    Consumer(ConsumerId),
    /// `consumers/NAME/FILE`.
    ConsumerFile(ConsumerId, ConsumerFile),
    /// `versions/`: what was, by path and position.
    VersionsDir,
    /// `versions/PATH/`.
    VersionDir(VersionId),
    /// `versions/PATH/SEQ`.
    VersionFile(VersionId),
}

/// The listing of the root, in the order of the contract.
const ROOT: [(&str, Entry); 9] = [
    ("events", Entry::Events),
    ("since", Entry::SinceDir),
    ("follow", Entry::Follow),
    ("control", Entry::Control),
    ("status", Entry::Status),
    ("metrics", Entry::Metrics),
    ("consumers", Entry::ConsumersDir),
    ("versions", Entry::VersionsDir),
    ("help", Entry::Help),
];

/// Digits of the largest position; a longer name is no position.
const SEQ_DIGITS_MAX: usize = 20;

impl Entry {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(self) -> bool {
        matches!(
            self,
            Entry::Root
                | Entry::SinceDir
                | Entry::ConsumersDir
                | Entry::Consumer(_)
                | Entry::VersionsDir
                | Entry::VersionDir(_)
        )
    }

    /// Permission bits: the owner's alone, because the log tells paths that others may not see.
    #[must_use]
    pub fn mode(self) -> u32 {
        match self {
            Entry::Root
            | Entry::SinceDir
            | Entry::Consumer(_)
            | Entry::VersionsDir
            | Entry::VersionDir(_) => 0o500,
            Entry::ConsumersDir => 0o700,
            Entry::ConsumerFile(_, file) => file.mode(),
            Entry::Control => 0o600,
            Entry::Events
            | Entry::Since(_)
            | Entry::Follow
            | Entry::Status
            | Entry::Metrics
            | Entry::VersionFile(_)
            | Entry::Help => 0o400,
        }
    }

    /// The entry `name` of this directory; that of a consumer is known to [`Control::child`](super::Control::child).
    #[must_use]
    pub fn child(self, name: &[u8]) -> Option<Entry> {
        match self {
            Entry::Root => ROOT
                .iter()
                .find(|(known, _)| known.as_bytes() == name)
                .map(|(_, entry)| *entry),
            Entry::SinceDir => position(name).map(Entry::Since),
            Entry::Consumer(id) => {
                ConsumerFile::named(name).map(|file| Entry::ConsumerFile(id, file))
            }
            _ => None,
        }
    }

    /// The listing. `since/` lists nothing: it has an entry for every number.
    #[must_use]
    pub fn children(self) -> Vec<(&'static str, Entry)> {
        match self {
            Entry::Root => ROOT.to_vec(),
            Entry::Consumer(id) => ConsumerFile::ALL
                .iter()
                .map(|file| (file.word(), Entry::ConsumerFile(id, *file)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// A small number that is the same in every run, for the inode. All of `since/` share one: the caller folds the
    /// position in.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Entry::Root => 0,
            Entry::Events => 1,
            Entry::SinceDir => 2,
            Entry::Follow => 3,
            Entry::Control => 4,
            Entry::Status => 5,
            Entry::Metrics => 6,
            Entry::Help => 7,
            Entry::Since(_) => 8,
            Entry::ConsumersDir => 9,
            Entry::Consumer(_) => 10,
            Entry::ConsumerFile(..) => 11,
            Entry::VersionsDir => 12,
            Entry::VersionDir(_) => 13,
            Entry::VersionFile(_) => 14,
        }
    }
}

/// The position that a name in `since/` says: decimal digits and nothing else.
fn position(name: &[u8]) -> Option<Seq> {
    let digits = (1..=SEQ_DIGITS_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(name).ok().filter(|_| digits)?;
    text.parse().ok().map(Seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_what_the_listing_shows() {
        for (name, entry) in Entry::Root.children() {
            assert_eq!(Entry::Root.child(name.as_bytes()), Some(entry));
            assert!(entry.child(b"events").is_none());
        }
        assert_eq!(Entry::Root.child(b"nothing"), None);
        assert_eq!(Entry::Root.child(b""), None);
    }

    #[test]
    fn since_takes_decimal_positions_only() {
        let child = |name: &[u8]| Entry::SinceDir.child(name);
        assert_eq!(child(b"0"), Some(Entry::Since(Seq(0))));
        assert_eq!(
            child(b"18446744073709551615"),
            Some(Entry::Since(Seq(u64::MAX)))
        );
        for bad in [
            &b"18446744073709551616"[..],
            b"",
            b"+1",
            b"-1",
            b"1 ",
            b"0x1",
            b"\xff",
            b"000000000000000000001",
        ] {
            assert_eq!(child(bad), None, "{bad:?}");
        }
        assert!(Entry::SinceDir.children().is_empty());
    }

    #[test]
    fn numbers_differ() {
        let mut numbers: Vec<u64> = ROOT.iter().map(|(_, entry)| entry.number()).collect();
        numbers.extend([Entry::Root.number(), Entry::Since(Seq(3)).number()]);
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ROOT.len() + 2);
    }
}

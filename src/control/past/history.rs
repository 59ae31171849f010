//! The events of one path, back through its renames.

use std::collections::BTreeMap;

use crate::event::Seq;

use super::change::{After, Before, Change};
use super::content::Touch;
use super::{Past, PastError};

/// Most events of one history: what an answer may hold in memory.
const EVENTS_MAX: usize = 200_000;
/// Renames that are followed from one name to the next.
const RENAMES_MAX: usize = 256;

/// An event, and the name at which what it tells of stood then.
pub(super) struct Step {
    pub(super) path: Vec<u8>,
    pub(super) change: Change,
}

/// A moment at which the content of a path is known.
pub(super) struct Version {
    pub(super) step: Step,
    /// The hash of the content after the event, where that is said; else it is told by the single writes.
    pub(super) hash: Option<super::change::Hash>,
    /// The position to ask for: that of the event, or the one before for what it destroyed.
    pub(super) at: Seq,
}

impl Past {
    /// The events of `path`, rising. What stood at this name before has precedence; where nothing did, they go on with
    /// the name from which it came.
    pub(super) fn history(&self, path: &[u8]) -> Result<BTreeMap<Seq, Step>, PastError> {
        self.steadily(|| {
            let mut steps = BTreeMap::new();
            self.collect(path, (Seq(0), Seq(u64::MAX)), 0, &mut steps)?;
            Ok(steps)
        })
    }

    /// The events of `path` after the first and up to the second position.
    fn collect(
        &self,
        path: &[u8],
        (after, until): (Seq, Seq),
        depth: usize,
        steps: &mut BTreeMap<Seq, Step>,
    ) -> Result<(), PastError> {
        if depth > RENAMES_MAX || steps.len() > EVENTS_MAX {
            return Err(PastError::TooDeep);
        }
        let (touches, _) = self.touches(path)?;
        // Where the event before this name's next one was.
        let mut earlier = after;
        for touch in &touches {
            if touch.seq() <= after || touch.seq() > until {
                continue;
            }
            let origin = match touch {
                Touch::Moved(moved) => moved.origin(path),
                Touch::Gap(..) => continue,
                Touch::Event(seq) => {
                    let Some(change) = self.event(*seq)?.filter(|c| c.concerns(path)) else {
                        continue;
                    };
                    let origin = match change.before(path) {
                        Before::Came(origin) => origin,
                        _ => None,
                    };
                    let path = path.to_vec();
                    steps.insert(*seq, Step { path, change });
                    origin
                }
            };
            if let Some(origin) = origin {
                let until = Seq(touch.seq().0.saturating_sub(1));
                self.collect(&origin, (earlier, until), depth + 1, steps)?;
            }
            earlier = touch.seq();
        }
        Ok(())
    }

    /// The moments at which the content of `path` is known, rising.
    pub(super) fn versions_of(&self, path: &[u8]) -> Result<Vec<Version>, PastError> {
        let mut versions: Vec<Version> = Vec::new();
        for (seq, step) in self.history(path)? {
            let before = step.change.before(&step.path);
            if let Before::Content(hash) = before
                && versions.last().and_then(|v| v.hash) != Some(hash)
                && !matches!(step.change.after(&step.path), After::Content(h) if h == hash)
            {
                versions.push(Version {
                    hash: Some(hash),
                    at: Seq(seq.0.saturating_sub(1)),
                    step: Step {
                        path: step.path.clone(),
                        change: Change {
                            line: step.change.line.clone(),
                            src: step.change.src.clone(),
                            dest: step.change.dest.clone(),
                            ..step.change
                        },
                    },
                });
            }
            let hash = match step.change.after(&step.path) {
                After::Content(hash) => Some(hash),
                After::Wrote if step.change.hash("data_blake3").is_some() => None,
                _ => continue,
            };
            versions.push(Version {
                hash,
                at: seq,
                step,
            });
        }
        Ok(versions)
    }

    /// Whether the content of a version can be read.
    pub(super) fn is_kept(&self, version: &Version) -> bool {
        match &version.hash {
            Some(hash) => self.content.held(hash).is_some(),
            None => {
                let data = version.step.change.hash("data_blake3");
                data.is_some_and(|hash| self.content.held(&hash).is_some())
            }
        }
    }
}

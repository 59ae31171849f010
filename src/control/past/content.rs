//! The content of a name as of an event.

use crate::event::{Access, Op, Seq};
use crate::event_log::Chunk;

use super::change::{After, Before, Change, Hash};
use super::index::DirMove;
use super::{Past, PastError, moved_along};

/// Renames that are followed from one name to the next.
const RENAMES_MAX: usize = 256;
/// Bytes of the log read for one event.
const CHUNK_BYTES: usize = 1 << 20;
/// Times a question is asked while retention takes away what it reads.
const ASKS_MAX: usize = 16;
/// Why a content is not known whose events are gone.
const LOST: &str = "the log no longer says";
/// Largest content that is rebuilt from single writes.
const REBUILT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is known of the content at a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum Known {
    /// Nothing stood there.
    Absent,
    /// A directory stood there.
    Directory,
    /// A content that is held under its hash.
    Held(Hash),
    /// A content that is known byte for byte.
    Bytes(Vec<u8>),
    /// What stands at this name now; no event up to this one says otherwise.
    Live(Vec<u8>, Seq),
    /// It cannot be had, and why.
    Missing(String),
}

/// What stood at a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct Stand {
    pub(in super::super) known: Known,
    /// Type, permission bits and owner, where an event tells of them.
    pub(in super::super) access: Option<Access>,
    /// Whether it was made as a symbolic link.
    pub(in super::super) is_link: bool,
}

impl From<Known> for Stand {
    fn from(known: Known) -> Stand {
        Stand {
            known,
            access: None,
            is_link: false,
        }
    }
}

/// Something that happened to a name, or to a directory above it.
pub(super) enum Touch {
    Event(Seq),
    Moved(DirMove),
    /// For a while up to this event, the log cannot say what happened.
    Gap(Seq),
}

impl Touch {
    pub(super) fn seq(&self) -> Seq {
        match self {
            Touch::Event(seq) => *seq,
            Touch::Moved(moved) => moved.seq,
            Touch::Gap(to) => *to,
        }
    }
}

impl DirMove {
    /// Where what stands at `path` after it stood before, if it brought it.
    pub(super) fn origin(&self, path: &[u8]) -> Option<Vec<u8>> {
        let back = moved_along(path, &self.dest, &self.src);
        back.or_else(|| {
            self.is_exchange
                .then(|| moved_along(path, &self.src, &self.dest))?
        })
    }

    /// Where what stood at `path` before it stands after, if it took it away.
    pub(super) fn target(&self, path: &[u8]) -> Option<Vec<u8>> {
        let on = moved_along(path, &self.src, &self.dest);
        on.or_else(|| {
            self.is_exchange
                .then(|| moved_along(path, &self.dest, &self.src))?
        })
    }
}

impl Past {
    /// Everything that may concern `path`, rising; also up to where the index knows.
    pub(super) fn touches(&self, path: &[u8]) -> Result<(Vec<Touch>, Seq), PastError> {
        let mut index = self.index.lock();
        index.catch_up(&self.log)?;
        let events = index.events_of(path).into_iter().map(Touch::Event);
        let moves = index.moves_of(path).into_iter().map(Touch::Moved);
        let gaps: Vec<_> = index.gaps().collect();
        let is_told = |touch: &Touch| {
            !gaps
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&touch.seq()))
        };
        let mut touches: Vec<Touch> = events.chain(moves).filter(is_told).collect();
        touches.extend(gaps.iter().map(|(_, to)| Touch::Gap(*to)));
        touches.sort_by_key(Touch::seq);
        Ok((touches, index.head()))
    }

    /// The event `seq`, when it is a change of an entry.
    pub(super) fn event(&self, seq: Seq) -> Result<Option<Change>, PastError> {
        let mut reader = self.log.reader(Seq(seq.0.saturating_sub(1)), seq);
        match reader.next_chunk(CHUNK_BYTES)? {
            Chunk::Lines(line) => Ok(Change::parse(&line)),
            Chunk::Gap { from, to, .. } => {
                self.index.lock().lost(from, to);
                Err(PastError::Lost)
            }
            Chunk::End => Ok(None),
        }
    }

    /// Asks again when events went away under the question: the next answer knows that they are gone.
    pub(super) fn steadily<T>(
        &self,
        mut ask: impl FnMut() -> Result<T, PastError>,
    ) -> Result<T, PastError> {
        for _ in 1..ASKS_MAX {
            match ask() {
                Err(PastError::Lost) => {}
                answer => return answer,
            }
        }
        ask()
    }

    /// What stood at `path` right after the event `seq`.
    pub(in super::super) fn at(&self, path: &[u8], seq: Seq) -> Result<Stand, PastError> {
        self.steadily(|| self.at_once(path, seq))
    }

    fn at_once(&self, path: &[u8], seq: Seq) -> Result<Stand, PastError> {
        let mut index = self.index.lock();
        index.catch_up(&self.log)?;
        let gap = index.gaps().find(|(from, to)| (*from..=*to).contains(&seq));
        drop(index);
        let is_told = gap.is_none();
        match gap {
            None => {}
            // What happened since is known whole.
            Some((_, to)) if to == seq => {}
            Some(_) => return Ok(Known::Missing(LOST.to_owned()).into()),
        }
        // Most questions are of an event that says the content itself.
        if is_told
            && let Some(change) = self.event(seq)?.filter(|change| change.concerns(path))
            && let After::Content(hash) = change.after(path)
        {
            return Ok(self.held(&hash, &change).into());
        }
        let mut stand = self.stand(path, seq, 0)?;
        let mut name = path.to_vec();
        for _ in 0..RENAMES_MAX {
            if stand.known != Known::Absent {
                break;
            }
            // What came there later stood elsewhere then.
            let Some(origin) = self.came_next(&name, seq)? else {
                break;
            };
            stand = self.stand(&origin, seq, 0)?;
            name = origin;
        }
        Ok(stand)
    }

    /// The bytes of what is known; `None` when there are none.
    pub(in super::super) fn bytes(&self, known: &Known) -> Result<Option<Vec<u8>>, PastError> {
        Ok(match known {
            Known::Held(hash) => self.content.read(hash)?,
            Known::Bytes(bytes) => Some(bytes.clone()),
            Known::Live(path, not_after) => self.present.live(path, *not_after)?,
            Known::Absent | Known::Directory | Known::Missing(_) => None,
        })
    }

    fn held(&self, hash: &Hash, change: &Change) -> Known {
        if self.content.held(hash).is_some() {
            return Known::Held(*hash);
        }
        if blake3::hash(b"").as_bytes() == hash {
            return Known::Bytes(Vec::new());
        }
        let why = change.missing().unwrap_or("not kept, or not any more");
        Known::Missing(why.to_owned())
    }

    fn stand(&self, path: &[u8], seq: Seq, depth: usize) -> Result<Stand, PastError> {
        if depth > RENAMES_MAX {
            return Err(PastError::TooDeep);
        }
        let (touches, head) = self.touches(path)?;
        let split = touches.partition_point(|touch| touch.seq() <= seq);
        let (past, future) = touches.split_at(split);
        let mut is_link = false;
        for (at, touch) in past.iter().enumerate().rev() {
            let change = match touch {
                Touch::Moved(moved) => match moved.origin(path) {
                    Some(origin) => return self.stand(&origin, before(moved.seq), depth + 1),
                    // It went with its directory.
                    None => return Ok(Known::Absent.into()),
                },
                Touch::Gap(..) => break,
                Touch::Event(event) => match self.event(*event)? {
                    Some(change) if change.concerns(path) => change,
                    _ => continue,
                },
            };
            is_link |= change.op == Op::Symlink;
            let known = match change.after(path) {
                After::Same => continue,
                After::Absent => Known::Absent,
                After::Directory => Known::Directory,
                After::Empty => Known::Bytes(Vec::new()),
                After::Content(hash) => self.held(&hash, &change),
                After::From(other) => return self.stand(&other, before(change.seq), depth + 1),
                After::Wrote => match self.rebuilt(path, &past[..=at], depth)? {
                    Some(bytes) => Known::Bytes(bytes),
                    None => break,
                },
            };
            // A content that is not held may still be said by what destroyed it.
            if !matches!(known, Known::Missing(_)) {
                return Ok(Stand {
                    is_link,
                    ..self.with_access(path, known, future)?
                });
            }
            break;
        }
        let stand = self.proven(path, future, head, depth)?;
        Ok(Stand {
            is_link: is_link || stand.is_link,
            ..stand
        })
    }

    /// The name from which the next thing came that stood at `path`, where nothing stood at `seq`.
    fn came_next(&self, path: &[u8], seq: Seq) -> Result<Option<Vec<u8>>, PastError> {
        let (touches, _) = self.touches(path)?;
        let split = touches.partition_point(|touch| touch.seq() <= seq);
        for touch in &touches[split..] {
            match touch {
                Touch::Gap(..) => return Ok(None),
                Touch::Moved(moved) => {
                    if let Some(origin) = moved.origin(path) {
                        return Ok(Some(origin));
                    }
                }
                Touch::Event(event) => {
                    if let Some(change) = self.event(*event)?.filter(|c| c.concerns(path)) {
                        return Ok(match change.before(path) {
                            Before::Came(origin) => origin,
                            _ => None,
                        });
                    }
                }
            }
        }
        Ok(None)
    }

    /// What the first later events say of what they found there.
    fn proven(
        &self,
        path: &[u8],
        future: &[Touch],
        head: Seq,
        depth: usize,
    ) -> Result<Stand, PastError> {
        if depth > RENAMES_MAX {
            return Err(PastError::TooDeep);
        }
        let on = |path: &[u8], from: Seq| -> Result<Stand, PastError> {
            let (touches, head) = self.touches(path)?;
            let split = touches.partition_point(|touch| touch.seq() <= from);
            self.proven(path, &touches[split..], head, depth + 1)
        };
        for touch in future {
            let change = match touch {
                Touch::Moved(moved) => match (moved.target(path), moved.origin(path)) {
                    (Some(target), _) => return on(&target, moved.seq),
                    (None, Some(_)) => return Ok(Known::Absent.into()),
                    (None, None) => continue,
                },
                Touch::Gap(..) => return Ok(Known::Missing(LOST.to_owned()).into()),
                Touch::Event(event) => match self.event(*event)? {
                    Some(change) if change.concerns(path) => change,
                    _ => continue,
                },
            };
            let known = match change.before(path) {
                Before::Same => continue,
                Before::Came(_) => Known::Absent,
                Before::Directory => Known::Directory,
                Before::Content(hash) => self.held(&hash, &change),
                Before::Went(other) => return on(&other, change.seq),
                Before::Unknown => Known::Missing(match change.missing() {
                    Some(why) => why.to_owned(),
                    None => "it was being written, and not closed since".to_owned(),
                }),
            };
            return Ok(Stand {
                access: change.access(),
                ..known.into()
            });
        }
        Ok(Known::Live(path.to_vec(), head).into())
    }

    /// Adds what the next event that takes it away says of its permissions.
    fn with_access(&self, path: &[u8], known: Known, future: &[Touch]) -> Result<Stand, PastError> {
        // A person's question is about a few; what is listed asks for none of it.
        const LOOKS_MAX: usize = 64;
        for touch in future.iter().take(LOOKS_MAX) {
            if let Touch::Event(event) = touch
                && let Some(change) = self.event(*event)?.filter(|c| c.concerns(path))
                && !matches!(change.before(path), Before::Same)
            {
                return Ok(Stand {
                    access: change.access(),
                    ..known.into()
                });
            }
        }
        Ok(known.into())
    }

    /// The content after the last of `past`, from the last one that is known and the writes since; `None` when one of
    /// them was not kept.
    fn rebuilt(
        &self,
        path: &[u8],
        past: &[Touch],
        depth: usize,
    ) -> Result<Option<Vec<u8>>, PastError> {
        let mut writes = Vec::new();
        let mut base = None;
        for touch in past.iter().rev() {
            let Touch::Event(event) = touch else {
                return Ok(None);
            };
            let Some(change) = self.event(*event)?.filter(|c| c.concerns(path)) else {
                continue;
            };
            match change.after(path) {
                After::Same => continue,
                After::Empty => base = Some(Vec::new()),
                After::Content(hash) => base = self.content.read(&hash)?,
                After::From(other) => {
                    let stand = self.stand(&other, before(change.seq), depth + 1)?;
                    base = self.bytes(&stand.known)?;
                }
                After::Wrote if matches!(change.op, Op::Write | Op::Copy | Op::Truncate) => {
                    if change.op != Op::Truncate && change.hash("data_blake3").is_none() {
                        return Ok(None);
                    }
                    let found = change.hash("prev_blake3");
                    writes.push(change);
                    match found {
                        Some(hash) => base = self.content.read(&hash)?,
                        None => continue,
                    }
                }
                After::Wrote | After::Absent | After::Directory => return Ok(None),
            }
            break;
        }
        let Some(mut bytes) = base else {
            return Ok(None);
        };
        for change in writes.iter().rev() {
            if !self.apply(&mut bytes, change)? {
                return Ok(None);
            }
        }
        Ok(Some(bytes))
    }

    /// Does to `bytes` what a write or a truncate did to the file.
    fn apply(&self, bytes: &mut Vec<u8>, change: &Change) -> Result<bool, PastError> {
        let size = change.number("size").unwrap_or(u64::MAX);
        let Ok(length) = usize::try_from(size.min(REBUILT_BYTES_MAX + 1)) else {
            return Ok(false);
        };
        if size > REBUILT_BYTES_MAX {
            return Ok(false);
        }
        bytes.resize(length, 0);
        if change.op == Op::Truncate {
            return Ok(true);
        }
        let data = match change.hash("data_blake3") {
            Some(hash) => self.content.read(&hash)?,
            None => None,
        };
        let offset = change
            .number("offset")
            .and_then(|at| usize::try_from(at).ok());
        let (Some(data), Some(offset)) = (data, offset) else {
            return Ok(false);
        };
        match bytes.get_mut(offset..offset.saturating_add(data.len())) {
            Some(place) => place.copy_from_slice(&data),
            None => return Ok(false),
        }
        Ok(true)
    }
}

fn before(seq: Seq) -> Seq {
    Seq(seq.0.saturating_sub(1))
}

//! What was found becomes events, and the catalog follows each at once, so that a log that refuses one in the middle
//! leaves a catalog that still differs from the disk in exactly what was not recorded.

use crate::backing::Attr;
use crate::event::{Event, EventType, MissingContent, Op, Replaced, Seq, Source};
use crate::event_log::Purpose;

use super::super::catalog::{Hash, State};
use super::super::reach::Tracked;
use super::super::{RecordError, Recorder};
use super::decide::{Elsewhere, Place, Sight, Verdict, appeared};
use super::{Observed, Stale};

/// One name under observation, with the locks held.
pub(super) struct Finding<'a> {
    pub(super) recorder: &'a Recorder,
    pub(super) tracked: &'a Tracked,
    pub(super) dir: u64,
    pub(super) name: &'a [u8],
    pub(super) source: Source,
    /// Why the content of what stands there is not kept.
    pub(super) missing: Option<MissingContent>,
    /// What waits for it to be recorded.
    pub(super) purpose: Purpose,
}

impl Finding<'_> {
    /// Does what `verdict` on `sight` asks for.
    pub(super) fn act(&self, sight: &Sight, verdict: Verdict) -> Result<Observed, RecordError> {
        let mut observed = Observed::default();
        match (verdict, &sight.known, &sight.found) {
            (Verdict::Same, Some((key, state)), Some(_)) => {
                if let Some(hash) = sight.hash {
                    self.tracked.catalog.set_hash(*key, state, hash);
                }
            }
            (Verdict::Learn, _, Some(attr)) => self.learn(sight, attr, &mut observed),
            (Verdict::Modified { content }, Some((key, state)), Some(attr)) => {
                self.modified((*key, state), attr, (content, sight.hash), &mut observed)?;
            }
            (Verdict::Created, _, Some(attr)) => self.created(sight, attr, &mut observed)?,
            (Verdict::Moved(from), _, Some(attr)) => {
                self.moved(&from, sight, attr, None, &mut observed)?;
            }
            (Verdict::Deleted, Some((key, _)), _) => self.deleted(*key, &mut observed)?,
            (Verdict::Replaced, Some(known), Some(attr)) => {
                self.replaced(known, sight, attr, &mut observed)?;
            }
            (Verdict::Missing, _, found) => {
                observed.missing = true;
                observed.replaced = found.is_some();
            }
            // Nothing stands there and nothing was known to.
            _ => {}
        }
        Ok(observed)
    }

    /// The directory itself, of which only permissions and owner are compared.
    pub(super) fn itself(
        &self,
        key: u64,
        state: &State,
        attr: &Attr,
    ) -> Result<Observed, RecordError> {
        let mut observed = Observed::default();
        if !state.difference(attr).is_none() {
            self.modified((key, state), attr, (false, None), &mut observed)?;
        }
        Ok(observed)
    }

    /// The catalog follows without an event.
    fn learn(&self, sight: &Sight, attr: &Attr, observed: &mut Observed) {
        let catalog = &self.tracked.catalog;
        let before = catalog.state(catalog.key_of(&attr.identity));
        let before = before.filter(|state| state.is_of(attr));
        let (hash, seq) = before.map_or((None, Seq(0)), |state| (state.hash, state.seq));
        let state = State::of(attr, sight.hash.or(hash), seq);
        let known = before.is_some();
        let key = catalog.put(self.dir, self.name, &state);
        if attr.is_directory() && !known {
            observed.descend = Some(key);
        }
    }

    fn modified(
        &self,
        (key, state): (u64, &State),
        attr: &Attr,
        (content, hash): (bool, Option<Hash>),
        observed: &mut Observed,
    ) -> Result<(), RecordError> {
        let event = Event {
            blake3: hash,
            prev_blake3: state.hash,
            ..self.found(EventType::Modified, self.path(), attr)
        };
        let seq = self.note(&event)?;
        let kept = state.hash.filter(|_| !content);
        let now = State::of(attr, hash.or(kept), seq);
        self.tracked.catalog.set(&now);
        observed.found += 1;
        observed.invalidate.push(Stale {
            parent: self.dir,
            name: self.name.to_vec(),
            ino: Some(key),
            content: content && !state.tells(attr),
            entry: false,
        });
        Ok(())
    }

    fn created(
        &self,
        sight: &Sight,
        attr: &Attr,
        observed: &mut Observed,
    ) -> Result<(), RecordError> {
        let catalog = &self.tracked.catalog;
        let linked = catalog.state(catalog.key_of(&attr.identity));
        let linked = linked.filter(|_| sight.elsewhere == Elsewhere::Linked);
        if let Some(state) = &linked {
            self.changed_elsewhere(state, attr, sight.hash, &mut *observed)?;
        }
        // A further name changes nothing of the content.
        let same = linked.filter(|state| !state.difference(attr).content);
        let hash = sight.hash.or(same.and_then(|state| state.hash));
        let event = Event {
            blake3: hash,
            ..self.found(EventType::Created, self.path(), attr)
        };
        let seq = self.note(&event)?;
        let key = self.stands_here(attr, hash, seq);
        if attr.is_directory() {
            // It came as a whole: whatever is in it has come with it.
            catalog.set_listed(key, true);
            observed.descend = Some(key);
        }
        observed.found += 1;
        observed.invalidate.push(self.stale_name(None));
        Ok(())
    }

    /// What changed of an entry besides its getting a further name here is told of a name it had before.
    fn changed_elsewhere(
        &self,
        state: &State,
        attr: &Attr,
        hash: Option<Hash>,
        observed: &mut Observed,
    ) -> Result<(), RecordError> {
        let catalog = &self.tracked.catalog;
        let key = catalog.key_of(&attr.identity);
        let difference = state.difference(attr);
        let place = catalog.places(key).into_iter().next();
        if let Some((dir, name)) = place.filter(|_| difference.content || difference.attributes) {
            let there = Finding {
                dir,
                name: &name,
                ..*self
            };
            there.modified((key, state), attr, (difference.content, hash), observed)?;
        }
        Ok(())
    }

    fn moved(
        &self,
        from: &Place,
        sight: &Sight,
        attr: &Attr,
        over: Option<&(u64, State)>,
        observed: &mut Observed,
    ) -> Result<(), RecordError> {
        let catalog = &self.tracked.catalog;
        let key = catalog.key_of(&attr.identity);
        let before = catalog.state(key);
        let difference = before.map(|state| state.difference(attr));
        let changed = difference.is_some_and(|d| d.content || d.attributes);
        let kept = before.and_then(|state| state.hash).filter(|_| !changed);
        let hash = sight.hash.or(kept);
        let event = Event {
            dest_path: Some(self.path()),
            blake3: hash,
            prev_blake3: before.and_then(|state| state.hash),
            replaced: over.map(|(_, state)| replaced_of(state)),
            ..self.found(EventType::Moved, self.tracked.path_of(from), attr)
        };
        let seq = self.note(&event)?;
        catalog.rename(key, (from.0, &from.1), (self.dir, self.name));
        self.stands_here(attr, hash, seq);
        observed.found += 1;
        observed.invalidate.push(Stale {
            parent: from.0,
            name: from.1.clone(),
            ino: Some(key),
            content: false,
            entry: true,
        });
        observed.invalidate.push(self.stale_name(over.map(|o| o.0)));
        if attr.is_directory() {
            observed.descend = Some(key);
        }
        let content = hash.is_none() || before.and_then(|state| state.hash) != hash;
        if changed && !attr.is_directory() {
            // Not only its name: the same observation, of the entry that stands here now.
            let state = State::of(attr, before.and_then(|s| s.hash), seq);
            self.modified((key, &state), attr, (content, sight.hash), observed)?;
        }
        Ok(())
    }

    /// What is known at this name is gone, with all that is known below it: children first.
    fn deleted(&self, key: u64, observed: &mut Observed) -> Result<(), RecordError> {
        let top = (self.dir, self.name.to_vec(), key);
        let mut open = vec![(top, false)];
        while let Some(((dir, name, key), entered)) = open.pop() {
            let Some(state) = self.tracked.catalog.state(key) else {
                self.tracked.catalog.remove(dir, &name);
                continue;
            };
            if state.is_directory() && !entered {
                let below = self.tracked.catalog.names(key);
                open.push(((dir, name, key), true));
                open.extend(
                    below
                        .into_iter()
                        .map(|(name, child)| ((key, name, child), false)),
                );
                continue;
            }
            let place = (dir, name);
            let event = Event {
                is_directory: state.is_directory(),
                ino: Some(state.identity.ino),
                size: Some(state.size),
                prev_blake3: state.hash,
                access: state.access(),
                src_path: Some(self.tracked.path_of(&place)),
                ..Event::new(EventType::Deleted, Some(Op::Found), self.source)
            };
            self.note(&event)?;
            self.tracked.catalog.remove(place.0, &place.1);
            observed.found += 1;
            observed.invalidate.push(Stale {
                parent: place.0,
                name: place.1,
                ino: Some(key),
                content: false,
                entry: true,
            });
        }
        Ok(())
    }

    /// Another entry stands where the known one stood, which nobody has seen elsewhere.
    fn replaced(
        &self,
        known: &(u64, State),
        sight: &Sight,
        attr: &Attr,
        observed: &mut Observed,
    ) -> Result<(), RecordError> {
        if known.1.is_directory() || attr.is_directory() {
            self.deleted(known.0, observed)?;
            let verdict = appeared(sight);
            let rest = self.act(
                &Sight {
                    known: None,
                    ..sight.clone()
                },
                verdict,
            )?;
            observed.add(rest);
            return Ok(());
        }
        if let Elsewhere::Left(from) = &sight.elsewhere {
            return self.moved(from, sight, attr, Some(known), observed);
        }
        let event = Event {
            blake3: sight.hash,
            prev_blake3: known.1.hash,
            replaced: Some(replaced_of(&known.1)),
            ..self.found(EventType::Modified, self.path(), attr)
        };
        let seq = self.note(&event)?;
        self.stands_here(attr, sight.hash, seq);
        observed.found += 1;
        observed.invalidate.push(self.stale_name(Some(known.0)));
        Ok(())
    }

    /// The entry that `attr` is of stands at this name.
    fn stands_here(&self, attr: &Attr, hash: Option<Hash>, seq: Seq) -> u64 {
        let state = State::of(attr, hash, seq);
        self.tracked.catalog.put(self.dir, self.name, &state)
    }

    fn stale_name(&self, before: Option<u64>) -> Stale {
        Stale {
            parent: self.dir,
            name: self.name.to_vec(),
            ino: before,
            content: false,
            entry: true,
        }
    }

    fn note(&self, event: &Event) -> Result<Seq, RecordError> {
        self.recorder.note_for(event, self.purpose)
    }

    fn path(&self) -> Vec<u8> {
        self.tracked.path_at(self.dir, self.name)
    }

    fn found(&self, event_type: EventType, path: Vec<u8>, attr: &Attr) -> Event {
        Event {
            src_path: Some(path),
            is_directory: attr.is_directory(),
            ino: Some(attr.identity.ino),
            size: Some(attr.size),
            content_missing: self.missing,
            ..Event::new(event_type, Some(Op::Found), self.source)
        }
    }
}

impl Tracked {
    pub(super) fn path_of(&self, place: &Place) -> Vec<u8> {
        self.path_at(place.0, &place.1)
    }

    /// Path of `name` in the directory `dir`; the directory itself for `.`.
    pub(in super::super) fn path_at(&self, dir: u64, name: &[u8]) -> Vec<u8> {
        let mut path = self.catalog.path(dir).unwrap_or_default();
        if name == b"." {
            return path;
        }
        if dir == self.catalog.root() {
            path.clear();
        } else {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }
}

fn replaced_of(state: &State) -> Replaced {
    Replaced {
        ino: state.identity.ino,
        size: state.size,
        blake3: state.hash,
        access: state.access(),
    }
}

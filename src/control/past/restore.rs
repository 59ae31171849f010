//! Putting the past back: planned whole, then done entry by entry, each in one step; when one of them cannot be done,
//! everything done before it is taken back, from the contents that were kept when it was done.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;

use crate::event::{Access, Caller, Seq};

use super::answer::{Moment, kind_word, selects, text_of};
use super::content::Known;
use super::tree::Tree;
use super::{EntryKind, Past, PastError, Returned};
use crate::control::error::Reject;

/// Problems of a plan that are told one by one.
const PROBLEMS_MAX: usize = 10;

/// What is to be put back.
#[derive(Clone, Debug)]
pub(in super::super) struct RestoreQuery {
    /// A file, a directory with all below it, or a glob.
    pub(in super::super) path: String,
    /// As of when.
    pub(in super::super) at: Moment,
    /// Whether it is only told what would be done.
    pub(in super::super) dry_run: bool,
    /// Whether what came since is removed.
    pub(in super::super) delete: bool,
}

/// The reply of work that goes on, line by line.
#[derive(Default)]
pub(in super::super) struct Work {
    lines: Mutex<VecDeque<String>>,
    done: std::sync::atomic::AtomicBool,
}

/// What is next in the reply.
pub(in super::super) enum Said {
    Lines(String),
    Later(Instant),
    End,
}

impl Work {
    fn say(&self, line: impl Into<String>) {
        self.lines.lock().push_back(line.into());
    }

    fn end(&self) {
        self.done.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Whether there is something to read.
    pub(in super::super) fn is_ready(&self) -> bool {
        !self.lines.lock().is_empty() || self.done.load(std::sync::atomic::Ordering::Acquire)
    }

    /// When to look for it.
    pub(in super::super) fn look_at(&self) -> Instant {
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        Instant::now() + LOOK_EVERY
    }

    /// What has been said since.
    pub(in super::super) fn next(&self) -> Said {
        let done = self.done.load(std::sync::atomic::Ordering::Acquire);
        let said: String = self.lines.lock().drain(..).collect();
        match (said.is_empty(), done) {
            (false, _) => Said::Lines(said),
            (true, true) => Said::End,
            (true, false) => Said::Later(self.look_at()),
        }
    }
}

/// One entry of a plan.
struct Item {
    path: Vec<u8>,
    kind: EntryKind,
    known: Known,
    access: Option<Access>,
    is_new: bool,
}

/// What was done and may have to be taken back.
struct Done {
    path: Vec<u8>,
    /// What stood there before.
    was: Option<EntryKind>,
}

/// Begins a restore on a thread of its own.
pub(in super::super) fn begin(
    past: &Arc<Past>,
    query: RestoreQuery,
    caller: Arc<Caller>,
) -> Result<Arc<Work>, Reject> {
    let busy = || {
        let hint = "ask again when it is done; its reply tells";
        Reject::new("busy", "another restore is under way", hint)
    };
    let work = Arc::new(Work::default());
    let (own, past) = (Arc::clone(&work), Arc::clone(past));
    if past.restoring.is_locked() {
        return Err(busy());
    }
    let spawned = std::thread::Builder::new()
        .name("restore".into())
        .spawn(move || {
            match past.restoring.try_lock() {
                Some(_one) => past.restore(&query, &caller, &own),
                None => own.say(busy().line()),
            }
            own.end();
        });
    spawned.map_err(|error| Reject::new("busy", error.to_string(), "see the system's limits"))?;
    Ok(work)
}

impl Past {
    fn restore(&self, query: &RestoreQuery, caller: &Arc<Caller>, work: &Work) {
        let before = self.log.head();
        let outcome = self
            .position_of(query.at)
            .and_then(|at| self.plan(query, at).map(|plan| (at, plan)));
        let (at, (items, extra, problems)) = match outcome {
            Ok(planned) => planned,
            Err(error) => return work.say(super::answer::failure(&error)),
        };
        if !problems.is_empty() {
            let message = format!("not everything can be put back: {}", problems.join("; "));
            let hint = "nothing was done; choose another moment, or single files";
            return work.say(Reject::new("missing", message, hint).line());
        }
        let mut done = Vec::new();
        let outcome = self.carry_out(
            (&items, &extra),
            (at, query.dry_run),
            caller,
            (work, &mut done),
        );
        match outcome {
            Ok((restored, unchanged, removed)) => {
                let line = json!({
                    "restored": restored, "unchanged": unchanged, "removed": removed,
                    "at": at.0, "from": before.0, "head": self.log.head().0,
                });
                work.say(format!("{line}\n"));
            }
            Err((path, error)) => {
                let taken_back = self.take_back(&done, before, caller);
                let shown = String::from_utf8_lossy(&path);
                let message = format!("{shown}: {error}; {taken_back}");
                work.say(
                    Reject::new("failed", message, "see the disk and what stands there").line(),
                );
            }
        }
    }

    /// What is to be put back, in order; what is to be removed, in order; and why it cannot be done.
    #[allow(clippy::type_complexity)]
    fn plan(
        &self,
        query: &RestoreQuery,
        at: Seq,
    ) -> Result<(Vec<Item>, Vec<(Vec<u8>, EntryKind)>, Vec<String>), PastError> {
        let (tree, gone) = self.tree_at(at)?;
        let present = self.present_tree();
        let (mut items, mut problems, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
        for (path, what) in &tree {
            if !selects(&query.path, path) || path == b"." {
                continue;
            }
            let stand = self.at(path, at)?;
            let kind = if stand.is_link {
                EntryKind::Symlink
            } else {
                what.kind
            };
            match &stand.known {
                _ if kind == EntryKind::Directory => {}
                Known::Missing(why) if problems.len() < PROBLEMS_MAX => {
                    problems.push(format!("{}: {why}", String::from_utf8_lossy(path)));
                }
                Known::Held(hash) if !self.is_same(path, hash)? => match self.content.read(hash)? {
                    Some(content) => bytes += content.len() as u64,
                    None => problems.push(format!("{}: not held", String::from_utf8_lossy(path))),
                },
                _ => {}
            }
            items.push(Item {
                path: path.clone(),
                kind,
                known: stand.known,
                access: what.access.or(stand.access),
                is_new: !present.contains_key(path),
            });
        }
        if items.is_empty() {
            let lost = if gone {
                "; the log does not reach back so far"
            } else {
                ""
            };
            problems.push(format!("{}: nothing stood there{lost}", query.path));
        }
        if bytes > self.present.room() {
            problems.push(format!(
                "{bytes} bytes are needed, and the disk has {} left",
                self.present.room()
            ));
        }
        Ok((items, extra(query, &tree, &present), problems))
    }

    fn is_same(&self, path: &[u8], hash: &[u8; 32]) -> Result<bool, PastError> {
        match self.at(path, self.log.head())?.known {
            Known::Held(now) => Ok(now == *hash),
            _ => Ok(false),
        }
    }

    #[allow(clippy::type_complexity)]
    fn carry_out(
        &self,
        (items, extra): (&[Item], &[(Vec<u8>, EntryKind)]),
        (at, dry_run): (Seq, bool),
        caller: &Arc<Caller>,
        (work, done): (&Work, &mut Vec<Done>),
    ) -> Result<(u64, u64, u64), (Vec<u8>, String)> {
        let (mut restored, mut unchanged, mut removed) = (0, 0, 0);
        let present = |path: &[u8]| self.at(path, self.log.head()).map(|stand| stand.known);
        for item in items {
            let failed = |error: &dyn std::fmt::Display| (item.path.clone(), error.to_string());
            let same = match &item.known {
                Known::Live(_) => true,
                Known::Directory => !item.is_new,
                known => present(&item.path).map_err(|e| failed(&e))? == *known && !item.is_new,
            };
            if same || matches!(item.known, Known::Absent) {
                unchanged += 1;
                continue;
            }
            let word = match (item.is_new, dry_run) {
                (true, false) => "created",
                (false, false) => "restored",
                (_, true) => "would_restore",
            };
            if !dry_run {
                let bytes = self
                    .bytes(&item.path, &item.known)
                    .map_err(|e| failed(&e))?;
                let returned = Returned {
                    kind: item.kind,
                    content: bytes.as_deref().unwrap_or_default(),
                    access: item.access,
                    at,
                };
                let put = self.present.put_back(&item.path, &returned, caller);
                put.map_err(|error| failed(&error))?;
                done.push(Done {
                    path: item.path.clone(),
                    was: (!item.is_new).then_some(item.kind),
                });
            }
            restored += 1;
            work.say(line(&item.path, item.kind, word));
        }
        for (path, kind) in extra {
            if !dry_run {
                let taken = self.present.take_away(path, caller);
                taken.map_err(|error| (path.clone(), error.to_string()))?;
                done.push(Done {
                    path: path.clone(),
                    was: Some(*kind),
                });
            }
            removed += 1;
            work.say(line(
                path,
                *kind,
                if dry_run { "would_remove" } else { "removed" },
            ));
        }
        Ok((restored, unchanged, removed))
    }

    /// Makes everything that was done undone, the last first; says how that went.
    fn take_back(&self, done: &[Done], before: Seq, caller: &Arc<Caller>) -> String {
        let mut left = 0_u64;
        for step in done.iter().rev() {
            let outcome = match step.was {
                None => self.present.take_away(&step.path, caller),
                Some(kind) => self.put_as_of(&step.path, kind, before, caller),
            };
            left += u64::from(outcome.is_err());
        }
        match left {
            0 => "everything is as it was before".to_owned(),
            left => format!("{left} entries could not be taken back: restore them as of {before}"),
        }
    }

    fn put_as_of(
        &self,
        path: &[u8],
        kind: EntryKind,
        at: Seq,
        caller: &Arc<Caller>,
    ) -> io::Result<()> {
        let stand = self.at(path, at).map_err(io::Error::other)?;
        let bytes = self.bytes(path, &stand.known).map_err(io::Error::other)?;
        let returned = Returned {
            kind,
            content: bytes.as_deref().unwrap_or_default(),
            access: stand.access,
            at,
        };
        self.present.put_back(path, &returned, caller)
    }
}

/// What came since and goes, what is in a directory before the directory.
fn extra(query: &RestoreQuery, tree: &Tree, present: &Tree) -> Vec<(Vec<u8>, EntryKind)> {
    if !query.delete {
        return Vec::new();
    }
    let came = present.iter().rev().filter(|(path, _)| {
        selects(&query.path, path) && !tree.contains_key(*path) && path.as_slice() != b"."
    });
    came.map(|(path, what)| (path.clone(), what.kind)).collect()
}

fn line(path: &[u8], kind: EntryKind, action: &str) -> String {
    let line = json!({"path": text_of(path), "type": kind_word(kind), "action": action});
    format!("{line}\n")
}

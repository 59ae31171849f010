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

/// What is done, in this order.
#[derive(Default)]
struct Plan {
    /// What stands where something of another kind is to stand, what is in a directory before the directory.
    in_the_way: Vec<(Vec<u8>, EntryKind)>,
    items: Vec<Item>,
    /// What came since, in the same order.
    extra: Vec<(Vec<u8>, EntryKind)>,
    /// Why it cannot be done.
    problems: Vec<String>,
}

/// How many of each.
#[derive(Default)]
struct Counts {
    restored: u64,
    unchanged: u64,
    removed: u64,
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
        let planned = self.position_of(query.at).and_then(|at| {
            self.steadily(|| self.plan(query, at))
                .map(|plan| (at, plan))
        });
        let (at, plan) = match planned {
            Ok(planned) => planned,
            Err(error) => return work.say(super::answer::failure(&error)),
        };
        if !plan.problems.is_empty() {
            let message = format!(
                "not everything can be put back: {}",
                plan.problems.join("; ")
            );
            let hint = "nothing was done; choose another moment, or single files";
            return work.say(Reject::new("missing", message, hint).line());
        }
        let mut done = Vec::new();
        match self.carry_out(&plan, (at, query.dry_run), caller, (work, &mut done)) {
            Ok(counts) => {
                let line = json!({
                    "restored": counts.restored, "unchanged": counts.unchanged, "removed": counts.removed,
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

    fn plan(&self, query: &RestoreQuery, at: Seq) -> Result<Plan, PastError> {
        let tree = self.tree_at(at)?;
        let present = self.present_tree();
        let mut plan = Plan::default();
        let mut bytes = 0_u64;
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
                Known::Missing(why) if plan.problems.len() < PROBLEMS_MAX => {
                    plan.problems
                        .push(format!("{}: {why}", String::from_utf8_lossy(path)));
                }
                Known::Held(hash) if !self.is_same(path, hash)? => match self.content.read(hash)? {
                    Some(content) => bytes += content.len() as u64,
                    None => plan
                        .problems
                        .push(format!("{}: not held", String::from_utf8_lossy(path))),
                },
                _ => {}
            }
            let now = present.get(path).map(|what| what.kind);
            let other = now.filter(|now| is_directory(*now) != is_directory(kind));
            if let Some(other) = other.filter(|_| query.delete) {
                plan.in_the_way.extend(whole(&present, path, other));
            }
            plan.items.push(Item {
                path: path.clone(),
                kind,
                known: stand.known,
                access: what.access.or(stand.access),
                is_new: now.is_none() || (other.is_some() && query.delete),
            });
        }
        if plan.items.is_empty() {
            plan.problems
                .push(format!("{}: nothing stood there", query.path));
        }
        if bytes > self.present.room() {
            plan.problems.push(format!(
                "{bytes} bytes are needed, and the disk has {} left",
                self.present.room()
            ));
        }
        plan.extra = extra(query, &tree, &present);
        plan.extra
            .retain(|(path, _)| !plan.in_the_way.iter().any(|(gone, _)| gone == path));
        // A directory that went with all below it takes the new place of none of it.
        for item in &mut plan.items {
            item.is_new |= plan.in_the_way.iter().any(|(gone, _)| *gone == item.path);
        }
        Ok(plan)
    }

    fn is_same(&self, path: &[u8], hash: &[u8; 32]) -> Result<bool, PastError> {
        match self.at(path, self.log.head())?.known {
            Known::Held(now) => Ok(now == *hash),
            _ => Ok(false),
        }
    }

    fn carry_out(
        &self,
        plan: &Plan,
        (at, dry_run): (Seq, bool),
        caller: &Arc<Caller>,
        (work, done): (&Work, &mut Vec<Done>),
    ) -> Result<Counts, (Vec<u8>, String)> {
        let mut counts = Counts::default();
        let mut remove = |path: &Vec<u8>, kind: EntryKind, done: &mut Vec<Done>| {
            if !dry_run {
                let taken = self.present.take_away(path, caller);
                taken.map_err(|error| (path.clone(), error.to_string()))?;
                done.push(Done {
                    path: path.clone(),
                    was: Some(kind),
                });
            }
            counts.removed += 1;
            let word = if dry_run { "would_remove" } else { "removed" };
            work.say(line(path, kind, word));
            Ok(())
        };
        for (path, kind) in &plan.in_the_way {
            remove(path, *kind, done)?;
        }
        let (mut restored, mut unchanged) = (0, 0);
        for item in &plan.items {
            let failed = |error: &dyn std::fmt::Display| (item.path.clone(), error.to_string());
            if self.is_as_it_was(item).map_err(|error| failed(&error))? {
                unchanged += 1;
                continue;
            }
            let word = match (item.is_new, dry_run) {
                (true, false) => "created",
                (false, false) => "restored",
                (_, true) => "would_restore",
            };
            if !dry_run {
                self.put_item(item, at, caller)
                    .map_err(|error| failed(&error))?;
                done.push(Done {
                    path: item.path.clone(),
                    was: (!item.is_new).then_some(item.kind),
                });
            }
            restored += 1;
            work.say(line(&item.path, item.kind, word));
        }
        for (path, kind) in &plan.extra {
            remove(path, *kind, done)?;
        }
        counts.restored = restored;
        counts.unchanged = unchanged;
        Ok(counts)
    }

    fn is_as_it_was(&self, item: &Item) -> Result<bool, PastError> {
        Ok(match &item.known {
            Known::Absent => true,
            _ if item.is_new => false,
            Known::Directory => true,
            Known::Live(path, _) if *path == item.path => true,
            known => self.at(&item.path, self.log.head())?.known == *known,
        })
    }

    fn content_for(&self, kind: EntryKind, known: &Known) -> io::Result<Vec<u8>> {
        if is_directory(kind) {
            return Ok(Vec::new());
        }
        let bytes = self.bytes(known).map_err(io::Error::other)?;
        bytes.ok_or_else(|| io::Error::other("its content cannot be had any more"))
    }

    fn put_item(&self, item: &Item, at: Seq, caller: &Arc<Caller>) -> io::Result<()> {
        let content = self.content_for(item.kind, &item.known)?;
        let returned = Returned {
            kind: item.kind,
            content: &content,
            access: item.access,
            at,
        };
        self.present.put_back(&item.path, &returned, caller)
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
        let content = self.content_for(kind, &stand.known)?;
        let returned = Returned {
            kind,
            content: &content,
            access: stand.access,
            at,
        };
        self.present.put_back(path, &returned, caller)
    }
}

fn is_directory(kind: EntryKind) -> bool {
    kind == EntryKind::Directory
}

/// What stands at `path`, which is of `kind`, and all below it, what is in a directory before the directory.
fn whole(present: &Tree, path: &[u8], kind: EntryKind) -> Vec<(Vec<u8>, EntryKind)> {
    let below = [path, b"/"].concat();
    let names = present
        .range(below.clone()..)
        .take_while(|(name, _)| name.starts_with(&below));
    let mut whole: Vec<_> = names
        .map(|(name, what)| (name.clone(), what.kind))
        .collect();
    whole.reverse();
    whole.push((path.to_vec(), kind));
    whole
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

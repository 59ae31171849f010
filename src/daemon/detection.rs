//! Brings together what is of the same rank: the requests of the control directory and the detection that carries
//! them out. Work that takes its time has a thread of its own, so that nothing waits that others need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::json;

use crate::content::Content;
use crate::control::{Detection, DetectionFigures, Failed, Promise, ScanFigures};
use crate::detect::{Detect, ReconcileError, Scanned};
use crate::event_log::EventLog;

/// Requests under way at once, each with a thread that waits: more than any number of sessions ask for by design.
const UNDER_WAY_MAX: usize = 64;

/// Detection for the control directory.
pub(super) struct Desk {
    pub(super) detect: Detect,
    pub(super) log: EventLog,
    content: Content,
    under_way: Arc<AtomicUsize>,
}

impl Desk {
    pub(super) fn new(detect: Detect, log: EventLog, content: Content) -> Desk {
        Desk {
            detect,
            log,
            content,
            under_way: Arc::default(),
        }
    }

    /// Does `work` on a thread of its own and answers with what it gives.
    fn begin(
        &self,
        work: impl FnOnce(&Detect, &EventLog) -> Result<String, Failed> + Send + 'static,
    ) -> Arc<Promise> {
        if self.under_way.fetch_add(1, SeqCst) >= UNDER_WAY_MAX {
            self.under_way.fetch_sub(1, SeqCst);
            return Promise::kept(Err(failed("busy", "too much is under way", "ask again")));
        }
        let promise = Arc::new(Promise::default());
        let own = Arc::clone(&promise);
        let under_way = Arc::clone(&self.under_way);
        let (detect, log) = (self.detect.clone(), self.log.clone());
        let spawned = std::thread::Builder::new()
            .name("request".into())
            .spawn(move || {
                own.keep(work(&detect, &log));
                under_way.fetch_sub(1, SeqCst);
            });
        if let Err(error) = spawned {
            self.under_way.fetch_sub(1, SeqCst);
            promise.keep(Err(failed("busy", error, "see the system's limits")));
        }
        promise
    }
}

impl Detection for Desk {
    fn figures(&self) -> DetectionFigures {
        let figures = self.detect.figures();
        DetectionFigures {
            mode: figures.mode.word(),
            reason: figures.reason,
            covered: figures.covered,
            watches: figures.watches,
            overflows: figures.overflows,
            last_event: figures.last_event,
            missed: figures.missed,
            scan_interval: figures.scan_interval,
            last_scan: figures.last_scan.as_ref().map(scan),
            fixes: figures.fixes,
            latency: figures.latency,
        }
    }

    fn sync(&self) -> Arc<Promise> {
        self.begin(|detect, log| {
            detect
                .settle()
                .map_err(|ended| failed("ended", ended, "mount it again"))?;
            // An operation's event is in the log before its call returns, and what bypassed the mount is there now.
            let head = log.head();
            let durable = log
                .sync()
                .map_err(|error| failed("log", error, "`status` says why, and when it is over"))?;
            Ok(format!("{{\"head\":{head},\"durable\":{durable}}}\n"))
        })
    }

    fn reconcile(&self, path: &str, full: bool) -> Arc<Promise> {
        let path = path.to_owned();
        self.begin(
            move |detect, log| match detect.reconcile(path.as_bytes(), full) {
                Ok(scanned) => Ok(report(&path, full, &scanned, log)),
                Err(error @ ReconcileError::NotFound) => Err(failed(
                    "not_found",
                    error,
                    "give a path relative to the mount's root",
                )),
                Err(error @ ReconcileError::Refused) => Err(failed(
                    "log",
                    error,
                    "`status` says why, and when it is over",
                )),
                Err(error @ ReconcileError::Ended) => Err(failed("ended", error, "mount it again")),
            },
        )
    }

    fn verify(&self) -> Arc<Promise> {
        let content = self.content.clone();
        self.begin(move |_, log| {
            let found = content
                .verify(log.oldest())
                .map_err(|error| failed("content", error, "see the disk"))?;
            let report = json!({
                "objects": found.objects,
                "bytes": found.bytes,
                "problem_count": found.problem_count,
                "problems": found.problems,
                "head": log.head().0,
            });
            Ok(format!("{report}\n"))
        })
    }
}

fn report(path: &str, full: bool, scanned: &Scanned, log: &EventLog) -> String {
    let report = json!({
        "path": path,
        "full": full,
        "found": scanned.found,
        "files": scanned.files,
        "directories": scanned.directories,
        "unreadable": scanned.unreadable,
        "duration_s": (scanned.took.as_secs_f64() * 1e6).round() / 1e6,
        "head": log.head().0,
    });
    format!("{report}\n")
}

fn scan(scanned: &Scanned) -> ScanFigures {
    ScanFigures {
        ended: scanned.ended,
        took: scanned.took,
        directories: scanned.directories,
        files: scanned.files,
        found: scanned.found,
        unreadable: scanned.unreadable,
    }
}

fn failed(code: &'static str, message: impl ToString, hint: &str) -> Failed {
    Failed {
        code,
        message: message.to_string(),
        hint: hint.to_owned(),
    }
}

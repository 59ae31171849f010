//! The numbers of the running mount, gathered once and shown as one JSON object here and as Prometheus text in
//! `metrics`. What this version does not measure is said to be off or null, never made up.

use serde_json::{Map, Value, json};

use crate::content::{Content, ContentStats};
use crate::event::{Op, Seq, Source, Timestamp};
use crate::event_log::Failure;
use crate::health::Latency;

use super::consumers::{self, ConsumerFigures};
use super::{DetectionFigures, Facts, Shared};

/// What a mount for measurements says of itself.
const NOT_RECORDED: &str =
    "NOTHING IS RECORDED: mounted with --no-log, for measurements; mount it again without";

/// One moment's numbers.
pub(super) struct Numbers {
    pub(super) head: Seq,
    pub(super) oldest: Seq,
    pub(super) durable: Seq,
    pub(super) failure: Option<Failure>,
    /// Events since the daemon's start.
    pub(super) by_source: Vec<(Source, u64)>,
    pub(super) segments: u64,
    pub(super) log_bytes: u64,
    /// Contents that can be read back.
    pub(super) content: ContentStats,
    /// Why new contents are not kept.
    pub(super) content_failure: Option<String>,
    pub(super) open_files: u64,
    /// Operations that happened since the daemon's start.
    pub(super) latency: Vec<(Op, Latency)>,
    pub(super) uptime_s: f64,
    /// Durable consumers, by name.
    pub(super) consumers: Vec<ConsumerFigures>,
    /// How changes behind the mount are found; `None` where nobody looks.
    pub(super) detection: Option<DetectionFigures>,
}

impl Numbers {
    /// Gathers the numbers. `durable` and `oldest` are read before `head`, so that they never pass it.
    pub(super) fn of(shared: &Shared) -> Numbers {
        let (log, health) = (&shared.log, &shared.health);
        let (durable, oldest) = (log.durable(), log.oldest());
        let stats = log.stats();
        Numbers {
            head: log.head(),
            oldest,
            durable,
            failure: log.failure(),
            by_source: Source::ALL
                .iter()
                .map(|source| (*source, health.events(*source)))
                .collect(),
            segments: stats.segments,
            log_bytes: stats.bytes,
            content: shared.content.get().map(Content::stats).unwrap_or_default(),
            content_failure: shared.content.get().and_then(Content::failure),
            open_files: health.open_files(),
            latency: Op::ALL
                .iter()
                .filter_map(|op| health.latency(*op).map(|latency| (*op, latency)))
                .collect(),
            uptime_s: health.uptime().as_secs_f64(),
            consumers: consumers::figures(shared),
            detection: shared.detection.get().map(|d| d.figures()),
        }
    }

    /// Events seen as system calls on the mount.
    pub(super) fn primary_events(&self) -> u64 {
        self.events(Source::Mount)
    }

    fn events(&self, wanted: Source) -> u64 {
        let of = |(source, _): &&(Source, u64)| *source == wanted;
        self.by_source
            .iter()
            .find(of)
            .map_or(0, |(_, count)| *count)
    }

    /// Changes that only a scan found.
    pub(super) fn missed_events(&self) -> u64 {
        self.detection.as_ref().map_or(0, |d| d.missed)
    }

    /// The share of all changes that neither the mount nor the watcher told of, in percent; `None` where nobody looks.
    pub(super) fn miss_rate_percent(&self) -> Option<f64> {
        self.detection.as_ref()?;
        let missed = self.missed_events();
        let all = self.primary_events() + self.events(Source::Watch) + missed;
        Some(if all == 0 {
            0.0
        } else {
            missed as f64 * 100.0 / all as f64
        })
    }
}

/// `status`: one JSON object on one line.
pub(super) fn json(shared: &Shared) -> String {
    render(&shared.facts, &Numbers::of(shared))
}

fn render(facts: &Facts, numbers: &Numbers) -> String {
    let mut status = identity(facts);
    status.insert("state".into(), json!("ok"));
    let log = numbers.failure.as_ref();
    let log = log.map(|failure| format!("{} (since {})", failure.detail, failure.since));
    let silent = (!facts.records).then(|| NOT_RECORDED.to_owned());
    if let Some(reason) = silent
        .as_ref()
        .or(log.as_ref())
        .or(numbers.content_failure.as_ref())
    {
        status.insert("state".into(), json!("degraded"));
        status.insert("reason".into(), json!(reason));
    }
    let counters = json!({
        "head": numbers.head.0,
        "oldest": numbers.oldest.0,
        "durable": numbers.durable.0,
        "pid": std::process::id(),
        "primary_events": numbers.primary_events(),
        "missed_events": numbers.missed_events(),
        "miss_rate_percent": numbers.miss_rate_percent().map(rounded),
        "events_by_source": by_source(numbers),
        "watch": watch(numbers.detection.as_ref()),
        "scan": scan(numbers.detection.as_ref()),
        "detection_latency_us": numbers.detection.as_ref().and_then(|d| d.latency).map(|latency| percentiles(&latency)),
        "log": {"segments": numbers.segments, "bytes": numbers.log_bytes},
        "content": {"objects": numbers.content.objects, "bytes": numbers.content.bytes},
        "consumers": numbers.consumers.iter().map(ConsumerFigures::json).collect::<Vec<_>>(),
        "open_files": numbers.open_files,
        "latency_us": latency(numbers),
        "uptime_s": (numbers.uptime_s * 1000.0).round() / 1000.0,
    });
    if let Value::Object(counters) = counters {
        status.extend(counters);
    }
    let mut line = Value::Object(status).to_string();
    line.push('\n');
    line
}

/// What never changes while the mount is up.
fn identity(facts: &Facts) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("store".into(), json!(facts.store.to_string()));
    map.insert("version".into(), json!(facts.version));
    map.insert("storage".into(), json!(facts.storage.to_string_lossy()));
    map.insert(
        "mountpoint".into(),
        json!(facts.mountpoint.to_string_lossy()),
    );
    map.insert(
        "sync_interval_s".into(),
        json!(facts.sync_interval.as_secs_f64()),
    );
    map.insert("retain_bytes".into(), json!(facts.retain_bytes));
    map.insert("retain_age_s".into(), json!(facts.retain_age.as_secs()));
    map.insert("recording".into(), json!(facts.records));
    map
}

/// How changes behind the mount are told of.
fn watch(figures: Option<&DetectionFigures>) -> Value {
    let Some(figures) = figures else {
        return json!({"mode": "off", "watches": 0, "overflows": 0, "last_event": null});
    };
    json!({
        "mode": figures.mode,
        "reason": figures.reason,
        "covered": figures.covered,
        "watches": figures.watches,
        "overflows": figures.overflows,
        "last_event": figures.last_event.map(seconds),
    })
}

/// How they are looked for.
fn scan(figures: Option<&DetectionFigures>) -> Value {
    let last = figures.and_then(|f| f.last_scan);
    json!({
        "interval_s": figures.and_then(|f| f.scan_interval).map(|i| i.as_secs_f64()),
        "last": last.map(|s| seconds(s.ended)),
        "duration_s": last.map(|s| rounded(s.took.as_secs_f64())),
        "directories": last.map(|s| s.directories),
        "files": last.map(|s| s.files),
        "found": last.map(|s| s.found),
        "unreadable": last.map(|s| s.unreadable),
        "fixes": figures.map_or(0, |f| f.fixes),
    })
}

/// A time as a number, exact to the microsecond.
fn seconds(time: Timestamp) -> f64 {
    (time.0 / 1000) as f64 / 1e6
}

/// To six places, which is more than any of these is exact to.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn percentiles(latency: &Latency) -> Value {
    json!({"p50": latency.p50_us, "p99": latency.p99_us, "count": latency.count})
}

fn by_source(numbers: &Numbers) -> Map<String, Value> {
    let pair = |(source, count): &(Source, u64)| (source.word().to_owned(), json!(count));
    numbers.by_source.iter().map(pair).collect()
}

fn latency(numbers: &Numbers) -> Map<String, Value> {
    let pair = |(op, latency): &(Op, Latency)| (op.word().to_owned(), percentiles(latency));
    numbers.latency.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::FailureKind;

    #[test]
    fn a_failure_is_said_with_its_reason() {
        let failure = Failure {
            kind: FailureKind::DiskFull,
            detail: "no \"space\"".into(),
            since: Timestamp(1_500_000_000),
        };
        let numbers = Numbers {
            head: Seq(2),
            oldest: Seq(1),
            durable: Seq(2),
            failure: Some(failure),
            by_source: vec![(Source::Mount, 2)],
            segments: 1,
            log_bytes: 10,
            content: ContentStats::default(),
            content_failure: None,
            open_files: 0,
            latency: Vec::new(),
            uptime_s: 0.5,
            consumers: Vec::new(),
            detection: None,
        };
        let facts = Facts {
            store: uuid::Uuid::nil(),
            storage: "a".into(),
            mountpoint: "b".into(),
            version: "0",
            sync_interval: std::time::Duration::from_secs(1),
            retain_bytes: 1,
            retain_age: std::time::Duration::from_secs(1),
            records: true,
        };
        let status: Value = serde_json::from_str(&render(&facts, &numbers)).unwrap();
        assert_eq!(status["state"], "degraded");
        assert_eq!(status["reason"], "no \"space\" (since 1.500000000)");
    }
}

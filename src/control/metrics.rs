//! The numbers of `status` as Prometheus text (exposition format 0.0.4). What is not measured has no metric.

use std::fmt::{Display, Write as _};

use super::Shared;
use super::status::Numbers;

/// `metrics`: the whole page.
pub(super) fn text(shared: &Shared) -> String {
    let numbers = Numbers::of(shared);
    let mut page = Page(String::new());
    let facts = &shared.facts;
    page.about("info", "gauge", "The mount; its value is always 1.");
    let store = facts.store.to_string();
    let labels = [
        ("store", store.as_str()),
        ("version", facts.version),
        ("storage", &facts.storage.to_string_lossy()),
        ("mountpoint", &facts.mountpoint.to_string_lossy()),
    ];
    page.sample("info", &labels, 1);
    page.gauge(
        "degraded",
        "1 while events cannot be recorded and changes are refused.",
        u8::from(numbers.failure.is_some()),
    );
    page.gauge("head_seq", "Position of the newest event.", numbers.head);
    page.gauge(
        "oldest_seq",
        "Position of the oldest event kept.",
        numbers.oldest,
    );
    page.gauge(
        "durable_seq",
        "Position up to which events survive power loss.",
        numbers.durable,
    );
    page.about(
        "events_total",
        "counter",
        "Events recorded since the start, by who saw the change.",
    );
    for (source, count) in &numbers.by_source {
        page.sample("events_total", &[("source", source.word())], count);
    }
    detection(&mut page, &numbers);
    page.gauge("log_segments", "Segments of the log.", numbers.segments);
    page.gauge("log_bytes", "Bytes of the log.", numbers.log_bytes);
    contents(&mut page, &numbers);
    page.gauge(
        "open_files",
        "Files open through the mount.",
        numbers.open_files,
    );
    page.about(
        "operation_latency_microseconds",
        "summary",
        "Time from the request to its record, since the start, by operation.",
    );
    for (op, latency) in &numbers.latency {
        let name = "operation_latency_microseconds";
        let op = ("op", op.word());
        page.sample(name, &[op, ("quantile", "0.5")], latency.p50_us);
        page.sample(name, &[op, ("quantile", "0.99")], latency.p99_us);
        page.sample(&format!("{name}_count"), &[op], latency.count);
    }
    consumers(&mut page, &numbers);
    page.gauge(
        "uptime_seconds",
        "Time since the daemon started.",
        format!("{:.3}", numbers.uptime_s),
    );
    page.0
}

/// What can be read back.
fn contents(page: &mut Page, numbers: &Numbers) {
    page.gauge(
        "content_objects",
        "Contents that can be read back.",
        numbers.content.objects,
    );
    page.gauge(
        "content_bytes",
        "Bytes of stored contents.",
        numbers.content.bytes,
    );
    page.gauge(
        "content_degraded",
        "1 while new contents cannot be kept.",
        u8::from(numbers.content_failure.is_some()),
    );
}

/// Where each durable consumer stands.
fn consumers(page: &mut Page, numbers: &Numbers) {
    page.about(
        "consumer_cursor_seq",
        "gauge",
        "Position up to which a consumer acknowledged.",
    );
    for figures in &numbers.consumers {
        page.sample(
            "consumer_cursor_seq",
            &[("consumer", &figures.name)],
            figures.cursor,
        );
    }
    page.about(
        "consumer_lag",
        "gauge",
        "Events that a consumer has not acknowledged.",
    );
    for figures in &numbers.consumers {
        page.sample("consumer_lag", &[("consumer", &figures.name)], figures.lag);
    }
}

/// How changes behind the mount are found.
fn detection(page: &mut Page, numbers: &Numbers) {
    let Some(figures) = &numbers.detection else {
        return;
    };
    let mut counter = |name: &str, help: &str, value: u64| {
        page.about(name, "counter", help);
        page.sample(name, &[], value);
    };
    counter(
        "missed_events_total",
        "Changes behind the mount that only a scan found.",
        figures.missed,
    );
    counter(
        "watch_overflows_total",
        "Times more changed than the watcher's queue holds.",
        figures.overflows,
    );
    counter(
        "scan_fixes_total",
        "Changes behind the mount that scans found.",
        figures.fixes,
    );
    page.about(
        "watch_mode",
        "gauge",
        "How changes behind the mount are found; 1 for the mode.",
    );
    page.sample("watch_mode", &[("mode", figures.mode)], 1);
    page.gauge(
        "watch_covered",
        "1 while every directory is watched and has been looked at.",
        u8::from(figures.covered),
    );
    page.gauge("watches", "Directories watched.", figures.watches);
    if let Some(scan) = &figures.last_scan {
        let took = format!("{:.6}", scan.took.as_secs_f64());
        page.gauge("scan_duration_seconds", "Time of the last scan.", took);
        page.gauge(
            "scan_files",
            "Files that the last scan compared.",
            scan.files,
        );
    }
    if let Some(latency) = &figures.latency {
        let name = "detection_latency_microseconds";
        page.about(
            name,
            "summary",
            "Time from the watcher's word to the event.",
        );
        page.sample(name, &[("quantile", "0.5")], latency.p50_us);
        page.sample(name, &[("quantile", "0.99")], latency.p99_us);
        page.sample(&format!("{name}_count"), &[], latency.count);
    }
}

/// Text in the making; every name gets the prefix `hippofs_`.
struct Page(String);

impl Page {
    fn about(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP hippofs_{name} {help}");
        let _ = writeln!(self.0, "# TYPE hippofs_{name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.about(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "hippofs_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }
}

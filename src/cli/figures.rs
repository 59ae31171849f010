//! The status object as figures for `top` and `report`. What a daemon does not say is absent, never made up.

use serde_json::Value;

/// One operation's latency in microseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct OpLatency {
    pub(super) op: String,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) count: u64,
}

/// A durable consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ConsumerLag {
    pub(super) name: String,
    pub(super) cursor: u64,
    pub(super) lag: u64,
}

/// How changes behind the mount are told of and looked for.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Detection {
    pub(super) mode: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) watches: Option<u64>,
    pub(super) overflows: Option<u64>,
    /// Seconds since the epoch.
    pub(super) last_event: Option<f64>,
    pub(super) scan_interval_s: Option<f64>,
    /// Seconds since the epoch.
    pub(super) last_scan: Option<f64>,
    pub(super) scan_duration_s: Option<f64>,
    pub(super) files: Option<u64>,
    pub(super) unreadable: Option<u64>,
    pub(super) fixes: Option<u64>,
    pub(super) missed: Option<u64>,
    pub(super) miss_rate_percent: Option<f64>,
    /// From a change behind the mount to its event.
    pub(super) latency: Option<OpLatency>,
}

/// The figures of one status object.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Figures {
    pub(super) store: Option<String>,
    pub(super) storage: Option<String>,
    pub(super) mountpoint: Option<String>,
    pub(super) version: Option<String>,
    /// `ok` or `degraded`.
    pub(super) state: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) head: Option<u64>,
    pub(super) oldest: Option<u64>,
    pub(super) durable: Option<u64>,
    pub(super) uptime_s: Option<f64>,
    pub(super) open_files: Option<u64>,
    pub(super) log_bytes: Option<u64>,
    pub(super) content_objects: Option<u64>,
    pub(super) content_bytes: Option<u64>,
    pub(super) consumers: Vec<ConsumerLag>,
    pub(super) latency: Vec<OpLatency>,
    pub(super) detection: Detection,
}

impl Figures {
    /// Reads what is there; a field of another type is taken as absent.
    pub(super) fn of(status: &Value) -> Figures {
        let text = |key: &str| text_of(status, key);
        let number = |key: &str| status[key].as_u64();
        let consumers = status["consumers"].as_array().into_iter().flatten();
        let latency = status["latency_us"].as_object().into_iter().flatten();
        Figures {
            store: text("store"),
            storage: text("storage"),
            mountpoint: text("mountpoint"),
            version: text("version"),
            state: text("state"),
            reason: text("reason"),
            head: number("head"),
            oldest: number("oldest"),
            durable: number("durable"),
            uptime_s: status["uptime_s"].as_f64(),
            open_files: number("open_files"),
            log_bytes: status["log"]["bytes"].as_u64(),
            content_objects: status["content"]["objects"].as_u64(),
            content_bytes: status["content"]["bytes"].as_u64(),
            consumers: consumers
                .filter_map(|consumer| {
                    Some(ConsumerLag {
                        name: text_of(consumer, "name")?,
                        cursor: consumer["cursor"].as_u64()?,
                        lag: consumer["lag"].as_u64()?,
                    })
                })
                .collect(),
            latency: latency
                .filter_map(|(op, figures)| op_latency(op, figures))
                .collect(),
            detection: Detection::of(status),
        }
    }
}

impl Detection {
    fn of(status: &Value) -> Detection {
        let (watch, scan) = (&status["watch"], &status["scan"]);
        Detection {
            mode: text_of(watch, "mode"),
            reason: text_of(watch, "reason"),
            watches: watch["watches"].as_u64(),
            overflows: watch["overflows"].as_u64(),
            last_event: watch["last_event"].as_f64(),
            scan_interval_s: scan["interval_s"].as_f64(),
            last_scan: scan["last"].as_f64(),
            scan_duration_s: scan["duration_s"].as_f64(),
            files: scan["files"].as_u64(),
            unreadable: scan["unreadable"].as_u64(),
            fixes: scan["fixes"].as_u64(),
            missed: status["missed_events"].as_u64(),
            miss_rate_percent: status["miss_rate_percent"].as_f64(),
            latency: op_latency("detection", &status["detection_latency_us"]),
        }
    }
}

fn text_of(object: &Value, key: &str) -> Option<String> {
    object[key].as_str().map(str::to_owned)
}

fn op_latency(op: &str, figures: &Value) -> Option<OpLatency> {
    Some(OpLatency {
        op: op.to_owned(),
        p50_us: figures["p50"].as_u64()?,
        p99_us: figures["p99"].as_u64()?,
        count: figures["count"].as_u64()?,
    })
}

/// Microseconds to three or four figures.
pub(super) fn micros(us: u64) -> String {
    match us {
        0..10_000 => format!("{us}us"),
        10_000..10_000_000 => format!("{}ms", us / 1000),
        _ => format!("{}s", us / 1_000_000),
    }
}

/// Seconds as the two largest units that apply, and milliseconds below one.
pub(super) fn span(seconds: f64) -> String {
    // A duration of any length saturates; a negative one, after the clock was set back, is none.
    let s = seconds.max(0.0) as u64;
    match s {
        0 if seconds > 0.0 => format!("{}ms", (seconds * 1000.0) as u64),
        0..60 if seconds.fract() != 0.0 && s < 10 => format!("{:.1}s", seconds.max(0.0)),
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_taken_where_they_are() {
        let status = json!({"state": "degraded", "reason": "full", "head": 9, "watch": {"mode": "native", "watches": 4},
            "scan": {"fixes": 2, "last": 1.5}, "missed_events": 1, "miss_rate_percent": 0.5,
            "consumers": [{"name": "c", "cursor": 4, "lag": 5}, {"name": 7}],
            "latency_us": {"write": {"p50": 10, "p99": 90, "count": 3}, "odd": 4}, "content": {"objects": 1, "bytes": 2}});
        let figures = Figures::of(&status);
        assert_eq!(figures.reason.as_deref(), Some("full"));
        assert_eq!(figures.consumers.len(), 1);
        assert_eq!(figures.consumers[0].lag, 5);
        assert_eq!(figures.latency.len(), 1);
        assert_eq!(figures.latency[0].p99_us, 90);
        assert_eq!(figures.detection.watches, Some(4));
        assert_eq!(figures.detection.fixes, Some(2));
        assert_eq!(figures.oldest, None);
        for odd in [json!(null), json!([1]), json!("x"), json!({"consumers": 4})] {
            assert_eq!(Figures::of(&odd), Figures::default());
        }
    }

    #[test]
    fn times_are_short() {
        assert_eq!(
            [0, 9_999, 10_000, 12_000_000].map(micros),
            ["0us", "9999us", "10ms", "12s"]
        );
        assert_eq!(
            [0.0, -4.0, 0.25, 1.25, 61.0, 3_700.0, 90_000.0].map(span),
            ["0s", "0s", "250ms", "1.2s", "1m01s", "1h01m", "1d01h"]
        );
    }
}

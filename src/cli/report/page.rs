//! The page: one HTML file that needs nothing else. Names in it come from anyone who may write into a mount: control
//! characters and what is no UTF-8 are shown as escapes, and whatever means something in HTML is an entity. A content
//! policy in its head forbids scripts and anything from elsewhere, should an escape ever be missed.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::svg;
use super::tally::{NOTABLE_MAX, Notable, Tally};
use crate::cli::activity::{Count, Who};
use crate::cli::figures::{Figures, OpLatency, micros, span};
use crate::cli::human;
use crate::event::{EventType, Source};

/// Rows of the tables of the busiest.
const BUSIEST_ROWS: usize = 25;

/// Colours that people with colour blindness tell apart (Okabe and Ito), for light and dark pages.
const STYLE: &str = "
:root { color-scheme: light dark; --line: #8886; --ink: CanvasText; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: .2em; } h2 { font-size: 1.15em; margin-top: 2em; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--ink); }
figure { margin: 1em 0; } figcaption { font-size: .9em; }
table { border-collapse: collapse; width: 100%; font-size: .9em; }
th, td { text-align: left; padding: .2em .6em; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.name, pre { font-family: ui-monospace, monospace; overflow-wrap: anywhere; } td.name { width: 60%; } pre { overflow-x: auto; }
.key { display: inline-block; margin-right: 1em; } .key svg { width: 12px; height: 12px; }
.grid { stroke: var(--line); } .axis { stroke: var(--ink); } .gap { stroke: #d00000; stroke-dasharray: 4 3; }
.gapdot { fill: #d00000; } .bad { color: #d00000; font-weight: bold; }
.source0, .kind1 { fill: #0072b2; } .source1, .kind3 { fill: #e69f00; } .source2, .kind2 { fill: #d55e00; }
.source3, .kind6 { fill: #cc79a7; } .source4, .kind5 { fill: #777777; } .kind0 { fill: #009e73; } .kind4 { fill: #56b4e9; }
";

/// Everything the page is made of.
pub(super) struct Page<'a> {
    pub(super) tally: &'a Tally,
    pub(super) status: &'a Value,
    /// What was asked for, in words.
    pub(super) period: &'a str,
    /// When it was made, in seconds since the epoch.
    pub(super) made: f64,
    pub(super) zone: &'a TimeZone,
}

impl Page<'_> {
    /// The whole file.
    pub(super) fn html(&self) -> String {
        let figures = Figures::of(self.status);
        let place = figures.mountpoint.clone().unwrap_or_default();
        let title = text(format!("hippofs report: {place}").as_bytes());
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        self.summary(&figures, &mut out);
        self.timeline(&mut out);
        self.notable(&mut out);
        self.busiest(&mut out);
        latency(&figures, &mut out);
        consumers(&figures, &mut out);
        let _ = writeln!(
            out,
            "<h2>Status</h2>\n<details><summary>All counters, since the daemon's start</summary>\n<pre>{}</pre>\n\
             </details>\n</body>\n</html>",
            html(&human::table(self.status))
        );
        out
    }

    fn time(&self, seconds: f64) -> String {
        human::local_time(seconds, self.zone).unwrap_or_else(|| "?".into())
    }

    /// Of local time when the page was made, such as `+01:00`.
    fn offset(&self) -> String {
        let made = jiff::Timestamp::from_second(self.made as i64).unwrap_or_default();
        made.to_zoned(self.zone.clone()).strftime("%:z").to_string()
    }

    fn summary(&self, figures: &Figures, out: &mut String) {
        let tally = self.tally;
        let _ = write!(out, "<p>{}. ", text(self.period.as_bytes()));
        match (tally.range, tally.times) {
            (Some((first, last)), Some((from, to))) => {
                let _ = write!(
                    out,
                    "{} events, {first} to {last}, from {} to {} ({}). ",
                    tally.total(),
                    self.time(from),
                    self.time(to),
                    span(to - from)
                );
            }
            _ => out.push_str("No events. "),
        }
        let said = |value: &Option<String>| text(value.as_deref().unwrap_or("?").as_bytes());
        let _ = writeln!(
            out,
            "Storage {}, store {}, hippofs {}; made {}. Times are local, {} from UTC.</p>",
            said(&figures.storage),
            said(&figures.store),
            said(&figures.version),
            self.time(self.made),
            self.offset()
        );
        if figures.state.as_deref() != Some("ok") {
            let (state, reason) = (said(&figures.state), said(&figures.reason));
            let _ = writeln!(out, "<p class=\"bad\">State: {state}: {reason}</p>");
        }
        if let Some(missing) = &tally.missing {
            let _ = writeln!(
                out,
                "<p class=\"bad\">Missing: {}</p>",
                text(missing.as_bytes())
            );
        }
        if tally.unknown > 0 {
            let _ = writeln!(
                out,
                "<p class=\"bad\">{} lines of the log are of another version and not counted.</p>",
                tally.unknown
            );
        }
    }

    fn timeline(&self, out: &mut String) {
        let timeline = &self.tally.timeline;
        let width = span(timeline.width_ms() as f64 / 1000.0);
        let _ = writeln!(out, "<h2>Timeline</h2>\n<p>Each bar is {width}.</p>");
        let sources: Vec<&str> = Source::ALL.iter().map(|source| source.word()).collect();
        let kinds: Vec<&str> = EventType::ALL.iter().map(|kind| kind.word()).collect();
        let by_source = svg::bars(
            timeline,
            "source",
            "Events by source over time",
            &sources,
            |bucket| bucket.by_source.to_vec(),
            self.zone,
        );
        let by_kind = svg::bars(
            timeline,
            "kind",
            "Events by kind over time",
            &kinds,
            |bucket| bucket.by_type.to_vec(),
            self.zone,
        );
        figure(
            "By source",
            "source",
            &by_source,
            &sources,
            &self.tally.by_source,
            out,
        );
        figure(
            "By kind",
            "kind",
            &by_kind,
            &kinds,
            &self.tally.by_type,
            out,
        );
        let _ = writeln!(
            out,
            "<figure>\n{}<figcaption>Misses and repairs: changes behind the mount by how they were found, restores, \
             gaps, marks</figcaption>\n</figure>",
            svg::lanes(timeline, self.zone)
        );
    }

    fn notable(&self, out: &mut String) {
        let tally = self.tally;
        out.push_str("<h2>Misses and repairs</h2>\n<p>");
        for kind in Notable::ALL {
            let _ = write!(
                out,
                "<span class=\"key\">{}: {}</span>",
                kind.words(),
                tally.count(kind)
            );
        }
        out.push_str("</p>\n");
        if tally.notable.is_empty() {
            out.push_str("<p>Nothing went past the mount, and nothing is missing.</p>\n");
            return;
        }
        let left_out = tally.by_notable.iter().sum::<u64>() - tally.notable.len() as u64;
        if left_out > 0 {
            let _ = writeln!(
                out,
                "<p>The newest {NOTABLE_MAX}; {left_out} older ones are left out.</p>"
            );
        }
        head(
            &["n:seq", "time", "what", "change", "path or remark"],
            "notable",
            out,
        );
        for (kind, change) in &tally.notable {
            let seq = change.seq.map_or_else(|| "-".into(), |seq| seq.to_string());
            let time = change
                .time
                .map_or_else(|| "-".into(), |time| self.time(time));
            let said = match &change.path {
                Some(path) => text(path),
                None => text(change.remark.as_bytes()),
            };
            let _ = writeln!(
                out,
                "<tr><td class=\"n\">{seq}</td><td>{time}</td><td>{}</td><td>{}</td><td class=\"name\">{said}</td></tr>",
                kind.words(),
                change.event_type.word()
            );
        }
        out.push_str("</table>\n");
    }

    fn busiest(&self, out: &mut String) {
        let tally = self.tally;
        let events = |count: &Count| count.events;
        let files = tally.files.top(BUSIEST_ROWS, events).into_iter();
        let files = files.map(|(path, count)| (text(&path), count)).collect();
        let rest = (tally.files.len(), tally.files.others().events);
        busiest_table("Busiest files", "files", files, rest, out);
        let sessions = tally.sessions.top(BUSIEST_ROWS, events).into_iter();
        let shown = |who: &Who| html(&who.shown());
        let sessions = sessions.map(|(who, count)| (shown(&who), count)).collect();
        let rest = (tally.sessions.len(), tally.sessions.others().events);
        busiest_table("Busiest sessions", "sessions", sessions, rest, out);
    }
}

fn figure(title: &str, class: &str, svg: &str, words: &[&str], counts: &[u64], out: &mut String) {
    let _ = write!(out, "<figure>\n{svg}<figcaption>{title}: ");
    for (part, (word, count)) in words.iter().zip(counts).enumerate() {
        let _ = write!(
            out,
            "<span class=\"key\"><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\">\
             <rect class=\"{class}{part}\" width=\"12\" height=\"12\"/></svg> {word} {count}</span>"
        );
    }
    out.push_str("dashed red: a gap</figcaption>\n</figure>\n");
}

/// The head of a table; `n:` marks a column of numbers.
fn head(columns: &[&str], id: &str, out: &mut String) {
    let _ = write!(out, "<table id=\"{id}\">\n<tr>");
    for column in columns {
        let _ = match column.strip_prefix("n:") {
            Some(column) => write!(out, "<th class=\"n\">{column}</th>"),
            None => write!(out, "<th>{column}</th>"),
        };
    }
    out.push_str("</tr>\n");
}

/// Rows whose names are HTML already.
fn busiest_table(
    title: &str,
    id: &str,
    rows: Vec<(String, Count)>,
    (known, others): (usize, u64),
    out: &mut String,
) {
    let _ = writeln!(out, "<h2>{title}</h2>");
    if rows.is_empty() {
        out.push_str("<p>None.</p>\n");
        return;
    }
    if known > rows.len() {
        let _ = write!(out, "<p>The first {} of {known}.", rows.len());
        if others > 0 {
            let _ = write!(
                out,
                " There were more than are counted one by one: {others} events have no name here, and a count may be too low."
            );
        }
        out.push_str("</p>\n");
    }
    head(
        &["n:events", "n:written", "n:behind the mount", "name"],
        id,
        out,
    );
    for (name, count) in rows {
        let _ = writeln!(
            out,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"name\">{name}</td></tr>",
            count.events,
            human::size(count.bytes),
            count.found
        );
    }
    out.push_str("</table>\n");
}

fn latency(figures: &Figures, out: &mut String) {
    out.push_str("<h2>Latency</h2>\n<p>Of operations on the mount since the daemon's start.</p>\n");
    head(&["operation", "n:count", "n:p50", "n:p99"], "latency", out);
    let mut row = |name: &str, l: &OpLatency| {
        let _ = writeln!(
            out,
            "<tr><td>{name}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            l.count,
            micros(l.p50_us),
            micros(l.p99_us)
        );
    };
    for l in &figures.latency {
        row(&text(l.op.as_bytes()), l);
    }
    if let Some(l) = &figures.detection.latency {
        row("from a change behind the mount to its event", l);
    }
    out.push_str("</table>\n");
}

fn consumers(figures: &Figures, out: &mut String) {
    if figures.consumers.is_empty() {
        return;
    }
    out.push_str("<h2>Consumers</h2>\n");
    head(&["name", "n:cursor", "n:lag"], "consumers", out);
    for consumer in &figures.consumers {
        let _ = writeln!(
            out,
            "<tr><td class=\"name\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            text(consumer.name.as_bytes()),
            consumer.cursor,
            consumer.lag
        );
    }
    out.push_str("</table>\n");
}

/// Bytes from anyone as HTML text.
fn text(bytes: &[u8]) -> String {
    html(&human::escape(bytes))
}

/// Text as HTML text, also for an attribute in quotes.
fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn page(tally: &Tally, status: &Value) -> String {
        let zone = TimeZone::UTC;
        Page {
            tally,
            status,
            period: "All",
            made: 200.0,
            zone: &zone,
        }
        .html()
    }

    fn tally_of(lines: &[Value]) -> Tally {
        let mut tally = Tally::new();
        for line in lines {
            tally.line(line.to_string().as_bytes());
        }
        tally
    }

    /// Names of the tags of a page, which is well formed when each `<` begins one.
    fn tags(page: &str) -> Vec<String> {
        let names = page.split('<').skip(1);
        let word = |text: &str| {
            let end = text.find(|c: char| !c.is_alphanumeric() && c != '/' && c != '!');
            text[..end.unwrap_or(text.len())].to_owned()
        };
        names.map(word).collect()
    }

    #[test]
    fn the_page_says_what_happened() {
        let lines = [
            json!({"seq": 1, "timestamp": 100.0, "event_type": "created", "op": "create", "source": "mount", "src_path": "a", "session": "s"}),
            json!({"seq": 2, "timestamp": 101.0, "event_type": "modified", "op": "found", "source": "scan", "src_path": "b"}),
            json!({"seq": 3, "timestamp": 102.0, "event_type": "gap", "source": "system", "reason": "overflow", "detail": "x"}),
        ];
        let status = json!({"state": "degraded", "reason": "<full>", "latency_us": {"create": {"p50": 5, "p99": 60, "count": 1}},
            "consumers": [{"name": "c", "cursor": 1, "lag": 2}]});
        let page = page(&tally_of(&lines), &status);
        for word in [
            "3 events, 1 to 3",
            "miss, found by a scan",
            "overflow: x",
            "&lt;full&gt;",
            "60us",
            "<svg id=\"source\"",
            "<svg id=\"kind\"",
            "<svg id=\"lanes\"",
            "(behind the mount)",
            "+00:00 from UTC",
            "1970-01-01 00:01:41.000",
        ] {
            assert!(page.contains(word), "{word} in {page}");
        }
    }

    #[test]
    fn nothing_happened() {
        let page = page(&Tally::new(), &json!({"state": "ok"}));
        assert!(
            page.contains("No events.") && page.contains("Nothing went past"),
            "{page}"
        );
    }

    proptest! {
        #[test]
        fn no_name_brings_a_tag_of_its_own(name in "[<>&'\"a-z/!\\x00-\\x1f]{0,40}") {
            let lines = |name: &str| {
                let event = json!({"seq": 1, "timestamp": 100.0, "event_type": "modified", "op": "found", "source": "scan",
                    "src_path": name, "session": name});
                let gap = json!({"seq": 2, "timestamp": 100.0, "event_type": "gap", "source": "system", "reason": name});
                tally_of(&[event, gap])
            };
            let status = |name: &str| json!({"mountpoint": name, "state": name, "reason": name,
                "consumers": [{"name": name, "cursor": 0, "lag": 0}],
                "latency_us": {name: {"p50": 1, "p99": 1, "count": 1}}});
            let hostile = page(&lines(&name), &status(&name));
            let tame = page(&lines("x"), &status("x"));
            prop_assert_eq!(tags(&hostile), tags(&tame));
        }
    }
}

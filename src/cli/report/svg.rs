//! The timeline as inline SVG: stacked bars, and lanes of dots for what is notable. Pure. Text in it is our own words and
//! numbers; anything else would have to be escaped as in the page.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::timeline::{Bucket, Timeline};
use crate::cli::human;
use crate::event::{EventType, Source};

/// Everything in user units; the page scales it to its width.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BARS_HEIGHT: f64 = 150.0;
const LANE_HEIGHT: f64 = 22.0;
const AXIS_HEIGHT: f64 = 26.0;
/// Labels of the time axis that fit side by side.
const TIME_LABELS: u64 = 5;

/// Stacked bars of one division of the events.
pub(super) fn bars(
    timeline: &Timeline,
    id: &str,
    label: &str,
    words: &[&str],
    parts: impl Fn(&Bucket) -> Vec<u64>,
    zone: &TimeZone,
) -> String {
    let mut svg = open(id, label, TOP + BARS_HEIGHT + AXIS_HEIGHT);
    let base = TOP + BARS_HEIGHT;
    let most = timeline.filled().map(|(_, bucket)| bucket.total()).max();
    let most = most.unwrap_or_default().max(1);
    for (share, count) in [(0.0, 0), (0.5, most / 2), (1.0, most)] {
        // Half of one event is none: no line for it.
        if share == 0.5 && most < 2 {
            continue;
        }
        let y = base - BARS_HEIGHT * count as f64 / most as f64;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{count}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
    let step = step(timeline);
    for (place, bucket) in timeline.filled() {
        let x = LEFT + place as f64 * step;
        let mut y = base;
        for (part, count) in parts(bucket).into_iter().enumerate() {
            if count == 0 {
                continue;
            }
            let height = BARS_HEIGHT * count as f64 / most as f64;
            y -= height;
            let _ = writeln!(
                svg,
                "<rect class=\"{id}{part}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{:.2}\" height=\"{height:.2}\">\
                 <title>{}: {count} {}</title></rect>",
                (step * 0.9).max(1.0),
                time(timeline.start_ms(place), zone),
                words[part]
            );
        }
        if bucket.gaps() > 0 {
            let middle = x + step * 0.45;
            let _ = writeln!(
                svg,
                "<line class=\"gap\" x1=\"{middle:.2}\" x2=\"{middle:.2}\" y1=\"{TOP}\" y2=\"{base}\">\
                 <title>{}: gap</title></line>",
                time(timeline.start_ms(place), zone)
            );
        }
    }
    axis(&mut svg, timeline, base, zone);
    svg.push_str("</svg>\n");
    svg
}

/// One lane each: what was found behind the mount and how, restores, gaps.
pub(super) fn lanes(timeline: &Timeline, zone: &TimeZone) -> String {
    type Count = fn(&Bucket) -> u64;
    let lanes: [(&str, &str, Count); 5] = [
        ("watch", "source1", |b| b.by_source[Source::Watch as usize]),
        ("scan", "source2", |b| b.by_source[Source::Scan as usize]),
        ("restore", "kind0", |b| b.restores),
        ("gap", "gapdot", Bucket::gaps),
        ("mark", "kind6", |b| b.by_type[EventType::Mark as usize]),
    ];
    let height = TOP + LANE_HEIGHT * lanes.len() as f64;
    let label = "Misses, repairs, gaps and marks over time";
    let mut svg = open("lanes", label, height + AXIS_HEIGHT);
    let step = step(timeline);
    for (row, (word, class, count)) in lanes.iter().enumerate() {
        let y = TOP + LANE_HEIGHT * (row as f64 + 0.5);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{word}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
        for (place, bucket) in timeline.filled() {
            let count = count(bucket);
            if count == 0 {
                continue;
            }
            let x = LEFT + (place as f64 + 0.45) * step;
            let radius = (2.5 + (count as f64).log10() * 2.0).min(LANE_HEIGHT / 2.0);
            let _ = writeln!(
                svg,
                "<circle class=\"{class}\" cx=\"{x:.2}\" cy=\"{y}\" r=\"{radius:.2}\"><title>{}: {count} {word}</title></circle>",
                time(timeline.start_ms(place), zone)
            );
        }
    }
    axis(&mut svg, timeline, height, zone);
    svg.push_str("</svg>\n");
    svg
}

fn open(id: &str, label: &str, height: f64) -> String {
    format!(
        "<svg id=\"{id}\" role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {WIDTH} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n"
    )
}

/// Width of one bucket.
fn step(timeline: &Timeline) -> f64 {
    (WIDTH - LEFT - RIGHT) / timeline.len().max(1) as f64
}

fn axis(svg: &mut String, timeline: &Timeline, base: f64, zone: &TimeZone) {
    let _ = writeln!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\"/>",
        WIDTH - RIGHT
    );
    let every = timeline.len().div_ceil(TIME_LABELS).max(1);
    for place in (0..timeline.len()).step_by(every as usize) {
        let x = LEFT + place as f64 * step(timeline);
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{x:.2}\" x2=\"{x:.2}\" y1=\"{base}\" y2=\"{}\"/>\
             <text x=\"{x:.2}\" y=\"{}\">{}</text>",
            base + 5.0,
            base + 18.0,
            time(timeline.start_ms(place), zone)
        );
    }
}

/// A moment, as exact as it has digits: whole seconds without a fraction.
fn time(ms: u64, zone: &TimeZone) -> String {
    let text = human::local_time(ms as f64 / 1000.0, zone).unwrap_or_else(|| "?".into());
    text.strip_suffix(".000")
        .map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::activity::Change;
    use serde_json::json;

    fn timeline() -> Timeline {
        let mut timeline = Timeline::new();
        for (time, kind, source) in [
            (100.0, "created", "mount"),
            (100.0, "created", "watch"),
            (130.0, "gap", "system"),
        ] {
            let line =
                json!({"timestamp": time, "event_type": kind, "source": source, "op": "found"});
            timeline.add(&Change::of(&line).unwrap());
        }
        timeline
    }

    #[test]
    fn a_bar_is_as_high_as_its_count() {
        let svg = bars(
            &timeline(),
            "source",
            "l",
            &["a", "b", "c", "d", "e"],
            |b| b.by_source.to_vec(),
            &TimeZone::UTC,
        );
        assert_eq!(svg.matches("<rect ").count(), 3);
        assert_eq!(svg.matches("height=\"75.00\"").count(), 3, "{svg}");
        assert!(svg.contains("1970-01-01 00:01:40: 1 b"), "{svg}");
        assert_eq!(svg.matches("class=\"gap\"").count(), 1);
    }

    #[test]
    fn lanes_have_a_dot_for_each_bucket() {
        let svg = lanes(&timeline(), &TimeZone::UTC);
        assert_eq!(svg.matches("<circle ").count(), 2, "{svg}");
        assert!(svg.contains("1 watch") && svg.contains("1 gap"));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let svg = lanes(&Timeline::new(), &TimeZone::UTC);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}

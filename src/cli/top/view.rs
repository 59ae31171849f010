//! The model as cells of a terminal. Pure, and every name is shown with its control characters escaped. Too small a
//! terminal shows what fits.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Widget as _};

use super::desk::Desk;
use super::model::{Model, Rate, Row, Sort, WINDOW_S};
use crate::cli::figures::{Figures, OpLatency, micros, span};
use crate::cli::human;

/// Size of the frame of `--once`.
const TEXT_COLUMNS: u16 = 120;
const TEXT_ROWS: u16 = 44;
/// What stands where the daemon says nothing.
const NONE: &str = "-";
/// The rows of the rates: all kinds, a sum, and the border.
const RATE_ROWS: u16 = 9;
/// The rows of the lower boxes, with the border.
const HEALTH_ROWS: u16 = 8;

/// Draws everything.
pub(super) fn draw(model: &Model, desk: &Desk, area: Rect, buf: &mut Buffer) {
    let [head, rates, busy, health, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(RATE_ROWS),
        Constraint::Min(4),
        Constraint::Length(HEALTH_ROWS),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(model, desk, head, buf);
    let [kinds, sources] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(rates);
    let mut by_type = vec![model.total()];
    by_type.extend(model.by_type());
    draw_rates("events per second, by kind", &by_type, kinds, buf);
    draw_rates("by source", &model.by_source(), sources, buf);
    let [files, sessions] =
        Layout::horizontal([Constraint::Percentage(65), Constraint::Percentage(35)]).areas(busy);
    let rows = usize::from(busy.height.saturating_sub(1));
    let (order, sort) = match desk.sort {
        Sort::Events => ("events", desk.sort),
        Sort::Bytes => ("bytes written", desk.sort),
    };
    let title = format!("busiest files, last {WINDOW_S} s, by {order}");
    draw_busiest(&title, model.files(rows, sort), files, buf);
    draw_busiest(
        "busiest sessions",
        model.sessions(rows, sort),
        sessions,
        buf,
    );
    let none = Figures::default();
    let figures = model.figures().unwrap_or(&none);
    let [consumers, detection, latency] = Layout::horizontal([
        Constraint::Percentage(26),
        Constraint::Percentage(40),
        Constraint::Percentage(34),
    ])
    .areas(health);
    boxed(
        "consumers",
        consumer_lines(figures, consumers),
        consumers,
        buf,
    );
    boxed(
        "watcher and scans",
        detection_lines(figures, model.now()),
        detection,
        buf,
    );
    boxed("latency p50 / p99", latency_lines(figures), latency, buf);
    draw_foot(desk, foot, buf);
}

/// One frame as plain text.
pub(super) fn text(model: &Model) -> String {
    let area = Rect::new(0, 0, TEXT_COLUMNS, TEXT_ROWS);
    let mut buf = Buffer::empty(area);
    draw(model, &Desk::new(), area, &mut buf);
    let mut out = String::new();
    // The last row tells the keys, which text has not.
    for y in 0..TEXT_ROWS - 1 {
        let mut row = String::new();
        let mut x = 0;
        while x < TEXT_COLUMNS {
            let symbol = buf[(x, y)].symbol();
            row.push_str(symbol);
            // The cell after a wide character is empty and stands for its second half.
            x += Span::raw(symbol).width().max(1) as u16;
        }
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out
}

fn draw_head(model: &Model, desk: &Desk, area: Rect, buf: &mut Buffer) {
    let none = Figures::default();
    let figures = model.figures().unwrap_or(&none);
    let safe = |text: &Option<String>| text.as_ref().map(|text| human::escape(text.as_bytes()));
    let number = |number: Option<u64>| number.map_or_else(|| NONE.into(), |n| n.to_string());
    let mut first = vec![
        Span::from("hippofs top  ").bold(),
        Span::from(safe(&figures.mountpoint).unwrap_or_default()),
        Span::from("  "),
        state(model, figures),
    ];
    if desk.paused.is_some() {
        first.push(Span::from("  PAUSED").fg(Color::Yellow).bold());
    }
    if let Some(filter) = model.filter() {
        let filter = human::one_line(filter.text());
        first.push(Span::from(format!("  filter: {filter}")).fg(Color::Cyan));
    }
    if model.skipped() > 0 {
        let skipped = format!("  {} events skipped to keep up", model.skipped());
        first.push(Span::from(skipped).fg(Color::Yellow));
    }
    if let (gaps @ 1.., said) = model.gaps() {
        let said = human::one_line(said.unwrap_or_default());
        first.push(Span::from(format!("  {gaps} gaps, last: {said}")).fg(Color::Yellow));
    }
    let size = |bytes: Option<u64>| bytes.map_or_else(|| NONE.into(), human::size);
    let second = format!(
        "head {}  oldest {}  durable {}  up {}  open files {}  log {}  content {} in {} objects",
        number(figures.head),
        number(figures.oldest),
        number(figures.durable),
        figures.uptime_s.map_or_else(|| NONE.into(), span),
        number(figures.open_files),
        size(figures.log_bytes),
        size(figures.content_bytes),
        number(figures.content_objects),
    );
    Paragraph::new(vec![Line::from(first), Line::from(second)]).render(area, buf);
}

fn state(model: &Model, figures: &Figures) -> Span<'static> {
    if let Some(why) = model.outage() {
        let text = format!("NO ANSWER, trying again: {}", human::one_line(why));
        return Span::from(text).fg(Color::Red).bold();
    }
    match (figures.state.as_deref(), &figures.reason) {
        (None, _) => Span::from("waiting for the daemon"),
        (Some("ok"), _) => Span::from("ok").fg(Color::Green),
        (Some(state), reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            let text = human::one_line(&format!("{}: {reason}", state.to_uppercase()));
            Span::from(text).fg(Color::Red).bold()
        }
    }
}

fn block(title: &str) -> Block<'static> {
    Block::new()
        .borders(Borders::TOP)
        .border_style(Style::new().add_modifier(Modifier::DIM))
        .title(Span::from(format!(" {title} ")).bold())
}

fn boxed(title: &str, lines: Vec<Line<'static>>, area: Rect, buf: &mut Buffer) {
    Paragraph::new(lines).block(block(title)).render(area, buf);
}

fn draw_rates(title: &str, rates: &[Rate], area: Rect, buf: &mut Buffer) {
    const WORDS: usize = 28;
    let room = usize::from(area.width).saturating_sub(WORDS);
    let line = |rate: &Rate| {
        let text = format!("{:<9}{:>7}{:>8.1}/s ", rate.word, rate.last, rate.mean);
        let style = match rate.history.iter().any(|count| *count > 0) {
            true => Style::new(),
            false => Style::new().add_modifier(Modifier::DIM),
        };
        Line::from(vec![
            Span::styled(text, style),
            Span::from(sparkline(&rate.history, room)).fg(Color::Cyan),
        ])
    };
    boxed(title, rates.iter().map(line).collect(), area, buf);
}

/// The last `width` numbers as blocks of eight heights; an empty cell is none at all.
fn sparkline(history: &[u64], width: usize) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &history[history.len().saturating_sub(width)..];
    let most = shown.iter().copied().max().unwrap_or_default().max(1);
    let cell = |count: &u64| match count {
        0 => ' ',
        // From 0 to 7, as the count is from 1 to `most`.
        count => HEIGHTS[((u128::from(*count) * 8).div_ceil(u128::from(most)) - 1) as usize],
    };
    shown.iter().map(cell).collect()
}

fn draw_busiest(title: &str, (rows, others): (Vec<Row>, u64), area: Rect, buf: &mut Buffer) {
    const NUMBERS: usize = 19;
    let room = usize::from(area.width).saturating_sub(NUMBERS);
    let mut lines: Vec<Line<'static>> = Vec::new();
    for row in rows {
        let mut line = vec![Span::from(format!(
            "{:>8}{:>8}  ",
            row.count.events,
            human::size(row.count.bytes)
        ))];
        let name = Span::from(fit(&row.name, room));
        line.push(if row.count.found > 0 {
            name.fg(Color::Yellow)
        } else {
            name
        });
        lines.push(Line::from(line));
    }
    let title = match others {
        0 => title.to_owned(),
        others => format!("{title}, {others} events of others"),
    };
    if lines.is_empty() {
        lines.push(Line::from("no events").dim());
    }
    boxed(&title, lines, area, buf);
}

/// The end of a name that is too long: where paths differ.
fn fit(name: &str, room: usize) -> String {
    let length = name.chars().count();
    if length <= room {
        return name.to_owned();
    }
    let end = name.chars().skip(length - room.saturating_sub(1));
    std::iter::once('…').chain(end).collect()
}

fn consumer_lines(figures: &Figures, area: Rect) -> Vec<Line<'static>> {
    let mut consumers: Vec<_> = figures.consumers.iter().collect();
    consumers.sort_by(|a, b| b.lag.cmp(&a.lag).then_with(|| a.name.cmp(&b.name)));
    if consumers.is_empty() {
        return vec![Line::from("none").dim()];
    }
    let rows = usize::from(area.height.saturating_sub(1));
    let left_out = consumers.len().saturating_sub(rows);
    let shown = if left_out > 0 {
        rows.saturating_sub(1)
    } else {
        rows
    };
    let mut lines: Vec<_> = consumers
        .iter()
        .take(shown)
        .map(|consumer| {
            let name = human::escape(consumer.name.as_bytes());
            let lag = Span::from(format!("lag {:>7}  ", consumer.lag));
            let lag = if consumer.lag > 0 {
                lag.fg(Color::Yellow)
            } else {
                lag
            };
            Line::from(vec![lag, Span::from(name)])
        })
        .collect();
    if left_out > 0 {
        lines.push(Line::from(format!("and {} more", consumers.len() - shown)).dim());
    }
    lines
}

fn detection_lines(figures: &Figures, now: u64) -> Vec<Line<'static>> {
    let d = &figures.detection;
    let number = |n: Option<u64>| n.map_or_else(|| NONE.into(), |n| n.to_string());
    let ago = |time: Option<f64>| {
        time.map_or_else(
            || "never".to_owned(),
            |time| format!("{} ago", span((now as f64 - time).max(0.0).floor())),
        )
    };
    let time = |seconds: Option<f64>| seconds.map_or_else(|| NONE.into(), span);
    let warn = |line: String, bad: bool| match bad {
        true => Line::from(line).fg(Color::Yellow),
        false => Line::from(line),
    };
    let safe = |text: &Option<String>| human::escape(text.as_deref().unwrap_or(NONE).as_bytes());
    let mut mode = format!("watch {}", safe(&d.mode));
    if d.reason.is_some() {
        mode = format!("{mode} ({})", safe(&d.reason));
    }
    let overflows = format!(
        "watches {}  overflows {}",
        number(d.watches),
        number(d.overflows)
    );
    let unreadable = format!(
        "files {}  unreadable {}",
        number(d.files),
        number(d.unreadable)
    );
    let missed = format!(
        "fixes {}  missed {} ({} %)",
        number(d.fixes),
        number(d.missed),
        d.miss_rate_percent
            .map_or_else(|| NONE.into(), |rate| format!("{rate:.3}"))
    );
    vec![
        Line::from(mode),
        warn(overflows, d.overflows > Some(0)),
        Line::from(format!("last hint {}", ago(d.last_event))),
        Line::from(format!(
            "scan every {}  last {}  took {}",
            time(d.scan_interval_s),
            ago(d.last_scan),
            time(d.scan_duration_s)
        )),
        warn(unreadable, d.unreadable > Some(0)),
        warn(missed, d.missed > Some(0)),
        Line::from(d.latency.as_ref().map_or_else(
            || "found after -".to_owned(),
            |l| format!("found after {} / {}", micros(l.p50_us), micros(l.p99_us)),
        )),
    ]
}

fn latency_lines(figures: &Figures) -> Vec<Line<'static>> {
    let mut all: Vec<&OpLatency> = figures.latency.iter().collect();
    all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.op.cmp(&b.op)));
    if all.is_empty() {
        return vec![Line::from("nothing measured yet").dim()];
    }
    let line = |l: &&OpLatency| {
        let op = human::escape(l.op.as_bytes());
        let (p50, p99) = (micros(l.p50_us), micros(l.p99_us));
        Line::from(format!("{op:<11}{p50:>7}{p99:>7}{:>8}", l.count))
    };
    all.iter().map(line).collect()
}

fn draw_foot(desk: &Desk, area: Rect, buf: &mut Buffer) {
    let line = match &desk.typing {
        Some(text) => {
            let mut line = vec![
                Span::from("filter: ").bold(),
                Span::from(human::one_line_whole(text)),
                Span::from("▏"),
            ];
            if let Some(complaint) = &desk.complaint {
                line.push(Span::from(format!("  {}", human::one_line(complaint))).fg(Color::Red));
            } else {
                line.push(Span::from("  glob on paths, or a piece of a path or session").dim());
            }
            Line::from(line)
        }
        None => Line::from("q quit  p pause  f filter  Tab order").dim(),
    };
    line.render(area, buf);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::activity::Change;
    use crate::cli::top::filter::Filter;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    fn model() -> Model {
        let mut model = Model::new(1000);
        model.status(
            &json!({"state": "ok", "head": 42, "mountpoint": "/mnt/x", "uptime_s": 3700.0,
            "consumers": [{"name": "mailer", "cursor": 1, "lag": 41}],
            "watch": {"mode": "native", "watches": 4, "overflows": 0, "last_event": 990.0},
            "scan": {"interval_s": 5.0, "last": 998.0, "duration_s": 0.25, "fixes": 3},
            "latency_us": {"write": {"p50": 12, "p99": 345, "count": 7}}}),
        );
        for i in 0..3 {
            let line = json!({"seq": i, "timestamp": 999.0, "event_type": "modified", "op": "write", "length": 2048,
                "source": "mount", "src_path": "dir/\u{1b}[2Jbusy", "session": "agent"});
            model.event(&Change::of(&line).unwrap());
        }
        model
    }

    fn screen(model: &Model, desk: &Desk, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(model, desk, frame.area(), frame.buffer_mut()))
            .unwrap();
        terminal.backend().to_string()
    }

    #[track_caller]
    fn shows(screen: &str, words: &[&str]) {
        for word in words {
            assert!(screen.contains(word), "{word} in\n{screen}");
        }
    }

    #[test]
    fn everything_is_on_a_screen_of_24_rows() {
        let shown = screen(&model(), &Desk::new(), 100, 24);
        shows(
            &shown,
            &[
                "/mnt/x",
                "ok",
                "head 42",
                "1h01m",
                "modified       3",
                "mount",
                "█",
                "busy",
                "agent",
                "6.0K",
                "lag      41  mailer",
                "watch native",
                "last 2s ago",
                "fixes 3",
                "write",
                "12us",
                "345us",
                "q quit",
            ],
        );
        assert!(!shown.contains('\u{1b}'), "names are escaped");
        shows(&shown, &["\\x1b[2Jbusy"]);
    }

    #[test]
    fn an_outage_a_degraded_state_and_a_pause_are_plain_to_see() {
        let mut degraded = model();
        degraded.status(&json!({"state": "degraded", "reason": "disk\nfull"}));
        shows(
            &screen(&degraded, &Desk::new(), 100, 30),
            &["DEGRADED: disk\\nfull"],
        );
        degraded.down("gone away".into());
        let mut desk = Desk::new();
        desk.paused = Some(Box::new(model()));
        shows(
            &screen(&degraded, &desk, 100, 30),
            &["NO ANSWER", "gone away", "PAUSED"],
        );
    }

    #[test]
    fn the_filter_shows_while_it_is_typed_and_after() {
        let mut desk = Desk::new();
        desk.typing = Some("a[".into());
        desk.complaint = Some("not a glob".into());
        let mut filtered = model();
        filtered.set_filter(Filter::parse("*.json").unwrap());
        shows(
            &screen(&filtered, &desk, 100, 30),
            &["filter: a[", "not a glob", "filter: *.json"],
        );
    }

    #[test]
    fn no_size_of_terminal_and_no_empty_model_is_too_much() {
        for (width, height) in [(1, 1), (3, 40), (200, 2), (20, 10), (300, 100)] {
            screen(&model(), &Desk::new(), width, height);
            screen(&Model::new(0), &Desk::new(), width, height);
        }
        shows(
            &screen(&Model::new(0), &Desk::new(), 100, 30),
            &["waiting", "no events"],
        );
    }

    #[test]
    fn text_is_the_same_without_keys() {
        let text = text(&model());
        shows(&text, &["hippofs top", "busy", "mailer", "by source"]);
        assert!(!text.contains("q quit") && !text.contains('\u{1b}'));
    }

    #[test]
    fn a_sparkline_has_the_heights_of_its_numbers() {
        assert_eq!(sparkline(&[9, 0, 1, 4, 8], 4), " ▁▄█");
        assert_eq!(sparkline(&[u64::MAX], 9), "█");
        assert_eq!(sparkline(&[], 9), "");
    }
}

//! `hippofs top`: a live view of a mount in the terminal, or one frame of it as text.
//!
//! A thread reads the control files ([`feed`]), a pure model counts ([`model`]), pure drawing makes cells of it
//! ([`view`]), keys are settings ([`desk`]), and the loop here joins them. Nothing here writes to the mount.

mod desk;
mod feed;
mod filter;
mod model;
mod terminal;
mod view;

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use ratatui::crossterm::event::{self, Event};

use super::args::TopArgs;
use super::client::Root;
use super::error::CliError;
use super::exit::Exit;
use crate::event::Timestamp;
use desk::{Action, Desk};
use feed::{Feed, News};
use model::Model;
use terminal::Screen;

/// Longest wait for a key: a signal is seen and the second turns within it.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// Most messages between two looks at the keys, however fast they come.
const MESSAGES_MAX: usize = 32;
/// How long `--once` looks.
const ONCE_LOOK: Duration = Duration::from_secs(1);
/// How long `--once` waits for a daemon that does not answer.
const ONCE_WAIT: Duration = Duration::from_secs(20);

pub(super) fn run(args: &TopArgs) -> Result<Exit, CliError> {
    let root = Root::of(&args.path)?;
    if args.once {
        return once(root);
    }
    if !std::io::stdout().is_terminal() {
        let hint = "use `--once` for one frame as text, or `hippofs status --json`";
        return Err(CliError::failed("standard output", "not a terminal", hint));
    }
    let mut screen = Screen::open()?;
    let feed = Feed::start(root)?;
    live(&feed, &mut screen)
}

/// The current second since the epoch.
fn now() -> u64 {
    Timestamp::now().0 / 1_000_000_000
}

fn live(feed: &Feed, screen: &mut Screen) -> Result<Exit, CliError> {
    let mut model = Model::new(now());
    let mut desk = Desk::new();
    let mut drawn = None;
    while !screen.is_ended() {
        let mut draw = take_all(feed, &mut model)?;
        model.advance(now());
        if event::poll(KEY_WAIT).map_err(terminal::failed)? {
            match on(event::read().map_err(terminal::failed)?, &mut desk, &model) {
                Action::Quit => return Ok(Exit::Success),
                Action::Nothing => {}
                Action::Draw => drawn = None,
                Action::Redraw => {
                    screen.clear()?;
                    drawn = None;
                }
                Action::Filter(filter) => {
                    model.set_filter(filter);
                    model.restart();
                    feed.again();
                    drawn = None;
                }
            }
        }
        // Once a second, and at once for keys and for what a status says.
        draw |= drawn != Some(model.now());
        if draw {
            let shown = desk.paused.as_deref().unwrap_or(&model);
            screen
                .terminal
                .draw(|frame| view::draw(shown, &desk, frame.area(), frame.buffer_mut()))
                .map_err(terminal::failed)?;
            drawn = Some(model.now());
        }
    }
    Ok(Exit::Success)
}

fn on(event: Event, desk: &mut Desk, model: &Model) -> Action {
    match event {
        Event::Key(key) => desk.key(key, model),
        Event::Resize(..) => Action::Draw,
        _ => Action::Nothing,
    }
}

/// Takes what has come, and says whether it is worth drawing at once.
fn take_all(feed: &Feed, model: &mut Model) -> Result<bool, CliError> {
    let mut draw = false;
    for _ in 0..MESSAGES_MAX {
        match feed.news.try_recv() {
            Ok(news) => draw |= take(news, model),
            Err(TryRecvError::Empty) => return Ok(draw),
            Err(TryRecvError::Disconnected) => return Err(stopped()),
        }
    }
    Ok(draw)
}

fn stopped() -> CliError {
    CliError::failed("reading", "it stopped", "start it again")
}

fn take(news: News, model: &mut Model) -> bool {
    match news {
        News::Again => model.restart(),
        News::Events(changes) => {
            model.advance(now());
            for change in &changes {
                model.event(change);
            }
        }
        News::Gap(said) => model.gap(&said),
        News::Skipped(events) => model.skip(events),
        News::Status(status) => {
            let was_down = model.outage().is_some() || model.figures().is_none();
            model.status(&status);
            return was_down;
        }
        News::Down(why) => {
            let was_up = model.outage().is_none();
            model.down(why);
            return was_up;
        }
    }
    false
}

/// One frame as text, after a second of looking.
fn once(root: Root) -> Result<Exit, CliError> {
    let feed = Feed::start(root)?;
    let begun = Instant::now();
    let mut model = Model::new(now());
    while begun.elapsed() < ONCE_LOOK || model.figures().is_none() {
        match feed.news.recv_timeout(KEY_WAIT) {
            Ok(news) => {
                take(news, &mut model);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(stopped()),
        }
        if let Some(why) = model.outage() {
            let hint = "mount it again, or ask once more";
            return Err(CliError::failed("status", why, hint));
        }
        if begun.elapsed() > ONCE_WAIT {
            let hint = "see the daemon's messages";
            return Err(CliError::failed("status", "no answer", hint));
        }
    }
    model.advance(now());
    let mut stdout = std::io::stdout();
    stdout
        .write_all(view::text(&model).as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(CliError::output)?;
    Ok(Exit::Success)
}

//! The terminal while `top` has it: raw, the other screen, no cursor. However the program ends, short of SIGKILL, the
//! terminal is as it was: at the end, on the way of an error, from a panic's hook (release builds abort after it), and
//! after a signal, which only sets a flag that the loop sees.

use std::io::{self, Stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::error::CliError;

/// Whether the terminal is ours now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal; given back when dropped.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
    ended: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is none, or does not do as told.
    pub(super) fn open() -> Result<Screen, CliError> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(failed)?;
        }
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        TAKEN.store(true, Ordering::SeqCst);
        let opened = enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen, Hide))
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match opened {
            Ok(terminal) => Ok(Screen { terminal, ended }),
            Err(error) => {
                give_back();
                Err(failed(error))
            }
        }
    }

    /// Has every cell drawn again. `Terminal::clear` would ask the terminal where its cursor is, and not all answer.
    pub(super) fn clear(&mut self) -> Result<(), CliError> {
        let size = self.terminal.size().map_err(failed)?;
        self.terminal.resize(size.into()).map_err(failed)
    }

    /// Whether a signal asks for the end.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Once, whoever comes first. A terminal that is gone cannot be given back, and there is nobody to tell.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// The terminal's failure.
pub(super) fn failed(error: io::Error) -> CliError {
    CliError::failed("terminal", error, "use `--once`, or see TERM")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Set in the copy of this test that is to panic on a terminal of its own.
    const INNER: &str = "HIPPOFS_TEST_PANIC_ON_TERMINAL";

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_speaks() {
        if std::env::var_os(INNER).is_some() {
            let _screen = Screen::open().unwrap();
            panic!("on purpose");
        }
        let keys = tempfile::NamedTempFile::new().unwrap();
        let name = std::thread::current().name().unwrap().to_owned();
        let relay = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/terminal.py");
        let done = Command::new("python3")
            .arg(relay)
            .arg(keys.path())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(INNER, "1")
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&done.stdout);
        let (leave, speak) = (shown.find("\x1b[?1049l"), shown.find("on purpose"));
        assert!(leave.is_some() && leave < speak, "{shown}");
        assert!(shown.contains("ended 101, terminal as before"), "{shown}");
    }
}

//! A real browser without a window. None on the machine is a failed test that says what to install.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process;

/// Size of its window in pixels.
pub(crate) const WINDOW: (u32, u32) = (800, 800);

/// A browser, and a profile of its own.
pub(crate) struct Browser {
    program: PathBuf,
    profile: PathBuf,
}

impl Browser {
    /// The first there is of Chromium and what is made from it.
    #[track_caller]
    pub(crate) fn find(profile: PathBuf) -> Browser {
        const NAMES: [&str; 4] = [
            "chromium",
            "chromium-browser",
            "google-chrome",
            "google-chrome-stable",
        ];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = NAMES.iter().find_map(|name| {
            let mut places = std::env::split_paths(&path).map(|dir| dir.join(name));
            places.find(|place| place.is_file())
        });
        let Some(program) = found else {
            panic!(
                "no browser: install the package chromium (scripts/setup test does), or one of {NAMES:?}"
            );
        };
        Browser { program, profile }
    }

    fn command(&self, arguments: &[String], page: &Path) -> Command {
        let mut command = Command::new(&self.program);
        // Tests run as root, in a container perhaps, where its own sandbox cannot be made.
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--hide-scrollbars",
                "--force-color-profile=srgb",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", self.profile.display()))
            .arg(format!("--window-size={},{}", WINDOW.0, WINDOW.1))
            .args(arguments)
            .arg(format!("file://{}", page.display()))
            .env("HOME", &self.profile);
        command
    }

    /// The page as the browser understood it.
    #[track_caller]
    pub(crate) fn dom(&self, page: &Path) -> String {
        process::run(&mut self.command(&["--dump-dom".into()], page)).success()
    }

    /// The page as it looks: a PNG at `picture`.
    #[track_caller]
    pub(crate) fn screenshot(&self, page: &Path, picture: &Path) {
        let to = format!("--screenshot={}", picture.display());
        process::run(&mut self.command(&[to], page)).success();
    }
}

//! `hippofs status`: the daemon's own object, or the same as a table.

use std::io::Write as _;

use super::args::StatusArgs;
use super::client::Root;
use super::error::CliError;
use super::exit::Exit;
use super::human;

pub(super) fn run(args: &StatusArgs) -> Result<Exit, CliError> {
    let root = Root::of(&args.path)?;
    let text = if args.json {
        root.status_text()?
    } else {
        human::table(&root.status()?)
    };
    let mut stdout = std::io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(CliError::output)?;
    Ok(Exit::Success)
}

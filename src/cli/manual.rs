//! Completions and manual pages, both made from the definitions of the arguments.

use std::io::Write as _;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _};

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::error::CliError;
use super::exit::Exit;

pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hippofs", &mut script);
    print(&script)
}

pub(super) fn man(args: &ManArgs) -> Result<Exit, CliError> {
    let page = match &args.command {
        None => Cli::command(),
        Some(name) => page_of(name)?,
    };
    let mut roff = Vec::new();
    clap_mangen::Man::new(page)
        .source(concat!("hippofs ", env!("CARGO_PKG_VERSION")))
        .render(&mut roff)
        .map_err(CliError::output)?;
    print(&roff)
}

/// A subcommand as a command of its own, so that its page bears its full name.
fn page_of(name: &str) -> Result<Command, CliError> {
    let mut all = Cli::command();
    all.build();
    let found = all
        .get_subcommands()
        .find(|command| command.get_name() == name)
        .cloned();
    found
        .map(|command| command.display_name(format!("hippofs-{name}")))
        .ok_or_else(|| {
            let message = format!("no command `{}`: see `hippofs --help`", name.escape_debug());
            CliError::Usage(Cli::command().error(ErrorKind::InvalidValue, message))
        })
}

fn print(bytes: &[u8]) -> Result<Exit, CliError> {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(CliError::output)?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_page() {
        for command in Cli::command().get_subcommands() {
            assert!(page_of(command.get_name()).is_ok());
        }
        assert!(page_of("frob").is_err());
    }
}

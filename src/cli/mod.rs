//! The command line: arguments in, one command run, an exit status out.
//!
//! Rank 7. Every command says its result on standard output and its failure in one line on standard error:
//! `hippofs: what: why: what to do`. Help, completions and manual pages are all made from the definitions in
//! [`args`], so that there is one text of each option.

pub mod args;
pub mod error;
pub mod exit;
pub mod values;

mod activity;
mod client;
mod consumer;
mod difference;
mod elsewhere;
mod events;
mod figures;
mod human;
mod manual;
mod mount;
mod past;
mod reconcile;
mod report;
mod status;
mod top;
mod unmount;
mod verify;

use std::ffi::OsString;
use std::io::Write as _;

use clap::Parser as _;

use args::{Cli, Command};
use error::CliError;
use exit::Exit;

/// Runs the command that `args` (with the program's name first) ask for.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let outcome = Cli::try_parse_from(args)
        .map_err(CliError::from)
        .and_then(dispatch);
    match outcome {
        Ok(exit) => exit,
        Err(CliError::Usage(error)) => {
            // clap prints help and version to standard output and mistakes to standard error. When neither can be
            // written there is nowhere left to say so.
            let _ = error.print();
            if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            }
        }
        Err(CliError::ReaderGone) => Exit::ReaderGone,
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "hippofs: {}",
                human::one_line(&error.to_string())
            );
            Exit::Failure
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit, CliError> {
    match cli.command {
        Command::Mount(args) => mount::run(args),
        Command::Unmount(args) => unmount::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Reconcile(args) => reconcile::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Log(args) => past::log(&args),
        Command::Show(args) => past::show(&args),
        Command::Diff(args) => past::diff(&args),
        Command::Restore(args) => past::restore(&args),
        Command::Top(args) => top::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
    }
}

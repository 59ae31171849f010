//! The `hippofs` program. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hippofs::cli::run(std::env::args_os()).into()
}

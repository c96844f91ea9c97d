//! The command.

use std::{io::Write as _, process::ExitCode};

use capture::{cli::Cli, config::Command, run};
use clap::Parser as _;

/// Exit status for a wrong command line, as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match Command::try_from(Cli::parse()) {
        Ok(command) => run::run(&command),
        Err(error) => {
            let _gone = writeln!(std::io::stderr(), "capture: {error}");
            ExitCode::from(USAGE)
        }
    }
}

//! The command.

use std::{env, io::Write as _, process::ExitCode};

use capture::{cli::Cli, config::Command, run};

/// Exit status for a wrong command line, as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::read(env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match Command::try_from(cli) {
        Ok(command) => run::run(&command),
        Err(error) => {
            let _gone = writeln!(std::io::stderr(), "capture: {error}");
            ExitCode::from(USAGE)
        }
    }
}

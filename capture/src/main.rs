//! The command.

use std::{env, process::ExitCode};

use capture::{cli::Cli, config::Command, kernel::LargePages, lookup::SystemNames, run};

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

/// Exit status for a wrong command line, as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    run::block_signals();
    let cli = match Cli::read(env::args_os()) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            return refuse(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
        }
        Err(help) => return run::print_text(&help.to_string()),
    };
    match Command::new(cli, &mut SystemNames::default()) {
        Ok(command) => run::run(&command),
        Err(error) => refuse(&run::without_number(&error.to_string())),
    }
}

fn refuse(why: &str) -> ExitCode {
    run::say(&format!("capture: {why}\n"));
    ExitCode::from(USAGE)
}

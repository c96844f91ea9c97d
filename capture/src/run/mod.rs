//! From a validated command to its end: live captures ([`live`], [`session`], [`signals`], [`patience`]), files
//! ([`offline`]), the list of interfaces.

mod compiled;
mod confined;
mod dump;
mod error;
mod failures;
mod frames;
mod interfaces;
mod lines;
mod list;
mod live;
mod mask;
mod offline;
mod outputs;
mod paths;
mod patience;
mod progress;
mod session;
mod signals;
mod source;
mod ssh;
mod standard;
mod time_zone;

use std::process::ExitCode;

use self::{
    error::conclude,
    source::Source,
    standard::{standard_output, write_all},
};
pub use self::{
    error::{RunError, without_number},
    mask::block_signals,
    standard::say,
};
use crate::config::{self, Command, Config};

/// Prints a text, such as the help, to standard output.
pub fn print_text(text: &str) -> ExitCode {
    conclude(standard_output().and_then(|output| write_all(output, text)), say)
}

/// Runs the command, and says on standard error what went wrong.
pub fn run(command: &Command) -> ExitCode {
    match command {
        Command::ListInterfaces(namespaces) => conclude(list::list_interfaces(namespaces), say),
        Command::CleanUp(namespaces) => conclude(list::clean_up(namespaces), say),
        Command::Check(config) => conclude(dump::check(config, source(config)), say),
        Command::Dump(config, form) => conclude(dump::dump(config, source(config), *form), say),
        Command::Print(config) => source(config).run(config),
    }
}

/// Where packets come from. A new one is a file that drives the engine, and a line here.
fn source(config: &Config) -> &dyn Source {
    match &config.source {
        config::Source::File(file) => file,
        config::Source::Live(live) => live,
    }
}

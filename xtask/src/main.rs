//! The tasks of the project: the one entry for people and for CI.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]

#[path = "../../capture/build/provenance.rs"]
mod provenance;

mod ebpf;
mod lint;
mod run;
mod runner;
mod setup;
mod test;
mod words;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::workspace;

/// The tasks of the project: build, run, test and lint it.
///
/// Building and running need nothing but stable Rust. The programs in the kernel are committed as an object, which
/// `build-ebpf` rebuilds after a change to their source; `setup` installs what it needs for that. `cargo lab` measures
/// capture, and compares it with tcpdump.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Run(run::Arguments),
    Test(test::Arguments),
    Lint(lint::Arguments),
    BuildEbpf(ebpf::Arguments),
    Setup(setup::Arguments),
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Run(arguments) => run::perform(&arguments),
        Task::Test(arguments) => test::perform(&arguments),
        Task::Lint(arguments) => lint::perform(&arguments),
        Task::BuildEbpf(arguments) => ebpf::perform(&arguments),
        Task::Setup(arguments) => setup::perform(&arguments),
    }
}

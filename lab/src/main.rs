//! What measures and checks the daemon. It is not part of `xtask`, so that a user's first command does not compile it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]

mod bench;
mod bless;
mod bpf;
mod diff;
mod frames;
mod fuzz;
mod golden;
mod memory;
mod packet_socket;
mod soak;
mod vmtest;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use test_support::{oracle, packets, random};
use xtask::workspace;

/// Measure and check capture, next to the real tcpdump.
///
/// `cargo xtask` builds, runs, tests and lints it.
#[derive(Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Diff(diff::Arguments),
    Bless(bless::Arguments),
    Fuzz(fuzz::Arguments),
    Bench(bench::Arguments),
    Soak(soak::Arguments),
    Vmtest(vmtest::Arguments),
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Diff(arguments) => diff::perform(&arguments),
        Task::Bless(arguments) => bless::perform(&arguments),
        Task::Fuzz(arguments) => fuzz::perform(&arguments),
        Task::Bench(arguments) => bench::perform(&arguments),
        Task::Soak(arguments) => soak::perform(&arguments),
        Task::Vmtest(arguments) => vmtest::perform(&arguments),
    }
}

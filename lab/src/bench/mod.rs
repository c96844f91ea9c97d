//! `cargo lab bench`.

mod budgets;
mod cpu;
mod flood;
mod instructions;
mod live_frames;
mod machine;
mod namespace;
mod overview;
mod process;
mod profiles;
mod quiet;
mod rates;
mod read;
mod results;
mod sender;
mod space;
mod streams;
mod tools;
mod unmatched;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use self::{
    machine::Machine,
    namespace::NamespacePair,
    profiles::{PROFILES, Profile},
    tools::Tool,
};
use crate::workspace::{build_release, is_root, output};

/// Measure capture next to tcpdump
///
/// Makes two network namespaces joined by a veth pair, sends packets, and has tcpdump and capture print them in turn,
/// several rounds. Prints a table for each profile: the median of the rounds, [the least - the most], and x the ratio
/// to tcpdump with TZ set; and at the end the budgets, met or not, and README's table. Needs root and tcpdump, and
/// removes what it makes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure only this profile (see --list); repeatable
    #[arg(long, value_name = "PROFILE")]
    only: Vec<String>,

    /// How often each program is measured; in some profiles three times at most [default: 5]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,

    /// Packets per measurement, at most [default: 3 000 000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    packets: Option<u64>,

    /// Run to the end quickly, to see that everything works: the numbers mean nothing
    #[arg(long)]
    quick: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// The binary to measure, instead of the one built from this workspace
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,

    /// Count the instructions of the micro-benchmarks with callgrind, and compare with what is on record
    ///
    /// Needs valgrind, and no root. Where compiler, C library or valgrind are not those that are on record, the commit
    /// on record is built and counted, too, and compared with: that needs git and the repository's history.
    #[arg(long, conflicts_with_all = ["only", "rounds", "packets", "quick", "capture"])]
    instructions: bool,

    /// Put the counted instructions on record
    #[arg(long, requires = "instructions")]
    bless: bool,

    /// List the profiles
    #[arg(long)]
    list: bool,
}

/// What a reader of the tables has to know.
const ABOUT: &str = "\
What `cargo lab bench` has printed; docs/performance.md says how to read it. Where the heading of a column does not
say otherwise, the program ran with `TZ=:/etc/localtime`, which is the zone that is in force without it, too.";

/// Rounds, at most, of the profiles whose results hardly vary or that no budget depends on.
const FEWER_ROUNDS: u64 = 3;

/// What the measurements share.
struct Bench {
    namespaces: NamespacePair,
    /// Where files go.
    folder: &'static Path,
    capture: PathBuf,
    rounds: u64,
    packets: u64,
    quick: bool,
}

impl Bench {
    fn new(arguments: &Arguments) -> Result<Self> {
        let Arguments { rounds, packets, quick, ref capture, .. } = *arguments;
        if !is_root() {
            bail!("bench needs root: it makes network namespaces, raw sockets and BPF programs");
        }
        let capture = match capture {
            Some(path) => path.canonicalize().with_context(|| format!("no {}", path.display()))?,
            None => build_release()?,
        };
        Ok(Self {
            namespaces: NamespacePair::new()?,
            folder: folder(),
            capture,
            rounds: rounds.unwrap_or(if quick { 1 } else { 5 }),
            packets: packets.unwrap_or(if quick { 20_000 } else { 3_000_000 }),
            quick,
        })
    }

    /// As many flows as asked for, or fewer if this is to be quick.
    fn flows(&self, flows: u32) -> u32 {
        if self.quick { flows.min(5000) } else { flows }
    }

    /// These programs, or fewer of them if this is to be quick: tcpdump takes more than a second each time.
    fn tools(&self, mut tools: Vec<Tool>) -> Vec<Tool> {
        tools.retain(|tool| !self.quick || ![Tool::TUNED, Tool::LOSSLESS].contains(tool));
        tools
    }

    /// Says what is being done.
    #[expect(clippy::unused_self, reason = "only a bench has progress")]
    fn progress(&self, profile: &str, round: u64, tool: Tool) {
        eprintln!("{profile}, round {}: {}", round + 1, tool.name);
    }
}

/// Where files of hundreds of megabytes go: into memory, so that no disk is measured.
fn folder() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}

/// The date, in UTC.
fn today() -> Result<String> {
    Ok(output(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?.trim().to_owned())
}

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        PROFILES.iter().for_each(|Profile { name, about, .. }| println!("{name:12} {about}"));
        return Ok(());
    }
    if arguments.instructions {
        return instructions::perform(arguments.bless, arguments.json);
    }
    if let Some(unknown) =
        arguments.only.iter().find(|name| PROFILES.iter().all(|profile| profile.name != **name))
    {
        bail!("no profile {unknown}: see --list");
    }
    let chosen = |profile: &&Profile| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == profile.name)
    };
    let machine = Machine::new();
    let bench = Bench::new(arguments)?;
    if !arguments.json {
        println!("# Measured\n\n{ABOUT}\n\n{}, {}\n\n## Profiles\n", today()?, machine.describe());
    }
    let mut tables = Vec::new();
    for profile in PROFILES.iter().filter(chosen) {
        let table = profile.run(&bench).with_context(|| format!("profile {}", profile.name))?;
        if !arguments.json {
            println!("{}", table.render());
        }
        tables.push(table);
    }
    let budgets = budgets::evaluate(&tables);
    if arguments.json {
        let tables: Vec<_> = tables.iter().map(results::Table::json).collect();
        println!(
            "{:#}",
            json!({ "machine": machine.json(), "profiles": tables, "budgets": budgets::json(&budgets) })
        );
    } else if !bench.quick {
        println!("## Budgets\n\n{}", budgets::render(&budgets));
        println!("## Overview\n\n{}", overview::render(&tables).trim_end());
    }
    Ok(())
}

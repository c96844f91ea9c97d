//! `cargo lab bench --instructions`: the micro-benchmarks of `microbench` under callgrind.
//!
//! Instructions hardly vary with what else a machine does, so that a few per cent more of them say something. They
//! vary with the compiler, the C library and valgrind: with which ones they were counted is on record, too. Where these
//! are others, the commit that wrote the record is built and counted here, and that is what is compared with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::results::markdown;
use crate::workspace::{self, Metadata, cargo, root};

/// What is on record, relative to the top of the repository.
const RECORD: &str = "microbench/instructions.toml";
/// The function that is counted, with all that it calls.
const MEASURED: &str = "microbench::measured";
/// How many per cent more or less than on record are too many: less is good, but unless it is put on record, what is
/// won can be lost again unseen.
const TOLERANCE: f64 = 3.0;

/// Instructions per packet of each case, and what they were counted with.
#[derive(Clone, Debug, PartialEq)]
struct Counts {
    tools: String,
    cases: BTreeMap<String, f64>,
}

/// Counts, and compares with what is on record or puts it there.
pub(super) fn perform(bless: bool, as_json: bool) -> Result<()> {
    let tools = tools()?;
    let record = Counts::read()?;
    let counts = Counts::measure(&build(root(), None)?, &tools)?;
    if bless {
        fs::write(root().join(RECORD), counts.render()?)?;
        println!("{RECORD} written");
        return Ok(());
    }
    let record = if record.tools == tools { record } else { reference(&record, &tools)? };
    if as_json {
        println!("{:#}", json!({ "tools": counts.tools, "instructions": counts.cases }));
    } else {
        println!("instructions per packet, by {tools}\n\n{}", counts.compare(&record));
    }
    let different = counts.different(&record);
    if different.is_empty() {
        return Ok(());
    }
    bail!("not what {RECORD} has: {}. Find out why, or put them on record with --bless", different.join(", "))
}

/// What the counts depend on besides the source.
fn tools() -> Result<String> {
    let said = |program: &str, argument: &str| {
        Ok::<_, anyhow::Error>(workspace::output(Command::new(program).arg(argument))?.trim().to_owned())
    };
    let compiler = said("rustc", "--version")?;
    let host = said("rustc", "--print=host-tuple")?;
    // The C library copies memory with the widest instructions that there are; valgrind knows none wider than AVX2.
    let instructions = fs::read_to_string("/proc/cpuinfo")?;
    let avx2 = if instructions.split_whitespace().any(|flag| flag == "avx2") { " with AVX2" } else { "" };
    let flags = std::env::var("RUSTFLAGS").map(|flags| format!(" RUSTFLAGS={flags}")).unwrap_or_default();
    let (library, valgrind) = (said("getconf", "GNU_LIBC_VERSION")?, said("valgrind", "--version")?);
    Ok(format!("{compiler} for {host}{avx2}{flags}, {library}, {valgrind}"))
}

/// What these tools count of the commit that wrote the record.
fn reference(record: &Counts, tools: &str) -> Result<Counts> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(root()).args(arguments);
        command
    };
    eprintln!(
        "on record are counts by {}; here are {tools}: counting the commit on record, too",
        record.tools
    );
    let commit = workspace::output(&mut git(&["log", "-1", "--format=%H", "--", RECORD]))
        .context("the commit that wrote the record is needed, and this is no clone of the repository")?;
    let commit = commit.trim();
    ensure!(!commit.is_empty(), "git knows no commit that wrote {RECORD}: fetch the whole history");

    // Not below the workspace: cargo would also go by the workspace's own .cargo/config.toml.
    let source = tempfile::tempdir()?;
    let mut archive = git(&["archive", commit]).stdout(Stdio::piped()).spawn().context("cannot run git")?;
    let files = archive.stdout.take().context("no pipe")?;
    workspace::run(Command::new("tar").arg("-x").current_dir(source.path()).stdin(files))?;
    ensure!(archive.wait()?.success(), "`git archive {commit}` failed: fetch the whole history");
    let target = Metadata::read(Path::new(cargo().get_program()))?.target.join("reference");
    Counts::measure(&build(source.path(), Some(&target))?, tools)
}

impl Counts {
    /// Counts all cases of a binary of the micro-benchmarks.
    fn measure(bench: &Path, tools: &str) -> Result<Self> {
        let mut cases = BTreeMap::new();
        for line in workspace::output(Command::new(bench).arg("--list"))?.lines() {
            let (name, packets) = line.split_once(' ').context("the list of cases is not understood")?;
            eprintln!("{name}");
            let instructions = count(bench, name)?;
            let per_packet = instructions as f64 / packets.parse::<f64>()?;
            cases.insert(name.to_owned(), (per_packet * 10.0).round() / 10.0);
        }
        Ok(Self { tools: tools.to_owned(), cases })
    }

    fn read() -> Result<Self> {
        let text =
            fs::read_to_string(root().join(RECORD)).with_context(|| format!("cannot read {RECORD}"))?;
        Self::parse(&text).with_context(|| format!("{RECORD} is not understood"))
    }

    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse()?;
        let tools = table.get("tools").and_then(toml::Value::as_str).context("no tools")?.to_owned();
        let cases = table.get("instructions").and_then(toml::Value::as_table).context("no instructions")?;
        let number = |value: &toml::Value| value.as_float().context("not a number");
        let cases = cases.iter().map(|(name, value)| Ok((name.clone(), number(value)?)));
        Ok(Self { tools, cases: cases.collect::<Result<_>>()? })
    }

    fn render(&self) -> Result<String> {
        let mut table = toml::Table::new();
        table.insert("tools".to_owned(), self.tools.clone().into());
        let cases: toml::Table =
            self.cases.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
        table.insert("instructions".to_owned(), cases.into());
        Ok(format!(
            "# Instructions per packet of each case, written by \
             `cargo lab bench --instructions --bless`.\n\n{}",
            toml::to_string(&table)?
        ))
    }

    /// Per cent more than on record.
    fn change(&self, record: &Self, case: &str) -> Option<f64> {
        let (now, then) = (self.cases.get(case)?, record.cases.get(case)?);
        Some((now / then - 1.0) * 100.0)
    }

    /// The cases that take another number, and those that are on one side only.
    fn different(&self, record: &Self) -> Vec<String> {
        let cases: BTreeSet<&String> = self.cases.keys().chain(record.cases.keys()).collect();
        let same = |case: &str| self.change(record, case).is_some_and(|change| change.abs() <= TOLERANCE);
        cases.into_iter().filter(|case| !same(case)).cloned().collect()
    }

    fn compare(&self, record: &Self) -> String {
        let mut lines = vec![["case", "before", "now", "change, %"].map(str::to_owned).to_vec()];
        for (case, now) in &self.cases {
            let then = record.cases.get(case).map_or("-".to_owned(), |then| format!("{then:.1}"));
            let change = self.change(record, case).map_or("-".to_owned(), |change| format!("{change:+.1}"));
            lines.push(vec![case.clone(), then, format!("{now:.1}"), change]);
        }
        markdown(&lines)
    }
}

/// Builds the micro-benchmarks of a workspace, and finds their binary.
fn build(source: &Path, target: Option<&Path>) -> Result<PathBuf> {
    let build = ["build", "--release", "--locked", "--package=microbench", "--message-format=json"];
    let mut command = cargo();
    command.args(build).current_dir(source);
    if let Some(target) = target {
        command.arg("--target-dir").arg(target);
    }
    let messages = workspace::output(&mut command)?;
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == "microbench").then(|| PathBuf::from(path))
    };
    messages.lines().find_map(executable).context("cargo built no micro-benchmarks")
}

/// Instructions of one case.
fn count(bench: &Path, case: &str) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={MEASURED}"))
        .arg(bench)
        .args(["--case", case])
        .output()
        .context("cannot run valgrind: install the package `valgrind`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("valgrind: {}", said.trim());
    }
    // `==PID== Collected : N`
    let collected = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match collected {
        Some(0) | None => bail!("callgrind counted nothing in {MEASURED}: {}", said.trim()),
        Some(instructions) => Ok(instructions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(cases: &[(&str, f64)]) -> Counts {
        let cases = cases.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Counts { tools: "rustc 1.0.0".to_owned(), cases }
    }

    #[test]
    fn the_record_reads_what_it_wrote() {
        let counts = counts(&[("print-syn", 2300.5), ("filter", 30.0)]);
        assert_eq!(Counts::parse(&counts.render().unwrap()).unwrap(), counts);
    }

    #[test]
    fn what_differs_by_more_than_the_tolerance_is_named() {
        let record = counts(&[("a", 1000.0), ("b", 1000.0), ("c", 1000.0), ("gone", 1.0)]);
        let now = counts(&[("a", 1029.0), ("b", 1031.0), ("c", 969.0), ("new", 5000.0)]);
        assert_eq!(now.different(&record), ["b", "c", "gone", "new"]);
    }
}

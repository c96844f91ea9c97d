//! `cargo xtask bench --instructions`: the micro-benchmarks of capture/benches under callgrind.
//!
//! Instructions hardly vary with what else a machine does, so that a few per cent more of them say something. They
//! vary with the compiler, the C library and valgrind: with which ones they were counted is on record, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::results::markdown;
use crate::workspace::{self, cargo, root};

/// What is on record, relative to the top of the repository.
const RECORD: &str = "capture/benches/instructions.toml";
/// The function that is counted, with all that it calls.
const MEASURED: &str = "micro::measured";
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
    let counts = Counts::measure()?;
    if bless {
        fs::write(root().join(RECORD), counts.render()?)?;
        println!("{RECORD} written");
        return Ok(());
    }
    let record = Counts::read()?;
    if as_json {
        println!("{:#}", json!({ "tools": counts.tools, "instructions": counts.cases }));
    } else {
        println!("instructions per packet\n\n{}", counts.compare(&record));
    }
    let different = counts.different(&record);
    if different.is_empty() {
        return Ok(());
    }
    if counts.tools != record.tools {
        eprintln!("on record: {}; here: {}: nothing follows from a difference", record.tools, counts.tools);
        return Ok(());
    }
    bail!("not what {RECORD} has: {}. Find out why, or put them on record with --bless", different.join(", "))
}

impl Counts {
    fn measure() -> Result<Self> {
        let bench = build()?;
        let mut cases = BTreeMap::new();
        for line in workspace::output(Command::new(&bench).arg("--list"))?.lines() {
            let (name, packets) = line.split_once(' ').context("the list of cases is not understood")?;
            eprintln!("{name}");
            let instructions = count(&bench, name)?;
            let per_packet = instructions as f64 / packets.parse::<f64>()?;
            cases.insert(name.to_owned(), (per_packet * 10.0).round() / 10.0);
        }
        let mut tools = Vec::new();
        for (program, argument) in
            [("rustc", "--version"), ("getconf", "GNU_LIBC_VERSION"), ("valgrind", "--version")]
        {
            tools.push(workspace::output(Command::new(program).arg(argument))?.trim().to_owned());
        }
        Ok(Self { tools: tools.join(", "), cases })
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
            "# Instructions per packet of each case of micro.rs, written by `cargo xtask bench --instructions --bless`.\n\n{}",
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
        let mut lines = vec![["case", "on record", "now", "change, %"].map(str::to_owned).to_vec()];
        for (case, now) in &self.cases {
            let then = record.cases.get(case).map_or("-".to_owned(), |then| format!("{then:.1}"));
            let change = self.change(record, case).map_or("-".to_owned(), |change| format!("{change:+.1}"));
            lines.push(vec![case.clone(), then, format!("{now:.1}"), change]);
        }
        markdown(&lines)
    }
}

/// Builds the micro-benchmarks, and finds their binary.
fn build() -> Result<PathBuf> {
    let bench =
        ["bench", "--locked", "--package=capture", "--bench=micro", "--no-run", "--message-format=json"];
    let messages = workspace::output(cargo().args(bench))?;
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == "micro").then(|| PathBuf::from(path))
    };
    messages.lines().find_map(executable).context("cargo built no micro-benchmarks")
}

/// Instructions of one case.
fn count(bench: &PathBuf, case: &str) -> Result<u64> {
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

//! `cargo lab fuzz`.

use std::{fs, path::Path, process::Command, thread};

use anyhow::{Context as _, Result, bail};

use crate::{
    golden::corpus::{Corpus, corpus},
    workspace::{self, cargo},
};

/// Fuzz what reads expressions, files, records and packets
///
/// Runs each target in fuzz/ with libFuzzer for some seconds, from the inputs that are committed. It needs a C++
/// compiler for libFuzzer (on Debian: apt-get install g++), but no nightly Rust. New inputs go to target/fuzz; one that
/// makes a target fail is kept in fuzz/artifacts, and its path printed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which to run [default: all]
    #[arg(value_name = "TARGET", value_parser = TARGETS)]
    targets: Vec<String>,
    /// How long to run each
    #[arg(long, default_value_t = 30, value_name = "N")]
    seconds: u64,
    /// Where the choices come from: the same seed makes the same ones [default: another one each time]
    #[arg(long)]
    seed: Option<u32>,
    /// Rewrite the committed inputs from the goldens, and run nothing
    #[arg(long)]
    seeds: bool,
}

const TARGETS: [&str; 5] = ["expression", "file", "helper", "print", "record"];

/// Inputs longer than this find nothing that shorter ones do not.
const LONGEST_INPUT: usize = 4096;

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    let fuzz = workspace::root().join("fuzz");
    if arguments.seeds {
        return write_seeds(&fuzz.join("corpus"));
    }
    let target = workspace::Metadata::read(Path::new("cargo"))?.target;
    let mut build = cargo();
    build.args(["build", "--locked", "--package=capture-fuzz", "--bins"]);
    build.env("RUSTC_WORKSPACE_WRAPPER", fuzz.join("rustc"));
    workspace::run(&mut build).context("on Debian, libFuzzer's C++ needs: apt-get install g++")?;
    let names = if arguments.targets.is_empty() {
        TARGETS.map(String::from).to_vec()
    } else {
        arguments.targets.clone()
    };
    let programs = target.join("debug");
    // Each keeps one CPU busy.
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    for names in names.chunks(at_once) {
        let run = |name: &String| {
            let mut command = Command::new(programs.join(name));
            command.arg(format!("-max_total_time={}", arguments.seconds));
            command.args(arguments.seed.map(|seed| format!("-seed={seed}")));
            run(name, command, &target.join("fuzz/corpus"), &fuzz)
        };
        let reports: Vec<_> = thread::scope(|scope| {
            let runs: Vec<_> = names.iter().map(|name| scope.spawn(|| run(name))).collect();
            runs.into_iter().map(|run| run.join().unwrap_or_else(|_| bail!("a thread panicked"))).collect()
        });
        for report in reports {
            print!("{}", report?);
        }
    }
    Ok(())
}

/// Runs one of the targets, and returns what there is to say of it. `grown` is where its new inputs go.
fn run(name: &str, mut run: Command, grown: &Path, fuzz: &Path) -> Result<String> {
    let (grown, artifacts) = (grown.join(name), fuzz.join("artifacts").join(name));
    fs::create_dir_all(&grown)?;
    fs::create_dir_all(&artifacts)?;
    // The goldens are files of all kinds already.
    let goldens = || workspace::root().join("capture/tests/golden");
    let seeds = if name == "file" { goldens() } else { fuzz.join("corpus").join(name) };
    run.arg(format!("-max_len={LONGEST_INPUT}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1", "-print_funcs=0"])
        .args([grown, seeds]);
    // libFuzzer is talkative; what it says matters when it has found something.
    let output = run.output().with_context(|| format!("cannot run {}", workspace::shown(&run)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{said}");
        bail!("{name} fails: see above, and {}", artifacts.display());
    }
    let is_figure = |line: &&str| line.starts_with("stat::number") || line.starts_with("stat::new");
    let figures: String = said.lines().filter(is_figure).map(|line| format!("  {line}\n")).collect();
    Ok(format!("fuzz: {name}\n{figures}"))
}

/// Packets of a seed.
const PACKETS: usize = 8;
/// Packets longer than this are left out.
const LONGEST_PACKET: usize = 200;

/// Makes inputs for the printer and for the records from the packets of the goldens, and for the messages. For the files, the
/// goldens are the inputs; for the expressions, those that the tests of capture-filter look at.
fn write_seeds(folder: &Path) -> Result<()> {
    let Corpus { files, .. } = corpus()?;
    for name in ["expression", "helper", "print", "record"] {
        fs::create_dir_all(folder.join(name))?;
    }
    // Messages begin with their kind. Zeros are numbers, empty texts, and that something is not there.
    for (kind, length) in (0..9_u8).flat_map(|kind| [10, 26].map(|length| (kind, length))) {
        let input = [vec![kind], vec![0; length]].concat();
        fs::write(folder.join("helper").join(format!("{kind}-{length}")), input)?;
    }
    let list = workspace::root().join("capture-filter/tests/acceptance.txt");
    let list = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    for (number, text) in list.lines().filter(|line| !line.starts_with('#')).enumerate() {
        // A target, the text, and no frame.
        let input = [&[number as u8], text.as_bytes(), &[0]].concat();
        fs::write(folder.join("expression").join(format!("{number:02}")), input)?;
    }
    for (name, bytes) in &files {
        let Some((link, packets)) = packets(bytes) else { continue };
        let stem = name.trim_end_matches(".pcap");
        // The options differ from file to file; the packets are from all over the file.
        let number = name.bytes().fold(0_u8, |number, byte| number.wrapping_mul(31).wrapping_add(byte));
        let mut print = vec![link, number, number.wrapping_mul(37), number.wrapping_mul(11)];
        for Captured { missing, data } in packets.iter().step_by((packets.len() / PACKETS).max(1)) {
            print.extend((data.len() as u16).to_be_bytes());
            print.push(*missing);
            print.extend(*data);
        }
        fs::write(folder.join("print").join(stem), print)?;
        if let Some(Captured { missing, data }) = packets.last() {
            let mut record = 1_700_000_000_u64.to_ne_bytes().to_vec();
            record.extend((data.len() as u32 + u32::from(*missing)).to_ne_bytes());
            record.extend((data.len() as u32).to_ne_bytes());
            // The interface, the instance of the programs, the version of the layout; the offsets of the headers, the
            // version of IP, the packet type (capture-common, `RecordHeader`).
            record.extend(1_u32.to_ne_bytes());
            record.extend([0_u16, 3].map(u16::to_ne_bytes).concat());
            record.extend([14, 34, 4, 0]);
            record.extend(*data);
            fs::write(folder.join("record").join(stem), record)?;
        }
    }
    Ok(())
}

/// The bytes of a packet that were captured, and how many are missing.
struct Captured<'a> {
    missing: u8,
    data: &'a [u8],
}

/// The packets of a little-endian pcap file with microseconds; before them the link type as the target for the printer
/// has it.
fn packets(file: &[u8]) -> Option<(u8, Vec<Captured<'_>>)> {
    let (header, mut rest) = file.split_first_chunk::<24>()?;
    if header[..4] != [0xd4, 0xc3, 0xb2, 0xa1] {
        return None;
    }
    let link = [1, 101, 228, 229, 0, 108, 113, 276]
        .iter()
        .position(|number| u32::from_le_bytes([header[20], header[21], header[22], header[23]]) == *number)?;
    let mut packets = Vec::new();
    while let Some((record, after)) = rest.split_first_chunk::<16>() {
        let field =
            |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let (data, after) = after.split_at_checked(field(8) as usize)?;
        rest = after;
        if data.len() <= LONGEST_PACKET {
            let missing = field(12).saturating_sub(field(8)).min(255) as u8;
            packets.push(Captured { missing, data });
        }
    }
    Some((link as u8, packets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packets_of_a_golden_are_found() {
        let files = corpus().unwrap().files;
        let (_, walkthrough) = files.iter().find(|(name, _)| name == "walkthrough.pcap").unwrap();
        let (link, packets) = packets(walkthrough).unwrap();
        assert_eq!((link, packets.len()), (0, 11));
        assert!(packets.iter().all(|packet| packet.missing == 0));
    }
}

//! `cargo lab diff`.

mod expressions;
mod flags;
pub(crate) use self::flags::FIXED;
mod generate;
mod shrink;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    golden::{Entry, List},
    oracle::{self, Invocation, complaint},
    packets::file::CaptureFile,
    random::Random,
    workspace::build_release,
};

/// Compare capture with the real tcpdump on generated packets
///
/// Makes files of packets from a seed (conversations as hosts have them, and everything that can be wrong with a
/// packet), prints each with tcpdump and with capture under many sets of flags, and compares the bytes. Where they
/// differ, the file is shrunk to the fewest packets and bytes that still differ, and kept as a golden.
///
/// Ports whose payload tcpdump decodes do not occur: what is printed of a payload differs on purpose.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Compare so many random filter expressions instead: whether they are refused, and which packets they select
    #[arg(long, value_name = "N")]
    expressions: Option<u64>,
    /// How many packets to make
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    packets: u64,
    /// Where the packets come from: the same seed makes the same packets
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Packets in each file
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    file_packets: usize,
    /// The flags to print with, as one word; may be repeated [default: all sets there are, and some at random]
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    flags_set: Vec<String>,
    /// How many sets of flags to make at random for each file
    #[arg(long, default_value_t = 6, value_name = "N")]
    random_sets: usize,
    /// How many of the other sets to print each file with, taking turns [default: all]
    #[arg(long, value_name = "N")]
    sets: Option<usize>,
    /// The capture to compare [default: built in release]
    #[arg(long, value_name = "PATH")]
    capture: Option<PathBuf>,
    /// Where to keep what differs
    #[arg(long, default_value = "capture/tests/golden", value_name = "DIR")]
    keep: PathBuf,
    /// Stop after so many differences that do not look alike
    #[arg(long, default_value_t = 10, value_name = "N")]
    max_differences: usize,
    /// How many files to work on at a time
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: usize,
}

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    oracle::check()?;
    if let Some(count) = arguments.expressions {
        return expressions::compare(count, arguments.seed);
    }
    let fixed: Vec<Invocation> = if arguments.flags_set.is_empty() {
        flags::fixed()
    } else {
        arguments.flags_set.iter().map(|flags| flags.parse()).collect::<Result<_>>()?
    };
    let random_sets = if arguments.flags_set.is_empty() { arguments.random_sets } else { 0 };
    let capture = match &arguments.capture {
        Some(path) => path.clone(),
        None => build_release()?,
    };
    let scratch = tempfile::tempdir().context("cannot make a folder for the files")?;
    let run = Run {
        arguments,
        capture,
        sets: arguments.sets.unwrap_or(fixed.len()).min(fixed.len()),
        fixed,
        random_sets,
        files: arguments.packets.div_ceil(arguments.file_packets as u64),
        next: AtomicU64::new(0),
        scratch: scratch.path(),
        tally: Mutex::default(),
    };
    let begun = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs.max(1)).map(|_| scope.spawn(|| run.work())).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })?;
    let tally = run.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} packets in {} files, seed {}, printed with {} sets of flags each: {} runs, {} equal lines, {} \
         differences, {} that do not look alike; {:.0} s",
        tally.packets,
        tally.files,
        arguments.seed,
        run.sets + random_sets,
        tally.runs,
        tally.lines,
        tally.differences,
        tally.kept.len(),
        begun.elapsed().as_secs_f64()
    );
    if tally.differences > 0 {
        bail!("capture and tcpdump differ; see {}", arguments.keep.display());
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    files: u64,
    packets: u64,
    runs: u64,
    /// Those that were compared and equal.
    lines: u64,
    differences: usize,
    /// What has been found, in a form in which like differences are equal: before it was shrunk, and after.
    seen: HashSet<String>,
    kept: HashSet<String>,
}

struct Run<'a> {
    arguments: &'a Arguments,
    capture: PathBuf,
    /// The sets of flags that take turns, and how many of them a file is printed with.
    fixed: Vec<Invocation>,
    sets: usize,
    random_sets: usize,
    files: u64,
    next: AtomicU64,
    scratch: &'a Path,
    tally: Mutex<Tally>,
}

impl Run<'_> {
    fn work(&self) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.files || self.tally(|tally| tally.kept.len()) >= self.arguments.max_differences
            {
                return Ok(());
            }
            self.file(number)?;
        }
    }

    fn tally<T>(&self, with: impl FnOnce(&mut Tally) -> T) -> T {
        with(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes file `number` and compares it under every set of flags.
    fn file(&self, number: u64) -> Result<()> {
        // The mixing in `Random` keeps neighbouring seeds apart.
        let mut random = Random::new(Random::new(self.arguments.seed).u64() ^ number);
        let file = generate::file(&mut random, self.arguments.file_packets);
        let path = self.scratch.join(format!("{number}.pcap"));
        fs::write(&path, file.encode())?;
        let drawn: Vec<_> = (0..self.random_sets).map(|_| flags::random(&mut random)).collect();
        let first = number as usize * self.sets;
        let taken = (first..first + self.sets).map(|turn| self.fixed[turn % self.fixed.len()].clone());
        for invocation in taken.chain(drawn) {
            let invocation = flags::with_circumstances(invocation, &mut random);
            let agreed = invocation.agree(&self.capture, &path, file.link)?;
            self.tally(|tally| {
                tally.runs += 1;
                tally.lines += agreed.unwrap_or(0);
            });
            if agreed.is_none() {
                self.difference(&file, &invocation, number)?;
            }
        }
        self.broken(&file, &path, &mut random)?;
        fs::remove_file(&path)?;
        self.tally(|tally| {
            tally.files += 1;
            tally.packets += file.packets.len() as u64;
        });
        Ok(())
    }

    /// Cuts the file off, or spoils a length in it: what is whole has to be printed, then the same fault named.
    fn broken(&self, file: &CaptureFile, path: &Path, random: &mut Random) -> Result<()> {
        let mut bytes = file.encode_some(file.packets.iter().take(200));
        let cut = random.below(bytes.len());
        if random.one_in(2) {
            bytes.truncate(cut);
        } else {
            // After the file's header, which says what the file is.
            let at = cut.max(160).min(bytes.len() - 1);
            bytes[at] = random.u8();
        }
        fs::write(path, &bytes)?;
        let invocation: Invocation = "-n -tt -q".parse()?;
        let [tcpdump, capture] = invocation.outputs(&self.capture, path, file.link)?;
        let said = String::from_utf8_lossy(&capture.stderr);
        let fault = complaint(&tcpdump);
        self.tally(|tally| tally.runs += 1);
        if tcpdump.stdout == capture.stdout
            && tcpdump.status.success() == capture.status.success()
            && said.contains(&fault)
        {
            return Ok(());
        }
        let name = format!("broken-{}-{cut}", self.arguments.seed);
        let kept = self.arguments.keep.join(format!("{name}.pcap"));
        fs::create_dir_all(&self.arguments.keep)?;
        fs::write(&kept, &bytes)?;
        println!("{}: {invocation}\n  tcpdump: {fault}\n  capture: {said}", kept.display());
        self.tally(|tally| {
            tally.differences += 1;
            tally.kept.insert(shrink::signature(&fault));
        });
        Ok(())
    }

    /// Shrinks what differs, and keeps it unless the like has been seen.
    fn difference(&self, file: &CaptureFile, invocation: &Invocation, number: u64) -> Result<()> {
        let scratch = self.scratch.join(format!("shrink-{number}.pcap"));
        let fresh = |signature| {
            self.tally(|tally| {
                tally.differences += 1;
                tally.seen.insert(signature)
            })
        };
        let Some(shrunk) = shrink::shrink(file, invocation, &self.capture, &scratch, fresh)? else {
            return Ok(());
        };
        let fresh = self.tally(|tally| tally.kept.insert(shrunk.signature()).then_some(tally.kept.len()));
        let Some(found) = fresh else { return Ok(()) };
        let name = format!("{}-{number}-{found}", self.arguments.seed);
        let keep = &self.arguments.keep;
        fs::create_dir_all(keep)?;
        let entry = Entry::of_difference(&name, shrunk.invocation.clone());
        fs::write(keep.join(&entry.file), shrunk.file.encode())?;
        fs::write(keep.join(&entry.expected), &shrunk.expected)?;
        List::append(keep, &entry)?;
        println!(
            "{}: {}\n--- tcpdump\n{}--- capture\n{}---",
            entry.name,
            shrunk.invocation,
            String::from_utf8_lossy(&shrunk.expected),
            String::from_utf8_lossy(&shrunk.got)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not printed is found, shrunk to one packet, and kept with what tcpdump prints of it.
    #[test]
    fn a_program_that_prints_nothing_is_found_out() {
        let keep = tempfile::tempdir().unwrap();
        let arguments = Arguments {
            expressions: None,
            packets: 200,
            seed: 1,
            file_packets: 200,
            flags_set: vec!["-n".into()],
            random_sets: 0,
            sets: None,
            capture: Some("/bin/true".into()),
            keep: keep.path().to_owned(),
            max_differences: 1,
            jobs: 1,
        };
        perform(&arguments).unwrap_err();
        let kept = List::read(keep.path()).unwrap().0;
        let [entry] = &kept[..] else { panic!("{} are kept", kept.len()) };
        let expected = fs::read_to_string(keep.path().join(&entry.expected)).unwrap();
        assert_eq!(expected.lines().count(), 1, "{expected}");
        let capture = entry.invocation.tcpdump(&keep.path().join(&entry.file), None).output().unwrap();
        assert_eq!(String::from_utf8(capture.stdout).unwrap(), expected);
    }
}

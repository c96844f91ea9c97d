//! The measured programs as processes: where their output goes, and what /proc and their last words say of them.

use std::{
    fs::{self, File},
    io::Seek as _,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ChildStdout, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::Signal;
use tempfile::tempfile_in;
use test_support::{
    namespace::Namespace,
    process::{self, end_with_us, number_before},
};

use super::{cpu::Cpu, space::Space};
use crate::memory;

/// How long a program may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the lines go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output<'a> {
    /// /dev/null.
    Null,
    /// This file.
    Into(&'a Space),
    /// A file on a file system in memory, if /dev/shm is one.
    File,
    /// A pipe, from which somebody reads as fast as they can and counts lines.
    Pipe,
    /// A pipe, for [`Process::take_stdout`].
    Handed,
}

/// A program that is running.
pub(super) struct Process {
    process: process::Process,
    lines: Lines,
}

/// How the lines are counted.
enum Lines {
    NotAtAll,
    File(File),
    Pipe(JoinHandle<Result<u64>>),
}

/// What a program left behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    /// Lines that arrived, where they were counted.
    pub(super) lines: Option<u64>,
    /// The three numbers of tcpdump's last words.
    pub(super) captured: u64,
    pub(super) received: u64,
    pub(super) dropped: u64,
    /// What `capture` could not write.
    pub(super) unwritten: u64,
    /// All that it said.
    pub(super) said: String,
}

impl Ended {
    /// How many packets an output of `capture` lacks, because it was too slow.
    pub(super) fn lacks(&self, output: &str) -> u64 {
        let lines = self.said.lines().filter_map(|line| line.strip_prefix(output)?.strip_prefix(": "));
        lines.filter_map(|line| number_before(" dropped, because", line)).sum()
    }
}

impl Process {
    /// Starts a command line in the namespace, and waits until it says that it is listening.
    pub(super) fn start(
        namespace: &Namespace,
        folder: &Path,
        command: &[String],
        output: Output<'_>,
    ) -> Result<Self> {
        let line = command.join(" ");
        let (program, arguments) = command.split_first().context("no program")?;
        let file = tempfile_in(folder)?;
        let stdout = match output {
            Output::Null => Stdio::null(),
            Output::Into(space) => space.output()?,
            Output::File => file.try_clone()?.into(),
            Output::Pipe | Output::Handed => Stdio::piped(),
        };
        let mut command = Command::new(program);
        end_with_us(command.args(arguments));
        let streams = [None, Some(stdout), None];
        let mut process = process::Process::start(namespace, folder, command, streams, Command::spawn)?;
        let lines = match output {
            Output::Pipe => {
                let pipe = process.take_stdout().context("no pipe")?;
                Lines::Pipe(thread::Builder::new().name("lines".to_owned()).spawn(|| count_lines(pipe))?)
            }
            Output::File => Lines::File(file),
            Output::Null | Output::Into(_) | Output::Handed => Lines::NotAtAll,
        };
        process
            .wait_for_stderr("listening on", PATIENCE)
            .with_context(|| format!("`{line}` does not listen"))?;
        Ok(Self { process, lines })
    }

    /// The reading end of an [`Output::Handed`].
    pub(super) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.process.take_stdout()
    }

    /// The process and its children: capture is two, and counts as both together.
    pub(super) fn all(&self) -> Result<Vec<u32>> {
        let process = self.process.pid().as_raw().cast_unsigned();
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
        let children = children.split_whitespace().map(str::parse);
        Ok(std::iter::once(Ok(process)).chain(children).collect::<Result<_, _>>()?)
    }

    /// CPU time used so far, by all threads.
    pub(super) fn cpu(&self) -> Result<Cpu> {
        self.all()?.into_iter().map(Cpu::of).sum()
    }

    /// Resident bytes besides rings.
    pub(super) fn resident(&self) -> Result<u64> {
        self.all()?.into_iter().map(memory::besides_rings).sum()
    }

    /// Waits until the program has used no CPU time worth mentioning for `quiet`: it has nothing left to do.
    pub(super) fn settle(&self, quiet: Duration) -> Result<()> {
        const NOTHING: Duration = Duration::from_millis(1);
        let mut last = self.cpu()?.total;
        let mut since = Instant::now();
        while since.elapsed() < quiet {
            thread::sleep(Duration::from_millis(20));
            let now = self.cpu()?.total;
            if now - last > NOTHING {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Ends the program as Ctrl-C does.
    pub(super) fn interrupt(mut self) -> Result<Ended> {
        self.process.signal(Signal::SIGINT)?;
        let status = self.process.end(PATIENCE)?;
        let said = self.process.stderr();
        if !status.success() {
            let how = status.signal().map_or(status.to_string(), |signal| format!("signal {signal}"));
            bail!("a measured program failed ({how}): {}", said.trim());
        }
        let lines = match self.lines {
            Lines::NotAtAll => None,
            Lines::File(mut file) => {
                file.rewind()?;
                Some(count_lines(file)?)
            }
            Lines::Pipe(thread) => Some(thread.join().map_err(|_| anyhow!("the reader panicked"))??),
        };
        let summary = |words| number_before(words, &said).with_context(|| format!("no `{words}` in: {said}"));
        Ok(Ended {
            lines,
            captured: summary(" captured")?,
            received: summary(" received by filter")?,
            dropped: summary(" dropped by kernel")?,
            unwritten: number_before(" not written", &said).unwrap_or(0),
            said,
        })
    }
}

/// Counts lines, without an empty one at the end: that is how tcpdump and `capture` end an interrupted capture.
pub(super) fn count_lines(mut from: impl std::io::Read) -> Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let (mut lines, mut last_two) = (0, *b"\n\n");
    let mut end = |bytes: &[u8]| match bytes {
        [.., a, b] => last_two = [*a, *b],
        [b] => last_two = [last_two[1], *b],
        [] => {}
    };
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        lines += buffer[..length].iter().filter(|&&byte| byte == b'\n').count() as u64;
        end(&buffer[..length]);
    }
    Ok(lines - u64::from(lines > 0 && last_two == *b"\n\n"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_empty_line_at_the_end_does_not_count() {
        assert_eq!(count_lines(&b"a\nb\n\n"[..]).unwrap(), 2);
        assert_eq!(count_lines(&b"a\nb\n"[..]).unwrap(), 2);
        assert_eq!(count_lines(&b"\n"[..]).unwrap(), 0);
        assert_eq!(count_lines(&b""[..]).unwrap(), 0);
        assert_eq!(count_lines((&b"a\n"[..]).chain(&b"\n"[..])).unwrap(), 1);
    }
}

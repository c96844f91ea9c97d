//! The measured programs as processes: where their output goes, and what /proc and their last words say of them.

use std::{
    fs::File,
    io::Seek as _,
    os::unix::{
        fs::FileExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use tempfile::tempfile_in;

use super::{cpu::Cpu, namespace::Namespace};

/// How long a program may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// /dev/null.
    Null,
    /// A file on a file system in memory, if /dev/shm is one.
    File,
    /// A pipe, from which somebody reads as fast as they can and counts lines.
    Pipe,
    /// A pipe, for [`Process::take_stdout`].
    Handed,
}

/// A program that is running.
pub(super) struct Process {
    child: Child,
    stderr: File,
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
}

impl Process {
    /// Starts a command line in the namespace, and waits until it says that it is listening.
    pub(super) fn start(
        namespace: &Namespace,
        folder: &Path,
        command: &[String],
        output: Output,
    ) -> Result<Self> {
        let process = Self::spawn(namespace, folder, command, output)?;
        let start = Instant::now();
        while !process.stderr()?.contains("listening on") {
            if start.elapsed() > PATIENCE || !Path::new(&format!("/proc/{}", process.child.id())).exists() {
                bail!("`{}` does not listen: {}", command.join(" "), process.stderr()?.trim());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }

    fn spawn(namespace: &Namespace, folder: &Path, command: &[String], output: Output) -> Result<Self> {
        let (program, arguments) = command.split_first().context("no program")?;
        // Files without names, so that none is left behind.
        let (stdout, stderr) = (tempfile_in(folder)?, tempfile_in(folder)?);
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stderr(stderr.try_clone()?);
        command.stdout(match output {
            Output::Null => Stdio::null(),
            Output::File => stdout.try_clone()?.into(),
            Output::Pipe | Output::Handed => Stdio::piped(),
        });
        end_with_us(&mut command);
        let mut child =
            namespace.run(move || Ok(command.spawn()?)).with_context(|| format!("cannot run {program}"))?;
        let lines = match output {
            Output::Pipe => {
                let pipe = child.stdout.take().context("no pipe")?;
                Lines::Pipe(thread::Builder::new().name("lines".to_owned()).spawn(|| count_lines(pipe))?)
            }
            Output::File => Lines::File(stdout),
            Output::Null | Output::Handed => Lines::NotAtAll,
        };
        Ok(Self { child, stderr, lines })
    }

    /// What it has said so far.
    fn stderr(&self) -> Result<String> {
        let mut said = vec![0; self.stderr.metadata()?.len() as usize];
        // Not read through the descriptor's position, which is the program's too.
        self.stderr.read_exact_at(&mut said, 0).context("cannot read a program's standard error")?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// The reading end of an [`Output::Handed`].
    pub(super) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time used so far, by all threads.
    pub(super) fn cpu(&self) -> Result<Cpu> {
        Cpu::of(self.pid())
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
        kill(Pid::from_raw(self.pid() as i32), Signal::SIGINT)?;
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => bail!("process {} does not end", self.pid()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let said = self.stderr()?;
        if !status.success() {
            let how = status.signal().map_or(status.to_string(), |signal| format!("signal {signal}"));
            bail!("a measured program failed ({how}): {}", said.trim());
        }
        let lines = match std::mem::replace(&mut self.lines, Lines::NotAtAll) {
            Lines::NotAtAll => None,
            Lines::File(mut file) => {
                file.rewind()?;
                Some(count_lines(file)?)
            }
            Lines::Pipe(thread) => Some(thread.join().map_err(|_| anyhow!("the reader panicked"))??),
        };
        let number = |words: &str| {
            let number = |line: &str| line.split_once(words)?.0.split(' ').next()?.parse().ok();
            said.lines().find_map(number)
        };
        let summary = |words: &str| number(words).with_context(|| format!("no `{words}` in: {said}"));
        Ok(Ended {
            lines,
            captured: summary(" captured")?,
            received: summary(" received by filter")?,
            dropped: summary(" dropped by kernel")?,
            unwritten: number(" not written").unwrap_or(0),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what is wanted.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Has the kernel end a program when the thread that started it ends, however that comes about.
#[expect(unsafe_code, reason = "code between fork and exec")]
pub(super) fn end_with_us(command: &mut Command) {
    // SAFETY: prctl(2) is a plain system call: it neither allocates nor takes locks.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
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

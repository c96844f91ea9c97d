//! Programs as processes: where their output goes, and what they say.

use std::{
    fs::File,
    io,
    os::unix::{fs::FileExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use tempfile::tempfile_in;

use crate::{namespace::Namespace, wait::within};

/// A running program, which ends with this value. What it prints goes to files without names, so that none is left
/// behind.
pub struct Process {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Process {
    /// Starts a command in the namespace, with the files in `folder`, or its standard input, output and error where
    /// the caller wants them. Without one, its standard input is empty.
    pub fn start(
        namespace: &Namespace,
        folder: &Path,
        mut command: Command,
        [stdin, stdout_to, stderr_to]: [Option<Stdio>; 3],
        spawn: fn(&mut Command) -> io::Result<Child>,
    ) -> Result<Self> {
        let (stdout, stderr) = (tempfile_in(folder)?, tempfile_in(folder)?);
        command.stdin(stdin.unwrap_or_else(Stdio::null));
        command.stdout(stdout_to.map_or_else(|| stdout.try_clone().map(Stdio::from), Ok)?);
        command.stderr(stderr_to.map_or_else(|| stderr.try_clone().map(Stdio::from), Ok)?);
        let program = command.get_program().display().to_string();
        let child = namespace.run(move || spawn(&mut command));
        Ok(Self { child: child.with_context(|| format!("cannot run {program}"))?, stdout, stderr })
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The reading end of its standard output, if that is a pipe and was not taken.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until it has said `words`, or has ended.
    pub fn wait_for_stderr(&self, words: &str, limit: Duration) -> Result<()> {
        let look = || {
            let ended = self.has_ended();
            let said = self.stderr().contains(words);
            if ended && !said {
                bail!("it has ended");
            }
            Ok(said.then_some(()))
        };
        within(limit, &format!("`{words}` on standard error"), look)
            .with_context(|| format!("process {} said: {}", self.pid(), self.stderr()))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("process {} does not run", self.pid()))
    }

    /// Whether it has ended. It is not waited for.
    pub fn has_ended(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        status.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z'))
    }

    /// Waits until it has ended by itself.
    pub fn end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of process {}", self.pid());
        within(limit, &what, || Ok(self.child.try_wait()?))
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
pub fn end_with_us(command: &mut Command) {
    // SAFETY: prctl(2) is a plain system call: it neither allocates nor takes locks.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
}

/// What a file has, not through the position of its descriptor, which the program has too.
fn text(file: &File) -> String {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut text = vec![0; usize::try_from(length).unwrap_or_default()];
    let read = file.read_at(&mut text, 0).unwrap_or_default();
    String::from_utf8_lossy(&text[..read]).into_owned()
}

/// The number before `words` in the summary of tcpdump or capture.
pub fn number_before(words: &str, said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once(words)?.0.split(' ').next()?.parse().ok())
}

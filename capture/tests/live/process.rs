//! The two programs under comparison, as processes.

use std::{
    fs,
    io::{self, PipeWriter, Read as _},
    ops::Deref,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{sys::signal::Signal, unistd::Pid};
use test_support::process::{Process, number_before};

use crate::{namespace::Namespace, others};
pub(crate) use test_support::wait::{NEVER, wait_until};

/// A running capture program whose outputs go to files.
pub(crate) struct Tracer {
    process: Process,
}

/// What a program printed until it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: ExitStatus,
}

impl Ended {
    /// The lines of the packets.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().filter(|line| !line.is_empty()).collect()
    }

    /// The number before `words` in the summary.
    pub(crate) fn count(&self, words: &str) -> u64 {
        number_before(words, &self.stderr).unwrap_or_else(|| panic!("no line `{words}` in: {}", self.stderr))
    }
}

impl Deref for Tracer {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Tracer {
    /// Starts `capture` in the namespace, and waits until it is attached.
    pub(crate) fn capture(namespace: &Namespace, arguments: &str) -> Self {
        let tracer = Self::start(namespace, env!("CARGO_BIN_EXE_capture"), arguments, None);
        tracer.wait_for_stderr("listening on");
        tracer
    }

    /// Starts `capture` with its standard output where the test wants it.
    pub(crate) fn capture_into(namespace: &Namespace, arguments: &str, stdout: Stdio) -> Self {
        let tracer = Self::start(namespace, env!("CARGO_BIN_EXE_capture"), arguments, Some(stdout));
        tracer.wait_for_stderr("listening on");
        tracer
    }

    /// Starts `capture` with its standard error where the test wants it, and does not wait.
    pub(crate) fn capture_with_stderr(namespace: &Namespace, arguments: &str, stderr: PipeWriter) -> Self {
        let streams = [None, None, Some(stderr.into())];
        Self::start_as(namespace, env!("CARGO_BIN_EXE_capture"), arguments, streams, Command::spawn)
    }

    /// Starts `capture` and does not wait: it is to fail.
    pub(crate) fn capture_failing(namespace: &Namespace, arguments: &str) -> Ended {
        Self::start(namespace, env!("CARGO_BIN_EXE_capture"), arguments, None).end()
    }

    /// Starts a program and does not wait.
    pub(crate) fn program(namespace: &Namespace, program: &str, arguments: &str) -> Self {
        Self::start(namespace, program, arguments, None)
    }

    /// Starts `capture` as if the kernel had no TCX, and does not wait.
    pub(crate) fn without_tcx(namespace: &Namespace, arguments: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_capture");
        Self::start_as(namespace, program, arguments, [None, None, None], |command| {
            others::without_tcx(|| command.spawn())
        })
    }

    /// The same with its standard output where the test wants it; waits until it is attached.
    pub(crate) fn capture_without_tcx_into(namespace: &Namespace, arguments: &str, stdout: Stdio) -> Self {
        let program = env!("CARGO_BIN_EXE_capture");
        let streams = [None, Some(stdout), None];
        let tracer = Self::start_as(namespace, program, arguments, streams, |command| {
            others::without_tcx(|| command.spawn())
        });
        tracer.wait_for_stderr("listening on");
        tracer
    }

    /// Starts `capture` as root with a bounding set of capabilities, and does not wait.
    pub(crate) fn unprivileged(namespace: &Namespace, capabilities: &str, arguments: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_capture");
        let arguments = format!("--bounding-set={capabilities} --inh-caps=-all {program} {arguments}");
        Self::start(namespace, "setpriv", &arguments, None)
    }

    /// Starts tcpdump so that it is an honest oracle: with a large buffer.
    pub(crate) fn tcpdump(namespace: &Namespace, arguments: &str) -> Self {
        let arguments = format!("-l -B 65536 {arguments}");
        let tracer = Self::start(namespace, "tcpdump", &arguments, None);
        tracer.wait_for_stderr("listening on");
        tracer
    }

    fn start(namespace: &Namespace, program: &str, arguments: &str, stdout_to: Option<Stdio>) -> Self {
        Self::start_with(namespace, program, arguments, [None, stdout_to, None])
    }

    /// Starts a program with its standard input, output and error where the test wants them, and does not wait.
    pub(crate) fn start_with(
        namespace: &Namespace,
        program: &str,
        arguments: &str,
        streams: [Option<Stdio>; 3],
    ) -> Self {
        Self::start_as(namespace, program, arguments, streams, Command::spawn)
    }

    fn start_as(
        namespace: &Namespace,
        program: &str,
        arguments: &str,
        streams: [Option<Stdio>; 3],
        spawn: fn(&mut Command) -> io::Result<Child>,
    ) -> Self {
        // The tests end it by signals, some of which the children of a shell in the background would ignore.
        let mut command = Command::new("env");
        command
            .args(["--default-signal", program])
            .args(arguments.split_whitespace())
            .env("TZ", "Europe/Vienna");
        // For name servers that do not answer: longer than any test waits (resolv.conf(5)).
        command.env("RES_OPTIONS", "timeout:30 attempts:5");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let process = Process::start(namespace, folder, command, streams, spawn);
        Self { process: process.unwrap_or_else(|error| panic!("{program}: {error:#}")) }
    }

    pub(crate) fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.process.take_stdout().expect("a pipe")
    }

    pub(crate) fn wait_for_stdout(&self, text: &str) {
        wait_until(&format!("`{text}` on standard output"), || self.stdout().contains(text));
    }

    pub(crate) fn wait_for_stderr(&self, text: &str) {
        self.process.wait_for_stderr(text, NEVER).expect("it says that");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).expect("it runs");
    }

    /// The helper of a capture that keeps the programs attached.
    pub(crate) fn helper(&self) -> Pid {
        self.child("capture-helper")
    }

    /// The child of this name.
    pub(crate) fn child(&self, wanted: &str) -> Pid {
        let process = self.pid();
        let is_helper = |child: &&str| {
            fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim_end() == wanted)
        };
        let find = || {
            let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
            children.split_whitespace().find(is_helper)?.parse().ok()
        };
        // It may not have its name yet.
        let mut helper = None;
        wait_until("the helper", || {
            helper = find();
            helper.is_some()
        });
        Pid::from_raw(helper.expect("it was found"))
    }

    /// Ends the program with SIGINT.
    pub(crate) fn interrupt(self) -> Ended {
        self.signal(Signal::SIGINT);
        self.end()
    }

    /// Waits until the program has ended by itself.
    pub(crate) fn end(mut self) -> Ended {
        let status = self.process.end(NEVER).expect("it ends");
        assert_ne!(status.signal(), Some(Signal::SIGSEGV as i32), "{}", self.stderr());
        let mut stdout = self.stdout();
        if let Some(mut pipe) = self.process.take_stdout() {
            pipe.read_to_string(&mut stdout).expect("text");
        }
        Ended { stdout, stderr: self.stderr(), status }
    }
}

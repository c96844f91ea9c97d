//! The two programs under comparison, as processes.

use std::{
    fs::{self, File},
    io::{self, PipeWriter, Read as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{namespace::Namespace, others};

/// A condition that has not come true after this long never will.
pub(crate) const NEVER: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < NEVER, "{what}: not within {NEVER:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A running capture program whose outputs go to files.
pub(crate) struct Tracer {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
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
        let number = |line: &str| line.strip_suffix(words)?.split(' ').next()?.parse().ok();
        self.stderr
            .lines()
            .find_map(number)
            .unwrap_or_else(|| panic!("no line `{words}` in: {}", self.stderr))
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
        [stdin, stdout_to, stderr_to]: [Option<Stdio>; 3],
        spawn: fn(&mut Command) -> io::Result<Child>,
    ) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let base =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("live-{}-{number}", std::process::id()));
        let (stdout, stderr) = (base.with_extension("out"), base.with_extension("err"));
        let to_stdout = stdout_to.unwrap_or_else(|| File::create(&stdout).expect("a file").into());
        let to_stderr = stderr_to.unwrap_or_else(|| File::create(&stderr).expect("a file").into());
        // The tests end it by signals, some of which the children of a shell in the background would ignore.
        let mut command = Command::new("env");
        command
            .args(["--default-signal", program])
            .args(arguments.split_whitespace())
            .env("TZ", "Europe/Vienna");
        // For name servers that do not answer: longer than any test waits (resolv.conf(5)).
        command.env("RES_OPTIONS", "timeout:30 attempts:5");
        command.stdin(stdin.unwrap_or_else(Stdio::null)).stdout(to_stdout).stderr(to_stderr);
        let child =
            namespace.run(move || spawn(&mut command)).unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { child, stdout, stderr, ended: None }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub(crate) fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("a pipe")
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    pub(crate) fn wait_for_stdout(&self, text: &str) {
        wait_until(&format!("`{text}` on standard output"), || self.stdout().contains(text));
    }

    pub(crate) fn wait_for_stderr(&self, text: &str) {
        let start = Instant::now();
        while !self.stderr().contains(text) {
            assert!(start.elapsed() < NEVER, "no `{text}` on standard error, but: {}", self.stderr());
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// Whether the program has ended, and would be waited for no longer.
    pub(crate) fn has_ended(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        status.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z'))
    }

    /// Ends the program with SIGINT.
    pub(crate) fn interrupt(self) -> Ended {
        self.signal(Signal::SIGINT);
        self.end()
    }

    /// Waits until the program has ended by itself.
    pub(crate) fn end(mut self) -> Ended {
        wait_until("the end of the program", || {
            self.ended = self.child.try_wait().expect("it is our child");
            self.ended.is_some()
        });
        let status = self.ended.expect("it has ended");
        assert_ne!(status.signal(), Some(Signal::SIGSEGV as i32), "{}", self.stderr());
        let mut piped = String::new();
        if let Some(pipe) = &mut self.child.stdout {
            pipe.read_to_string(&mut piped).expect("text");
        }
        let stdout = if piped.is_empty() { self.stdout() } else { piped };
        Ended { stdout, stderr: self.stderr(), status }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _gone = self.child.kill();
            let _gone = self.child.wait();
        }
        let _none = fs::remove_file(&self.stdout);
        let _none = fs::remove_file(&self.stderr);
    }
}

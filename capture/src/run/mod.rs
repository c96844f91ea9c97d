//! From a validated command to its end: live captures ([`live`], [`session`], [`signals`], [`patience`]), files
//! ([`offline`]), the list of interfaces.

mod failures;
mod live;
pub mod offline;
mod outputs;
mod patience;
mod progress;
mod session;
mod signals;
mod time_zone;

use std::{fs::File, io, os::fd::AsFd as _, process::ExitCode, sync::OnceLock, time::Duration};

use capture_flow::{CONNECTION_LIMIT, Tracker};
use capture_text::{Conversations, Printer};
use nix::{
    errno::Errno,
    sys::signal::{SigSet, SigmaskHow, Signal},
};

use self::outputs::STANDARD_OUTPUT;
use crate::{
    blocking,
    config::{Command, Config, Source},
    kernel::{Interface, KernelError, printable, was_closed},
    messages,
    output::{files::FilesError, text::TextEncoder},
    resolve::{Resolver, SERVICES, Wait},
    source::file::FileError,
    summary::Unwritten,
};

/// The signals that were blocked when the process started.
static AT_START: OnceLock<SigSet> = OnceLock::new();

/// Exit status after a failure.
const FAILURE: u8 = 1;

/// Conversations whose sequence numbers are kept, at most.
pub const CONVERSATION_LIMIT: usize = 1 << 20;

/// What a run can end with.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel refused something.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file cannot be read, or not to its end.
    #[error(transparent)]
    File(#[from] FileError),
    /// An output took no more.
    #[error("cannot write to {output}: {source}")]
    Output {
        /// What it is called.
        output: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file of `-w` or `--json` cannot be written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// `-w -` at a terminal.
    #[error("-w -: standard output is a terminal: redirect it, or name a file")]
    BinaryToTerminal,
    /// An output took no more while others went on; that has been said.
    #[error("an output failed")]
    LostOutput,
    /// The output has not taken everything when the capture ends.
    #[error("the capture is incomplete: {0}")]
    Incomplete(Unwritten),
    /// The system refused a thread, a descriptor or the like.
    #[error("cannot start {what}: {source}{}", next_step(.source))]
    Start {
        /// What was to be started.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// No interface was named, and none suggests itself.
    #[error(
        "no interface to capture on: all but loopback are down (have: {}); name one with -i",
        printable(.have)
    )]
    NoInterface {
        /// The names that exist.
        have: String,
    },
}

/// What to do where the system refuses a thread (pthread_create(3): EAGAIN) or a descriptor.
fn next_step(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => "; raise the limit of open files (`ulimit -Hn`, or LimitNOFILE=)",
        Some(Errno::EAGAIN) => "; raise the limit of threads (`ulimit -Hu`, or pids.max of the cgroup)",
        _ => "",
    }
}

/// Lets two signals not end the process. To be called first: later threads inherit what is blocked.
///
/// A write beyond the limit for a file's size (`ulimit -f`) fails then, and the error is reported, where SIGXFSZ would
/// end the process. SIGUSR2 does nothing while a file is read, as in tcpdump; a live capture listens to it.
pub fn block_signals() {
    let blocked: SigSet = [Signal::SIGXFSZ, Signal::SIGUSR2].into_iter().collect();
    // The mask is valid, and this fails for no other reason (pthread_sigmask(3)).
    if let Ok(before) = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK) {
        AT_START.get_or_init(|| before);
    }
}

/// The signals that were blocked when the process started: what it starts has no others blocked.
fn signals_at_start() -> SigSet {
    AT_START.get().copied().unwrap_or_else(SigSet::empty)
}

/// Prints a text, such as the help, to standard output.
pub fn print_text(text: &str) -> ExitCode {
    conclude(standard_output().and_then(|output| write_all(output, text)), say)
}

/// Runs the command, and says on standard error what went wrong.
pub fn run(command: &Command) -> ExitCode {
    match command {
        Command::ListInterfaces => conclude(list_interfaces(), say),
        Command::Print(config) => match &config.source {
            Source::File(path) => conclude(offline::run(config, path), say),
            Source::Live(options) => live::run(config, options),
        },
    }
}

impl RunError {
    /// That the reader of an output has gone is none: it has read enough.
    fn is_failure(&self) -> bool {
        !matches!(self, Self::Output { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    fn standard_output(source: io::Error) -> Self {
        Self::Output { output: STANDARD_OUTPUT.to_owned(), source }
    }
}

/// The exit status, after saying what went wrong.
fn conclude(result: Result<(), RunError>, say: impl FnOnce(&str)) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(complaint) = complaint(&error) {
        say(&complaint);
    }
    if error.is_failure() { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS }
}

/// What there is to say of an error, if it is one for the user.
fn complaint(error: &RunError) -> Option<String> {
    let is_said = matches!(error, RunError::LostOutput) || !error.is_failure();
    (!is_said).then(|| format!("capture: {}\n", without_number(&error.to_string())))
}

/// Standard output as a file: [`io::stdout`] has a lock and a buffer of its own, and takes a descriptor that cannot be
/// written to for one that takes everything.
fn standard_output() -> Result<File, RunError> {
    let stdout = io::stdout();
    if was_closed(&stdout) {
        return Err(RunError::standard_output(Errno::EBADF.into()));
    }
    stdout.as_fd().try_clone_to_owned().map(File::from).map_err(RunError::standard_output)
}

fn write_all(mut output: File, text: &str) -> Result<(), RunError> {
    blocking::write_all(&mut output, text.as_bytes()).map_err(RunError::standard_output)
}

/// Standard error as a file, likewise.
fn standard_error() -> io::Result<File> {
    io::stderr().as_fd().try_clone_to_owned().map(File::from)
}

/// The system's errors in its own words, as tcpdump has them: without the number that [`io::Error`] adds.
fn without_number(message: &str) -> String {
    let Some((before, rest)) = message.split_once(" (os error ") else { return message.to_owned() };
    match rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).strip_prefix(')') {
        Some(after) => format!("{before}{after}"),
        None => message.to_owned(),
    }
}

/// `-D`: the interfaces, one a line, in tcpdump's form. The order is that of their indices, which does not change as
/// interfaces come up and go down; tcpdump has those that are up first.
fn list_interfaces() -> Result<(), RunError> {
    let mut text = String::new();
    for (number, interface) in (1..).zip(Interface::list()?) {
        let words = [
            (interface.is_up(), "Up"),
            (interface.is_running(), "Running"),
            (interface.is_loopback(), "Loopback"),
        ];
        let words: Vec<&str> = words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
        let words = if words.is_empty() { String::new() } else { format!(" [{}]", words.join(", ")) };
        text.push_str(&format!("{number}.{interface}{words}\n"));
    }
    write_all(standard_output()?, &text)
}

/// What finds out what happens in connections, if an output shows it.
fn tracker(config: &Config) -> Option<Tracker> {
    (config.explain || config.outputs.json.is_some()).then(|| Tracker::new(CONNECTION_LIMIT))
}

/// What makes the lines, if the configuration asks for them. With `--resolve`, a line waits for a name for no longer than
/// `patience`. Live, lines together have to wait for no longer than that for a while, or packets would be lost. `say` gets
/// what there is to say about names.
fn text_encoder(
    config: &Config,
    patience: Duration,
    say: impl FnOnce(&str),
) -> Result<Option<TextEncoder>, RunError> {
    if !config.outputs.text {
        return Ok(None);
    }
    let mut printer =
        Printer::new(config.text, time_zone::time_zone(), Conversations::new(CONVERSATION_LIMIT));
    // "Cooked" packets, which files alone have, name their interfaces. A file can be printed where the machine does not
    // list its interfaces; they have no names then.
    let interfaces = match config.source {
        Source::File(_) => Interface::list().unwrap_or_default(),
        Source::Live(_) => Vec::new(),
    };
    let names = interfaces.iter().map(|interface| (interface.index, interface.to_string()));
    printer.set_interfaces(names.collect());
    if config.resolve {
        let wait = match config.source {
            Source::File(_) => Wait::Each(patience),
            Source::Live(_) => Wait::Together(patience),
        };
        let resolver = Resolver::new(wait, config.no_domain)
            .map_err(|source| RunError::Start { what: "the resolver's thread", source })?;
        if let Some(error) = resolver.services_error() {
            let why = without_number(&error.to_string());
            say(&format!("capture: {SERVICES}: {why}: ports are printed as numbers\n"));
        }
        printer.set_names(Box::new(resolver));
    }
    Ok(Some(TextEncoder::new(printer, config.explain)))
}

/// Writes to standard error. Where it is gone, the text is lost.
pub fn say(text: &str) {
    let _gone = blocking::write_all(&mut io::stderr(), messages::without_controls(text).as_bytes());
}

/// Writes a text that controls a terminal to standard error.
fn show(text: &str) {
    let _gone = blocking::write_all(&mut io::stderr(), text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_errors_have_no_numbers() {
        let error = RunError::standard_output(io::Error::from_raw_os_error(28));
        assert_eq!(
            without_number(&error.to_string()),
            "cannot write to standard output: No space left on device"
        );
        for message in ["x", "x (os error ", "x (os error y)"] {
            assert_eq!(without_number(message), message);
        }
        assert_eq!(without_number("x (os error 1); y"), "x; y");
    }

    #[test]
    fn what_cannot_be_started_has_a_next_step() {
        for (number, step) in [
            (Errno::EMFILE, ": Too many open files; raise the limit of open files (`ulimit -Hn`, "),
            (Errno::EAGAIN, ": Resource temporarily unavailable; raise the limit of threads (`ulimit -Hu`, "),
        ] {
            let error = RunError::Start { what: "it", source: number.into() };
            let text = without_number(&error.to_string());
            assert!(text.starts_with(&format!("cannot start it{step}")), "{text}");
        }
    }
}

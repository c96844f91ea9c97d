//! From a validated command to its end: live captures ([`live`], [`session`], [`signals`], [`patience`]), files
//! ([`offline`]), the list of interfaces.

mod compiled;
mod confined;
mod dump;
mod failures;
mod interfaces;
mod live;
pub mod offline;
mod outputs;
mod paths;
mod patience;
mod progress;
mod session;
mod signals;
mod ssh;
mod time_zone;

use std::{fs::File, io, os::fd::AsFd as _, process::ExitCode, sync::OnceLock, time::Duration};

use capture_flow::{CONNECTION_LIMIT, Tracker};
use capture_packet::LinkType;
use capture_text::{Conversations, Printer};
use nix::{
    errno::Errno,
    sys::signal::{SigSet, SigmaskHow, Signal},
};

use self::{confined::Confinement, outputs::STANDARD_OUTPUT};
use crate::{
    blocking,
    config::{self, Command, Config, Source},
    etc::SERVICES,
    filter::FilterError,
    kernel::{
        self, CaptureError, CleanupError, DetachError, Interface, InterfaceError, NamespaceError,
        NetworkNamespace, StartError, TooManyFiles, WatchError, printable, was_closed,
    },
    messages,
    output::{
        files::{FilesError, helper::HelperError},
        text::TextEncoder,
    },
    resolve::{self, Resolver, Wait},
    sandbox::SandboxError,
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
    /// The interfaces cannot be listed, or there is none of that name.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// An interface is down, or what becomes of it is not announced.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// A network namespace is not there, or cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Something that went wrong in another network namespace.
    #[error("in network namespace {namespace}: {source}")]
    InNamespace {
        /// What it is called.
        namespace: String,
        /// What went wrong.
        #[source]
        source: Box<RunError>,
    },
    /// What a dead capture has left is not removed.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
    /// There may be too few open files.
    #[error(transparent)]
    TooManyFiles(#[from] TooManyFiles),
    /// The capture does not start.
    #[error(transparent)]
    CaptureStart(#[from] StartError),
    /// The capture has ended by itself.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The capture was not detached as it should be.
    #[error(transparent)]
    Detach(#[from] DetachError),
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
    /// The filter selects nothing.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The verifier does not accept a program with the filter in front.
    #[error(
        "the kernel's verifier refused program {program} with the expression `{expression}`: {source} ({reason}); shorten \
         the expression or, if it is short, report this bug with the output of `uname -a` and of the same command with \
         `--log-level debug`{log}"
    )]
    Verifier {
        /// The program.
        program: &'static str,
        /// The expression.
        expression: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
        /// The last line of the verifier's log.
        reason: String,
        /// The end of the verifier's log after a newline, if it is asked for.
        log: String,
    },
    /// The file of an output cannot be written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// There is no helper that opens the files.
    #[error(transparent)]
    FilesHelper(#[from] HelperError),
    /// There is no helper that asks for names.
    #[error(transparent)]
    NamesHelper(#[from] resolve::HelperError),
    /// `-w -` at a terminal.
    #[error("-w -: standard output is a terminal: redirect it, or name a file")]
    BinaryToTerminal,
    /// An output took no more while others went on; that has been said.
    #[error("an output failed")]
    LostOutput,
    /// The output has not taken everything when the capture ends.
    #[error("the capture is incomplete: {0}")]
    Incomplete(Unwritten),
    /// An output was not closed when the capture ended.
    #[error("{output} is not closed: {reason}; what was written to it last may be missing, so check it")]
    Unclosed {
        /// What it is called.
        output: String,
        /// Why it was not waited for.
        reason: Unwritten,
    },
    /// There is no sandbox for what parses a file.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The system refused a thread, a descriptor or the like.
    #[error("cannot start {what}: {source}{}", next_step(.source))]
    Start {
        /// What was to be started.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// `-y` with a link type that the interfaces do not have.
    #[error(
        "the packets of {interface} do not begin with {asked}: leave out -y, or give -y LINUX_SLL2, which suits every \
         interface"
    )]
    LinkType {
        /// The interfaces.
        interface: String,
        /// What was asked for.
        asked: LinkType,
    },
    /// An expression with bytes of a link header, for several interfaces.
    #[error(
        "the expression `{expression}`: the bytes of the link header (ether[..]) are different ones on each interface; name \
         one interface with -i"
    )]
    LinkBytes {
        /// The expression.
        expression: String,
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
        Command::ListInterfaces(namespaces) => conclude(list_interfaces(namespaces), say),
        Command::CleanUp(namespaces) => conclude(clean_up(namespaces), say),
        Command::Check(config) => conclude(dump::check(config), say),
        Command::Dump(config, form) => conclude(dump::dump(config, *form), say),
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
pub fn without_number(message: &str) -> String {
    let Some((before, rest)) = message.split_once(" (os error ") else { return message.to_owned() };
    match rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).strip_prefix(')') {
        Some(after) => format!("{before}{after}"),
        None => message.to_owned(),
    }
}

/// `-D`: the interfaces, one a line, of each of the namespaces.
fn list_interfaces(asked: &[config::Namespace]) -> Result<(), RunError> {
    let namespaces = interfaces::namespaces(asked)?;
    let mut text = if namespaces.is_empty() { listed_interfaces("")? } else { String::new() };
    for namespace in namespaces {
        let prefix = format!("{}/", namespace.name());
        text.push_str(&interfaces::within(&namespace, || listed_interfaces(&prefix))?);
    }
    write_all(standard_output()?, &text)
}

/// `--cleanup`: says what has been removed.
fn clean_up(asked: &[config::Namespace]) -> Result<(), RunError> {
    let namespaces = interfaces::namespaces(asked)?;
    let mut done = if namespaces.is_empty() { kernel::clean_up()? } else { Vec::new() };
    for namespace in &namespaces {
        done.extend(interfaces::within(namespace, || Ok(kernel::clean_up()?))?);
    }
    if done.is_empty() {
        const NOTHING: &str = "no filter of a capture that was killed is on any interface in";
        let names: Vec<&str> = namespaces.iter().map(NetworkNamespace::name).collect();
        done.push(match names.as_slice() {
            [] => format!("{NOTHING} this network namespace; to look into another one, add --netns"),
            [name] => format!("{NOTHING} network namespace {name}"),
            names => format!("{NOTHING} the network namespaces {}", names.join(", ")),
        });
    }
    done.iter().for_each(|sentence| say(&format!("capture: {sentence}\n")));
    Ok(())
}

/// The interfaces, one a line, in tcpdump's form. The order is that of their indices, which does not change as
/// interfaces come up and go down; tcpdump has those that are up first.
fn listed_interfaces(prefix: &str) -> Result<String, RunError> {
    let mut text = String::new();
    for (number, interface) in (1..).zip(Interface::list()?) {
        let words = [
            (interface.is_up(), "Up"),
            (interface.is_running(), "Running"),
            (interface.is_loopback(), "Loopback"),
        ];
        let words: Vec<&str> = words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
        let words = if words.is_empty() { String::new() } else { format!(" [{}]", words.join(", ")) };
        text.push_str(&format!("{number}.{prefix}{interface}{words}\n"));
    }
    Ok(text)
}

/// What finds out what happens in connections, if an output shows it.
fn tracker(config: &Config) -> Option<Tracker> {
    (config.explain || config.outputs.have_events()).then(|| Tracker::new(CONNECTION_LIMIT))
}

/// What makes the lines, if the configuration asks for them: numbers, until it gets names.
fn printer(config: &Config) -> Option<Printer> {
    if !config.outputs.text {
        return None;
    }
    let mut printer =
        Printer::new(config.text, time_zone::time_zone(), Conversations::new(CONVERSATION_LIMIT));
    // "Cooked" packets name their interfaces. A file can be printed where the machine does not list its interfaces; they
    // have no names then. Those of a live capture are set when it attaches to them.
    let interfaces = match config.source {
        Source::File(_) => Interface::list().unwrap_or_default(),
        Source::Live(_) => Vec::new(),
    };
    let names = interfaces.iter().map(|interface| (interface.index, interface.to_string()));
    printer.set_interfaces(names.collect());
    Some(printer)
}

/// Makes a printer print names, with `--resolve`, and lines of what it prints. To be called while the process has one thread,
/// and all that it may do. A line waits for a name for no longer than
/// `patience`. Live, lines together have to wait for no longer than that for a while, or packets would be lost. `say` gets
/// what there is to say about names.
///
/// # Errors
///
/// When there is no helper that asks for names.
fn text_encoder(
    config: &Config,
    mut printer: Printer,
    patience: Duration,
    confinement: &Confinement<'_>,
    mut say: impl FnMut(&str),
) -> Result<TextEncoder, RunError> {
    if config.resolve {
        let wait = match config.source {
            Source::File(_) => Wait::Each(patience),
            Source::Live(_) => Wait::Together(patience),
        };
        let (resolver, holds) = Resolver::split(wait, config.no_domain, || confinement.of_names())?;
        if confinement.is_reported() && !holds.is_empty() {
            say(&format!("capture: names are asked for with: {holds}\n"));
        }
        if let Some(error) = resolver.services_error() {
            let why = without_number(&error.to_string());
            say(&format!("capture: {SERVICES}: {why}: ports are printed as numbers\n"));
        }
        printer.set_names(Box::new(resolver));
    }
    Ok(TextEncoder::new(printer, config.explain))
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

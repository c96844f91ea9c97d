//! What a run can end with, and what is said of it.

use std::{io, process::ExitCode};

use capture_packet::LinkType;
use nix::errno::Errno;

use super::paths::STANDARD_OUTPUT;
use crate::{
    filter::FilterError,
    kernel::{
        CaptureError, CleanupError, DetachError, InterfaceError, NamespaceError, StartError, TooManyFiles,
        WatchError, printable,
    },
    output::files::{FilesError, helper::HelperError},
    resolve,
    sandbox::SandboxError,
    source::file::FileError,
    summary::Unwritten,
};

/// Exit status after a failure.
const FAILURE: u8 = 1;

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

impl RunError {
    /// That the reader of an output has gone is none: it has read enough.
    pub(super) fn is_failure(&self) -> bool {
        !matches!(self, Self::Output { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(super) fn standard_output(source: io::Error) -> Self {
        Self::Output { output: STANDARD_OUTPUT.to_owned(), source }
    }
}

/// The exit status, after saying what went wrong.
pub(super) fn conclude(result: Result<(), RunError>, say: impl FnOnce(&str)) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(complaint) = complaint(&error) {
        say(&complaint);
    }
    if error.is_failure() { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS }
}

/// What there is to say of an error, if it is one for the user.
pub(super) fn complaint(error: &RunError) -> Option<String> {
    let is_said = matches!(error, RunError::LostOutput) || !error.is_failure();
    (!is_said).then(|| format!("capture: {}\n", without_number(&error.to_string())))
}

/// The system's errors in its own words, as tcpdump has them: without the number that [`io::Error`] adds.
pub fn without_number(message: &str) -> String {
    let Some((before, rest)) = message.split_once(" (os error ") else { return message.to_owned() };
    match rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).strip_prefix(')') {
        Some(after) => format!("{before}{after}"),
        None => message.to_owned(),
    }
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

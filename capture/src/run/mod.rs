//! From a validated command to its end: live captures ([`live`]), files ([`offline`]), the list of interfaces.

pub mod live;
pub mod offline;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use jiff::tz::TimeZone;

use crate::{
    config::{Command, Config, Source},
    kernel::{Interface, KernelError},
    resolve::Resolver,
    source::file::FileError,
    text::Printer,
};

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
    /// The output took no more.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// The output was still blocked when the capture ended.
    #[error("the capture is incomplete: the output did not take all of it")]
    Incomplete,
    /// A thread, a runtime or a signal handler could not be had.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// No interface was named, and none suggests itself.
    #[error("no interface to capture on: all but loopback are down (have: {have}); name one with -i")]
    NoInterface {
        /// The names that exist.
        have: String,
    },
}

/// Runs the command, and says on standard error what went wrong.
pub fn run(command: &Command) -> ExitCode {
    let result = match command {
        Command::ListInterfaces => list_interfaces(),
        Command::Print(config) => print(config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("capture: {error}\n"));
            ExitCode::from(FAILURE)
        }
    }
}

fn print(config: &Config) -> Result<(), RunError> {
    match &config.source {
        Source::File(path) => offline::run(config, path),
        Source::Live(options) => live::run(config, options),
    }
}

/// `-D`: the interfaces, one a line, as tcpdump lists them.
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
        text.push_str(&format!("{number}.{}{words}\n", interface.name));
    }
    io::stdout().write_all(text.as_bytes()).map_err(RunError::Output)
}

/// The printer that the configuration asks for. With `--resolve`, a line waits for a name for as long as `patience`
/// allows.
fn printer(config: &Config, patience: Duration) -> Result<Printer, RunError> {
    let mut printer = Printer::new(config.text, TimeZone::system(), CONVERSATION_LIMIT);
    // A file can be printed where the machine does not tell its interfaces; they have no names then.
    let interfaces = Interface::list().unwrap_or_default();
    printer
        .set_interfaces(interfaces.into_iter().map(|interface| (interface.index, interface.name)).collect());
    if config.resolve {
        printer.set_names(Box::new(Resolver::new(patience).map_err(RunError::Start)?));
    }
    Ok(printer)
}

/// Says how many conversations were forgotten, if any were: only then can lines differ from tcpdump's.
fn say_forgotten(printer: &Printer) {
    let forgotten = printer.conversations().evicted();
    if forgotten > 0 {
        say(&format!(
            "capture: more than {CONVERSATION_LIMIT} conversations: {forgotten} were forgotten, and began again with \
             absolute sequence numbers\n"
        ));
    }
}

/// Writes to standard error. Where that is gone there is nobody to tell.
fn say(text: &str) {
    let _gone = io::stderr().write_all(text.as_bytes());
}

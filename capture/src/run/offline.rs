//! Printing a file: read, select, print, write. No privileges, no runtime, no threads.

use std::{
    io::{self, IsTerminal as _, Write},
    path::Path,
    time::Duration,
};

use bytes::BytesMut;
use capture_common::parse::Selection;

use super::{RunError, printer, say, say_forgotten};
use crate::{
    config::Config,
    explain::{self, Explainer},
    source::{
        file::{FileError, FileSource, Precision},
        filter::select,
    },
};

/// How long a line waits for a name, with `--resolve`: longer than resolvers try, because here nothing is lost.
const NAME_PATIENCE: Duration = Duration::from_secs(60);
/// Text that is collected before it is written, where lines are not written at once.
const BUFFERED: usize = 64 * 1024;

/// Prints the packets of a file.
///
/// # Errors
///
/// When the file cannot be opened, is not a capture, or is cut off or corrupt: what is whole has been printed then.
pub fn run(config: &Config, path: &Path) -> Result<(), RunError> {
    let precision = if config.text.nanoseconds { Precision::Nano } else { Precision::Micro };
    let mut source = FileSource::open(path, precision)?;
    say(&greeting(path, &source));
    let stdout = io::stdout();
    let line_buffered = config.line_buffered || stdout.is_terminal();
    let buffered = if line_buffered { 1 } else { BUFFERED };
    match print(config, &mut source, stdout.lock(), buffered) {
        Err(RunError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// What tcpdump says when it begins.
fn greeting<R: io::Read>(path: &Path, source: &FileSource<R>) -> String {
    let interface = source.first_interface();
    let interface = interface
        .map(|(link_type, snaplen)| format!(", link-type {link_type}, snapshot length {snaplen}"))
        .unwrap_or_default();
    format!("reading from file {}{interface}\n", path.display())
}

fn print<R: io::Read>(
    config: &Config,
    source: &mut FileSource<R>,
    mut output: impl Write,
    buffered: usize,
) -> Result<(), RunError> {
    let mut printer = printer(config, NAME_PATIENCE)?;
    let mut explainer = config.explain.then(|| Explainer::new(explain::CONNECTION_LIMIT));
    let mut text = BytesMut::new();
    let mut write = |text: &mut BytesMut| {
        let written = output.write_all(text).and_then(|()| output.flush());
        text.clear();
        written.map_err(RunError::Output)
    };
    let mut left = config.count.unwrap_or(u64::MAX);
    let byte_order = source.byte_order();
    let end: Result<(), FileError> = loop {
        if left == 0 {
            break Ok(());
        }
        let packet = match source.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        if !matches!(select(&packet, byte_order, &config.ports), Selection::Match(_)) {
            continue;
        }
        if let Some(explainer) = &mut explainer {
            explainer.explain(&packet, &mut text);
        }
        printer.print(&packet, &mut text);
        left -= 1;
        if text.len() >= buffered {
            write(&mut text)?;
        }
    };
    if let Some(explainer) = &mut explainer {
        explainer.finish(&mut text);
    }
    write(&mut text)?;
    say_forgotten(&printer);
    end.map_err(RunError::File)
}

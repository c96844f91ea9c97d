//! Printing a file: read, select, print, write. No privileges, no runtime, no threads.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, IsTerminal as _, Read},
    os::fd::AsFd as _,
    path::Path,
    time::Duration,
};

use bytes::BytesMut;
use capture_common::parse::Selection;
use capture_flow::{CONNECTION_LIMIT, Tracker};
use capture_packet::{LinkType, Precision};
use capture_text::comments::write_comment;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{RunError, comment_on_the_rest, forgotten, printer, say, standard_output};
use crate::{
    blocking,
    config::Config,
    kernel::was_closed,
    source::{
        file::{self, FileError, FileSource},
        filter::select,
    },
    summary::packets,
};

/// How long a line waits for a name, with `--resolve`: nothing is lost meanwhile, but the reader waits for the line.
const NAME_PATIENCE: Duration = Duration::from_secs(2);
/// Text that is collected before it is written, where lines are not written at once.
const BUFFERED: usize = 64 * 1024;

/// Prints the packets of a file.
///
/// # Errors
///
/// When the file cannot be opened, is not a capture, or is cut off or corrupt: what is whole has been printed then.
pub fn run(config: &Config, path: &Path) -> Result<(), RunError> {
    let precision = if config.text.nanoseconds { Precision::Nano } else { Precision::Micro };
    let stdout = standard_output()?;
    let line_buffered = config.line_buffered || stdout.is_terminal();
    let output = RefCell::new(Output::new(stdout, if line_buffered { 1 } else { BUFFERED }));
    if path == Path::new("-") && was_closed(&io::stdin()) {
        return Err(FileError::Read(Errno::EBADF.into()).into());
    }
    let input = Input { file: file::open(path)?, output: &output };
    let mut source = FileSource::new(input, precision)?;
    say(&greeting(path, &source));
    print(config, &mut source, &output)
}

/// Lines on their way out.
struct Output {
    to: File,
    text: BytesMut,
    /// How much text is collected before it is written.
    buffered: usize,
    /// What went wrong when it was written before a wait, and is still to be told.
    failed: Option<io::Error>,
}

impl Output {
    fn new(to: File, buffered: usize) -> Self {
        Self { to, text: BytesMut::new(), buffered, failed: None }
    }

    fn write(&mut self) -> io::Result<()> {
        let failed = self.failed.take().map_or(Ok(()), Err);
        let written = failed.and_then(|()| blocking::write_all(&mut self.to, &self.text));
        self.text.clear();
        written
    }
}

/// A file that may be a pipe. Before a read that has to wait, the lines of what has been read are written: packets that
/// have come do not wait for others, and an interruption of the wait loses none.
struct Input<'a> {
    file: File,
    output: &'a RefCell<Output>,
}

impl Read for Input<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut readable = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        if let Ok(0) = poll(&mut readable, PollTimeout::ZERO) {
            let mut output = self.output.borrow_mut();
            if let Err(error) = output.write() {
                // There is no use in waiting. The next write tells what is wrong.
                let stop = io::Error::from(error.kind());
                output.failed = Some(error);
                return Err(stop);
            }
        }
        blocking::read_some(&mut self.file, bytes)
    }
}

/// What tcpdump says when it begins.
fn greeting<R: Read>(path: &Path, source: &FileSource<R>) -> String {
    let interface = source.first_interface();
    let interface = interface
        .map(|(link_type, snaplen)| format!(", link-type {link_type}, snapshot length {snaplen}"))
        .unwrap_or_default();
    let warning = match source.first_interface() {
        Some((LinkType::LinuxSll2, _)) => "Warning: interface names might be incorrect\n",
        _ => "",
    };
    format!("reading from file {}{interface}\n{warning}", path.display())
}

fn print<R: Read>(
    config: &Config,
    source: &mut FileSource<R>,
    output: &RefCell<Output>,
) -> Result<(), RunError> {
    let mut printer = printer(config, NAME_PATIENCE, say)?;
    let mut tracker = config.explain.then(|| Tracker::new(CONNECTION_LIMIT));
    let mut left = config.count.unwrap_or(u64::MAX);
    let (mut selected, mut others) = (0, 0);
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
            others += 1;
            continue;
        }
        left -= 1;
        selected += 1;
        if config.count_only {
            continue;
        }
        let mut output = output.borrow_mut();
        if let Some(tracker) = &mut tracker {
            tracker.track(&packet, |event| write_comment(event, &mut output.text));
        }
        printer.print(&packet, &mut output.text);
        if output.text.len() >= output.buffered {
            output.write().map_err(RunError::Output)?;
        }
    };
    let mut output = output.borrow_mut();
    if config.count_only {
        output.text.extend_from_slice(packets(selected).as_bytes());
        output.text.extend_from_slice(b"\n");
    }
    if let Some(tracker) = &mut tracker {
        comment_on_the_rest(tracker, &mut output.text);
    }
    output.write().map_err(RunError::Output)?;
    say(&forgotten(&printer));
    if others > 0 && !config.asks_for_tcp {
        say(&format!("capture: {}\n", others_left_out(others, config.count_only)));
    }
    end.map_err(RunError::File)
}

/// What tcpdump prints, or counts, where nothing is asked for, and capture does not.
fn others_left_out(count: u64, count_only: bool) -> String {
    let were = if count == 1 { "was" } else { "were" };
    let (done, does) = if count_only { ("counted", "counts") } else { ("printed", "prints") };
    format!("{} {were} not {done}: capture {does} what the filter `tcp` selects", packets(count))
}

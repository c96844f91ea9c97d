//! Reading a file: read, select, hand to the engine. No privileges, no runtime, no threads.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, IsTerminal as _, Read},
    os::fd::AsFd as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use capture_common::parse::Selection;
use capture_packet::{LinkType, Precision};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    RunError, STANDARD_OUTPUT, say, standard_output, text_encoder, tracker, without_number, write_all,
};
use crate::{
    blocking,
    config::Config,
    engine::Engine,
    kernel::was_closed,
    output::{Flush, Output, stream::Stream},
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

/// Reads the packets of a file.
///
/// # Errors
///
/// When the file cannot be opened, is not a capture, or is cut off or corrupt: what is whole has been printed then.
pub fn run(config: &Config, path: &Path) -> Result<(), RunError> {
    let precision = if config.text.nanoseconds { Precision::Nano } else { Precision::Micro };
    let stdout = standard_output()?;
    let mut about_names = String::new();
    let (outputs, count_to) = if config.count_only {
        (Vec::new(), Some(stdout))
    } else {
        (vec![text(config, stdout, &mut about_names)?], None)
    };
    let engine = RefCell::new(Engine::new(outputs, tracker(config), Arc::default(), config.count));
    if path == Path::new("-") && was_closed(&io::stdin()) {
        return Err(FileError::Read(Errno::EBADF.into()).into());
    }
    let input = Input { file: file::open(path)?, engine: &engine };
    let mut source = FileSource::new(input, precision)?;
    say(&greeting(path, &source));
    say(&about_names);
    read(config, &mut source, &engine, count_to)
}

/// Lines on standard output. `about_names` gets what there is to say about names.
fn text(config: &Config, stdout: File, about_names: &mut String) -> Result<Output, RunError> {
    let line_buffered = config.line_buffered || stdout.is_terminal();
    let encoder = Box::new(text_encoder(config, NAME_PATIENCE, |text| about_names.push_str(text))?);
    let flush = Flush::After(if line_buffered { 1 } else { BUFFERED });
    Ok(Output::here(STANDARD_OUTPUT.to_owned(), encoder, Box::new(Stream::new(stdout, false)), flush))
}

/// A file that may be a pipe. Before a read that has to wait, what the outputs have got is written: packets that have
/// come do not wait for others, and an interruption of the wait loses none.
struct Input<'a> {
    file: File,
    engine: &'a RefCell<Engine>,
}

impl Read for Input<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut readable = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        if let Ok(0) = poll(&mut readable, PollTimeout::ZERO) {
            let mut engine = self.engine.borrow_mut();
            engine.flush();
            if engine.is_stuck() {
                // There is no use in waiting. What is wrong with the output is told instead of this.
                return Err(io::ErrorKind::BrokenPipe.into());
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

fn read<R: Read>(
    config: &Config,
    source: &mut FileSource<R>,
    engine: &RefCell<Engine>,
    count_to: Option<File>,
) -> Result<(), RunError> {
    let mut others = 0;
    let byte_order = source.byte_order();
    let end: Result<(), FileError> = loop {
        let packet = match source.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        if !matches!(select(&packet, byte_order, &config.ports), Selection::Match(_)) {
            others += 1;
            continue;
        }
        let mut engine = engine.borrow_mut();
        if engine.packet(&packet).is_break() {
            engine.hand_over(false);
            if engine.is_complete() || engine.has_ended() || engine.is_stuck() {
                break Ok(());
            }
        }
    };
    let mut engine = engine.borrow_mut();
    engine.end(false);
    engine.flush();
    engine.close();
    for note in engine.take_notes() {
        say(&format!("capture: {}\n", without_number(&note)));
    }
    if let Some((output, source)) = engine.take_errors().into_iter().next() {
        return Err(RunError::Output { output, source });
    }
    if let Some(output) = count_to {
        write_all(output, &format!("{}\n", packets(engine.read())))?;
    }
    say(&engine.remarks());
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

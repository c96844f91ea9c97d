//! Reading a file: read, select, hand to the engine. No privileges, no runtime, no threads.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read},
    os::fd::AsFd as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use capture_common::{parse::Selection, record::MAX_SNAPLEN};
use capture_packet::{LinkType, Precision, Timestamp};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    RunError,
    failures::Failures,
    outputs::{self, Driver},
    progress::{self, Meter},
    say, show, standard_output, text_encoder, tracker, without_number, write_all,
};
use crate::{
    blocking,
    config::Config,
    engine::Engine,
    kernel::was_closed,
    output::{files::identity_of, interface::InterfaceDescription, statistics::Statistics},
    source::{
        file::{self, FileError, FileSource},
        filter::select,
    },
    summary::packets,
};

/// How long a line waits for a name, with `--resolve`: nothing is lost meanwhile, but the reader waits for the line.
const NAME_PATIENCE: Duration = Duration::from_secs(2);

/// What poll(2) counts in: it must not return before the time has come.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Reads the packets of a file.
///
/// # Errors
///
/// When the file cannot be opened, is not a capture, or is cut off or corrupt: what is whole has been printed then.
pub fn run(config: &Config, path: &Path) -> Result<(), RunError> {
    let nanoseconds = config.text.nanoseconds || config.outputs.keep_nanoseconds();
    let precision = if nanoseconds { Precision::Nano } else { Precision::Micro };
    let needs_standard_output = config.count_only || config.outputs.text;
    let stdout = if needs_standard_output { Some(standard_output()?) } else { None };
    let mut about_names = String::new();
    let text = text_encoder(config, NAME_PATIENCE, |text| about_names.push_str(text))?;
    let engine = RefCell::new(Engine::new(Vec::new(), tracker(config), Arc::default(), config.count));
    if path == Path::new("-") && was_closed(&io::stdin()) {
        return Err(FileError::Read(Errno::EBADF.into()).into());
    }
    let file = file::open(path)?;
    let file_read = identity_of(&file).map_err(FileError::Read)?;
    let meter = progress::is_wanted(config).then(|| RefCell::new(Meter::new(&file)));
    let input = Input { file, engine: &engine, meter: meter.as_ref() };
    let mut source = FileSource::new(input, precision)?;
    if config.count_only {
        say(&greeting(path, &source));
        return read(config, &mut source, &engine, meter.as_ref(), stdout);
    }
    let mut about_files = Vec::new();
    let description = description(config, &source);
    let outputs = outputs::open(config, &description, text, Driver::File, file_read, &mut about_files)?;
    for warning in about_files {
        say(&format!("capture: warning: {warning}\n"));
    }
    engine.borrow_mut().set_outputs(outputs);
    say(&greeting(path, &source));
    say(&about_names);
    read(config, &mut source, &engine, meter.as_ref(), None)
}

/// The interface of the file's packets, as far as the file tells.
fn description<R: Read>(config: &Config, source: &FileSource<R>) -> InterfaceDescription {
    let (link_type, snaplen) = source.first_interface().unwrap_or((LinkType::Ethernet, MAX_SNAPLEN));
    let filter = config.asks_for_tcp.then(|| config.ports.to_string());
    InterfaceDescription { name: None, link_type, snaplen, filter, hook: None }
}

/// A file that may be a pipe. Before a read that has to wait, what the outputs have got is written: packets that have
/// come do not wait for others, and an interruption of the wait loses none.
struct Input<'a> {
    file: File,
    engine: &'a RefCell<Engine>,
    meter: Option<&'a RefCell<Meter>>,
}

impl Read for Input<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut readable = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        if let Ok(0) = poll(&mut readable, PollTimeout::ZERO) {
            let mut engine = self.engine.borrow_mut();
            let _waits = engine.flush();
            // Files end by the clock while nothing comes.
            while let Some(wait) = engine.wait().filter(|_| !engine.is_over()) {
                let timeout = PollTimeout::try_from(wait + MILLISECOND).unwrap_or(PollTimeout::MAX);
                if poll(&mut readable, timeout).is_ok_and(|ready| ready > 0) {
                    break;
                }
                engine.tick();
            }
            if engine.is_over() || engine.has_ended() {
                // No output takes more. The end of the run reports why, and not this error.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        let count = blocking::read_some(&mut self.file, bytes)?;
        if let Some(meter) = self.meter
            && let Some(line) = meter.borrow_mut().read(count, self.engine.borrow().read())
        {
            show(&line);
        }
        Ok(count)
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
    meter: Option<&RefCell<Meter>>,
    count_to: Option<File>,
) -> Result<(), RunError> {
    let mut others = 0;
    let mut failures = Failures::default();
    let (mut start, mut time) = (None, Timestamp::default());
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
        time = packet.time;
        if start.is_none() {
            start = Some(time);
        }
        if engine.packet(&packet).is_break() {
            engine.hand_over(false);
            let is_over = engine.is_stuck() && !failures.take(&mut engine, say);
            if engine.is_complete() || engine.has_ended() || is_over {
                break Ok(());
            }
        }
    };
    if let Some(meter) = meter {
        show(meter.borrow().end());
    }
    let mut engine = engine.borrow_mut();
    if config.outputs.json.is_some() {
        // A file does not say what was lost when it was made.
        let (received, start) = (engine.read(), start.unwrap_or_default());
        engine.statistics(&Statistics { time, start, received, is_last: true, ..Statistics::default() });
    }
    engine.end(false);
    let _waits = engine.flush();
    engine.close();
    for note in engine.take_notes() {
        say(&format!("capture: {}\n", without_number(&note)));
    }
    let outputs = failures.at_the_end(&mut engine, say);
    if !engine.has_output() && count_to.is_none() {
        return failures.conclude(outputs, say);
    }
    if let Some(output) = count_to {
        write_all(output, &format!("{}\n", packets(engine.read())))?;
    }
    say(&engine.remarks());
    let summary = engine.summary(None);
    if summary.has_limit && summary.beyond_count > 0 {
        say(&format!("capture: {} after the limit\n", packets(summary.beyond_count)));
    }
    if others > 0 && !config.asks_for_tcp {
        say(&format!("capture: {}\n", others_left_out(others, config)));
    }
    // The wait for packets that were not to be written any more is no error.
    let end = if engine.has_ended() { Ok(()) } else { end.map_err(RunError::File) };
    failures.conclude(end.err().into_iter().chain(outputs).collect(), say)
}

/// What tcpdump prints, writes or counts, where nothing is asked for, and capture does not.
fn others_left_out(count: u64, config: &Config) -> String {
    let were = if count == 1 { "was" } else { "were" };
    let (done, does) = match config.outputs.text {
        _ if config.count_only => ("counted", "counts"),
        true => ("printed", "prints"),
        false => ("written", "writes"),
    };
    format!("{} {were} not {done}: capture {does} what the filter `tcp` selects", packets(count))
}

//! Reading a file: read, select, hand to the engine. No runtime and no threads; and no privileges, from
//! before the first byte of the file is looked at.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use capture_packet::{LinkType, Precision, Timestamp};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    confined::{self, Confinement},
    error::{RunError, conclude, without_number},
    failures::Failures,
    frames::Frames,
    lines::{printer, text_encoder},
    outputs::{self, Driver, Prepared, tracker},
    paths::is_dash,
    progress::{self, Meter},
    source::Source,
    standard::{say, show, standard_output, write_all},
};
use crate::{
    blocking,
    config::{CaptureFile, Config},
    engine::Engine,
    kernel::was_closed,
    output::{
        files::{helper::Helper, identity_of},
        statistics::Statistics,
    },
    source::{
        file::{self, FileError, FileSource, Record, Times},
        filter::{Selected, Selector, link},
        interface::InterfaceDescription,
    },
    summary::packets,
};

/// How long a line waits for a name, with `--resolve`: nothing is lost meanwhile, but the reader waits for the line.
const NAME_PATIENCE: Duration = Duration::from_secs(2);

/// What poll(2) counts in: it must not return before the time has come.
const MILLISECOND: Duration = Duration::from_millis(1);

impl Source for CaptureFile {
    fn run(&self, config: &Config) -> ExitCode {
        conclude(run(config, &self.path), say)
    }

    /// Those of the file's first interface, if it has one.
    fn frames(&self, config: &Config) -> Result<Frames, RunError> {
        let file: Box<dyn Read> =
            if is_dash(&self.path) { Box::new(io::stdin()) } else { Box::new(file::open(&self.path)?) };
        confined::without_outputs(config)?;
        let source = FileSource::new(file, Precision::Micro)?;
        let frames = source.interfaces().first().map(|interface| Frames {
            link: link(interface.link_type, source.byte_order()),
            link_type: interface.link_type,
            snaplen: interface.snaplen,
            ..Frames::ETHERNET
        });
        Ok(frames.unwrap_or(Frames::ETHERNET))
    }
}

/// Reads the packets of a file.
///
/// # Errors
///
/// When the file cannot be opened, is not a capture, or is cut off or corrupt: what is whole has been printed then.
fn run(config: &Config, path: &Path) -> Result<(), RunError> {
    let precision = if config.text.nanoseconds { Precision::Nano } else { Precision::Micro };
    let times = if config.outputs.have_exact_times() { Times::Exact } else { precision.into() };
    let needs_standard_output = config.count_only || config.outputs.text;
    let stdout = if needs_standard_output { Some(standard_output()?) } else { None };
    let mut about_names = String::new();
    let printer = printer(config);
    let engine = Engine::new(Vec::new(), tracker(config), config.count);
    let engine = RefCell::new(engine.until_first_has(config.enough));
    if is_dash(path) && was_closed(&io::stdin()) {
        return Err(FileError::Read(Errno::EBADF.into()).into());
    }
    let file = file::open(path)?;
    let file_read = identity_of(&file).map_err(FileError::Read)?;
    let meter = progress::is_wanted(config).then(|| RefCell::new(Meter::new(&file)));
    let mut confinement = Confinement::new(config)?;
    let mut prepared = Prepared::new(config, file_read.map(|identity| (identity, path)), &confinement)?;
    let helper = prepared.take_helper();
    say(prepared.holds());
    let mut keep = |text: &str| about_names.push_str(text);
    let encoder = |printer| text_encoder(config, printer, NAME_PATIENCE, &confinement, &mut keep);
    let text = printer.map(encoder).transpose()?;
    confinement.begin()?;
    confinement.seal(say)?;
    let helper_end = helper.as_ref().map(Helper::end).transpose();
    let helper_end = helper_end.map_err(|source| RunError::Start { what: "the helper process", source })?;
    let input = Input { file, engine: &engine, meter: meter.as_ref(), helper: helper_end };
    let mut source = FileSource::new(input, times)?;
    let mut selector = Selector::new(&config.filter, source.byte_order());
    selector.require(source.interfaces().iter().map(|interface| interface.link_type))?;
    if config.count_only {
        say(&greeting(path, &source, ""));
        return read(config, &mut source, &mut selector, &engine, meter.as_ref(), stdout);
    }
    let mut about_files = Vec::new();
    let text = text.map(|text| text.with_signed_times(source.signed_times()));
    let interfaces = source.interfaces().iter().map(|interface| narrowed(config, interface)).collect();
    let outputs = outputs::open(config, prepared, interfaces, None, text, Driver::File, &mut about_files)?;
    for warning in about_files {
        say(&format!("capture: warning: {warning}\n"));
    }
    engine.borrow_mut().set_outputs(outputs);
    say(&greeting(path, &source, outputs::only(config)));
    say(&about_names);
    read(config, &mut source, &mut selector, &engine, meter.as_ref(), None)
}

/// An interface of the file, with the filter that the packets have passed in the end: when the file was made, and now.
fn narrowed(config: &Config, interface: &InterfaceDescription) -> InterfaceDescription {
    let now = (!config.filter.is_everything()).then(|| config.filter.to_string());
    let filter = match (&interface.filter, now) {
        (Some(before), Some(now)) => Some(format!("({before}) and ({now})")),
        (before, now) => before.clone().or(now),
    };
    InterfaceDescription { filter, ..interface.clone() }
}

/// A file that may be a pipe. Before a read that has to wait, what the outputs have got is written: packets that have
/// come do not wait for others, and an interruption of the wait loses none.
struct Input<'a> {
    file: File,
    engine: &'a RefCell<Engine>,
    meter: Option<&'a RefCell<Meter>>,
    /// What can be read when the helper that opens files is lost.
    helper: Option<OwnedFd>,
}

impl Read for Input<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Ok(0) = poll(&mut [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) {
            let mut engine = self.engine.borrow_mut();
            let _waits = engine.flush();
            // Files end by the clock while nothing comes.
            while !engine.is_over()
                && !engine.has_enough()
                && (self.helper.is_some() || engine.wait().is_some())
            {
                let wait = engine.wait().map(|wait| PollTimeout::try_from(wait + MILLISECOND));
                let timeout = wait.map_or(PollTimeout::NONE, |wait| wait.unwrap_or(PollTimeout::MAX));
                let waited_for =
                    std::iter::once(self.file.as_fd()).chain(self.helper.iter().map(AsFd::as_fd));
                let mut readable: Vec<_> =
                    waited_for.map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
                let _interrupted = poll(&mut readable, timeout);
                let mut is_readable = readable.iter().map(|file| file.any() == Some(true));
                if is_readable.next() == Some(true) {
                    break;
                }
                if is_readable.next() == Some(true) {
                    engine.look();
                    self.helper = None;
                } else {
                    engine.tick();
                }
            }
            if engine.is_over() || engine.has_enough() {
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

/// What tcpdump says when it begins, and `only` what is written.
fn greeting<R: Read>(path: &Path, source: &FileSource<R>, only: &str) -> String {
    let (interface, warning) = match source.interfaces() {
        &[InterfaceDescription { link_type, snaplen, .. }, ..] => {
            let text = format!(", link-type {link_type}, snapshot length {snaplen}");
            let is_sll2 = link_type == LinkType::LinuxSll2;
            (text, if is_sll2 { "Warning: interface names might be incorrect\n" } else { "" })
        }
        [] => (String::new(), ""),
    };
    format!("reading from file {}{interface}{only}\n{warning}", path.display())
}

fn read<R: Read>(
    config: &Config,
    source: &mut FileSource<R>,
    selector: &mut Selector<'_>,
    engine: &RefCell<Engine>,
    meter: Option<&RefCell<Meter>>,
    count_to: Option<File>,
) -> Result<(), RunError> {
    let mut others = 0;
    let mut failures = Failures::default();
    let (mut start, mut time) = (None, Timestamp::default());
    let mut described = source.interfaces().len();
    let end: Result<(), RunError> = loop {
        let Record { mut packet, options, interfaces } = match source.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        };
        if !options.is_empty()
            && let Some(lost) = options.drop_count()
        {
            engine.borrow_mut().lost(lost);
        }
        match selector.select(&mut packet) {
            Selected::Yes => {}
            Selected::No => continue,
            Selected::NotTcp => {
                others += 1;
                continue;
            }
        }
        let mut engine = engine.borrow_mut();
        if described < interfaces.len() {
            describe(config, interfaces, &mut described, &mut engine);
        }
        if !options.is_empty() {
            options.comments().for_each(|comment| engine.comment(comment));
        }
        time = packet.time;
        if start.is_none() {
            start = Some(time);
        }
        if engine.packet(&packet).is_break() {
            engine.hand_over(false);
            let is_over = engine.is_stuck() && !failures.take(&mut engine, say);
            if engine.is_complete() || engine.has_enough() || is_over {
                break Ok(());
            }
        }
    };
    if let Some(meter) = meter {
        show(meter.borrow().end());
    }
    let mut engine = engine.borrow_mut();
    describe(config, source.interfaces(), &mut described, &mut engine);
    if engine.wants_statistics() {
        // A file does not say what was lost when it was made.
        let (received, start) = (engine.read(), start.unwrap_or_default());
        engine.statistics(&Statistics { time, start, received, is_last: true, ..Statistics::default() });
    }
    engine.epilogue(false);
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
    if source.interfaces_left_out() > 0 && config.outputs.name_interfaces() {
        let count = source.interfaces_left_out();
        say(&format!("capture: {count} interfaces of the file have no names: they are too many\n"));
    }
    let summary = engine.summary(None);
    if summary.has_limit && summary.beyond_count > 0 {
        say(&format!("capture: {} after the limit\n", packets(summary.beyond_count)));
    }
    if others > 0 {
        say(&format!("capture: {}\n", others_left_out(others, config)));
    }
    // The wait for packets that were not to be written any more is no error.
    let end = if engine.has_enough() { Ok(()) } else { end };
    failures.conclude(end.err().into_iter().chain(outputs).collect(), say)
}

/// Hands over the interfaces after the first `described`.
#[cold]
fn describe(
    config: &Config,
    interfaces: &[InterfaceDescription],
    described: &mut usize,
    engine: &mut Engine,
) {
    for interface in interfaces.get(*described..).unwrap_or_default() {
        engine.interface(&narrowed(config, interface));
    }
    *described = interfaces.len();
}

/// What tcpdump prints, writes or counts, and capture does not.
fn others_left_out(count: u64, config: &Config) -> String {
    let were = if count == 1 { "was" } else { "were" };
    let (done, does) = match config.outputs.text {
        _ if config.count_only => ("counted", "counts"),
        true => ("printed", "prints"),
        false => ("written", "writes"),
    };
    format!("{} {were} not {done}: capture {does} what the filter `tcp` selects", packets(count))
}

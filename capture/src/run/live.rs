//! A live capture: drain, print, hand to the writer; wait; stop.
//!
//! While packets come, the rings are drained once per millisecond and no packet wakes anybody. After an interval
//! without a packet the daemon sleeps until the kernel wakes it: no timer runs while the wire is silent.

use std::{
    fs::{File, FileType},
    io::{self, IsTerminal as _},
    ops::ControlFlow,
    os::{fd::AsFd as _, unix::fs::FileTypeExt as _},
    time::Duration,
};

use bytes::BytesMut;
use capture_common::{counters::Counters, ports::Ports as _};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use super::{RunError, printer, say, say_forgotten};
use crate::{
    config::{self, Config},
    explain::{self, Explainer},
    kernel::{Capture, CaptureOptions, Interface, KernelError, Left, Mechanism},
    summary::Summary,
    text::Printer,
    writer::{Chunk, Writer},
};

/// Text that is collected before it is handed to the writer, at least, where lines are not written at once: the size
/// of tcpdump's buffer.
const BUFFERED: usize = 4096;
/// Text that is made in one go, at most (and one packet more). It bounds how long a signal waits.
const CHUNK: usize = 256 * 1024;
/// How long a line waits for a name, with `--resolve`.
const NAME_PATIENCE: Duration = Duration::from_millis(5);
/// How long an output that takes nothing is waited for when the capture ends.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a write that is stuck halfway is waited for after that.
const LAST_PATIENCE: Duration = Duration::from_millis(100);

/// Captures and prints until it is told to stop.
///
/// # Errors
///
/// When the capture cannot be started, or the output takes no more for another reason than that its reader has gone.
pub fn run(config: &Config, options: &config::Live) -> Result<(), RunError> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(RunError::Start)?.block_on(capture(config, options))
}

async fn capture(config: &Config, options: &config::Live) -> Result<(), RunError> {
    let interface = match &options.interface {
        Some(name) => Interface::find(name)?,
        // Found once more, by its name: not every name can be passed on.
        None => Interface::find(default_interface()?.name)?,
    };
    // Signals first: one that comes while the programs are being attached must not leave them behind.
    let mut signals = Signals::new().map_err(RunError::Start)?;
    let capture = Capture::start(&CaptureOptions {
        interface: &interface,
        hook: options.hook,
        mechanism: Mechanism::Auto,
        ports: (!config.ports.any()).then(|| config.ports.bitmap()),
        snaplen: options.snaplen,
        buffer_size: options.buffer_size,
        log_level: options.log_level,
    })?;
    let stdout = io::stdout();
    let line_buffered = config.line_buffered || stdout.is_terminal();
    let output = File::from(stdout.as_fd().try_clone_to_owned().map_err(RunError::Output)?);
    let has_reader = has_reader(&output);
    say(&greeting(&interface, &capture, options));
    let mut session = Session {
        capture,
        printer: printer(config, NAME_PATIENCE)?,
        explainer: config.explain.then(|| Explainer::new(explain::CONNECTION_LIMIT)),
        writer: Writer::spawn(output, has_reader).map_err(RunError::Start)?,
        text: BytesMut::new(),
        ends: Vec::new(),
        printed: 0,
        skipped: 0,
        count: config.count.unwrap_or(u64::MAX),
        buffered: if line_buffered { 1 } else { BUFFERED },
    };
    let stop = session.run(&mut signals).await;
    session.finish(stop, &mut signals).await
}

/// Whether somebody takes what is written, in their own time: a pipe, a socket or a terminal.
fn has_reader(output: &File) -> bool {
    let is_stream = |kind: FileType| kind.is_fifo() || kind.is_socket();
    output.is_terminal() || output.metadata().is_ok_and(|metadata| is_stream(metadata.file_type()))
}

/// What tcpdump says when it begins, with what is different here.
fn greeting(interface: &Interface, capture: &Capture, options: &config::Live) -> String {
    let length = match options.snaplen {
        0 => "headers only".to_owned(),
        snaplen => format!("snapshot length {snaplen} bytes"),
    };
    let (rings, size) = capture.buffers();
    format!(
        "capture: listening on {interface}, link-type {}, {}, {length}, buffer {rings} x {} KiB\n",
        capture.link_type(),
        capture.description(),
        size / 1024,
    )
}

/// tcpdump's choice (libpcap's pcap.c, `get_figure_of_merit`): the first interface that is up, has a carrier and is
/// not loopback; if none has a carrier, the first that is up.
fn default_interface() -> Result<Interface, RunError> {
    let interfaces = Interface::list()?;
    let usable = interfaces.iter().filter(|interface| interface.is_up() && !interface.is_loopback());
    let found = usable.min_by_key(|interface| !interface.is_running()).cloned();
    found.ok_or_else(|| {
        let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
        RunError::NoInterface { have: names.join(", ") }
    })
}

/// Why a capture ends.
#[derive(Debug)]
enum Stop {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// `-c`.
    Count,
    /// The output failed, or its reader has gone.
    Output,
    /// The kernel's side failed.
    Kernel(KernelError),
}

/// The signals a capture listens to.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Not listened to where it was ignored from the start, as nohup(1) does.
    hang_up: Option<Signal>,
    report: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: if is_hang_up_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
            report: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next one.
    async fn next(&mut self) -> Asked {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = hang_up => Asked::Stop,
            _ = self.report.recv() => Asked::Report,
        }
    }
}

/// Whether SIGHUP is ignored (proc(5), `SigIgn`: bit n-1 for signal n).
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

/// What a signal asks for.
enum Asked {
    /// To stop.
    Stop,
    /// The numbers so far, on standard error.
    Report,
}

/// The state of a live capture.
struct Session {
    capture: Capture,
    printer: Printer,
    explainer: Option<Explainer>,
    writer: Writer,
    /// Lines that the writer has not got yet, and where in them each packet ends.
    text: BytesMut,
    ends: Vec<usize>,
    /// Packets whose lines were made.
    printed: u64,
    /// Packets that were read and not printed, because the capture was over.
    skipped: u64,
    /// How many are to be printed.
    count: u64,
    /// How much text is collected before the writer gets it.
    buffered: usize,
}

impl Session {
    async fn run(&mut self, signals: &mut Signals) -> Stop {
        loop {
            // Nothing is drained before the writer has room for it.
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::Stop => return Stop::Signal,
                    Asked::Report => { self.report(); continue; }
                },
                room = self.writer.room() => if !room { return Stop::Output },
            }
            let before = self.printed;
            let left = match self.print_batch() {
                Ok(left) => left,
                Err(error) => return Stop::Kernel(error),
            };
            if self.printed == self.count {
                return Stop::Count;
            }
            if self.text.len() >= self.buffered && !self.hand_over() {
                return Stop::Output;
            }
            let idle = match left {
                Left::More => continue,
                Left::Held => false,
                Left::Nothing => self.printed == before && self.capture.sleep(),
            };
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::Stop => return Stop::Signal,
                    Asked::Report => self.report(),
                },
                () = self.writer.failed() => return Stop::Output,
                waited = self.capture.wait(idle) => if let Err(error) = waited { return Stop::Kernel(error) },
            }
        }
    }

    /// Makes lines of what is in the rings, up to [`CHUNK`].
    fn print_batch(&mut self) -> Result<Left, KernelError> {
        let Self { capture, printer, explainer, text, ends, printed, count, .. } = self;
        capture.drain(|packet| {
            if let Some(explainer) = explainer {
                explainer.explain(packet, text);
            }
            printer.print(packet, text);
            ends.push(text.len());
            *printed += 1;
            if text.len() >= CHUNK || *printed == *count {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    /// Gives the text to the writer. False if it does not take it.
    fn hand_over(&mut self) -> bool {
        let chunk = Chunk { text: self.text.split().freeze(), ends: std::mem::take(&mut self.ends) };
        self.writer.send(chunk)
    }

    /// SIGUSR1.
    fn report(&self) {
        match self.capture.counters() {
            Ok(counters) => say(&format!("capture: {}\n", self.summary(&counters).one_line())),
            Err(error) => say(&format!("capture: {error}\n")),
        }
    }

    fn summary(&self, counters: &Counters) -> Summary {
        let written = self.writer.written();
        let beyond_count = if self.printed == self.count { self.skipped } else { 0 };
        Summary {
            captured: written,
            received: counters.matched,
            dropped: counters.ring_full,
            unreadable: counters.unreadable,
            unwritten: self.printed + self.skipped - written - beyond_count,
            beyond_count,
        }
    }

    /// Detaches, prints what is still in the rings, waits for the output within reason, and says tcpdump's last words.
    async fn finish(mut self, stop: Stop, signals: &mut Signals) -> Result<(), RunError> {
        let mut failed = self.capture.detach().err();
        let mut hurried = false;
        if matches!(stop, Stop::Signal | Stop::Kernel(_)) {
            tokio::select! {
                result = self.print_rest() => failed = failed.or(result.err()),
                () = asked_again(signals) => hurried = true,
            }
        }
        if let Some(explainer) = &mut self.explainer {
            explainer.finish(&mut self.text);
        }
        if let Stop::Signal = stop {
            // tcpdump, too, ends an interrupted capture with an empty line, in case one was being printed
            // (tcpdump.c, `main`).
            self.text.extend_from_slice(b"\n");
        }
        failed = failed.or(self.skip_rest().err());
        // After -c there is nothing to hurry for: who asked for that many lines gets them, however slowly.
        let patience = match stop {
            _ if hurried => Duration::ZERO,
            Stop::Count => Duration::MAX,
            _ => PATIENCE,
        };
        let ended = tokio::select! {
            ended = self.write_rest(patience) => ended,
            () = asked_again(signals) => Ok(()),
        };
        self.writer.stop(LAST_PATIENCE).await;
        let summary = self.summary(&self.capture.counters()?);
        say(&summary.to_string());
        say_forgotten(&self.printer);
        ended.map_err(RunError::Output)?;
        match stop {
            Stop::Kernel(error) => Err(error.into()),
            _ if failed.is_some() => failed.map_or(Ok(()), |error| Err(error.into())),
            _ if summary.unwritten > 0 => Err(RunError::Incomplete),
            _ => Ok(()),
        }
    }

    /// Prints what is in the rings, unless the output takes nothing.
    async fn print_rest(&mut self) -> Result<(), KernelError> {
        while self.room(PATIENCE).await {
            let left = self.print_batch()?;
            if left == Left::Nothing || self.printed == self.count {
                break;
            }
            self.hand_over();
        }
        Ok(())
    }

    /// Waits for room at the writer, unless the output takes nothing for as long as `patience`.
    async fn room(&self, patience: Duration) -> bool {
        loop {
            let progress = self.writer.progress();
            match timeout(patience, self.writer.room()).await {
                Ok(room) => return room,
                Err(_) if self.writer.progress() == progress => return false,
                Err(_) => {}
            }
        }
    }

    /// Waits until everything has been written, unless the output takes nothing for as long as `patience`.
    async fn write_rest(&mut self, patience: Duration) -> io::Result<()> {
        if !self.text.is_empty() && self.room(patience).await {
            self.hand_over();
        }
        self.writer.close();
        loop {
            let progress = self.writer.progress();
            match timeout(patience, self.writer.ended()).await {
                Ok(ended) => return ended,
                Err(_) if self.writer.progress() == progress => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// Counts what is still in the rings, without printing it.
    fn skip_rest(&mut self) -> Result<(), KernelError> {
        let Self { capture, skipped, .. } = self;
        capture.drain(|_| {
            *skipped += 1;
            ControlFlow::Continue(())
        })?;
        Ok(())
    }
}

/// Waits for one more signal that asks to stop.
async fn asked_again(signals: &mut Signals) {
    while let Asked::Report = signals.next().await {}
}

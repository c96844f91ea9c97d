//! Printing live: the interface, the programs, the printer and the writer of a [`Session`].

use std::{
    fs::{File, FileType},
    io::{self, IsTerminal as _},
    os::{fd::AsFd as _, unix::fs::FileTypeExt as _},
    time::Duration,
};

use bytes::BytesMut;
use capture_common::ports::Ports as _;
use tokio::runtime;

use super::{
    RunError, printer, say,
    session::{BUFFERED, Session, Tally},
    signals::Signals,
};
use crate::{
    config::{self, Config},
    explain::{self, Explainer},
    kernel::{Capture, CaptureOptions, Interface},
    writer::Writer,
};

/// How long a line waits for a name, with `--resolve`.
const NAME_PATIENCE: Duration = Duration::from_millis(5);

/// Captures and prints until it is told to stop.
///
/// # Errors
///
/// When the capture cannot be started, or the output takes no more for another reason than that its reader has gone.
pub fn run(config: &Config, options: &config::Live) -> Result<(), RunError> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime
        .map_err(|source| RunError::Start { what: "the runtime", source })?
        .block_on(capture(config, options))
}

async fn capture(config: &Config, options: &config::Live) -> Result<(), RunError> {
    let interface = match &options.interface {
        Some(name) => Interface::find(name)?,
        None => default_interface()?,
    };
    // Signals first: one that comes while the programs are being attached must not leave them behind.
    let mut signals =
        Signals::new().map_err(|source| RunError::Start { what: "listening to signals", source })?;
    let capture = Capture::start(&CaptureOptions {
        interface: &interface,
        hook: options.hook,
        direction: options.direction,
        promiscuous: options.promiscuous,
        ports: (!config.ports.any()).then(|| config.ports.bitmap()),
        snaplen: options.snaplen,
        buffer_size: options.buffer_size,
        log_level: options.log_level,
    })?;
    let stdout = io::stdout();
    let line_buffered = config.line_buffered || stdout.is_terminal();
    let output = File::from(stdout.as_fd().try_clone_to_owned().map_err(RunError::Output)?);
    let has_reader = has_reader(&output);
    for warning in capture.warnings() {
        say(&format!("capture: {warning}\n"));
    }
    say(&greeting(&interface, &capture, options));
    let session = Session {
        capture,
        printer: printer(config, NAME_PATIENCE)?,
        explainer: config.explain.then(|| Explainer::new(explain::CONNECTION_LIMIT)),
        writer: Writer::spawn(output, has_reader)
            .map_err(|source| RunError::Start { what: "the writer's thread", source })?,
        text: BytesMut::new(),
        ends: Vec::new(),
        tally: Tally::new(config.count),
        buffered: if line_buffered { 1 } else { BUFFERED },
    };
    session.run(&mut signals).await
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
    found.ok_or_else(|| RunError::NoInterface { have: Interface::some(&interfaces, "") })
}

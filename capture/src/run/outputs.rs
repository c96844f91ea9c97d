//! The outputs that the configuration asks for.

use std::{
    fs::{File, FileType},
    io::IsTerminal as _,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    sync::Arc,
};

use capture_packet::Precision;
use tokio::sync::Notify;

use super::{RunError, signals_at_start, standard_output, time_zone::time_zone};
use crate::{
    cli::FileFormat,
    config::{self, Config, FileRules, PacketFile, Source},
    output::{
        Flush, Output,
        destination::Destination,
        encoder::Encoder,
        files::{Autostop, Claims, Files, FilesOptions, Identity},
        interface::InterfaceDescription,
        json::JsonEncoder,
        pcap::PcapEncoder,
        pcapng::PcapngEncoder,
        stream::Stream,
        text::TextEncoder,
    },
};

/// What messages call it.
pub(super) const STANDARD_OUTPUT: &str = "standard output";
const STANDARD_INPUT: &str = "standard input";

/// How outputs are driven, and with it how much they collect.
#[derive(Clone, Copy, Debug)]
pub(super) enum Driver<'a> {
    /// By a live capture: each has a queue, and notifies this when it fails.
    Live(&'a Arc<Notify>),
    /// By the reader of a file, which waits for them.
    File,
}

impl Driver<'_> {
    /// Text that is collected before it is handed over, in bytes, where lines are not written at once. Live, the size of
    /// tcpdump's buffer.
    fn buffered(self) -> usize {
        match self {
            Self::Live(_) => 4096,
            Self::File => 64 * 1024,
        }
    }

    fn output(
        self,
        name: String,
        encoder: Box<dyn Encoder>,
        destination: Box<dyn Destination>,
        flush: Flush,
    ) -> Result<Output, RunError> {
        match self {
            Self::Live(failures) => Output::queued(name, encoder, destination, flush, failures)
                .map_err(|source| RunError::Start { what: "the writer's thread", source }),
            Self::File => Ok(Output::here(name, encoder, destination, flush)),
        }
    }
}

/// Opens the outputs: the file first, which holds up the source, then text, then JSON. `text` makes the lines. `input` is
/// the regular file that is read, if one is: no output writes to it. `warnings` gets what there is to say about them.
pub(super) fn open(
    config: &Config,
    interface: &InterfaceDescription,
    text: Option<TextEncoder>,
    driver: Driver<'_>,
    input: Option<Identity>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Output>, RunError> {
    let claims = claims(config, input)?;
    let mut outputs = Vec::new();
    if let Some(file) = &config.outputs.write {
        outputs.push(packet_file(config, file, interface, driver, &claims, warnings)?);
    }
    if let Some(encoder) = text {
        let stdout = standard_output()?;
        let is_line_buffered = config.line_buffered || stdout.is_terminal();
        let flush = Flush::After(if is_line_buffered { 1 } else { driver.buffered() });
        let destination = Box::new(stream(stdout, driver));
        outputs.push(driver.output(STANDARD_OUTPUT.to_owned(), Box::new(encoder), destination, flush)?);
    }
    if let Some(path) = &config.outputs.json {
        let encoder = Box::new(JsonEncoder::new(vec![interface.clone()]));
        let flush = if config.line_buffered { Flush::After(1) } else { Flush::WhenIdle };
        outputs.push(to(path, encoder, flush, driver, &claims)?);
    }
    Ok(outputs)
}

/// The files in use before an output has been opened: that which is read, and that which standard output is, if it is
/// one.
fn claims(config: &Config, input: Option<Identity>) -> Result<Claims, RunError> {
    let claims = match (&config.source, input) {
        (Source::File(path), Some(identity)) => {
            let name = if is_dash(path) { Path::new(STANDARD_INPUT) } else { path };
            Claims::with_input(identity, name)
        }
        _ => Claims::default(),
    };
    let config::Outputs { text, write, json } = &config.outputs;
    let mut paths = write.iter().map(|file| &file.path).chain(json);
    if *text || paths.any(|path| is_dash(path)) {
        claims.hold(&standard_output()?, Path::new(STANDARD_OUTPUT))?;
    }
    Ok(claims)
}

/// `-w`.
fn packet_file(
    config: &Config,
    file: &PacketFile,
    interface: &InterfaceDescription,
    driver: Driver<'_>,
    claims: &Claims,
    warnings: &mut Vec<String>,
) -> Result<Output, RunError> {
    let precision = if config.text.nanoseconds { Precision::Nano } else { Precision::Micro };
    let encoder: Box<dyn Encoder> = match file.format {
        FileFormat::Pcap => Box::new(PcapEncoder::new(interface, precision)),
        FileFormat::Pcapng => Box::new(PcapngEncoder::new(vec![interface.clone()], config.explain)),
    };
    if is_dash(&file.path) && standard_output()?.is_terminal() {
        return Err(RunError::BinaryToTerminal);
    }
    let flush = if file.packet_buffered { Flush::After(1) } else { Flush::WhenIdle };
    let FileRules { rotation, autostop } = file.rules.clone();
    let is_stream = is_dash(&file.path) && autostop == Autostop::default();
    let mut output = if is_stream {
        to(&file.path, encoder, flush, driver, claims)?
    } else {
        let options = FilesOptions {
            path: if is_dash(&file.path) { STANDARD_OUTPUT.into() } else { file.path.clone() },
            rotation,
            autostop,
            command: file.command.clone(),
            blocked: signals_at_start(),
            claims: claims.clone(),
            time_zone: time_zone(),
        };
        let name = options.path.display().to_string();
        let files = if is_dash(&file.path) {
            Files::onto(standard_output()?, options, encoder.header())?
        } else {
            Files::create(options, encoder.header())?
        };
        warnings.extend(files.warning());
        driver.output(name, encoder, Box::new(files), flush)?
    };
    // The header is there at once: a reader at the other end of a pipe waits for it.
    output.hand_over();
    Ok(output)
}

/// An output to a file, or to standard output where `path` is `-`.
fn to(
    path: &Path,
    encoder: Box<dyn Encoder>,
    flush: Flush,
    driver: Driver<'_>,
    claims: &Claims,
) -> Result<Output, RunError> {
    if is_dash(path) {
        let destination = Box::new(stream(standard_output()?, driver));
        return driver.output(STANDARD_OUTPUT.to_owned(), encoder, destination, flush);
    }
    let options = FilesOptions {
        path: path.to_owned(),
        time_zone: time_zone(),
        claims: claims.clone(),
        ..FilesOptions::default()
    };
    let destination = Box::new(Files::create(options, encoder.header())?);
    driver.output(path.display().to_string(), encoder, destination, flush)
}

fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

fn stream(file: File, driver: Driver<'_>) -> Stream {
    let has_reader = matches!(driver, Driver::Live(_)) && has_reader(&file);
    Stream::new(file, has_reader)
}

/// Whether what is written has a reader that may read slowly: that of a pipe, a socket or a terminal.
fn has_reader(output: &File) -> bool {
    let is_stream = |kind: FileType| kind.is_fifo() || kind.is_socket();
    output.is_terminal() || output.metadata().is_ok_and(|metadata| is_stream(metadata.file_type()))
}

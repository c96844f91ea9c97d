//! The outputs that the configuration asks for.

use std::{
    fs::{File, FileType},
    io::IsTerminal as _,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use capture_common::record::MAX_SNAPLEN;
use capture_packet::{LinkType, Precision};
use tokio::sync::Notify;

use super::{
    RunError,
    confined::Confinement,
    paths::{is_dash, is_named},
    signals_at_start, standard_output,
    time_zone::time_zone,
};
use crate::{
    cli::FileFormat,
    config::{self, Config, FileRules, PacketFile, Source},
    output::{
        Flush, Output,
        cooked::{Cooked, cooked_description},
        destination::Destination,
        encoder::Encoder,
        files::{
            Asked, Autostop, Claims, Files, FilesOptions, Identity, helper::Helper, is_descriptor,
            open_descriptor,
        },
        json::JsonEncoder,
        pcap::PcapEncoder,
        pcapng::PcapngEncoder,
        stream::Stream,
        text::TextEncoder,
    },
    source::interface::InterfaceDescription,
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
    ) -> Output {
        match self {
            Self::Live(failures) => Output::queued(name, encoder, destination, flush, failures),
            Self::File => Output::here(name, encoder, destination, flush),
        }
    }
}

/// How outputs get to their files, as far as that is settled before the run gives up what it takes.
#[derive(Debug)]
pub(super) struct Prepared {
    claims: Claims,
    write: Target,
    json: Target,
    helper: Option<Helper>,
    holds: Option<String>,
}

/// How an output gets to its file.
#[derive(Debug)]
enum Target {
    /// It opens it, or there is no such output.
    Path,
    /// It is a descriptor of this process.
    Open(File),
    /// A helper opens it.
    Asked(Asked),
}

impl Prepared {
    /// Opens what is open already, and starts a helper for files that cannot be opened when it is time. `input` is the
    /// regular file that is read, if one is: no output writes to it. No thread may run.
    ///
    /// # Errors
    ///
    /// When a descriptor cannot be written to, two outputs go to one file, or there can be no helper.
    pub(super) fn new(
        config: &Config,
        input: Option<Identity>,
        confinement: &Confinement<'_>,
    ) -> Result<Self, RunError> {
        let claims = claims(config, input)?;
        let config::Outputs { write, json, .. } = &config.outputs;
        let descriptor = |path: Option<&PathBuf>| match path.filter(|path| is_descriptor(path)) {
            Some(path) => {
                let file = open_descriptor(path)?;
                claims.hold(&file, path)?;
                Ok::<_, RunError>(Target::Open(file))
            }
            None => Ok(Target::Path),
        };
        let mut targets = [descriptor(write.as_ref().map(|file| &file.path))?, descriptor(json.as_ref())?];
        let Some(confine) = confinement.of_files() else {
            let [write, json] = targets;
            return Ok(Self { claims, write, json, helper: None, holds: None });
        };
        let options = [
            write.as_ref().map(|file| options_of_packets(file, &claims)),
            json.as_ref().map(|path| options_of(path, &claims)),
        ];
        let (which, options): (Vec<&mut Target>, Vec<FilesOptions>) = targets
            .iter_mut()
            .zip(options)
            .filter_map(|(target, options)| {
                Some((target, options.filter(|options| is_named(&options.path))?))
            })
            .unzip();
        let (helper, asked) = Helper::split(options, confine)?;
        which.into_iter().zip(asked).for_each(|(target, asked)| *target = Target::Asked(asked));
        let holds = (confinement.is_reported() && !helper.holds().is_empty())
            .then(|| format!("capture: files are opened with: {}\n", helper.holds()));
        let [write, json] = targets;
        Ok(Self { claims, write, json, helper: Some(helper), holds })
    }

    /// What there is to say of the helper.
    pub(super) fn holds(&self) -> &str {
        self.holds.as_deref().unwrap_or_default()
    }

    /// For another child of this process, which is to have nothing of the helper.
    pub(super) fn disown(&self) {
        self.helper.iter().for_each(Helper::disown);
        for target in [&self.write, &self.json] {
            if let Target::Asked(asked) = target {
                asked.disown();
            }
        }
    }

    /// The helper, which ends with what is returned.
    pub(super) fn take_helper(&mut self) -> Option<Helper> {
        self.helper.take()
    }
}

/// What is to be said of files that are written: they lack the packets that are no TCP.
pub(super) fn only(config: &Config) -> &'static str {
    let writes = config.outputs.write.is_some() || config.outputs.json.is_some();
    if writes { ", TCP packets only" } else { "" }
}

/// Opens the outputs, without starting their threads: the file first, which holds up the source, then text, then JSON.
/// `interfaces` are those of the source that are known. Lines and a pcap file are made of "cooked" frames if `cooked` has
/// their snapshot length. `text` makes the lines. `warnings` gets what there is to say about them.
pub(super) fn open(
    config: &Config,
    prepared: Prepared,
    interfaces: Vec<InterfaceDescription>,
    cooked: Option<u32>,
    text: Option<TextEncoder>,
    driver: Driver<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Output>, RunError> {
    let Prepared { claims, write, json, .. } = prepared;
    let mut outputs = Vec::new();
    if let Some(file) = &config.outputs.write {
        let encoder = packet_encoder(config, file, &interfaces, cooked);
        outputs.push(packet_file(file, write, encoder, driver, &claims, warnings)?);
    }
    if let Some(encoder) = text {
        let stdout = standard_output()?;
        let is_line_buffered = config.line_buffered || stdout.is_terminal();
        let flush = Flush::After(if is_line_buffered { 1 } else { driver.buffered() });
        let destination = Box::new(stream(stdout, driver));
        let encoder = cooked_where(cooked, encoder, &interfaces);
        outputs.push(driver.output(STANDARD_OUTPUT.to_owned(), encoder, destination, flush));
    }
    if let Some(path) = &config.outputs.json {
        let encoder = Box::new(JsonEncoder::new(interfaces));
        let flush = if config.line_buffered { Flush::After(1) } else { Flush::WhenIdle };
        outputs.push(to(path, json, encoder, flush, driver, &claims)?);
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

/// The snapshot length of the cooked frames in a pcapng file, which has a place for interfaces of any kind, where they are
/// asked for.
fn cooks_pcapng(config: &Config) -> Option<u32> {
    match &config.source {
        Source::Live(options) if options.link_type == Some(LinkType::LinuxSll2) => Some(options.snaplen),
        _ => None,
    }
}

fn cooked_where(
    snaplen: Option<u32>,
    encoder: TextEncoder,
    interfaces: &[InterfaceDescription],
) -> Box<dyn Encoder> {
    match snaplen {
        Some(snaplen) => Box::new(Cooked::new(encoder, interfaces, snaplen)),
        None => Box::new(encoder),
    }
}

/// What makes the contents of `-w`.
fn packet_encoder(
    config: &Config,
    file: &PacketFile,
    interfaces: &[InterfaceDescription],
    cooked: Option<u32>,
) -> Box<dyn Encoder> {
    let precision = if config.text.nanoseconds { Precision::Nano } else { Precision::Micro };
    match file.format {
        FileFormat::Pcap => {
            // The file has a link type before a packet says which.
            let unknown = InterfaceDescription::new(LinkType::Ethernet, MAX_SNAPLEN);
            let first = interfaces.first().unwrap_or(&unknown);
            match cooked {
                None => Box::new(PcapEncoder::new(first, precision)),
                Some(snaplen) => {
                    let description = InterfaceDescription::new(LinkType::LinuxSll2, snaplen);
                    Box::new(Cooked::new(PcapEncoder::new(&description, precision), interfaces, snaplen))
                }
            }
        }
        FileFormat::Pcapng => match cooks_pcapng(config) {
            None => Box::new(PcapngEncoder::new(interfaces.to_vec(), config.explain)),
            Some(snaplen) => {
                let descriptions = interfaces.iter().map(cooked_description).collect();
                let encoder = PcapngEncoder::new(descriptions, config.explain);
                Box::new(Cooked::new(encoder, interfaces, snaplen))
            }
        },
    }
}

/// `-w`.
fn packet_file(
    file: &PacketFile,
    target: Target,
    encoder: Box<dyn Encoder>,
    driver: Driver<'_>,
    claims: &Claims,
    warnings: &mut Vec<String>,
) -> Result<Output, RunError> {
    if is_dash(&file.path) && standard_output()?.is_terminal() {
        return Err(RunError::BinaryToTerminal);
    }
    let flush = if file.packet_buffered { Flush::After(1) } else { Flush::WhenIdle };
    let is_stream = is_dash(&file.path) && file.rules.autostop == Autostop::default();
    let mut output = if is_stream {
        to(&file.path, target, encoder, flush, driver, claims)?
    } else {
        let options = options_of_packets(file, claims);
        let name = options.path.display().to_string();
        let target = if is_dash(&file.path) { Target::Open(standard_output()?) } else { target };
        let files = files(target, options, encoder.header())?;
        warnings.extend(files.warning());
        driver.output(name, encoder, Box::new(files), flush)
    };
    // The header is there at once: a reader at the other end of a pipe waits for it.
    output.hand_over();
    Ok(output)
}

/// How the files of `-w` are named and ended.
fn options_of_packets(file: &PacketFile, claims: &Claims) -> FilesOptions {
    let FileRules { rotation, autostop } = file.rules.clone();
    let path = if is_dash(&file.path) { Path::new(STANDARD_OUTPUT) } else { &file.path };
    let command = file.command.clone();
    FilesOptions { rotation, autostop, command, blocked: signals_at_start(), ..options_of(path, claims) }
}

/// One file.
fn options_of(path: &Path, claims: &Claims) -> FilesOptions {
    FilesOptions {
        path: path.to_owned(),
        time_zone: time_zone(),
        claims: claims.clone(),
        ..FilesOptions::default()
    }
}

fn files(target: Target, options: FilesOptions, header: Bytes) -> Result<Files, RunError> {
    Ok(match target {
        Target::Path => Files::create(options, header)?,
        Target::Open(file) => Files::onto(file, options, header)?,
        Target::Asked(asked) => Files::asking(asked, options, header)?,
    })
}

/// An output to a file, or to standard output where `path` is `-`.
fn to(
    path: &Path,
    target: Target,
    encoder: Box<dyn Encoder>,
    flush: Flush,
    driver: Driver<'_>,
    claims: &Claims,
) -> Result<Output, RunError> {
    if is_dash(path) {
        let destination = Box::new(stream(standard_output()?, driver));
        return Ok(driver.output(STANDARD_OUTPUT.to_owned(), encoder, destination, flush));
    }
    let destination = Box::new(files(target, options_of(path, claims), encoder.header())?);
    Ok(driver.output(path.display().to_string(), encoder, destination, flush))
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

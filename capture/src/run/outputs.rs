//! The outputs that the configuration asks for.

use std::{
    fs::{File, FileType},
    io::IsTerminal as _,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use capture_flow::{CONNECTION_LIMIT, Tracker};
use capture_packet::Precision;
use tokio::sync::Notify;

use super::{
    confined::Confinement,
    error::RunError,
    mask::signals_at_start,
    paths::{STANDARD_OUTPUT, is_dash, is_named},
    standard::standard_output,
    time_zone::time_zone,
};
use crate::{
    config::{Config, FileRules, OutputSpec},
    output::{
        Flush, Output,
        cooked::Cooking,
        destination::Destination,
        encoder::Encoder,
        files::{
            Asked, Autostop, Claims, Files, FilesOptions, Identity, helper::Helper, is_descriptor,
            open_descriptor,
        },
        format::Setup,
        stream::Stream,
        text::TextEncoder,
    },
    source::interface::InterfaceDescription,
};

/// What messages call it.
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
    /// Of each output besides the lines.
    targets: Vec<Target>,
    helper: Option<Helper>,
    holds: Option<String>,
}

/// How an output gets to its file.
#[derive(Debug)]
enum Target {
    /// It opens it.
    Path,
    /// It is a descriptor of this process.
    Open(File),
    /// A helper opens it.
    Asked(Asked),
}

impl Target {
    /// That of an output, before files are opened.
    fn of(path: &Path, claims: &Claims) -> Result<Self, RunError> {
        if !is_descriptor(path) {
            return Ok(Self::Path);
        }
        let file = open_descriptor(path)?;
        claims.hold(&file, path)?;
        Ok(Self::Open(file))
    }
}

impl Prepared {
    /// Opens what is open already, and starts a helper for files that cannot be opened when it is time. `input` is the
    /// regular file that is read, if one is, and its name: no output writes to it. No thread may run.
    ///
    /// # Errors
    ///
    /// When a descriptor cannot be written to, two outputs go to one file, or there can be no helper.
    pub(super) fn new(
        config: &Config,
        input: Option<(Identity, &Path)>,
        confinement: &Confinement<'_>,
    ) -> Result<Self, RunError> {
        let claims = claims(config, input)?;
        let specs = &config.outputs.others;
        let targets: Result<Vec<Target>, RunError> =
            specs.iter().map(|output| Target::of(&output.path, &claims)).collect();
        let mut targets = targets?;
        let Some(confine) = confinement.of_files() else {
            return Ok(Self { claims, targets, helper: None, holds: None });
        };
        let (which, options): (Vec<&mut Target>, Vec<FilesOptions>) = targets
            .iter_mut()
            .zip(specs)
            .filter(|(_, output)| is_named(&output.path))
            .map(|(target, output)| (target, options_of(output, &claims)))
            .unzip();
        let (helper, asked) = Helper::split(options, confine)?;
        which.into_iter().zip(asked).for_each(|(target, asked)| *target = Target::Asked(asked));
        let holds = (confinement.is_reported() && !helper.holds().is_empty())
            .then(|| format!("capture: files are opened with: {}\n", helper.holds()));
        Ok(Self { claims, targets, helper: Some(helper), holds })
    }

    /// What there is to say of the helper.
    pub(super) fn holds(&self) -> &str {
        self.holds.as_deref().unwrap_or_default()
    }

    /// For another child of this process, which is to have nothing of the helper.
    pub(super) fn disown(&self) {
        self.helper.iter().for_each(Helper::disown);
        for target in &self.targets {
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
    if config.outputs.others.is_empty() { "" } else { ", TCP packets only" }
}

/// What finds out what happens in connections, if an output shows it.
pub(super) fn tracker(config: &Config) -> Option<Tracker> {
    (config.explain || config.outputs.have_events()).then(|| Tracker::new(CONNECTION_LIMIT))
}

/// Opens the outputs, without starting their threads: the file first, which holds up the source, then text, then the others.
/// `interfaces` are those of the source that are known. `cooking` says whether outputs are made of "cooked" frames. `text`
/// makes the lines. `warnings` gets what there is to say about them.
pub(super) fn open(
    config: &Config,
    prepared: Prepared,
    interfaces: Vec<InterfaceDescription>,
    cooking: Option<Cooking>,
    text: Option<TextEncoder>,
    driver: Driver<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Output>, RunError> {
    let Prepared { claims, targets, .. } = prepared;
    let precision = if config.text.nanoseconds { Precision::Nano } else { Precision::Micro };
    let setup = Setup { interfaces: &interfaces, precision, explain: config.explain, cooking };
    let mut outputs = Vec::new();
    let mut others = config.outputs.others.iter().zip(targets).peekable();
    while let Some((output, target)) = others.next_if(|(output, _)| output.format.is_of_file()) {
        outputs.push(other(output, target, &setup, driver, &claims, warnings)?);
    }
    if let Some(encoder) = text {
        let stdout = standard_output()?;
        let is_line_buffered = config.line_buffered || stdout.is_terminal();
        let flush = Flush::After(if is_line_buffered { 1 } else { driver.buffered() });
        let destination = Box::new(stream(stdout, driver));
        let encoder = encoder.of(&interfaces, cooking);
        outputs.push(driver.output(STANDARD_OUTPUT.to_owned(), encoder, destination, flush));
    }
    for (output, target) in others {
        outputs.push(other(output, target, &setup, driver, &claims, warnings)?);
    }
    Ok(outputs)
}

/// The files in use before an output has been opened: that which is read, and that which standard output is, if it is
/// one.
fn claims(config: &Config, input: Option<(Identity, &Path)>) -> Result<Claims, RunError> {
    let claims = match input {
        Some((identity, path)) => {
            Claims::with_input(identity, if is_dash(path) { Path::new(STANDARD_INPUT) } else { path })
        }
        None => Claims::default(),
    };
    if config.outputs.uses_standard_output() {
        claims.hold(&standard_output()?, Path::new(STANDARD_OUTPUT))?;
    }
    Ok(claims)
}

/// An output that is no lines.
fn other(
    output: &OutputSpec,
    target: Target,
    setup: &Setup<'_>,
    driver: Driver<'_>,
    claims: &Claims,
    warnings: &mut Vec<String>,
) -> Result<Output, RunError> {
    let OutputSpec { format, path, is_unbuffered, rules, .. } = output;
    let is_standard_output = is_dash(path);
    if format.is_of_file() && is_standard_output && standard_output()?.is_terminal() {
        return Err(RunError::BinaryToTerminal);
    }
    let encoder = (format.encoder)(setup);
    let options = options_of(output, claims);
    let name = options.path.display().to_string();
    let destination: Box<dyn Destination> = if is_standard_output && rules.autostop == Autostop::default() {
        Box::new(stream(standard_output()?, driver))
    } else {
        let target = if is_standard_output { Target::Open(standard_output()?) } else { target };
        let files = files(target, options, encoder.header())?;
        warnings.extend(files.warning());
        Box::new(files)
    };
    let flush = if *is_unbuffered { Flush::After(1) } else { Flush::WhenIdle };
    let mut output = driver.output(name, encoder, destination, flush);
    if format.is_of_file() {
        // The header is there at once: a reader at the other end of a pipe waits for it.
        output.hand_over();
    }
    Ok(output)
}

/// How the files of an output are named and ended.
fn options_of(output: &OutputSpec, claims: &Claims) -> FilesOptions {
    let OutputSpec { path, rules: FileRules { rotation, autostop }, command, .. } = output.clone();
    FilesOptions {
        path: if is_dash(&path) { STANDARD_OUTPUT.into() } else { path },
        rotation,
        autostop,
        command,
        blocked: signals_at_start(),
        time_zone: time_zone(),
        claims: claims.clone(),
    }
}

fn files(target: Target, options: FilesOptions, header: Bytes) -> Result<Files, RunError> {
    Ok(match target {
        Target::Path => Files::create(options, header)?,
        Target::Open(file) => Files::onto(file, options, header)?,
        Target::Asked(asked) => Files::asking(asked, options, header)?,
    })
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

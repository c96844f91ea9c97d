//! Where packets are to go.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{
    error::ConfigError,
    files::{self, FileRules, Target},
};
use crate::{
    cli::Cli,
    output::{
        FORMATS,
        format::{Events, Format},
        pcap,
    },
};

/// Where packets go. At least one is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Whether lines go to standard output.
    pub text: bool,
    /// Where packets go in another form, in the order of [`FORMATS`].
    pub others: Vec<OutputSpec>,
}

/// An output besides the lines: what it is made of, and what becomes of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// What it looks like.
    pub format: &'static Format,
    /// Its name; `-` for standard output.
    pub path: PathBuf,
    /// Whether each packet is written at once.
    pub is_unbuffered: bool,
    /// When the next file begins, and when there is enough.
    pub rules: FileRules,
    /// `-z`: what gets each finished file.
    pub command: Option<OsString>,
}

impl OutputSpec {
    fn new(format: &'static Format, path: PathBuf, is_unbuffered: bool) -> Self {
        Self { format, path, is_unbuffered, rules: FileRules::default(), command: None }
    }
}

impl Outputs {
    /// To standard output as text if nothing else is asked for.
    ///
    /// # Errors
    ///
    /// When outputs do not go together, or one lacks what it needs.
    pub(super) fn new(cli: &Cli) -> Result<Self, ConfigError> {
        let write = cli.write.as_deref().map(|path| (format_of_file(cli, path), path));
        let by_name = cli.by_name.0.iter().map(|(format, path)| (*format, path.as_path()));
        let asked: Vec<_> = write.into_iter().chain(by_name).collect();
        if let Some((format, _)) = asked.iter().find(|(_, path)| path.as_os_str().is_empty()) {
            return Err(ConfigError::NoName(format.option()));
        }
        let specs = asked.into_iter().map(|(format, path)| {
            let is_unbuffered = if format.is_of_file() { cli.packet_buffered } else { is_line_buffered(cli) };
            OutputSpec::new(format, output_path(path), is_unbuffered)
        });
        let mut others: Vec<OutputSpec> = specs.collect();
        let mut file = others.iter_mut().find(|output| output.format.is_of_file());
        let target = match &file {
            None => Target::None,
            Some(output) if is_standard_output(&output.path) => Target::Stream,
            Some(_) => Target::File,
        };
        let rules = files::rules(&cli.files, target)?;
        if let Some(output) = &mut file {
            (output.rules, output.command) = (rules, cli.files.postrotate_command.clone());
        } else if cli.format.is_some() {
            return Err(ConfigError::FormatOfNothing);
        }
        let outputs = Self { text: cli.print || others.is_empty(), others };
        outputs.check(cli)?;
        Ok(outputs)
    }

    /// Whether they go together, and with the rest.
    fn check(&self, cli: &Cli) -> Result<(), ConfigError> {
        let Self { text, others } = self;
        if cli.count_only && !others.is_empty() {
            return Err(ConfigError::CountAndWrite);
        }
        if let Some(output) = others.first()
            && cli.explain
            && !(*text || others.iter().any(|output| output.format.has_events()))
        {
            return Err(ConfigError::ExplainNowhere(output.format.name));
        }
        let to_standard_output = others.iter().filter(|output| is_standard_output(&output.path)).count();
        if to_standard_output + usize::from(*text) > 1 {
            return Err(ConfigError::SameOutput("standard output".to_owned()));
        }
        let is_again = |(place, output): &(usize, &OutputSpec)| {
            others.iter().take(*place).any(|earlier| earlier.path == output.path)
        };
        match others.iter().enumerate().find(is_again) {
            Some((_, output)) => Err(ConfigError::SameOutput(output.path.display().to_string())),
            None => Ok(()),
        }
    }

    /// Whether one of them is standard output.
    pub fn uses_standard_output(&self) -> bool {
        self.text || self.others.iter().any(|output| is_standard_output(&output.path))
    }

    /// Whether one of them has a place for the interfaces.
    pub fn name_interfaces(&self) -> bool {
        self.others.iter().any(|output| output.format.interfaces)
    }

    /// Whether one of them always has the times that the source means, to the nanosecond: then they are read, and the others
    /// cut them off themselves.
    pub fn have_exact_times(&self) -> bool {
        self.others.iter().any(|output| output.format.exact_times)
    }

    /// Whether whole packets are captured for one of them, where nothing else is asked for. What lines need is not in this.
    pub fn have_whole_packets(&self) -> bool {
        self.others.iter().any(|output| output.format.whole_packets)
    }

    /// Whether one of them has the events of connections, although no one has asked for them.
    pub fn have_events(&self) -> bool {
        self.others.iter().any(|output| output.format.events == Events::Always)
    }

    /// The file of `-w`.
    pub fn file(&self) -> Option<&OutputSpec> {
        self.others.iter().find(|output| output.format.is_of_file())
    }
}

/// Whether each line is written out at once.
pub(super) fn is_line_buffered(cli: &Cli) -> bool {
    cli.line_buffered || cli.packet_buffered && cli.write.is_none()
}

/// The format of the file of `-w`: as asked for, or that whose name its name ends in, or else pcap.
fn format_of_file(cli: &Cli, path: &Path) -> &'static Format {
    let ends_so = |format: &&Format| path.extension().is_some_and(|extension| extension == format.name);
    let of_files = || FORMATS.iter().copied().filter(|format| format.is_of_file());
    cli.format.or_else(|| of_files().find(ends_so)).unwrap_or(&pcap::FORMAT)
}

/// Where an output goes: standard output is `-`, whichever of its names it was given.
fn output_path(path: &Path) -> PathBuf {
    let names = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    if names.iter().any(|name| path == Path::new(name)) { PathBuf::from("-") } else { path.to_owned() }
}

fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

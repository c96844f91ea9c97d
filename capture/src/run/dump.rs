//! What a filter means, without a capture: `--check` in words, `-d` in instructions.

use std::{io, path::Path};

use capture_common::record::MAX_SNAPLEN;
use capture_filter::{
    classic,
    ebpf::{self, Instruction},
    explain::{Warning, WarningKind, explain, warnings},
    target::{Link, Place, Target},
};
use capture_packet::{LinkType, Precision};

use super::{
    RunError,
    compiled::{self, Compiled},
    confined,
    interfaces::{namespaces, within},
    say, standard_output, write_all,
};
use crate::{
    config::{self, Config, Form, Source},
    filter::{Filter, FilterError},
    kernel::{DirectionFilter, Hook, Interface},
    source::{
        file::{self, FileSource},
        filter::link,
    },
};

/// `--check`: for frames of the interface or the file that is named, otherwise for Ethernet, which is the kind with the most
/// headers.
///
/// # Errors
///
/// When the interface or the file cannot be found or read, the expression selects no TCP packet there, or standard output
/// takes nothing.
pub(super) fn check(config: &Config) -> Result<(), RunError> {
    let filter = &config.filter;
    let frames = Frames::of(config)?;
    let refusal = match config.source {
        Source::Live(_) => frames.compile(filter).err(),
        Source::File(_) => {
            filter.programs(&[Target { link: frames.link, place: Place::File, only_tcp: true }]).err()
        }
    };
    let is_meant = |warning: &&Warning| frames.link == Link::Ethernet || warning.kind != WarningKind::Tagged;
    let (notes, mistakes): (Vec<_>, Vec<_>) = warnings(filter.expression(), filter.text())
        .iter()
        .filter(is_meant)
        .map(|warning| (warning.kind.is_note(), warning.render(filter.text())))
        .partition(|(is_note, _)| *is_note);
    let paragraph = |(_, text)| format!("{text}\n");
    let mut paragraphs: Vec<String> = mistakes.into_iter().map(paragraph).collect();
    if refusal.is_none() {
        paragraphs.insert(0, format!("{}\n", explain(filter.expression(), filter.text())));
        let notes: String = notes.into_iter().map(paragraph).collect();
        paragraphs.extend((!notes.is_empty()).then_some(notes));
    }
    let text = paragraphs.join("\n");
    write_all(standard_output()?, &text)?;
    // The mistakes have been printed.
    refusal.map_or(Ok(()), |error| Err(FilterError { hints: String::new(), ..error }.into()))
}

/// That an expression means ports of other protocols, too, if it does: a live capture does not count their packets.
pub(super) fn other_transports(filter: &Filter) -> Option<String> {
    let warnings = warnings(filter.expression(), filter.text());
    let is_wanted = |warning: &Warning| warning.kind == WarningKind::OtherTransports;
    warnings
        .iter()
        .any(is_wanted)
        .then(|| "the expression also means ports of UDP and SCTP, and only TCP is captured".to_owned())
}

/// `-d`.
///
/// # Errors
///
/// When the interface or the file cannot be found or read, the filter selects nothing there, or standard output takes
/// nothing.
pub(super) fn dump(config: &Config, form: Form) -> Result<(), RunError> {
    let frames = Frames::of(config)?;
    if frames.is_assumed {
        say("Warning: assuming Ethernet\n");
    }
    let text =
        if form == Form::Ebpf { in_the_kernel(config, &frames)? } else { classic(config, &frames, form)? };
    write_all(standard_output()?, &text)
}

/// What the filter decides about.
struct Frames {
    link: Link,
    link_type: LinkType,
    place: Place,
    snaplen: u32,
    hook: Hook,
    direction: DirectionFilter,
    /// Neither an interface nor a file was named.
    is_assumed: bool,
}

impl Frames {
    fn of(config: &Config) -> Result<Self, RunError> {
        let ethernet = Self {
            link: Link::Ethernet,
            link_type: LinkType::Ethernet,
            place: Place::File,
            snaplen: MAX_SNAPLEN,
            hook: Hook::Tc,
            direction: DirectionFilter::Both,
            is_assumed: false,
        };
        match &config.source {
            Source::File(path) => Self::of_file(config, path).map(|frames| frames.unwrap_or(ethernet)),
            Source::Live(options) => {
                // The headers alone are no length.
                let snaplen = if options.snaplen == 0 { MAX_SNAPLEN } else { options.snaplen };
                let frames = Self { snaplen, hook: options.hook, direction: options.direction, ..ethernet };
                let name = match &options.interfaces {
                    config::Interfaces::Default => {
                        return Ok(Self { place: Place::UnknownSocket, is_assumed: true, ..frames });
                    }
                    // tcpdump looks at "cooked" frames then; the programs in the kernel at the interfaces' own.
                    config::Interfaces::Any | config::Interfaces::Several(_) => {
                        return Ok(Self { link: Link::LinuxSll2, place: Place::Socket, ..frames });
                    }
                    config::Interfaces::One(name) => name,
                };
                let find = || Ok(Interface::find(name)?);
                let interface = match namespaces(&options.namespaces)?.first() {
                    Some(namespace) => within(namespace, find),
                    None => find(),
                }?;
                let link_type = interface.link_type()?;
                let link = if link_type == LinkType::Ethernet { Link::Ethernet } else { Link::Raw };
                let direction = compiled::direction(&interface, options.direction);
                Ok(Self { link, link_type, place: Place::Socket, direction, ..frames })
            }
        }
    }

    /// Those of a file's first interface, if it has one.
    fn of_file(config: &Config, path: &Path) -> Result<Option<Self>, RunError> {
        let file: Box<dyn io::Read> =
            if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(file::open(path)?) };
        confined::without_outputs(config)?;
        let source = FileSource::new(file, Precision::Micro)?;
        Ok(source.interfaces().first().map(|interface| Self {
            link: link(interface.link_type, source.byte_order()),
            link_type: interface.link_type,
            place: Place::File,
            snaplen: interface.snaplen,
            hook: Hook::Tc,
            direction: DirectionFilter::Both,
            is_assumed: false,
        }))
    }

    /// The filter of a live capture of them.
    fn compile(&self, filter: &Filter) -> Result<Compiled, FilterError> {
        Compiled::new(filter, self.link_type, self.hook, self.direction)
    }
}

/// A program for packet sockets, as tcpdump makes one: it selects what the filter selects, TCP or not.
fn classic(config: &Config, frames: &Frames, form: Form) -> Result<String, RunError> {
    let Frames { link, place, snaplen, .. } = *frames;
    let target = Target { link, place, only_tcp: false };
    let programs = config.filter.programs(&[target])?;
    let instructions: Vec<_> =
        programs.iter().flat_map(|program| classic::assemble(program, snaplen)).collect();
    Ok(match form {
        Form::C => classic::c_array(&instructions),
        Form::Numbers => classic::numbers(&instructions),
        Form::Classic | Form::Ebpf => classic::listing(&instructions),
    })
}

/// What goes in front of the programs in the kernel.
fn in_the_kernel(config: &Config, frames: &Frames) -> Result<String, RunError> {
    let code = frames.compile(&config.filter)?.code;
    let code = code.unwrap_or_default();
    let parts: &[(&str, &[Instruction])] = match frames.hook.is_xdp() {
        true => &[("xdp", &code.xdp)],
        false => &[("tc_ingress", &code.tc_ingress), ("tc_egress", &code.tc_egress)],
    };
    let texts = parts.iter().map(|(name, instructions)| {
        format!("{name}: {} instructions\n{}", instructions.len(), ebpf::listing(instructions))
    });
    Ok(texts.collect())
}

//! What a filter means, without a capture: `--check` in words, `-d` in instructions.

use capture_filter::{
    classic,
    ebpf::{self, Instruction},
    explain::{Warning, WarningKind, explain, warnings},
    target::{Link, Place, Target},
};

use super::{
    error::RunError,
    frames::Frames,
    source::Source,
    standard::{say, standard_output, write_all},
};
use crate::{
    config::{Config, Form},
    filter::{Filter, FilterError},
};

/// `--check`: for frames of the interface or the file that is named, otherwise for Ethernet, which is the kind with the most
/// headers.
///
/// # Errors
///
/// When the interface or the file cannot be found or read, the expression selects no TCP packet there, or standard output
/// takes nothing.
pub(super) fn check(config: &Config, source: &dyn Source) -> Result<(), RunError> {
    let filter = &config.filter;
    let frames = source.frames(config)?;
    let refusal = match frames.place {
        Place::File => {
            filter.programs(&[Target { link: frames.link, place: Place::File, only_tcp: true }]).err()
        }
        _ => frames.compile(filter).err(),
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
pub(super) fn dump(config: &Config, source: &dyn Source, form: Form) -> Result<(), RunError> {
    let frames = source.frames(config)?;
    if frames.is_assumed {
        say("Warning: assuming Ethernet\n");
    }
    let text =
        if form == Form::Ebpf { in_the_kernel(config, &frames)? } else { classic(config, &frames, form)? };
    write_all(standard_output()?, &text)
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

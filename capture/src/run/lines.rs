//! What makes tcpdump's lines, with names if they are asked for.

use std::time::Duration;

use capture_text::{Conversations, Printer};

use super::{
    confined::Confinement,
    error::{RunError, without_number},
    time_zone::time_zone,
};
use crate::{
    config::Config,
    etc::SERVICES,
    kernel::Interface,
    output::text::TextEncoder,
    resolve::{Resolver, Wait},
};

/// Conversations whose sequence numbers are kept, at most.
const CONVERSATION_LIMIT: usize = 1 << 20;

/// What makes the lines, if the configuration asks for them: numbers, until it gets names.
pub(super) fn printer(config: &Config) -> Option<Printer> {
    if !config.outputs.text {
        return None;
    }
    let mut printer = Printer::new(config.text, time_zone(), Conversations::new(CONVERSATION_LIMIT));
    // "Cooked" packets name their interfaces. A file can be printed where the machine does not list its interfaces; they
    // have no names then. Those of a live capture are set when it attaches to them.
    let interfaces = if config.source.is_live() { Vec::new() } else { Interface::list().unwrap_or_default() };
    let names = interfaces.iter().map(|interface| (interface.index, interface.to_string()));
    printer.set_interfaces(names.collect());
    Some(printer)
}

/// Makes a printer print names, with `--resolve`, and lines of what it prints. To be called while the process has one thread,
/// and all that it may do. A line waits for a name for no longer than
/// `patience`. Live, lines together have to wait for no longer than that for a while, or packets would be lost. `say` gets
/// what there is to say about names.
///
/// # Errors
///
/// When there is no helper that asks for names.
pub(super) fn text_encoder(
    config: &Config,
    mut printer: Printer,
    patience: Duration,
    confinement: &Confinement<'_>,
    mut say: impl FnMut(&str),
) -> Result<TextEncoder, RunError> {
    if config.resolve {
        let wait = if config.source.is_live() { Wait::Together(patience) } else { Wait::Each(patience) };
        let (resolver, holds) = Resolver::split(wait, config.no_domain, || confinement.of_names())?;
        if confinement.is_reported() && !holds.is_empty() {
            say(&format!("capture: names are asked for with: {holds}\n"));
        }
        if let Some(error) = resolver.services_error() {
            let why = without_number(&error.to_string());
            say(&format!("capture: {SERVICES}: {why}: ports are printed as numbers\n"));
        }
        printer.set_names(Box::new(resolver));
    }
    Ok(TextEncoder::new(printer, config.explain))
}

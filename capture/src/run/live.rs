//! Capturing live: the interface, the programs, and the outputs of a [`Session`].

use std::{process::ExitCode, sync::Arc, time::Duration};

use capture_common::ports::Ports as _;
use tokio::{runtime, sync::Notify};

use super::{
    RunError, conclude,
    failures::Failures,
    outputs::{self, Driver},
    patience::Patience,
    progress,
    session::{Seconds, Session, warn},
    signals::Signals,
    standard_error, standard_output, text_encoder, tracker,
};
use crate::{
    config::{self, Config},
    engine::Engine,
    kernel::{Capture, CaptureOptions, Interface, lift_file_limit},
    messages::Messages,
    output::interface::InterfaceDescription,
    summary::Warnings,
};

/// How long a line waits for a name, with `--resolve`.
const NAME_PATIENCE: Duration = Duration::from_millis(5);
/// How long lines wait for the greeting, which comes before them on a terminal.
const GREETING_PATIENCE: Duration = Duration::from_millis(100);

/// Captures and prints until there is a reason to stop, and says on standard error what went wrong: when the capture
/// cannot be started, or the output takes no more for another reason than that its reader has gone.
pub(super) fn run(config: &Config, options: &config::Live) -> ExitCode {
    // Signals first: no thread may be without their mask, and one that comes while the programs are being attached must
    // not leave them behind.
    let started = lift_file_limit()
        .map_err(RunError::from)
        .and_then(|()| {
            Signals::new().map_err(|source| RunError::Start { what: "listening to signals", source })
        })
        .and_then(|signals| Ok((signals, start_messages()?)));
    let (mut signals, messages) = match started {
        Ok(started) => started,
        Err(error) => return conclude(Err(error), super::say),
    };
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let (result, patience) = match runtime {
        Ok(runtime) => runtime.block_on(capture(config, options, &mut signals, &messages)),
        Err(source) => (Err(RunError::Start { what: "the runtime", source }), Patience::limited()),
    };
    let status = conclude(result, |text| messages.last(text));
    messages.wait(patience.for_last_words());
    status
}

fn start_messages() -> Result<Messages, RunError> {
    let started = standard_error().and_then(Messages::spawn);
    started.map_err(|source| RunError::Start { what: "the thread of standard error", source })
}

async fn capture(
    config: &Config,
    options: &config::Live,
    signals: &mut Signals,
    messages: &Messages,
) -> (Result<(), RunError>, Patience) {
    match start(config, options, messages) {
        Ok(session) => session.run(signals).await,
        Err(error) => (Err(error), Patience::limited()),
    }
}

/// Attaches, and greets. To be called within a tokio runtime.
fn start(config: &Config, options: &config::Live, messages: &Messages) -> Result<Session, RunError> {
    if config.outputs.text {
        // One that is closed is an error before anything is attached.
        standard_output()?;
    }
    let interface = match &options.interface {
        Some(name) => Interface::find(name)?,
        None => default_interface()?,
    };
    let mut capture = Capture::start(&CaptureOptions {
        interface: &interface,
        hook: options.hook,
        direction: options.direction,
        promiscuous: options.promiscuous,
        ports: (!config.ports.any()).then(|| config.ports.bitmap()),
        snaplen: options.snaplen,
        buffer_size: options.buffer_size,
        log_level: options.log_level,
        messages,
    })?;
    let mut warnings = Warnings::default();
    warn(&mut capture, messages, &mut warnings);
    let mut about_names = String::new();
    let text = text_encoder(config, NAME_PATIENCE, |text| about_names.push_str(text))?;
    let news = Arc::new(Notify::new());
    let description = InterfaceDescription {
        name: Some(interface.name.clone()),
        link_type: capture.link_type(),
        snaplen: options.snaplen,
        filter: Some(config.ports.to_string()),
        hook: Some(capture.description().to_owned()),
    };
    let mut about_files = Vec::new();
    let driver = Driver::Live(&news);
    let outputs = outputs::open(config, &description, text, driver, None, &mut about_files)?;
    for warning in about_files {
        messages.say(&format!("capture: warning: {warning}\n"));
    }
    messages.say(&greeting(&interface, &capture, config, options));
    messages.wait(GREETING_PATIENCE);
    messages.say(&about_names);
    Ok(Session {
        capture,
        engine: Engine::new(outputs, tracker(config), news, config.count),
        messages: messages.clone(),
        warnings,
        failures: Failures::default(),
        seconds: Seconds::new(progress::is_wanted(config)),
    })
}

/// What tcpdump says when it begins, with what is different here.
fn greeting(interface: &Interface, capture: &Capture, config: &Config, options: &config::Live) -> String {
    let length = match options.snaplen {
        0 => "headers only".to_owned(),
        snaplen => format!("snapshot length {snaplen} bytes"),
    };
    let (rings, size) = capture.buffers();
    let writes = config.outputs.write.is_some() || config.outputs.json.is_some();
    let only = if writes { ", TCP packets only" } else { "" };
    format!(
        "capture: listening on {interface}, link-type {}, {}, {length}, buffer {rings} x {} KiB{only}\n",
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

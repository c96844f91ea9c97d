//! Capturing live: the interface, the programs, and the outputs of a [`Session`].

use std::{
    ffi::OsStr,
    io::{self, Read as _, Write as _},
    os::fd::AsFd as _,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use capture_common::record::MAX_SNAPLEN;
use capture_filter::target::{Link, Place};
use capture_packet::LinkType;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::{runtime, sync::Notify};

use super::{
    compiled::{self, Compiled},
    confined::Confinement,
    dump,
    error::{RunError, conclude},
    failures::Failures,
    frames::Frames,
    interfaces::{Targets, Teller, namespaces, within},
    lines::{printer, text_encoder},
    outputs::{self, Driver, Prepared, tracker},
    patience::Patience,
    progress,
    session::{Seconds, Session, warn},
    signals::{Asked, Blocked, Signals},
    source::Source,
    ssh,
    standard::{say, standard_error, standard_output},
};
use crate::{
    config::{self, Config},
    engine::Engine,
    filter::Filter,
    kernel::{
        Appearance, AttachError, CaptureOptions, Change, Interface, Kind, LoadError, StartError, Started,
        lift_file_limit, printable,
    },
    messages::Messages,
    output::{Output, cooked::Cooking, files::helper::Helper},
    process::disown,
    summary::Warnings,
};

/// How long a line waits for a name, with `--resolve`.
const NAME_PATIENCE: Duration = Duration::from_millis(5);
/// How long lines wait for the greeting, which comes before them on a terminal.
const GREETING_PATIENCE: Duration = Duration::from_millis(100);

impl Source for config::Live {
    fn run(&self, config: &Config) -> ExitCode {
        run(config, self)
    }

    /// Those of the interface that is named, or else of Ethernet.
    fn frames(&self, _config: &Config) -> Result<Frames, RunError> {
        // The headers alone are no length.
        let snaplen = if self.snaplen == 0 { MAX_SNAPLEN } else { self.snaplen };
        let frames = Frames { snaplen, hook: self.hook, direction: self.direction, ..Frames::ETHERNET };
        let name = match &self.interfaces {
            config::Interfaces::Default => {
                return Ok(Frames { place: Place::UnknownSocket, is_assumed: true, ..frames });
            }
            // tcpdump looks at "cooked" frames then; the programs in the kernel at the interfaces' own.
            config::Interfaces::Any | config::Interfaces::Several(_) => {
                return Ok(Frames { link: Link::LinuxSll2, place: Place::Socket, ..frames });
            }
            config::Interfaces::One(name) => name,
        };
        let find = || Ok(Interface::find(name)?);
        let interface = match namespaces(&self.namespaces)?.first() {
            Some(namespace) => within(namespace, find),
            None => find(),
        }?;
        let link_type = interface.link_type()?;
        let link = if link_type == LinkType::Ethernet { Link::Ethernet } else { Link::Raw };
        let direction = compiled::direction(&interface, self.direction);
        Ok(Frames { link, link_type, place: Place::Socket, direction, ..frames })
    }
}

/// Captures and prints until there is a reason to stop, and says on standard error what went wrong: when the capture
/// cannot be started, or the output takes no more for another reason than that its reader has gone.
fn run(config: &Config, options: &config::Live) -> ExitCode {
    // Signals first: one that comes while the programs are being attached must not leave them behind.
    let started = lift_file_limit()
        .map_err(RunError::from)
        .and_then(|()| Blocked::new().map_err(cannot_start("listening to signals")))
        .and_then(|signals| Ok((signals, standard_error().map_err(cannot_start("standard error"))?)));
    let (signals, messages) = match started {
        Ok((signals, output)) => (signals, Messages::new(output)),
        Err(error) => return conclude(Err(error), say),
    };
    let (result, patience) = capture(config, options, signals, &messages)
        .unwrap_or_else(|error| (Err(error), Patience::limited()));
    let status = conclude(result, |text| messages.last(text));
    // A capture that has not come so far has said nothing yet. Without a thread nothing can be said.
    let _started = messages.start();
    messages.wait(patience.for_last_words());
    status
}

fn cannot_start(what: &'static str) -> impl Fn(io::Error) -> RunError {
    move |source| RunError::Start { what, source }
}

/// Returns how the capture ended, and what is left of the patience with outputs that take nothing.
fn capture(
    config: &Config,
    options: &config::Live,
    mut signals: Blocked,
    messages: &Messages,
) -> Result<(Result<(), RunError>, Patience), RunError> {
    // What is wrong with the command line is said before anything is waited for or attached.
    let confinement = Confinement::new(config)?;
    if config.outputs.text {
        standard_output()?;
    }
    let found = match &options.interfaces {
        config::Interfaces::One(name) if options.wait && options.namespaces.is_empty() => {
            let Some(interface) = wait_for(name, &mut signals)? else {
                return Ok((Ok(()), Patience::limited()));
            };
            Some(interface)
        }
        _ => None,
    };
    let begun = Begun::new(config, options, found, confinement, messages)?;
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(cannot_start("the runtime"))?;
    runtime.block_on(async {
        let (session, mut signals, _helper) = begun.listen(config, signals, messages)?;
        Ok(session.run(&mut signals).await)
    })
}

/// Waits for an interface. `None` if a signal asked for the end meanwhile.
fn wait_for(name: &OsStr, signals: &mut Blocked) -> Result<Option<Interface>, RunError> {
    let appearance = Appearance::new(name)?;
    let mut is_said = false;
    loop {
        if let Some(interface) = appearance.look()? {
            return Ok(Some(interface));
        }
        if !is_said {
            say(&format!("capture: waiting for {}\n", printable(&name.to_string_lossy())));
            is_said = true;
        }
        let mut ready = [appearance.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(cannot_start("waiting for an interface")(errno.into())),
        }
        let is_signal = ready.last().is_some_and(|signal| signal.any() == Some(true));
        if is_signal
            && let Some(Asked::End | Asked::EndNow) =
                signals.next().map_err(cannot_start("listening to signals"))?
        {
            return Ok(None);
        }
    }
}

/// A capture that is attached, whose outputs are open, and which has no threads and no power any more.
struct Begun<'a> {
    started: Started,
    confinement: Confinement<'a>,
    outputs: Vec<Output>,
    news: Arc<Notify>,
    teller: Teller,
    greeting: String,
    /// What opens files, if they are opened later.
    helper: Option<Helper>,
}

impl<'a> Begun<'a> {
    /// Attaches, opens the outputs, and gives up what that took. No thread may run. `found` is the one that was waited for.
    fn new(
        config: &'a Config,
        options: &config::Live,
        found: Option<Interface>,
        mut confinement: Confinement<'a>,
        messages: &Messages,
    ) -> Result<Self, RunError> {
        let targets = Targets::new(options, found)?;
        let link_type = targets.link_type(options)?;
        let compiled = targets.compile(&config.filter, options)?;
        let kinds: Vec<Kind<'_>> = compiled
            .iter()
            .map(|(link_type, compiled)| Kind { link_type: *link_type, filter: compiled.code.as_ref() })
            .collect();
        let options_of_capture = CaptureOptions {
            places: &targets.places(),
            hook: options.hook,
            direction: options.direction,
            promiscuous: options.promiscuous,
            kinds: &kinds,
            snaplen: options.snaplen,
            buffer_size: options.buffer_size,
            log_level: options.log_level,
            messages,
        };
        let enters = !options.namespaces.is_empty();
        let mut prepared = Prepared::new(config, None, &confinement)?;
        let report = confinement.is_reported().then(io::pipe).transpose();
        let (heard, said) = report.map_err(cannot_start("the helper process"))?.unzip();
        let confine = || {
            prepared.disown();
            messages.disown();
            heard.iter().for_each(disown);
            let holds = confinement.helper(enters).map_err(|error| error.to_string())?;
            // The end of the parent is seen elsewhere.
            let _gone = said.map(|mut said| said.write_all(holds.as_bytes()));
            Ok(())
        };
        let started = Started::new(&options_of_capture, confine)
            .map_err(|error| with_expression(error, &config.filter))?;
        let mut about_helper = String::new();
        if let Some(mut heard) = heard {
            heard.read_to_string(&mut about_helper).map_err(cannot_start("the helper process"))?;
        }
        let mut about_names = String::new();
        let mut say = |text: &str| about_names.push_str(text);
        let encoder = |printer| text_encoder(config, printer, NAME_PATIENCE, &confinement, &mut say);
        let text = printer(config).map(encoder).transpose()?;
        let news = Arc::new(Notify::new());
        let teller = Teller::new(config, options);
        let listed = started.listed().cloned();
        let descriptions = listed.map(|listed| teller.describe(listed)).collect();
        let mut about_files = Vec::new();
        let driver = Driver::Live(&news);
        let helper = prepared.take_helper();
        about_names.push_str(prepared.holds());
        let is_asked = options.link_type == Some(LinkType::LinuxSll2);
        let cooking = Cooking { snaplen: options.snaplen, is_asked };
        let cooking = (link_type == LinkType::LinuxSll2).then_some(cooking);
        let outputs = outputs::open(config, prepared, descriptions, cooking, text, driver, &mut about_files)?;
        let mut greeting: String =
            about_files.iter().map(|warning| format!("capture: warning: {warning}\n")).collect();
        greeting.push_str(&greet(&targets, link_type, &started, config, options));
        if let Some(note) = dump::other_transports(&config.filter) {
            greeting.push_str(&format!("capture: {note}\n"));
        }
        if config.outputs.uses_standard_output()
            && let Some(warning) = feedback(&started, config, &compiled)
        {
            greeting.push_str(&format!("capture: warning: {warning}\n"));
        }
        if !about_helper.is_empty() {
            greeting.push_str(&format!("capture: programs are attached with: {about_helper}\n"));
        }
        greeting.push_str(&about_names);
        confinement.begin()?;
        Ok(Self { started, confinement, outputs, news, teller, greeting, helper })
    }

    /// Starts the threads, gives up the system calls that this took, and greets. To be called within a tokio runtime.
    fn listen(
        self,
        config: &Config,
        signals: Blocked,
        messages: &Messages,
    ) -> Result<(Session, Signals, Option<Helper>), RunError> {
        let Self { started, mut confinement, mut outputs, news, mut teller, greeting, helper } = self;
        let signals = signals.listen().map_err(cannot_start("the thread of signals"))?;
        messages.start().map_err(cannot_start("the thread of standard error"))?;
        let mut capture = started.listen()?;
        for output in &mut outputs {
            output.start().map_err(cannot_start("the writer's thread"))?;
        }
        let lost_helper = Arc::<AtomicBool>::default();
        if let Some(helper) = &helper {
            watch(helper, &lost_helper, &news).map_err(cannot_start("the thread of files"))?;
        }
        let mut holds = String::new();
        confinement.seal(|text| holds.push_str(text))?;
        let mut warnings = Warnings::default();
        warn(&mut capture, messages, &mut warnings);
        messages.say(&greeting);
        messages.say(&holds);
        messages.wait(GREETING_PATIENCE);
        let mut engine = Engine::new(outputs, tracker(config), config.count).until_first_has(config.enough);
        let mut names = Vec::new();
        for change in capture.changes() {
            match change {
                // The outputs have been opened with it.
                Change::Listed(listed) => teller.warn_of_mix(&teller.describe(listed), messages),
                change => names.push(change),
            }
        }
        teller.tell(names, &mut engine, messages);
        let session = Session {
            capture,
            engine,
            news,
            teller,
            messages: messages.clone(),
            warnings,
            failures: Failures::default(),
            seconds: Seconds::new(progress::is_wanted(config)),
            tells_hooks: config.sandbox.is_reported,
            lost_helper,
        };
        Ok((session, signals, helper))
    }
}

/// Starts a thread that waits for the end of the helper that opens files: it is `lost` then, and that is `news`.
fn watch(helper: &Helper, lost: &Arc<AtomicBool>, news: &Arc<Notify>) -> io::Result<()> {
    let (end, lost, news) = (helper.end()?, Arc::clone(lost), Arc::clone(news));
    let run = move || {
        while poll(&mut [PollFd::new(end.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) == Err(Errno::EINTR)
        {
        }
        lost.store(true, Ordering::Relaxed);
        news.notify_one();
    };
    thread::Builder::new().name("files".to_owned()).spawn(run).map(drop)
}

/// What there is to say of the SSH session, where its connection runs over an interface that is captured.
fn feedback(started: &Started, config: &Config, compiled: &[(LinkType, Compiled)]) -> Option<String> {
    started.interfaces().iter().find_map(|interface| {
        let own = interface.link_type().ok()?;
        let (link_type, compiled) = compiled.iter().find(|(link_type, _)| *link_type == own)?;
        ssh::feedback(interface, *link_type, &config.filter, compiled)
    })
}

/// A refusal by the verifier, with the expression that it may be due to.
fn with_expression(error: StartError, filter: &Filter) -> RunError {
    match error {
        StartError::Load(LoadError::Refused { program, source, reason, log })
        | StartError::Attach(AttachError::Load(LoadError::Refused { program, source, reason, log }))
            if !filter.is_everything() =>
        {
            RunError::Verifier { program, expression: filter.shown(), source, reason, log }
        }
        error => error.into(),
    }
}

/// What tcpdump says when it begins, with what is different here.
fn greet(
    targets: &Targets,
    link_type: LinkType,
    started: &Started,
    config: &Config,
    options: &config::Live,
) -> String {
    let length = match options.snaplen {
        0 => "headers only".to_owned(),
        snaplen => format!("snapshot length {snaplen} bytes"),
    };
    let (rings, size) = started.buffers();
    let only = outputs::only(config);
    let cooked = match link_type {
        LinkType::LinuxSll2 => "capture: data link type LINUX_SLL2\n",
        _ => "",
    };
    format!(
        "{cooked}capture: listening on {}, link-type {link_type}, {}, {length}, buffer {rings} x {} KiB{only}\n",
        targets.shown(),
        started.description(),
        size / 1024,
    )
}

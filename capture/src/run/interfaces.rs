//! The interfaces of a live capture: which are asked for, what is loaded for each kind of frames, and what outputs are told
//! of them.

use std::sync::Arc;

use capture_filter::{
    expression::{Arithmetic, ArithmeticStep, IndexProtocol, Primitive, StepKind},
    target::{self, Link, Target},
};
use capture_packet::LinkType;

use super::{
    compiled::{self, Compiled},
    error::RunError,
};
use crate::{
    config::{self, Config},
    engine::Engine,
    filter::Filter,
    kernel::{
        self, Change, Interface, InterfaceError, Listed, Named, NetworkNamespace, Place, WatchError,
        printable,
    },
    messages::Messages,
    output::pcapng::operating_system,
    source::interface::InterfaceDescription,
};

/// The kinds of frames that interfaces have.
const KINDS: [LinkType; 2] = [LinkType::Ethernet, LinkType::Raw];

/// The interfaces that were asked for, in each network namespace.
#[derive(Debug)]
pub(super) struct Targets(Vec<(Option<Arc<NetworkNamespace>>, Chosen)>);

impl Targets {
    /// Looks for what was asked for, unless it was waited for and is `found`.
    ///
    /// # Errors
    ///
    /// When a namespace is not there, or what [`Chosen::new`] says.
    pub(super) fn new(options: &config::Live, found: Option<Interface>) -> Result<Self, RunError> {
        if let Some(interface) = found {
            return Ok(Self(vec![(None, Chosen::one(interface, options))]));
        }
        let namespaces = namespaces(&options.namespaces)?;
        if namespaces.is_empty() {
            return Ok(Self(vec![(None, Chosen::new(options)?)]));
        }
        let is_one = namespaces.len() == 1;
        let choose = |namespace: NetworkNamespace| {
            let chosen = within(&namespace, || Chosen::new(options))?;
            // Packets of several namespaces need a place for the interface.
            let chosen = if is_one { chosen } else { chosen.into_several() };
            Ok((Some(Arc::new(namespace)), chosen))
        };
        namespaces.into_iter().map(choose).collect::<Result<_, RunError>>().map(Self)
    }

    /// How messages call them.
    pub(super) fn shown(&self) -> String {
        let shown = |(namespace, chosen): &(Option<Arc<NetworkNamespace>>, Chosen)| match namespace {
            Some(namespace) => format!("{}/{}", namespace.name(), chosen.shown()),
            None => chosen.shown(),
        };
        self.0.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    /// The same for the kernel's side.
    pub(super) fn places(&self) -> Vec<Place<'_>> {
        let places = self.0.iter().map(|(namespace, chosen)| Place {
            namespace: namespace.clone(),
            interfaces: chosen.interfaces(),
        });
        places.collect()
    }

    /// What lines are made of, and pcap files.
    ///
    /// # Errors
    ///
    /// When another link type is asked for.
    pub(super) fn link_type(&self, options: &config::Live) -> Result<LinkType, RunError> {
        let mut types = self.0.iter().map(|(_, chosen)| chosen.link_type(options));
        // Of several, all are the same.
        types.next_back().unwrap_or(Ok(LinkType::LinuxSll2))
    }

    /// The filter for each kind of frames that there can be.
    ///
    /// # Errors
    ///
    /// As [`Chosen::compile`].
    pub(super) fn compile(
        &self,
        filter: &Filter,
        options: &config::Live,
    ) -> Result<Vec<(LinkType, Compiled)>, RunError> {
        let mut compiled = self.0.iter().map(|(_, chosen)| chosen.compile(filter, options));
        compiled.next_back().unwrap_or(Ok(Vec::new()))
    }
}

/// The namespaces that were asked for, each once.
///
/// # Errors
///
/// When one is not there.
pub(super) fn namespaces(asked: &[config::Namespace]) -> Result<Vec<NetworkNamespace>, RunError> {
    let mut found: Vec<NetworkNamespace> = Vec::new();
    for asked in asked {
        let namespace = match asked {
            config::Namespace::Called(name) => NetworkNamespace::find(name)?,
            config::Namespace::OfContainer(id) => NetworkNamespace::of_container(id)?,
        };
        if !found.iter().any(|other| other.is_same(&namespace)) {
            found.push(namespace);
        }
    }
    Ok(found)
}

/// Calls `job` in a namespace.
///
/// # Errors
///
/// When the namespace cannot be entered, and what `job` says.
pub(super) fn within<R>(
    namespace: &NetworkNamespace,
    job: impl FnOnce() -> Result<R, RunError>,
) -> Result<R, RunError> {
    let own = NetworkNamespace::own()?;
    namespace.enter()?;
    let done = job();
    own.enter()?;
    done.map_err(|error| RunError::InNamespace {
        namespace: namespace.name().to_owned(),
        source: Box::new(error),
    })
}

/// The interfaces that were asked for, as far as they exist.
#[derive(Debug)]
enum Chosen {
    /// This one, as long as it is there.
    One(Interface),
    /// This one, whenever it is there: how it is asked for, and what it is now.
    Again(Named, Interface),
    /// Several, whenever they are there: how they are asked for, and how messages call them.
    Several(Vec<Named>, Vec<String>),
    /// All that are up.
    Any,
}

impl Chosen {
    /// Looks for what was asked for.
    ///
    /// # Errors
    ///
    /// When it is not there, or one of several is down, and it is not to be waited for.
    fn new(options: &config::Live) -> Result<Self, RunError> {
        let names = match &options.interfaces {
            config::Interfaces::Any => return Ok(Self::Any),
            config::Interfaces::Default => return default_interface(options),
            config::Interfaces::One(name) if !options.wait => {
                let interface = Interface::find(name)?;
                return Ok(Self::one(interface, options));
            }
            config::Interfaces::One(name) => std::slice::from_ref(name),
            config::Interfaces::Several(names) => names,
        };
        let (mut found, mut missing): (Vec<Interface>, Vec<String>) = (Vec::new(), Vec::new());
        for name in names {
            match Interface::find(name) {
                Ok(interface) if !interface.is_up() && !options.wait => {
                    return Err(WatchError::Down { name: interface.name }.into());
                }
                Ok(interface) if found.iter().any(|other| other.index == interface.index) => {}
                Ok(interface) => found.push(interface),
                Err(InterfaceError::NoSuchInterface { name, .. }) if options.wait => missing.push(name),
                Err(error) => return Err(error.into()),
            }
        }
        if missing.is_empty() && found.len() == 1 {
            return Ok(found.pop().map_or(Self::Any, |interface| Self::one(interface, options)));
        }
        missing.dedup();
        let shown = found.iter().map(Interface::to_string).chain(missing.iter().map(|name| printable(name)));
        let shown = shown.collect();
        let found = found.iter().map(|interface| Named::found(interface, options.wait));
        let names = found.chain(missing.into_iter().map(Named::missing)).collect();
        Ok(Self::Several(names, shown))
    }

    /// The same as one of several.
    fn into_several(self) -> Self {
        match self {
            Self::One(interface) => {
                Self::Several(vec![Named::found(&interface, false)], vec![interface.to_string()])
            }
            Self::Again(named, interface) => Self::Several(vec![named], vec![interface.to_string()]),
            other => other,
        }
    }

    fn one(interface: Interface, options: &config::Live) -> Self {
        match options.wait {
            true => Self::Again(Named::found(&interface, true), interface),
            false => Self::One(interface),
        }
    }

    /// How messages call them.
    fn shown(&self) -> String {
        match self {
            Self::One(interface) | Self::Again(_, interface) => interface.to_string(),
            Self::Several(_, shown) => shown.join(", "),
            Self::Any => "any".to_owned(),
        }
    }

    /// The same for the kernel's side.
    fn interfaces(&self) -> kernel::Interfaces<'_> {
        match self {
            Self::One(interface) => kernel::Interfaces::One(interface),
            Self::Again(named, _) => kernel::Interfaces::Named(std::slice::from_ref(named)),
            Self::Several(names, _) => kernel::Interfaces::Named(names),
            Self::Any => kernel::Interfaces::Any,
        }
    }

    /// What lines are made of, and pcap files: the interface's own frames, or "cooked" ones, which name the interface.
    ///
    /// # Errors
    ///
    /// When another link type is asked for.
    fn link_type(&self, options: &config::Live) -> Result<LinkType, RunError> {
        let (native, interface) = match self {
            Self::One(interface) | Self::Again(_, interface) => (interface.link_type()?, interface),
            Self::Several(..) | Self::Any => {
                return match options.link_type {
                    None | Some(LinkType::LinuxSll2) => Ok(LinkType::LinuxSll2),
                    Some(asked) => Err(RunError::LinkType { interface: self.shown(), asked }),
                };
            }
        };
        match options.link_type {
            Some(LinkType::LinuxSll2) => Ok(LinkType::LinuxSll2),
            Some(asked) if asked != native => {
                Err(RunError::LinkType { interface: interface.to_string(), asked })
            }
            _ => Ok(native),
        }
    }

    /// The filter for each kind of frames that there can be.
    ///
    /// # Errors
    ///
    /// When it can select nothing, or asks for what cooked frames do not have where there are several interfaces.
    fn compile(
        &self,
        filter: &Filter,
        options: &config::Live,
    ) -> Result<Vec<(LinkType, Compiled)>, RunError> {
        let direction = match self {
            Self::One(interface) | Self::Again(_, interface) => {
                compiled::direction(interface, options.direction)
            }
            Self::Several(..) | Self::Any => options.direction,
        };
        let compile = |link_type| Compiled::new(filter, link_type, options.hook, direction);
        match self {
            Self::One(interface) => {
                let link_type = interface.link_type()?;
                return Ok(vec![(link_type, compile(link_type)?)]);
            }
            // It may come back as another kind.
            Self::Again(..) => {}
            Self::Several(..) | Self::Any => require_cooked(filter)?,
        }
        let mut all = Vec::new();
        let mut first = None;
        for link_type in KINDS {
            match compile(link_type) {
                Ok(compiled) => all.push((link_type, compiled)),
                Err(error) => first = first.or(Some(error)),
            }
        }
        match first {
            Some(error) if all.is_empty() => Err(error.into()),
            _ => Ok(all),
        }
    }
}

/// tcpdump's choice (libpcap's pcap.c, `get_figure_of_merit`): the first interface that is up, has a carrier and is
/// not loopback; if none has a carrier, all.
fn default_interface(options: &config::Live) -> Result<Chosen, RunError> {
    let interfaces = Interface::list()?;
    let is_usable =
        |interface: &&Interface| interface.is_up() && interface.is_running() && !interface.is_loopback();
    match interfaces.iter().find(is_usable) {
        Some(interface) => Ok(Chosen::one(interface.clone(), options)),
        None if options.hook.is_xdp() => {
            Err(RunError::NoInterface { have: Interface::some(&interfaces, "") })
        }
        None => Ok(Chosen::Any),
    }
}

/// That an expression asks for nothing that tcpdump refuses where there are several interfaces, and for none of the bytes
/// that are other ones there: it decides about the interfaces' own frames here.
fn require_cooked(filter: &Filter) -> Result<(), RunError> {
    let link = Link::LinuxSll2;
    filter.programs(&[Target { link, place: target::Place::File, only_tcp: true }])?;
    let reads_link_header = |side: &Arithmetic| {
        let is_it = |step: &ArithmeticStep| {
            matches!(step, ArithmeticStep::Load { protocol: IndexProtocol::Ether, .. })
        };
        side.steps.iter().any(is_it)
    };
    let is_other = filter.expression().steps.iter().any(|step| match &step.kind {
        StepKind::Primitive(Primitive::Relation { left, right, .. }) => {
            reads_link_header(left) || reads_link_header(right)
        }
        _ => false,
    });
    if is_other { Err(RunError::LinkBytes { expression: filter.shown() }) } else { Ok(()) }
}

/// Tells the outputs of a live capture what they have to know of its interfaces.
#[derive(Debug)]
pub(super) struct Teller {
    filter: String,
    os: Option<String>,
    snaplen: u32,
    /// The pcapng file that has the interfaces' own link types, and the first of these.
    file: Option<(String, Option<LinkType>)>,
}

impl Teller {
    /// For the outputs of this configuration.
    pub(super) fn new(config: &Config, options: &config::Live) -> Self {
        let is_cooked = options.link_type == Some(LinkType::LinuxSll2);
        let file = config.outputs.file().filter(|file| file.format.interfaces && !is_cooked);
        Self {
            filter: config.filter.to_string(),
            os: operating_system(),
            snaplen: options.snaplen,
            file: file.map(|file| (file.path.display().to_string(), None)),
        }
    }

    /// What there is to say of an interface to outputs.
    pub(super) fn describe(&self, listed: Listed) -> InterfaceDescription {
        InterfaceDescription {
            name: listed.name,
            hardware_type: listed.hardware_type,
            filter: Some(self.filter.clone()),
            hook: Some(listed.hook),
            os: self.os.clone(),
            ..InterfaceDescription::new(listed.link_type, self.snaplen)
        }
    }

    /// Tells the outputs what has changed.
    pub(super) fn tell(&mut self, changes: Vec<Change>, engine: &mut Engine, messages: &Messages) {
        for change in changes {
            match change {
                Change::Listed(listed) => {
                    let description = self.describe(listed);
                    self.warn_of_mix(&description, messages);
                    engine.interface(&description);
                }
                Change::Named { number, name } => engine.interface_name(number, Some(&name)),
                Change::Forgotten { number } => engine.interface_name(number, None),
            }
        }
    }

    /// Says that a pcapng file has packets of two link types, if it does, once.
    pub(super) fn warn_of_mix(&mut self, interface: &InterfaceDescription, messages: &Messages) {
        let Some((path, first)) = &mut self.file else { return };
        let first = *first.get_or_insert(interface.link_type);
        if first == interface.link_type {
            return;
        }
        let name =
            interface.name.as_deref().map_or_else(String::new, |name| format!(" ({})", printable(name)));
        messages.say(&format!(
            "capture: note: {path} gets interfaces of two link types, {first} and {}{name}: tcpdump, and what else reads \
             with libpcap, refuses such a file; -y LINUX_SLL2 writes all alike\n",
            interface.link_type
        ));
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use capture_filter::names::NoNames;

    use super::*;
    use crate::{
        cli::Cli,
        config::{Command, Source},
    };

    fn options(arguments: &str) -> config::Live {
        let words = ["capture"].into_iter().chain(arguments.split_whitespace());
        let cli = Cli::read(words.map(OsString::from)).unwrap();
        let Ok(Command::Print(config)) = Command::new(cli, &mut NoNames) else { panic!("{arguments}") };
        let Source::Live(options) = config.source else { panic!("{arguments}") };
        options
    }

    fn chosen(arguments: &str) -> Chosen {
        Chosen::new(&options(arguments)).unwrap()
    }

    /// How the kernel's side is asked for interfaces by their names.
    fn named(chosen: &Chosen) -> Option<Vec<Named>> {
        match chosen.interfaces() {
            kernel::Interfaces::Named(names) => Some(names.to_vec()),
            _ => None,
        }
    }

    #[test]
    fn what_was_found_goes_on_by_its_index() {
        let lo = Interface::find("lo").unwrap();
        let [lo, awaited] = [false, true].map(|is_awaited| Named::found(&lo, is_awaited));
        let missing = Named::missing("no-such".to_owned());
        assert!(matches!(chosen("-i lo").interfaces(), kernel::Interfaces::One(_)));
        assert_eq!(named(&chosen("-i lo").into_several()), Some(vec![lo]));
        let several = Some(vec![awaited.clone(), missing]);
        assert_eq!(named(&chosen("-i lo -i no-such --wait")), several);
        for arguments in ["-i lo --wait", "-i lo --netns x --wait", "-i lo -i lo --wait"] {
            let chosen = chosen(arguments);
            assert_eq!(named(&chosen), Some(vec![awaited.clone()]), "{arguments}");
            assert_eq!(named(&chosen.into_several()), Some(vec![awaited.clone()]), "{arguments}");
        }
    }

    /// It may have another name by now, or be gone: it is not looked for again.
    #[test]
    fn what_was_waited_for_is_looked_up_once() {
        let found = Interface::find("lo").unwrap();
        let named = [Named::found(&found, true)];
        let targets = Targets::new(&options("-i no-such --wait"), Some(found)).unwrap();
        let places = targets.places();
        let [Place { namespace: None, interfaces: kernel::Interfaces::Named(names) }] = places.as_slice()
        else {
            panic!("{places:?}")
        };
        assert_eq!(*names, named);
    }
}

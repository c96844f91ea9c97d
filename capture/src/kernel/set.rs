//! The interfaces of a capture: which are wanted, which are attached to, and what has become of them.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use capture_common::counters::OTHERS;
use capture_packet::LinkType;

use super::{
    attach::Attached,
    attachment::{Attachment, Manner},
    capture_error::StartError,
    chain::Detached,
    helper::message::Event,
    hook::DirectionFilter,
    interface::{Disappeared, Interface, printable},
    link::{Link, drops, links},
    losses::Losses,
    objects::Objects,
    sources::{Origin, RecordSource},
    watch::{Announcement, Watch, WatchError},
};

mod absence;
mod list;
mod named;
mod refusals;

use self::{
    absence::{Gaps, Gone, Reports},
    named::asked_for,
    refusals::Refusals,
};

pub(super) use self::list::List;
pub use self::named::Named;

/// How long a capture of all interfaces attaches to them before it begins to read packets.
const START: Duration = Duration::from_secs(1);
/// How long packets wait while interfaces are attached to: each takes some milliseconds.
const TURN: Duration = Duration::from_millis(20);

/// Which interfaces a capture is of.
#[derive(Clone, Copy, Debug)]
pub enum Interfaces<'a> {
    /// This one. The capture ends with it.
    One(&'a Interface),
    /// These at the start, and later those with their names, whenever they exist and are up.
    Named(&'a [Named]),
    /// All that are up.
    Any,
}

#[derive(Debug)]
enum Wanted {
    One(Interface),
    Named(Vec<Gaps>),
    Any,
}

/// What attaching takes and tells.
pub(super) struct Means<'a> {
    pub(super) objects: &'a mut Objects,
    pub(super) list: &'a mut List,
    pub(super) sink: &'a mut dyn FnMut(Event),
}

fn tell_losses(source: RecordSource, losses: Losses, sink: &mut dyn FnMut(Event)) {
    if losses != Losses::default() {
        sink(Event::Counted { source, losses });
    }
}

/// The interfaces of a capture in one network namespace.
#[derive(Debug)]
pub(super) struct Set {
    wanted: Wanted,
    /// What was asked for by name, until the [start](Self::start).
    sought: Vec<Named>,
    manner: Manner,
    attachments: Vec<Attachment>,
    /// Those that are not attached to.
    refusals: Refusals,
    /// In front of the names of its interfaces, where output has them.
    prefix: String,
    instance: u16,
    /// Which losses of interfaces that have no number of their own the reader of packets knows of.
    told_of_others: Losses,
    /// What is still to be taken in.
    announced: VecDeque<Announcement>,
    /// Whether what is not attached to is to be looked at again: something has gone, which may make room for it.
    looks_again: bool,
    /// Those that have gone, where all are wanted.
    gone: Gone,
    reports: Reports,
}

impl Set {
    /// Nothing is attached to yet. `instance` is what the records of its programs carry, and output has `prefix` in front of the
    /// names of its interfaces.
    pub(super) fn new(interfaces: Interfaces<'_>, manner: Manner, instance: u16, prefix: String) -> Self {
        let (wanted, sought) = match interfaces {
            Interfaces::One(interface) => (Wanted::One(interface.clone()), Vec::new()),
            Interfaces::Named(names) => {
                let gaps = names.iter().map(|named| Gaps::new(&named.name)).collect();
                (Wanted::Named(gaps), names.to_vec())
            }
            Interfaces::Any => (Wanted::Any, Vec::new()),
        };
        // Where nothing sets it, the mode is the interface's own: tcpdump's `any`, too, sets it nowhere.
        let promiscuous = manner.promiscuous && !matches!(wanted, Wanted::Any);
        Self {
            wanted,
            sought,
            manner: Manner { promiscuous, ..manner },
            attachments: Vec::new(),
            refusals: Refusals::default(),
            prefix,
            instance,
            told_of_others: Losses::default(),
            announced: VecDeque::new(),
            looks_again: false,
            gone: Gone::default(),
            reports: Reports::new(),
        }
    }

    /// Attaches to the one interface, or to those that there are.
    ///
    /// # Errors
    ///
    /// When the one cannot be attached to, or one that was named, or none of all. Nothing is left attached.
    pub(super) fn start(&mut self, means: &mut Means<'_>) -> Result<(), StartError> {
        if let Wanted::One(interface) = &self.wanted {
            let interface = interface.clone();
            return self.attach(&interface, means);
        }
        // A program is loaded when it is attached first, which can be much later.
        for object in means.objects.iter_mut() {
            Attached::load(object, self.manner.hook, self.manner.direction)?;
        }
        let all = links().map_err(WatchError::from)?;
        match self.wanted {
            Wanted::Named(_) => {
                let all: Vec<_> = all.into_iter().map(Interface::from).collect();
                self.start_named(&all, means)
            }
            _ => self.start_all(all, means),
        }
    }

    /// Attaches to those that were found when they were looked for, by their indices: a name can pass to another one.
    fn start_named(&mut self, all: &[Interface], means: &mut Means<'_>) -> Result<(), StartError> {
        let sought = std::mem::take(&mut self.sought);
        for (named, interface) in asked_for(&sought, all)? {
            match self.attach(interface, means) {
                Err(error) if named.is_awaited && error.is_disappeared() => continue,
                attached => attached?,
            }
            // Where the filter can select nothing of its kind, it is not attached to.
            let is_it = |attachment: &&mut Attachment| attachment.interface.index == interface.index;
            if named.name != interface.name
                && let Some(attachment) = self.attachments.iter_mut().find(is_it)
            {
                attachment.first_name.clone_from(&named.name);
                let name = printable(&named.name);
                (means.sink)(Event::Note(format!(
                    "{name} is called {interface} now: it is captured all the same"
                )));
            }
        }
        Ok(())
    }

    fn start_all(&mut self, all: Vec<Link>, means: &mut Means<'_>) -> Result<(), StartError> {
        let mut first = None;
        let begin = Instant::now();
        for link in all {
            // The rest is attached to while packets of these are read.
            if begin.elapsed() > START {
                self.announced.push_back(Announcement::Link(link));
                continue;
            }
            let interface = Interface::from(link);
            if !interface.is_up() || !self.wants(&interface) {
                continue;
            }
            if let Err(error) = self.attach(&interface, means) {
                if error.is_of_all() {
                    return Err(error);
                }
                self.refuse(&interface, error.to_string(), means.sink);
                first.get_or_insert(error);
            }
        }
        if !self.announced.is_empty() {
            let count = self.announced.len();
            (means.sink)(Event::Note(format!(
                "there are {count} more interfaces, which are being attached to"
            )));
        }
        match first {
            Some(error) if self.attachments.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether an interface is one of those that are wanted.
    fn wants(&self, interface: &Interface) -> bool {
        match &self.wanted {
            Wanted::One(_) => false,
            Wanted::Named(names) => names.iter().any(|wanted| wanted.name == interface.name),
            // What goes out on loopback comes in again, and is captured there.
            Wanted::Any => !(interface.is_loopback() && self.manner.direction == DirectionFilter::Out),
        }
    }

    /// Attaches to one of the interfaces that there are at the start. No packet is read yet.
    fn attach(&mut self, interface: &Interface, means: &mut Means<'_>) -> Result<(), StartError> {
        let link_type = interface.link_type()?;
        // Where the filter can select nothing of this kind, nothing is loaded for it.
        let Some(object) = means.objects.of(self.instance, link_type) else { return Ok(()) };
        let attachment = Attachment::new(object, interface, self.manner, means.sink)?;
        self.introduce(interface, link_type, &attachment.description, means.list, means.sink);
        self.attachments.push(attachment);
        Ok(())
    }

    /// Attaches to an interface that has come. Who reads the packets is told before there are any.
    fn attach_later(&mut self, interface: &Interface, means: &mut Means<'_>) -> Result<(), StartError> {
        let link_type = interface.link_type()?;
        let Some(object) = means.objects.of(self.instance, link_type) else { return Ok(()) };
        let expected = Attached::expected(interface, self.manner.hook, self.manner.direction);
        self.introduce(interface, link_type, &expected, means.list, means.sink);
        let attachment = Attachment::new(object, interface, self.manner, means.sink)
            .inspect_err(|_| (means.sink)(Event::Gone { source: self.source(interface.index) }))?;
        self.attachments.push(attachment);
        Ok(())
    }

    /// From now on there can be packets of this interface.
    fn introduce(
        &self,
        interface: &Interface,
        link_type: LinkType,
        hook: &str,
        list: &mut List,
        sink: &mut dyn FnMut(Event),
    ) {
        let name = format!("{}{}", self.prefix, interface.name);
        let (id, listed) = list.place(&name, interface.hardware_type(), link_type, hook);
        listed.map(Event::Listed).into_iter().for_each(&mut *sink);
        // An index is a positive `int` (net/core/dev.c, `dev_index_reserve`).
        let number = if self.prefix.is_empty() { interface.index } else { 1 << 31 | id.0 };
        let source = self.source(interface.index);
        sink(Event::Attached { source, name: printable(&name), origin: Origin { id, number, link_type } });
    }

    /// What the records of the interface with this index carry.
    fn source(&self, ifindex: u32) -> RecordSource {
        RecordSource { instance: self.instance, ifindex }
    }

    /// Reads what was announced, and does what follows from it, for a [`TURN`] at most.
    ///
    /// # Errors
    ///
    /// When the one interface is gone, or nothing can be learned of it any more.
    pub(super) fn follow(&mut self, watch: &Watch, means: &mut Means<'_>) -> Result<(), WatchError> {
        let begin = Instant::now();
        if self.announced.is_empty() {
            self.announced.extend(watch.read().map_err(|source| self.refused(source))?);
        }
        while let Some(announcement) = self.announced.pop_front() {
            match announcement {
                Announcement::Gone(index) => self.remove(index, means)?,
                Announcement::Link(link) => self.take(link, means),
                Announcement::Missed => self.look_at_all(means)?,
            }
            if begin.elapsed() > TURN {
                break;
            }
        }
        if self.announced.is_empty() && std::mem::take(&mut self.looks_again) {
            let all = links()?.into_iter();
            let is_wanting = |link: &Link| match &self.wanted {
                Wanted::Named(names) => names.iter().any(|wanted| wanted.name == link.name),
                _ => self.refusals.has(link.index),
            };
            self.announced.extend(all.filter(is_wanting).map(Announcement::Link));
        }
        Ok(())
    }

    /// Takes in which interfaces have gone, without attaching to others: the capture ends.
    pub(super) fn count_gone(&mut self, watch: &Watch, means: &mut Means<'_>) {
        if matches!(self.wanted, Wanted::One(_)) {
            return;
        }
        self.announced.extend(watch.read().unwrap_or_default());
        for announcement in std::mem::take(&mut self.announced) {
            if let Announcement::Gone(index) = announcement {
                // Where there are several, none is missed.
                let _ends_nothing = self.remove(index, means);
            }
        }
    }

    /// Whether more is to be [done](Self::follow) at once.
    pub(super) fn is_behind(&self) -> bool {
        !self.announced.is_empty()
    }

    pub(super) fn refused(&self, source: io::Error) -> WatchError {
        let interface = match &self.wanted {
            Wanted::One(interface) => interface.name.clone(),
            Wanted::Named(names) => {
                names.iter().map(|wanted| wanted.name.as_str()).collect::<Vec<_>>().join(", ")
            }
            Wanted::Any => "any".to_owned(),
        };
        WatchError::Refused { interface, source }
    }

    /// Compares what is attached to with what there is.
    fn look_at_all(&mut self, means: &mut Means<'_>) -> Result<(), WatchError> {
        let all = links()?;
        let is_there = |attachment: &mut Attachment| {
            // One of the same number is another one, if ours are not attached to it.
            all.iter().any(|link| link.index == attachment.interface.index) && attachment.look().is_ok()
        };
        let missing: Vec<u32> = self
            .attachments
            .iter_mut()
            .filter_map(|attachment| (!is_there(attachment)).then_some(attachment.interface.index))
            .collect();
        for index in missing {
            self.remove(index, means)?;
        }
        self.announced.extend(all.into_iter().map(Announcement::Link));
        Ok(())
    }

    /// Takes in that a link is gone.
    fn remove(&mut self, index: u32, means: &mut Means<'_>) -> Result<(), WatchError> {
        self.refusals.forget(index);
        let is_it = |attachment: &Attachment| attachment.interface.index == index;
        let Some(place) = self.attachments.iter().position(is_it) else { return Ok(()) };
        if let Wanted::One(interface) = &self.wanted {
            return Err(Disappeared { name: interface.name.clone() }.into());
        }
        let mut attachment = self.attachments.swap_remove(place);
        let source = self.source(index);
        let link_type = attachment.interface.link_type();
        if let Some(object) = link_type.ok().and_then(|link_type| means.objects.of(self.instance, link_type))
        {
            tell_losses(source, attachment.new_losses(object, None), means.sink);
            object.losses().end(index);
        }
        (means.sink)(Event::Gone { source });
        let Attachment { interface, first_name, .. } = attachment;
        self.looks_again |= self.refusals.allow() || interface.name != first_name;
        let is_named = if let Wanted::Named(names) = &mut self.wanted {
            names.iter_mut().filter(|wanted| wanted.name == first_name).for_each(Gaps::begin);
            true
        } else {
            self.gone.add(&interface.name);
            false
        };
        if self.reports.may_say() {
            let name = printable(&first_name);
            (means.sink)(Event::Note(match is_named {
                true if interface.name == first_name => {
                    format!("{interface} disappeared: it is captured again when it is back")
                }
                true => format!(
                    "{interface}, which was {name}, disappeared: {name} is captured when there is one again"
                ),
                false => format!("{interface} disappeared"),
            }));
        }
        Ok(())
    }

    /// Takes in a link as it is now: attaches to it, if it is wanted and up, or takes its new name.
    fn take(&mut self, link: Link, means: &mut Means<'_>) {
        if matches!(self.wanted, Wanted::One(_)) {
            return;
        }
        let interface = Interface::from(link);
        let index = interface.index;
        if let Some(place) =
            self.attachments.iter().position(|attachment| attachment.interface.index == index)
        {
            self.rename(place, interface, means);
            return;
        }
        if !interface.is_up() {
            self.refusals.allow_one(index);
            return;
        }
        if !self.wants(&interface) || self.refusals.hold(&interface) {
            return;
        }
        if let Some(first) = self.with_the_name_of(&interface) {
            let why = format!(
                "there is another {interface} now: capture goes on with {}, which was {interface} before",
                first.interface
            );
            if self.refusals.add(&interface, &why) {
                (means.sink)(Event::Note(why));
            }
            return;
        }
        if let Err(error) = self.attach_later(&interface, means) {
            // One that is gone again is not worth a word.
            if !error.is_disappeared() {
                self.refuse(&interface, error.to_string(), means.sink);
            }
            return;
        }
        self.refusals.forget(index);
        let away = match &mut self.wanted {
            Wanted::Named(names) => {
                names.iter_mut().find(|wanted| wanted.name == interface.name).and_then(Gaps::end)
            }
            _ => self.gone.take(&interface.name),
        };
        if let Some(away) = away
            && self.reports.may_say()
        {
            let seconds = away.as_secs_f64();
            (means.sink)(Event::Note(format!(
                "{interface} is back: captured again after {seconds:.1} s without it"
            )));
        }
    }

    /// Gives an interface that is attached to its new name, if it has one.
    fn rename(&mut self, place: usize, interface: Interface, means: &mut Means<'_>) {
        let Some(attachment) = self.attachments.get_mut(place) else { return };
        if attachment.interface.name == interface.name {
            return;
        }
        let hook = attachment.description.clone();
        if let Ok(link_type) = interface.link_type() {
            if let Some(object) = means.objects.of(self.instance, link_type) {
                let losses = attachment.new_losses(object, None);
                tell_losses(self.source(interface.index), losses, means.sink);
            }
            self.introduce(&interface, link_type, &hook, means.list, means.sink);
        }
        if let Some(attachment) = self.attachments.get_mut(place) {
            attachment.rename(interface);
        }
    }

    /// The interface that is captured because it was called as this one is now: each name stands for one at a time.
    fn with_the_name_of(&self, interface: &Interface) -> Option<&Attachment> {
        let is_named = matches!(self.wanted, Wanted::Named(_));
        self.attachments.iter().filter(|_| is_named).find(|first| first.first_name == interface.name)
    }

    fn refuse(&mut self, interface: &Interface, why: String, sink: &mut dyn FnMut(Event)) {
        if self.refusals.add(interface, &why) {
            sink(Event::Warning(why));
        }
    }

    /// Looks at the programs of others.
    ///
    /// # Errors
    ///
    /// [`Detached`] when one of the one interface is not there any more. Where there are several, that is a warning.
    pub(super) fn look(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Detached> {
        for attachment in &mut self.attachments {
            match attachment.look() {
                Ok(noticed) => noticed.into_iter().map(Event::from).for_each(&mut *sink),
                Err(error) if matches!(self.wanted, Wanted::One(_)) => return Err(error),
                Err(Detached { interface, side }) => {
                    attachment.detach();
                    sink(Event::Warning(format!(
                        "capture was detached from {side} of {} by another process: no packet of this interface is \
                         captured from here on; start capture again",
                        printable(&interface)
                    )));
                }
            }
        }
        Ok(())
    }

    /// Leaves what is attached to another process that has the same descriptors.
    pub(super) fn disown(&mut self) {
        self.attachments.drain(..).for_each(Attachment::disown);
    }

    /// Whether there are interfaces that it is attached to.
    pub(super) fn is_attached(&self) -> bool {
        !self.attachments.is_empty()
    }

    /// Detaches from all.
    pub(super) fn detach(&mut self) {
        self.announced.clear();
        self.attachments.iter_mut().for_each(Attachment::detach);
    }

    /// Tells what was lost of each interface since the last call, and of those that have no number of their own.
    pub(super) fn count_losses(&mut self, means: &mut Means<'_>) {
        let all = match self.attachments.as_slice() {
            [attachment] => vec![(attachment.interface.index, attachment.interface.dropped())],
            _ => drops().unwrap_or_default(),
        };
        for place in 0..self.attachments.len() {
            let Some(attachment) = self.attachments.get_mut(place) else { return };
            let index = attachment.interface.index;
            let link_type = attachment.interface.link_type();
            let object = link_type.ok().and_then(|link_type| means.objects.of(self.instance, link_type));
            let Some(object) = object else { continue };
            let dropped = all.iter().find(|(of, _)| *of == index).map(|(_, dropped)| *dropped);
            let losses = attachment.new_losses(object, dropped);
            tell_losses(self.source(index), losses, means.sink);
        }
        let dropped = means.objects.losses_of_others(self.instance);
        let losses = Losses { dropped, dropped_by_interface: 0 }.since(&mut self.told_of_others);
        tell_losses(self.source(OTHERS), losses, means.sink);
    }

    /// Where it is attached, in words: of loopback only where there is nothing else.
    pub(super) fn description(&self) -> Option<&str> {
        let is_loopback = |attachment: &&Attachment| attachment.interface.is_loopback();
        let first = self.attachments.iter().min_by_key(is_loopback)?;
        Some(&first.description)
    }

    /// The interfaces that are attached to.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.attachments.iter().map(|attachment| &attachment.interface)
    }

    /// What there is to say at the end, whole lines.
    pub(super) fn remarks(&self) -> String {
        match &self.wanted {
            Wanted::One(_) => String::new(),
            Wanted::Named(names) => names.iter().map(Gaps::remark).collect(),
            Wanted::Any => self.gone.remark(),
        }
    }
}

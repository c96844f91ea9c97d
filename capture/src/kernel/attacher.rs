//! What attaches: the programs, the interfaces and what is announced of them. A capture starts with it in its own process;
//! then it belongs to the [helper](super::helper).

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use aya::maps::MapData;
use nix::poll::PollTimeout;

use super::{
    attach::has_tcx,
    attachment::Manner,
    capture_error::StartError,
    helper::message::Event,
    interface::{Disappeared, Interface},
    life::Life,
    link::link_at,
    namespace::{NamespaceError, NetworkNamespace},
    objects::Objects,
    set::{Interfaces, List, Means, Set},
    watch::{Watch, WatchError},
};

/// How often the programs of others are looked at: the only timer on a silent wire.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// poll(2) counts in these, and must not return before the time has come.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Where to attach: a network namespace, and which of its interfaces.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The namespace; `None` for the one that capture was started in.
    pub namespace: Option<Arc<NetworkNamespace>>,
    /// The interfaces.
    pub interfaces: Interfaces<'a>,
}

/// The interfaces of one network namespace.
#[derive(Debug)]
struct Scope {
    namespace: Option<Arc<NetworkNamespace>>,
    set: Set,
    watch: Watch,
    /// By which others see that the capture lives, where a filter can outlive it.
    life: Option<Life>,
}

/// The interfaces of a capture that are watched, before the programs are loaded: no change goes unnoticed.
#[derive(Debug)]
pub(super) struct Prepared {
    scopes: Vec<Scope>,
    /// The namespace that the process is in between two calls, if others are entered.
    home: Option<NetworkNamespace>,
}

/// The interfaces of a capture, attached to.
#[derive(Debug)]
pub(super) struct Attacher {
    objects: Objects,
    list: List,
    scopes: Vec<Scope>,
    next_look: Instant,
    /// Whether it was said that the capture is lost. There is nothing left to do then but to detach.
    is_lost: bool,
}

impl Scope {
    fn prepare(
        Place { namespace, interfaces }: Place<'_>,
        manner: Manner,
        instance: u16,
    ) -> Result<Self, StartError> {
        let prefix =
            namespace.as_ref().map_or_else(String::new, |namespace| format!("{}/", namespace.name()));
        enter(namespace.as_deref())?;
        let set = Set::new(interfaces, manner, instance, prefix);
        // Before anything is looked at or attached to.
        let watch = Watch::new().map_err(|source| set.refused(source))?;
        if let Interfaces::One(interface) = interfaces {
            match link_at(interface.index).map_err(WatchError::from)? {
                Some(link) if link.flags & libc::IFF_UP as u32 != 0 => {}
                Some(_) => return Err(WatchError::Down { name: interface.name.clone() }.into()),
                None => return Err(WatchError::from(Disappeared { name: interface.name.clone() }).into()),
            }
        }
        // Loopback is there in every namespace, with this index.
        let life = if manner.hook.is_xdp() || has_tcx(1) { None } else { Life::new().ok() };
        Ok(Self { namespace, set, watch, life })
    }

    /// Calls `job` in the namespace, with a sink for what there is to say in it.
    fn within<R, E: From<NamespaceError>>(
        &mut self,
        sink: &mut dyn FnMut(Event),
        job: impl FnOnce(&mut Set, &Watch, &mut dyn FnMut(Event)) -> Result<R, E>,
    ) -> Result<R, E> {
        let Self { namespace, set, watch, .. } = self;
        enter(namespace.as_deref())?;
        match namespace {
            None => job(set, watch, sink),
            Some(namespace) => job(set, watch, &mut |event| sink(said_in(namespace.name(), event))),
        }
    }
}

fn enter(namespace: Option<&NetworkNamespace>) -> Result<(), NamespaceError> {
    namespace.map_or(Ok(()), NetworkNamespace::enter)
}

/// An event of another namespace: what is said in it names the namespace.
fn said_in(namespace: &str, event: Event) -> Event {
    let said = |text| format!("in network namespace {namespace}: {text}");
    match event {
        Event::Note(text) => Event::Note(said(text)),
        Event::Warning(text) => Event::Warning(said(text)),
        Event::Lost(text) => Event::Lost(said(text)),
        other => other,
    }
}

impl Prepared {
    /// Begins to watch the interfaces.
    ///
    /// # Errors
    ///
    /// When the one interface is down or gone, the kernel does not announce changes, or a namespace cannot be entered.
    pub(super) fn new(places: &[Place<'_>], manner: Manner) -> Result<Self, StartError> {
        let is_elsewhere = places.iter().any(|place| place.namespace.is_some());
        let home = is_elsewhere.then(NetworkNamespace::own).transpose()?;
        let prepare = |(instance, place): (u16, &Place<'_>)| {
            let namespace = place.namespace.as_deref();
            Scope::prepare(place.clone(), manner, instance).map_err(|error| error.within(namespace))
        };
        let scopes = (0..).zip(places).map(prepare).collect::<Result<_, _>>();
        enter(home.as_ref())?;
        Ok(Self { scopes: scopes?, home })
    }

    /// Attaches. `sink` gets what there is to be known.
    ///
    /// # Errors
    ///
    /// When the one interface cannot be attached to, or one that was named, or none of all. Nothing is left attached.
    pub(super) fn attach(
        self,
        mut objects: Objects,
        sink: &mut dyn FnMut(Event),
    ) -> Result<Attacher, StartError> {
        let Self { mut scopes, home } = self;
        let mut list = List::default();
        for (instance, scope) in (0..).zip(&mut scopes) {
            if let Some(life) = &scope.life {
                objects.mark(instance, &life.suffix());
            }
            let (objects, list) = (&mut objects, &mut list);
            let started = scope.within(sink, |set, _, sink| set.start(&mut Means { objects, list, sink }));
            enter(home.as_ref())?;
            started.map_err(|error| error.within(scope.namespace.as_deref()))?;
        }
        let next_look = Instant::now() + LOOK_INTERVAL;
        Ok(Attacher { objects, list, scopes, next_look, is_lost: false })
    }
}

impl Attacher {
    /// Where it is attached, in words; `None` while there is nothing to attach to.
    pub(super) fn description(&self) -> Option<&str> {
        self.scopes.iter().find_map(|scope| scope.set.description())
    }

    /// The interfaces that it is attached to, of the namespace that capture was started in.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        let here = self.scopes.iter().filter(|scope| scope.namespace.is_none());
        here.flat_map(|scope| scope.set.interfaces())
    }

    /// Leaves what is attached to another process that has the same descriptors.
    pub(super) fn disown(mut self) {
        self.scopes.iter_mut().for_each(|scope| scope.set.disown());
    }

    /// What to wait for, besides requests.
    pub(super) fn announcements(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.scopes.iter().map(|scope| scope.watch.as_fd())
    }

    /// How long to wait for it at most.
    pub(super) fn patience(&self) -> PollTimeout {
        if self.scopes.iter().any(|scope| scope.set.is_behind()) && !self.is_lost {
            return PollTimeout::ZERO;
        }
        let wait = self.next_look.saturating_duration_since(Instant::now());
        PollTimeout::try_from(wait + MILLISECOND).unwrap_or(PollTimeout::MAX)
    }

    /// Does what is due: looks at the programs of others, and follows the interfaces that come and go, for a moment.
    pub(super) fn work(&mut self, sink: &mut dyn FnMut(Event)) {
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + LOOK_INTERVAL;
            if !self.is_lost
                && let Err(error) = self.look(sink)
            {
                self.lose(error.to_string(), sink);
            }
        }
        // What is announced is read all the same, or poll(2) would not wait.
        let Self { objects, list, scopes, .. } = self;
        let follow = |scope: &mut Scope| -> Result<(), StartError> {
            let (objects, list) = (&mut *objects, &mut *list);
            scope.within(&mut *sink, |set, watch, sink| {
                Ok(set.follow(watch, &mut Means { objects, list, sink })?)
            })
        };
        let followed = scopes.iter_mut().map(follow).find_map(Result::err);
        if let Some(error) = followed
            && !self.is_lost
        {
            self.lose(error.to_string(), sink);
        }
    }

    fn look(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), StartError> {
        let look = |scope: &mut Scope| scope.within(&mut *sink, |set, _, sink| Ok(set.look(sink)?));
        self.scopes.iter_mut().map(look).find_map(Result::err).map_or(Ok(()), Err)
    }

    fn lose(&mut self, why: String, sink: &mut dyn FnMut(Event)) {
        self.is_lost = true;
        sink(Event::Lost(why));
    }

    /// Tells what was lost of each interface since the last call.
    pub(super) fn count_losses(&mut self, sink: &mut dyn FnMut(Event)) {
        let Self { objects, list, scopes, .. } = self;
        for scope in scopes {
            let (objects, list) = (&mut *objects, &mut *list);
            let _best_effort = scope.within(&mut *sink, |set, _, sink| {
                set.count_losses(&mut Means { objects, list, sink });
                Ok::<_, NamespaceError>(())
            });
        }
    }

    /// Looks at the chains for the last time, switches the programs off, waits with one of the rings until the last one has
    /// ended, and returns the last event. They stay attached until this is dropped: each takes the kernel some milliseconds.
    pub(super) fn end(&mut self, ring: Option<&MapData>, sink: &mut dyn FnMut(Event)) -> Event {
        let Self { objects, list, scopes, .. } = self;
        for scope in scopes {
            let (objects, list) = (&mut *objects, &mut *list);
            let _best_effort = scope.within(&mut *sink, |set, watch, sink| {
                set.count_gone(watch, &mut Means { objects, list, sink });
                Ok::<_, NamespaceError>(())
            });
        }
        let looked = if self.is_lost { Ok(()) } else { self.look(sink) };
        let mut remarks = String::new();
        for scope in &mut self.scopes {
            let name = scope.namespace.as_ref().map(|namespace| namespace.name().to_owned());
            let of_set = scope.set.remarks();
            remarks.extend(of_set.split_inclusive('\n').map(|line| match &name {
                Some(name) => format!("in network namespace {name}: {line}"),
                None => line.to_owned(),
            }));
        }
        let ended = self.objects.switch_off(ring);
        self.count_losses(sink);
        let looked = looked.map_err(|error| error.to_string());
        let failure = looked.and(ended.map_err(|error| error.to_string())).err();
        Event::Detached { remarks, failure }
    }
}

/// clsact filters are removed from within their namespace.
impl Drop for Scope {
    fn drop(&mut self) {
        if self.set.is_attached() {
            let _best_effort = enter(self.namespace.as_deref());
            self.set.detach();
        }
    }
}

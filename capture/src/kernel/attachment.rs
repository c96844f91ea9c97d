//! One interface with the programs attached to it.

use super::{
    attach::Attached,
    capture_error::StartError,
    chain::{Chains, Detached, Notice},
    helper::message::Event,
    hook::{DirectionFilter, Hook},
    interface::Interface,
    losses::Losses,
    object::Object,
    promiscuity::{NotPromiscuous, Promiscuity},
};

/// How interfaces are attached to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// The hook.
    pub(super) hook: Hook,
    /// Which packets.
    pub(super) direction: DirectionFilter,
    /// Whether to put the interfaces into promiscuous mode.
    pub(super) promiscuous: bool,
}

/// An interface that is, or was, attached to.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) interface: Interface,
    /// What it was called when it was attached to, or asked for. It may have got another name.
    pub(super) first_name: String,
    /// `None` once it is detached.
    attached: Option<Attached>,
    promiscuity: Option<Promiscuity>,
    chains: Chains,
    /// Where it is attached, in words.
    pub(super) description: String,
    /// Which of its losses the reader of packets knows of: what the interface had dropped before it was attached to is none.
    told: Losses,
}

impl Attachment {
    /// Attaches. `sink` gets what there is to say about it.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left attached.
    pub(super) fn new(
        object: &mut Object,
        interface: &Interface,
        manner: Manner,
        sink: &mut dyn FnMut(Event),
    ) -> Result<Self, StartError> {
        let index = interface.index;
        object.losses().begin(index);
        let attached = Self::attach(object, interface, manner, sink);
        if attached.is_err() {
            object.losses().end(index);
        }
        attached
    }

    fn attach(
        object: &mut Object,
        interface: &Interface,
        manner: Manner,
        sink: &mut dyn FnMut(Event),
    ) -> Result<Self, StartError> {
        let Manner { hook, direction, promiscuous } = manner;
        // On loopback there is nothing that is addressed to others.
        let promiscuity = if promiscuous && !interface.is_loopback() {
            let wanted = Promiscuity::new(interface.index)
                .map_err(|source| NotPromiscuous { interface: interface.name.clone(), source });
            wanted.map_err(|error| sink(Event::Warning(error.to_string()))).ok()
        } else {
            None
        };
        let told = Losses { dropped: 0, dropped_by_interface: interface.dropped() };
        let attached = Attached::new(object, interface, hook, direction)?;
        let mut chains = Chains::new(interface, attached.own());
        let notices = attached.notices(interface).into_iter().chain(chains.look()?);
        notices.map(Event::from).for_each(&mut *sink);
        Ok(Self {
            interface: interface.clone(),
            first_name: interface.name.clone(),
            description: attached.to_string(),
            attached: Some(attached),
            promiscuity,
            chains,
            told,
        })
    }

    /// Looks at the programs of others.
    ///
    /// # Errors
    ///
    /// [`Detached`] when one of ours is not there any more.
    pub(super) fn look(&mut self) -> Result<Vec<Notice>, Detached> {
        if self.attached.is_some() { self.chains.look() } else { Ok(Vec::new()) }
    }

    /// Takes the interface's new name.
    pub(super) fn rename(&mut self, interface: Interface) {
        self.chains.rename(&interface);
        self.interface = interface;
    }

    /// Leaves what is attached to another process that has the same descriptors.
    pub(super) fn disown(self) {
        if let Some(attached) = self.attached {
            attached.disown();
        }
    }

    /// Detaches.
    pub(super) fn detach(&mut self) {
        self.attached = None;
        self.promiscuity = None;
    }

    /// What was lost since the last call. `dropped_by_interface` is what the interface says of itself now, if it is there.
    pub(super) fn new_losses(&mut self, object: &mut Object, dropped_by_interface: Option<u64>) -> Losses {
        let losses = Losses {
            dropped: object.losses().get(self.interface.index),
            dropped_by_interface: dropped_by_interface.unwrap_or(self.told.dropped_by_interface),
        };
        losses.since(&mut self.told)
    }
}

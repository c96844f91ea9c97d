//! One interface with the programs attached to it.

use super::{
    attach::Attached,
    capture_error::StartError,
    chain::{Chains, Detached, Notice},
    helper::message::Event,
    hook::{DirectionFilter, Hook},
    interface::Interface,
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
    /// `None` once it is detached.
    attached: Option<Attached>,
    promiscuity: Option<Promiscuity>,
    chains: Chains,
    /// Where it is attached, in words.
    pub(super) description: String,
    /// What the interface had dropped before.
    pub(super) dropped_before: u64,
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
        let Manner { hook, direction, promiscuous } = manner;
        // On loopback there is nothing that is addressed to others.
        let promiscuity = if promiscuous && !interface.is_loopback() {
            let wanted = Promiscuity::new(interface.index)
                .map_err(|source| NotPromiscuous { interface: interface.name.clone(), source });
            wanted.map_err(|error| sink(Event::Warning(error.to_string()))).ok()
        } else {
            None
        };
        let attached = Attached::new(object, interface, hook, direction)?;
        let mut chains = Chains::new(interface, attached.own());
        let notices = attached.notices(interface).into_iter().chain(chains.look()?);
        notices.map(Event::from).for_each(&mut *sink);
        Ok(Self {
            interface: interface.clone(),
            description: attached.to_string(),
            attached: Some(attached),
            promiscuity,
            chains,
            dropped_before: interface.dropped(),
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

    /// Packets that the interface had no room for since it was attached to: no program has seen them.
    pub(super) fn dropped(&self) -> u64 {
        self.interface.dropped().saturating_sub(self.dropped_before)
    }
}

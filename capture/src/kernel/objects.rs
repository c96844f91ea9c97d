//! The loaded objects: one for each kind of frames, all with the same rings. Each of their programs is loaded once and
//! attached to any number of interfaces.

use aya::maps::MapData;
use capture_packet::LinkType;

use super::{
    counters::CounterPages,
    log::{LogError, LogLevel, Logger},
    object::{CountersError, FilterCode, LoadError, OBJECT, Object, ObjectOptions, SettleError},
};
use crate::messages::Messages;

/// What is loaded for interfaces with frames of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    /// What the frames begin with.
    pub link_type: LinkType,
    /// What selects packets; `None` for every TCP packet.
    pub filter: Option<&'a FilterCode>,
}

/// The objects of one capture: of each instance, one for each kind of frames.
#[derive(Debug)]
pub(super) struct Objects {
    objects: Vec<(u16, LinkType, Object)>,
}

impl Objects {
    /// Loads one for each of these kinds and each of so many instances, the first with rings of its own. `options` has what
    /// they have in common.
    ///
    /// # Errors
    ///
    /// As [`Object::load`].
    pub(super) fn load(
        kinds: &[Kind<'_>],
        instances: u16,
        options: &ObjectOptions<'_>,
    ) -> Result<Self, LoadError> {
        let mut objects: Vec<(u16, LinkType, Object)> = Vec::new();
        for (instance, &Kind { link_type, filter }) in
            (0..instances).flat_map(|instance| kinds.iter().map(move |kind| (instance, kind)))
        {
            let link_header = link_type == LinkType::Ethernet;
            let options = ObjectOptions { filter, link_header, instance, ..*options };
            let object = match objects.first() {
                Some((_, _, first)) => first.load_again(OBJECT, &options)?,
                None => Object::load(OBJECT, &options)?,
            };
            objects.push((instance, link_type, object));
        }
        Ok(Self { objects })
    }

    /// The rings, which can be taken once.
    pub(super) fn take_rings(&mut self) -> Vec<MapData> {
        self.objects.first_mut().map(|(_, _, object)| std::mem::take(&mut object.rings)).unwrap_or_default()
    }

    /// That of an instance for frames that begin so, if it was loaded.
    pub(super) fn of(&mut self, instance: u16, link_type: LinkType) -> Option<&mut Object> {
        let wanted = (instance, link_type);
        let found = self.objects.iter_mut().find(|(instance, kind, _)| (*instance, *kind) == wanted);
        found.map(|(_, _, object)| object)
    }

    /// Has the names of an instance's clsact filters end with a mark.
    pub(super) fn mark(&mut self, instance: u16, mark: &str) {
        for (_, _, object) in self.objects.iter_mut().filter(|(of, _, _)| *of == instance) {
            mark.clone_into(&mut object.mark);
        }
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Object> {
        self.objects.iter_mut().map(|(_, _, object)| object)
    }

    /// How many packets an instance has lost of interfaces that have no number of their own.
    pub(super) fn losses_of_others(&mut self, instance: u16) -> u64 {
        let objects = self.objects.iter_mut().filter(|(of, _, _)| *of == instance);
        objects.map(|(_, _, object)| object.losses().of_others()).sum()
    }

    /// Takes what the programs log into.
    ///
    /// # Errors
    ///
    /// [`LogError`] when there is no way to read it.
    pub(super) fn logs(&mut self, level: LogLevel, messages: &Messages) -> Result<Vec<Logger>, LogError> {
        let take = |object: &mut Object| Logger::new(&mut object.ebpf, level, messages).transpose();
        self.iter_mut().filter_map(take).collect()
    }

    /// The counters of each, mapped.
    ///
    /// # Errors
    ///
    /// When the kernel does not map them.
    pub(super) fn counter_pages(&self) -> Result<Vec<CounterPages>, CountersError> {
        self.objects.iter().map(|(_, _, object)| object.counter_pages()).collect()
    }

    /// Switches all programs off, and waits with any of the rings until none runs any more: from here on nothing changes in the
    /// rings and the counters.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(super) fn switch_off(&mut self, ring: Option<&MapData>) -> Result<(), SettleError> {
        self.iter_mut().try_for_each(Object::switch_off)?;
        ring.map_or(Ok(()), |ring| self.wait_for_programs(ring))
    }

    /// Waits until no program runs any more that began to run before.
    fn wait_for_programs(&self, ring: &MapData) -> Result<(), SettleError> {
        // The wait is for all programs of the machine (kernel/bpf/syscall.c, `maybe_wait_bpf_programs`).
        self.objects.first().map_or(Ok(()), |(_, _, object)| object.wait_for_programs(ring))
    }
}

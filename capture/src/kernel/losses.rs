//! What is lost of each interface: the programs count it in a map of their object, by the interface's index.

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use capture_common::counters::OTHERS;

/// Interfaces that have a number of their own; what is lost of more counts for the first. As many as outputs tell apart.
pub(super) const INTERFACES: u32 = 1024;

/// Packets of one interface that were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Those that were selected, and that the rings had no room for or whose bytes the kernel did not give out.
    pub dropped: u64,
    /// Those that the interface had no room for, of all kinds: no program has seen them.
    pub dropped_by_interface: u64,
}

impl Losses {
    /// Adds further ones.
    pub(super) fn add(&mut self, more: Self) {
        self.dropped += more.dropped;
        self.dropped_by_interface += more.dropped_by_interface;
    }

    /// What has come since the last time, `told`, which becomes what there is now.
    pub(super) fn since(self, told: &mut Self) -> Self {
        let Self { dropped, dropped_by_interface } = std::mem::replace(told, self);
        Self {
            dropped: self.dropped.saturating_sub(dropped),
            dropped_by_interface: self.dropped_by_interface.saturating_sub(dropped_by_interface),
        }
    }
}

/// The map of one object.
pub(super) struct LossMap<'a>(Option<HashMap<&'a mut MapData, u32, u64>>);

impl<'a> LossMap<'a> {
    /// That of an object.
    pub(super) fn of(ebpf: &'a mut Ebpf) -> Self {
        Self(ebpf.map_mut("LOSSES").and_then(|map| HashMap::try_from(map).ok()))
    }

    /// From now on what is lost of the interface with this index, or of [`OTHERS`], is counted for it. Where there is no room,
    /// it counts for the others.
    pub(super) fn begin(&mut self, ifindex: u32) {
        if let Some(map) = &mut self.0 {
            let _counts_for_others = map.insert(ifindex, 0, 0);
        }
    }

    /// How many packets were lost since then.
    pub(super) fn get(&self, ifindex: u32) -> u64 {
        self.0.as_ref().and_then(|map| map.get(&ifindex, 0).ok()).unwrap_or(0)
    }

    /// How many packets of interfaces without a number of their own were lost.
    pub(super) fn of_others(&self) -> u64 {
        self.get(OTHERS)
    }

    /// The interface is gone.
    pub(super) fn end(&mut self, ifindex: u32) {
        if let Some(map) = &mut self.0 {
            let _had_none = map.remove(&ifindex);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_told_once() {
        let losses = |dropped, dropped_by_interface| Losses { dropped, dropped_by_interface };
        let mut told = losses(0, 7);
        assert_eq!(losses(3, 9).since(&mut told), losses(3, 2));
        assert_eq!(losses(3, 9).since(&mut told), losses(0, 0));
        // An interface's own numbers begin again, as when its driver does.
        assert_eq!(losses(4, 1).since(&mut told), losses(1, 0));
        assert_eq!(losses(4, 3).since(&mut told), losses(0, 2));
        let mut sum = losses(1, 2);
        sum.add(losses(10, 20));
        assert_eq!(sum, losses(11, 22));
    }
}

//! Where in a list entries are, by their hashes.
//!
//! A search that finds nothing touches one cache line as a rule, and one that finds something touches that of the entry
//! besides. Where a slot is taken, the next one is far away, at a distance that depends on the hash, too (double
//! hashing). So two runs of neighbours that meet do not make a longer run.

use alloc::{vec, vec::Vec};

/// A slot that has had nothing yet: a search ends here.
const EMPTY: u32 = 0;
/// A slot whose entry has gone: a search goes on.
const REMOVED: u32 = 1;
/// The other slots have this bit, bits of the hash, and a place in the list.
const TAKEN: u32 = 1 << 31;

/// An open hash table of places.
#[derive(Debug)]
pub(crate) struct Index {
    /// A power of two, or none.
    slots: Vec<u32>,
    /// How many slots may be filled that are empty.
    room: usize,
    /// Which bits of a slot are a place.
    places: u32,
}

impl Index {
    /// How many places there can be, so that a slot has a bit of the hash besides.
    pub(crate) const MOST: usize = 1 << 30;

    /// An index without room, for places below `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        let places = u32::MAX.checked_shr((limit as u32 - 1).leading_zeros()).unwrap_or_default();
        Self { slots: Vec::new(), room: 0, places }
    }

    /// Whether one more can be [inserted](Self::insert).
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.room > 0
    }

    /// How many can be inserted into one that is [made](Self::clear) for as many.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len() / 4 * 3
    }

    /// How many bytes are allocated.
    pub(crate) fn allocated(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }

    /// Makes it empty, with room for at least `capacity` entries.
    pub(crate) fn clear(&mut self, capacity: usize) {
        if self.capacity() < capacity {
            // Freed before: both together would be more memory than there is ever need for.
            self.slots = Vec::new();
            self.slots = vec![EMPTY; capacity.div_ceil(3).saturating_mul(4).next_power_of_two()];
        } else {
            self.slots.fill(EMPTY);
        }
        self.room = self.capacity();
    }

    /// The place that `is_it`, among those of this `hash`.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let wanted = self.slot(hash, 0);
        let mut probe = Probe::new(hash);
        loop {
            let slot = *self.slots.get(self.at(&probe))?;
            if slot == EMPTY {
                return None;
            }
            let place = (slot & self.places) as usize;
            if (slot ^ wanted) & !self.places == 0 && is_it(place) {
                return Some(place);
            }
            probe.go_on();
        }
    }

    /// Adds a place that is not there. There has to be [room](Self::has_room).
    #[inline(always)]
    pub(crate) fn insert(&mut self, hash: u64, place: usize) {
        let entry = self.slot(hash, place);
        let mut probe = Probe::new(hash);
        loop {
            let at = self.at(&probe);
            let Some(slot) = self.slots.get_mut(at) else { return };
            if *slot & TAKEN == 0 {
                self.room -= usize::from(*slot == EMPTY);
                *slot = entry;
                return;
            }
            probe.go_on();
        }
    }

    /// Takes a place out, if it is there.
    pub(crate) fn remove(&mut self, hash: u64, place: usize) {
        let entry = self.slot(hash, place);
        let mut probe = Probe::new(hash);
        loop {
            let at = self.at(&probe);
            match self.slots.get_mut(at) {
                Some(slot) if *slot == entry => {
                    *slot = REMOVED;
                    return;
                }
                None | Some(&mut EMPTY) => return,
                Some(_) => probe.go_on(),
            }
        }
    }

    /// What stands for a place. An entry of the list is looked at only where the bits of the hash are the same: to look
    /// at another is to wait for memory.
    #[inline(always)]
    fn slot(&self, hash: u64, place: usize) -> u32 {
        // The bits above those that say where a search begins and how it goes on, for up to 2^20 places.
        const UNUSED: u32 = 25;
        (hash >> UNUSED) as u32 & !self.places | place as u32 | TAKEN
    }

    #[inline(always)]
    fn at(&self, probe: &Probe) -> usize {
        probe.at & self.slots.len().wrapping_sub(1)
    }
}

/// The slots of a hash, one after the other, of which the lower bits count. An odd step comes to all of them.
struct Probe {
    at: usize,
    step: usize,
}

impl Probe {
    #[inline(always)]
    fn new(hash: u64) -> Self {
        // Neighbours take the same steps, so that they are neighbours there, too.
        const UNUSED: u32 = 25;
        Self { at: hash as usize, step: (hash >> UNUSED) as usize | 1 }
    }

    #[inline(always)]
    fn go_on(&mut self) {
        self.at = self.at.wrapping_add(self.step);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_place_fits_next_to_bits_of_the_hash() {
        for (limit, places) in
            [(1, 0), (2, 1), (64, 63), (65, 127), (1 << 20, (1 << 20) - 1), (Index::MOST, (1 << 30) - 1)]
        {
            let index = Index::new(limit);
            assert_eq!(index.places, places, "{limit}");
            let slot = index.slot(u64::MAX, limit - 1);
            assert_eq!((slot & places) as usize, limit - 1);
            // Neither empty nor removed, and at least one bit of the hash.
            assert_ne!(index.slot(0, limit - 1) & TAKEN, 0);
            assert_ne!(index.slot(0, limit - 1), slot);
        }
    }

    /// What has no room for anything finds nothing, and ends.
    #[test]
    fn one_without_slots_has_nothing() {
        let mut index = Index::new(10);
        assert_eq!((index.has_room(), index.capacity(), index.find(7, |_| true)), (false, 0, None));
        index.remove(7, 0);
        index.insert(7, 0);
        assert_eq!(index.find(7, |_| true), None);
    }

    /// Of hashes that differ in few bits, filled as far as it may be, with what was removed in between.
    #[test]
    fn what_is_there_is_found() {
        let mut index = Index::new(1000);
        let hash = |place: usize| (place as u64 % 7) << 25 | place as u64 % 50;
        for capacity in [1, 10, 100, 700] {
            index.clear(capacity);
            assert!(index.capacity() >= capacity);
            let mut known = HashMap::new();
            for place in 0..1000 {
                if !index.has_room() {
                    break;
                }
                index.insert(hash(place), place);
                known.insert(place, hash(place));
                if place % 3 == 0 {
                    let gone = place / 2;
                    index.remove(hash(gone), gone);
                    known.remove(&gone);
                }
            }
            assert!(index.slots.contains(&EMPTY));
            for place in 0..1000 {
                let found = index.find(hash(place), |other| other == place);
                assert_eq!(found, known.contains_key(&place).then_some(place), "{place}");
            }
        }
    }

    /// A step comes to all slots, so that a search ends at the last empty one.
    #[test]
    fn the_last_slot_is_found() {
        for hash in [0, 1 << 25, 3 << 25 | 5, u64::MAX] {
            let mut index = Index::new(64);
            index.clear(12);
            for place in 0..16 {
                index.room = 1;
                index.insert(hash, place);
            }
            for place in 0..16 {
                assert_eq!(index.find(hash, |other| other == place), Some(place));
            }
        }
    }

    #[test]
    fn a_slot_that_was_removed_is_filled_again() {
        let mut index = Index::new(64);
        index.clear(48);
        let room = index.room;
        for place in 0..1000 {
            index.insert(5, place % 64);
            index.remove(5, place % 64);
        }
        assert_eq!(index.room, room - 1);
    }
}

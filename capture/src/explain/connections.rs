//! The connections that are remembered.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{
    comment::Story,
    connection::Connection,
    segment::{Endpoint, Segment},
};

/// A connection and whether it was seen since the hand last passed.
#[derive(Debug)]
struct Slot {
    connection: Connection,
    referenced: bool,
}

/// A bounded table of connections, found by their two ends in either order. When it is full, a new connection takes
/// the place of one that has ended or has not been seen for long.
#[derive(Debug)]
pub(super) struct Connections {
    index: HashTable<u32>,
    slots: Vec<Slot>,
    hasher: RandomState,
    limit: usize,
    /// The next candidate for eviction (CLOCK, Corbató 1968).
    hand: usize,
    /// Whether any was evicted, and how many of these had not ended.
    evicted: bool,
    forgotten: u64,
}

/// The two ends of a connection, the same for both directions.
fn key(one: Endpoint, other: Endpoint) -> (Endpoint, Endpoint) {
    if one < other { (one, other) } else { (other, one) }
}

fn key_of(connection: &Connection) -> (Endpoint, Endpoint) {
    key(connection.client, connection.server)
}

impl Connections {
    /// At most `limit` connections are remembered, and at least one.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            hasher: RandomState::default(),
            limit: limit.clamp(1, u32::MAX as usize),
            hand: 0,
            evicted: false,
            forgotten: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many were evicted that had not ended.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// In the order in which they were first seen, as long as none was evicted.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().map(|slot| &mut slot.connection)
    }

    /// The connection at a place from 0 to [`len`](Self::len).
    pub(super) fn at(&mut self, place: usize) -> Option<&mut Connection> {
        self.slots.get_mut(place).map(|slot| &mut slot.connection)
    }

    /// Tells what happens with `segment`.
    #[inline]
    pub(super) fn explain(&mut self, segment: &Segment, story: &mut Story<'_>) {
        let key = key(segment.source, segment.destination);
        let hash = self.hasher.hash_one(key);
        let found = self.index.find(hash, |&at| key_of(&self.slots[at as usize].connection) == key);
        if let Some(&at) = found {
            let slot = &mut self.slots[at as usize];
            slot.connection.explain(segment, story);
            slot.referenced = !slot.connection.has_ended();
        } else {
            let connection = Connection::first_seen(segment, self.evicted, story);
            self.insert(connection, hash);
        }
    }

    #[cold]
    fn insert(&mut self, connection: Connection, hash: u64) {
        let new = Slot { connection, referenced: true };
        let at = if self.slots.len() < self.limit {
            self.slots.push(new);
            self.slots.len() - 1
        } else {
            let victim = self.victim();
            let old = &self.slots[victim].connection;
            let old_hash = self.hasher.hash_one(key_of(old));
            if let Ok(entry) = self.index.find_entry(old_hash, |&at| at as usize == victim) {
                entry.remove();
            }
            self.evicted = true;
            self.forgotten += u64::from(!old.has_ended());
            self.slots[victim] = new;
            victim
        };
        let Self { index, slots, hasher, .. } = self;
        index.insert_unique(hash, at as u32, |&at| hasher.hash_one(key_of(&slots[at as usize].connection)));
    }

    /// The first connection from the hand on that has not been seen since the hand last passed it.
    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (at + 1) % self.slots.len();
            if !std::mem::take(&mut self.slots[at].referenced) {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::CONNECTION_LIMIT;

    /// What the documentation says about memory. The index takes 5 bytes for each of its places, of which at least
    /// one in eight is free and at most half are.
    #[test]
    fn memory() {
        let bytes = CONNECTION_LIMIT * (size_of::<Slot>() + 10);
        assert!((16..24).contains(&(bytes >> 20)), "{bytes}");
    }
}

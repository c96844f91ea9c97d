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
        if self.evicted && self.index.len() == self.index.capacity() {
            self.index_anew();
        } else {
            let Self { index, slots, hasher, .. } = self;
            index.insert_unique(hash, at as u32, |&at| {
                hasher.hash_one(key_of(&slots[at as usize].connection))
            });
        }
    }

    /// Makes the index from the slots when it is full of the marks that evicted connections leave: by itself it would
    /// grow for them.
    #[cold]
    fn index_anew(&mut self) {
        let Self { index, slots, hasher, limit, .. } = self;
        // There is always room for some marks, so that this does not happen for each connection that is evicted.
        let capacity = limit.saturating_add(*limit / 8);
        index.clear();
        if index.capacity() < capacity {
            *index = HashTable::with_capacity(capacity);
        }
        for (at, slot) in (0..).zip(slots) {
            index.insert_unique(hasher.hash_one(key_of(&slot.connection)), at, |_| 0);
        }
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
    use bytes::BytesMut;
    use capture_packet::LinkType;

    use super::*;
    use crate::explain::{
        CONNECTION_LIMIT,
        testing::{CLIENT, SERVER, at, packet},
    };

    /// A SYN from a client that no other number gives.
    fn syn(number: u32) -> Segment {
        let client = Endpoint { address: (0x0a01_0000 + number).to_be_bytes().into(), port: 50_000 };
        let syn = at(0, CLIENT, "S", 0, 0).between([client, SERVER.endpoint()]);
        Segment::parse(&packet(LinkType::Raw, 0, &syn.ip())).unwrap()
    }

    /// Connections that have seen clients of all these numbers.
    fn flooded(limit: usize, clients: usize) -> Connections {
        let mut connections = Connections::new(limit);
        let mut out = BytesMut::new();
        for number in 0..clients as u32 {
            let segment = syn(number);
            connections.explain(&segment, &mut Story::of(&segment, &mut out));
            out.clear();
        }
        connections
    }

    #[test]
    fn the_index_does_not_grow_for_what_is_forgotten() {
        for limit in [1, 10, 100, 896, 1000] {
            let connections = flooded(limit, 100 * limit);
            let most = HashTable::<u32>::with_capacity(limit + limit / 8).allocation_size();
            assert_eq!((connections.len(), connections.index.len()), (limit, limit));
            assert!(connections.index.allocation_size() <= most, "{limit}");
            // All that are remembered are found, and no other.
            let mut found = 0;
            for number in 0..100 * limit as u32 {
                let key = key(syn(number).source, SERVER.endpoint());
                let is_it = |&at: &u32| key_of(&connections.slots[at as usize].connection) == key;
                found +=
                    usize::from(connections.index.find(connections.hasher.hash_one(key), is_it).is_some());
            }
            assert_eq!(found, limit);
        }
    }

    /// What the documentation says about memory, also after many connections were forgotten.
    #[test]
    fn memory() {
        let connections = flooded(CONNECTION_LIMIT, 3 * CONNECTION_LIMIT);
        let slots = connections.slots.capacity() * size_of::<Slot>();
        let bytes = slots + connections.index.allocation_size();
        assert!((16..24).contains(&(bytes >> 20)), "{bytes}");
    }
}

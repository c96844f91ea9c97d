//! The connections that are remembered.

use core::hash::BuildHasher as _;

use bounded_table::BoundedTable;
use foldhash::fast::RandomState;

use super::{
    connection::{Connection, Observer},
    event::Endpoint,
    segment::Segment,
};

/// A bounded table of connections, found by their two ends in either order. When it is full, a new connection takes
/// the place of one that has ended or has not been seen for long.
#[derive(Debug)]
pub(super) struct Connections {
    table: BoundedTable<Connection>,
    hasher: RandomState,
    /// How many were evicted that had not ended.
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
        Self { table: BoundedTable::new(limit), hasher: RandomState::default(), forgotten: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn limit(&self) -> usize {
        self.table.limit()
    }

    /// How many were evicted that had not ended.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// In the order in which they were first seen, as long as none was evicted.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.table.iter_mut()
    }

    /// The connection at a place from 0 to [`len`](Self::len).
    pub(super) fn at(&mut self, place: usize) -> Option<&mut Connection> {
        self.table.get_mut(place)
    }

    /// Reports what happens with `segment`.
    #[inline]
    pub(super) fn track(&mut self, segment: &Segment, observer: &mut Observer<'_>) {
        let key = key(segment.source, segment.destination);
        let hash = self.hasher.hash_one(key);
        let found = self.table.find(hash, |connection| key_of(connection) == key);
        let Some(place) = found else { return self.begin(segment, hash, observer) };
        let connection = &mut self.table[place];
        connection.track(segment, observer);
        if connection.has_ended() {
            self.table.unmark(place);
        } else {
            self.table.mark(place);
        }
    }

    #[cold]
    fn begin(&mut self, segment: &Segment, hash: u64, observer: &mut Observer<'_>) {
        let Self { table, hasher, forgotten } = self;
        let connection = Connection::first_seen(segment, table.evicted() > 0, observer);
        let hash_of = |connection: &Connection| hasher.hash_one(key_of(connection));
        let (place, evicted) = table.insert(connection, hash, hash_of);
        table.mark(place);
        *forgotten += u64::from(evicted.is_some_and(|old| !old.has_ended()));
    }
}

#[cfg(test)]
mod tests {
    use capture_packet::{LinkType, Packet, Timestamp};
    use test_support::sketch::{CLIENT, SERVER, at};

    use super::*;
    use crate::{CONNECTION_LIMIT, event::Event};

    /// A SYN from a client that no other number gives.
    fn syn(number: u32) -> Segment {
        let client = ((0x0a01_0000 + number).to_be_bytes(), 50_000).into();
        let syn = at(0, CLIENT, "S", 0, 0).between([client, SERVER.endpoint()]).ip();
        Segment::parse(&Packet::new(Timestamp::default(), LinkType::Raw, syn.len() as u32, &syn).located())
            .unwrap()
    }

    /// What the documentation says about memory, also after many connections were forgotten.
    #[test]
    fn memory() {
        let mut connections = Connections::new(CONNECTION_LIMIT);
        let mut events = 0;
        for number in 0..3 * CONNECTION_LIMIT as u32 {
            let mut each = |_: &Event| events += 1;
            let mut observer = Observer { each: &mut each, time: Timestamp::default(), has_packet: true };
            connections.track(&syn(number), &mut observer);
        }
        assert_eq!((connections.len(), connections.forgotten()), (1 << 16, 2 << 16));
        assert_eq!(events, 3 << 16);
        let bytes = connections.table.allocated();
        assert!((16..24).contains(&(bytes >> 20)), "{bytes}");
    }
}

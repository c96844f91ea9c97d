//! The table that relative sequence numbers come from (print-tcp.c, `tcp_seq_hash`).
//!
//! tcpdump keeps two tables, one for each IP version, and never forgets a conversation. These are bounded: when as
//! many conversations are known as may be, a new one takes the place of one that has not been seen lately, which is
//! counted. Until then they answer as tcpdump's would.

use core::{
    hash::{BuildHasher, Hash},
    net::IpAddr,
};

use bounded_table::BoundedTable;
use foldhash::fast::SeedableRandomState;

use super::ip_addresses::IpAddresses;

/// The place of a conversation that has none: no table has so many.
pub(super) const NOWHERE: u32 = u32::MAX;

/// A pair of addresses and ports, the same for both directions: the lower port comes first, and between equal ports
/// the lower address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key<A> {
    /// The address of the lower port.
    low: A,
    high: A,
    /// The lower port in the high half.
    ports: u32,
}

/// So many ports are neighbours in the index.
const BLOCK: u32 = 1 << 7;

impl<A: Copy + Hash> Key<A> {
    /// Where the index has it. Conversations whose higher ports differ in the last seven bits only are neighbours
    /// there: the ports that a client takes follow each other, so that its connections are found in cache lines that
    /// are at hand. Other connections lose nothing, because such a block of neighbours begins at a random place.
    #[inline]
    fn hash_of(&self, hasher: &SeedableRandomState) -> u64 {
        let place = u64::from(self.ports % BLOCK);
        let block = hasher.hash_one(Self { ports: self.ports / BLOCK, ..*self });
        block.wrapping_add(place)
    }
}

/// A conversation's initial sequence numbers, as tcpdump names them: `seq` counts what the side of the lower port
/// sends, `ack` what the other does. Both may be off by what was sent before the conversation was first seen.
#[derive(Clone, Copy, Debug)]
struct Conversation<A> {
    key: Key<A>,
    seq: u32,
    ack: u32,
}

impl<A> Conversation<A> {
    /// A segment's numbers, relative to the conversation's.
    #[inline(always)]
    fn numbers(&self, reverse: bool, seq: u32, ack: u32) -> Numbers {
        let (own, other) = if reverse { (self.ack, self.seq) } else { (self.seq, self.ack) };
        Numbers {
            seq: seq.wrapping_sub(own),
            ack: ack.wrapping_sub(other),
            sack_base: other,
            is_relative: true,
        }
    }
}

/// The conversations of one address family.
#[derive(Debug)]
struct Table<A>(BoundedTable<Conversation<A>>);

/// What of a segment's header is relative to its conversation, in host byte order.
#[derive(Clone, Copy, Debug)]
pub struct SequenceFields {
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgment number.
    pub ack: u32,
    /// Whether SYN is set.
    pub syn: bool,
}

/// The numbers to print for a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgment number.
    pub ack: u32,
    /// What is subtracted from the edges of SACK blocks.
    pub sack_base: u32,
    /// Whether `seq` and `ack` are relative: those of a SYN, and of the first segment that is seen of a conversation,
    /// are absolute.
    pub is_relative: bool,
}

impl<A: Copy + Eq + Hash + Ord> Table<A> {
    fn new(limit: usize) -> Self {
        Self(BoundedTable::new(limit))
    }

    /// tcpdump's rules, for a segment with ACK set. `place` is where the conversation may be, and then where it is.
    #[inline(always)]
    fn numbers(
        &mut self,
        source: A,
        destination: A,
        fields: SequenceFields,
        hasher: &SeedableRandomState,
        place: &mut u32,
    ) -> Numbers {
        let SequenceFields { source_port, destination_port, seq, ack, syn } = fields;
        let reverse = (source_port, source) > (destination_port, destination);
        let key = if reverse {
            let ports = u32::from(destination_port) << 16 | u32::from(source_port);
            Key { low: destination, high: source, ports }
        } else {
            let ports = u32::from(source_port) << 16 | u32::from(destination_port);
            Key { low: source, high: destination, ports }
        };
        let at = *place as usize;
        match self.0.get(at) {
            Some(conversation) if conversation.key == key && !syn => {
                let numbers = conversation.numbers(reverse, seq, ack);
                self.0.mark(at);
                numbers
            }
            _ => self.look_up([key.low, key.high], key.ports, reverse, fields, hasher, place),
        }
    }

    /// The same where the conversation begins, or is somewhere else. Not compiled into what prints each packet: it would
    /// take the registers there. The key comes in registers: through memory, it is read back in other pieces than it was
    /// stored in, for which the processor waits.
    #[inline(never)]
    fn look_up(
        &mut self,
        [low, high]: [A; 2],
        ports: u32,
        reverse: bool,
        SequenceFields { seq, ack, syn, .. }: SequenceFields,
        hasher: &SeedableRandomState,
        place: &mut u32,
    ) -> Numbers {
        let key = Key { low, high, ports };
        let hash = key.hash_of(hasher);
        let known = self.0.find(hash, |conversation| conversation.key == key);
        if let Some(at) = known {
            *place = at as u32;
            self.0.mark(at);
            if !syn {
                return self.0[at].numbers(reverse, seq, ack);
            }
        }
        let (own, other) = (seq, ack.wrapping_sub(1));
        let (low, high) = if reverse { (other, own) } else { (own, other) };
        let conversation = Conversation { key, seq: low, ack: high };
        if let Some(at) = known {
            self.0[at] = conversation;
        } else {
            let hash_of = |conversation: &Conversation<A>| conversation.key.hash_of(hasher);
            *place = self.0.insert(conversation, hash, hash_of).0 as u32;
        }
        Numbers { seq, ack, sack_base: other, is_relative: false }
    }
}

/// The conversations that have been seen, with what their sequence numbers are relative to.
#[derive(Debug)]
pub struct Conversations {
    v4: Table<u32>,
    /// Addresses as words, so that a conversation has no padding.
    v6: Table<[u32; 4]>,
    /// Each process has another seed, unless it has to be [`reproducible`](Self::reproducible), so that no sender can
    /// make up conversations that are all in one place.
    hasher: SeedableRandomState,
}

impl Conversations {
    /// No conversation yet, and never more than `limit` of each address family.
    pub fn new(limit: usize) -> Self {
        Self::placed_by(SeedableRandomState::random(), limit)
    }

    /// The same for measurements: all processes place conversations alike, so that they do the same work.
    pub fn reproducible(limit: usize) -> Self {
        Self::placed_by(SeedableRandomState::fixed(), limit)
    }

    fn placed_by(hasher: SeedableRandomState, limit: usize) -> Self {
        Self { v4: Table::new(limit), v6: Table::new(limit), hasher }
    }

    /// How many conversations are known.
    pub fn len(&self) -> usize {
        self.v4.0.len() + self.v6.0.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of each address family are known at most.
    pub fn limit(&self) -> usize {
        self.v4.0.limit()
    }

    /// How many had to be forgotten because there were more than the limit at once. Only after that can a line
    /// differ from tcpdump's: a forgotten conversation begins again with absolute numbers.
    pub fn evicted(&self) -> u64 {
        self.v4.0.evicted() + self.v6.0.evicted()
    }

    /// The numbers of a segment with ACK set, for outputs that are not text. `None` where one address is IPv4 and the
    /// other IPv6.
    #[inline]
    pub fn numbers_between(&mut self, ends: [IpAddr; 2], fields: SequenceFields) -> Option<Numbers> {
        let addresses = match ends {
            [IpAddr::V4(source), IpAddr::V4(destination)] => {
                IpAddresses::V4 { header: 0, source: source.octets(), destination: destination.octets() }
            }
            [IpAddr::V6(ref source), IpAddr::V6(ref destination)] => {
                return Some(self.numbers(
                    IpAddresses::V6 { source: &source.octets(), destination: &destination.octets() },
                    fields,
                    &mut { NOWHERE },
                ));
            }
            _ => return None,
        };
        Some(self.numbers(addresses, fields, &mut { NOWHERE }))
    }

    /// The numbers to print for a segment with ACK set. `place` is where the conversation was the last time, or
    /// [`NOWHERE`]: there it is looked for first. Where it is now is put there.
    #[inline(always)]
    pub(super) fn numbers(
        &mut self,
        addresses: IpAddresses<'_>,
        fields: SequenceFields,
        place: &mut u32,
    ) -> Numbers {
        match addresses {
            IpAddresses::V4 { source, destination, .. } => {
                let [source, destination] = [source, destination].map(u32::from_be_bytes);
                self.v4.numbers(source, destination, fields, &self.hasher, place)
            }
            IpAddresses::V6 { source, destination } => self.numbers_v6([source, destination], fields, place),
        }
    }

    #[inline(never)]
    fn numbers_v6(&mut self, ends: [&[u8; 16]; 2], fields: SequenceFields, place: &mut u32) -> Numbers {
        let [source, destination] = ends.map(|address| {
            let (words, _) = address.as_chunks();
            [0, 1, 2, 3].map(|word: usize| u32::from_be_bytes(words[word]))
        });
        self.v6.numbers(source, destination, fields, &self.hasher, place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use test_support::random::Random;

    use super::*;

    #[derive(Clone, Copy)]
    struct Packet {
        source: u32,
        destination: u32,
        fields: SequenceFields,
    }

    impl Conversations {
        fn numbers_of(&mut self, packet: Packet) -> Numbers {
            let Packet { source, destination, fields } = packet;
            let [source, destination] = [source, destination].map(u32::to_be_bytes);
            self.numbers(IpAddresses::V4 { header: 0, source, destination }, fields, &mut { NOWHERE })
        }
    }

    /// tcpdump's algorithm, over a map that never forgets.
    #[derive(Default)]
    struct Model {
        /// Sequence numbers of the side of the lower port, and of the other.
        known: HashMap<Key<u32>, (u32, u32)>,
    }

    impl Model {
        fn numbers(&mut self, packet: Packet) -> Numbers {
            let Packet { source, destination, fields } = packet;
            let SequenceFields { source_port, destination_port, seq, ack, syn } = fields;
            let reverse = (source_port, source) > (destination_port, destination);
            let mut ends = [(source_port, source), (destination_port, destination)];
            ends.sort_unstable();
            let [(low_port, low), (high_port, high)] = ends;
            let key = Key { low, high, ports: u32::from(low_port) << 16 | u32::from(high_port) };
            if syn || !self.known.contains_key(&key) {
                let base = if reverse { (ack.wrapping_sub(1), seq) } else { (seq, ack.wrapping_sub(1)) };
                self.known.insert(key, base);
                let sack_base = if reverse { base.0 } else { base.1 };
                return Numbers { seq, ack, sack_base, is_relative: false };
            }
            let (low, high) = self.known[&key];
            let (own, other) = if reverse { (high, low) } else { (low, high) };
            Numbers {
                seq: seq.wrapping_sub(own),
                ack: ack.wrapping_sub(other),
                sack_base: other,
                is_relative: true,
            }
        }
    }

    /// A segment between few enough ends that conversations recur, in both directions.
    fn packet(random: &mut Random, ends: usize) -> Packet {
        let fields = SequenceFields {
            source_port: random.below(ends) as u16,
            destination_port: random.below(ends) as u16,
            seq: random.u32(),
            ack: random.u32(),
            syn: random.one_in(20),
        };
        Packet { source: random.below(3) as u32, destination: random.below(3) as u32, fields }
    }

    #[test]
    fn below_the_limit_it_answers_as_tcpdump_does() {
        for ends in [2, 10, 100] {
            let (mut model, mut table) = (Model::default(), Conversations::new(1 << 20));
            let mut random = Random::new(ends as u64);
            for _ in 0..100_000 {
                let packet = packet(&mut random, ends);
                assert_eq!(table.numbers_of(packet), model.numbers(packet));
            }
            assert_eq!((table.len(), table.evicted()), (model.known.len(), 0));
        }
    }

    #[test]
    fn at_the_limit_one_is_forgotten_for_each_new_one() {
        for limit in [1, 2, 3, 31, 100, 1000] {
            let mut table = Conversations::new(limit);
            let mut random = Random::new(limit as u64);
            let mut model = Model::default();
            let mut first_packets = 0;
            for _ in 0..50_000 {
                let packet = packet(&mut random, 100);
                let fields = packet.fields;
                let numbers = table.numbers_of(packet);
                let expected = model.numbers(packet);
                // A conversation is either as it was left, or it begins again.
                let restarted = Numbers { seq: fields.seq, ack: fields.ack, is_relative: false, ..numbers };
                assert!(numbers == expected || numbers == restarted);
                if numbers != expected {
                    model.numbers(Packet { fields: SequenceFields { syn: true, ..fields }, ..packet });
                }
                first_packets += u64::from(numbers == restarted && !fields.syn);
                assert!(table.len() <= limit);
            }
            // Every conversation that began was either its first time, or it had been forgotten.
            assert_eq!(table.len(), limit.min(model.known.len()));
            assert!(table.evicted() + limit as u64 >= first_packets, "{limit}");
            assert!(table.evicted() >= (model.known.len() - table.len()) as u64);
        }
    }

    /// Wherever conversations are looked for first: where they were, where another is by now, or nowhere.
    #[test]
    fn a_remembered_place_changes_no_number() {
        for (limit, ends) in [(10, 20), (1 << 20, 20)] {
            let (mut table, mut plain) = (Conversations::new(limit), Conversations::new(limit));
            let mut random = Random::new(limit as u64);
            let mut places = [NOWHERE, 0, 5, 1000];
            for _ in 0..100_000 {
                let packet = packet(&mut random, ends);
                let place = &mut places[random.below(4)];
                let [source, destination] = [packet.source, packet.destination].map(u32::to_be_bytes);
                let addresses = IpAddresses::V4 { header: 0, source, destination };
                assert_eq!(table.numbers(addresses, packet.fields, place), plain.numbers_of(packet));
                // The same again, where it was.
                assert_eq!(table.numbers(addresses, packet.fields, place), plain.numbers_of(packet));
            }
            assert_eq!((table.len(), table.evicted()), (plain.len(), plain.evicted()));
        }
    }

    #[test]
    fn only_what_is_to_be_reproducible_is_placed_alike() {
        let hashes = |table: Conversations| {
            let key = |low| Key { low, high: 3_u32, ports: 1 << 16 | 2 };
            [0, 1, 2, 3].map(|low| key(low).hash_of(&table.hasher))
        };
        let [one, other] = [(); 2].map(|()| hashes(Conversations::reproducible(1000)));
        assert_eq!(one, other);
        let [one, other] = [(); 2].map(|()| hashes(Conversations::new(1000)));
        assert_ne!(one, other);
    }

    #[test]
    fn a_conversation_that_goes_on_outlives_a_flood() {
        // In any place, and with any number of them.
        for limit in [3, 64, 65, 100, 112, 500, 1000] {
            for place in [0, limit / 2, limit - 1] {
                let mut table = Conversations::new(limit as usize);
                let fields =
                    SequenceFields { source_port: 1, destination_port: 2, seq: 100, ack: 1, syn: false };
                let flood = |n| Packet { source: n, destination: 3, fields };
                let steady = Packet { source: 1, destination: 2, fields };
                for n in 0..100 * limit {
                    if n == place {
                        table.numbers_of(steady);
                    }
                    table.numbers_of(flood(n));
                    // Seen at least once for half as many others as there is room for.
                    if n >= place && n % (limit / 2) == 0 {
                        let fields = SequenceFields { seq: 101 + n, ..fields };
                        assert_eq!(table.numbers_of(Packet { fields, ..steady }).seq, 1 + n);
                    }
                }
                assert_eq!(table.evicted(), 99 * u64::from(limit) + 1);
            }
        }
    }

    #[test]
    fn both_directions_and_equal_ports() {
        let mut table = Conversations::new(10);
        let there =
            SequenceFields { source_port: 80, destination_port: 80, seq: 1000, ack: 5000, syn: false };
        let packet = Packet { source: 9, destination: 5, fields: there };
        assert_eq!(
            table.numbers_of(packet),
            Numbers { seq: 1000, ack: 5000, sack_base: 4999, is_relative: false }
        );
        let back = SequenceFields { seq: 5000, ack: 1001, ..there };
        let packet = Packet { source: 5, destination: 9, fields: back };
        assert_eq!(table.numbers_of(packet), Numbers { seq: 1, ack: 1, sack_base: 1000, is_relative: true });
        // Older than the first segment seen.
        let older = SequenceFields { seq: 900, ack: 4999, ..there };
        let packet = Packet { source: 9, destination: 5, fields: older };
        assert_eq!(
            table.numbers_of(packet),
            Numbers { seq: 0_u32.wrapping_sub(100), ack: 0, sack_base: 4999, is_relative: true }
        );
        // Another family's conversation of the same numbers is another one.
        let [source, destination] = [9_u128, 5].map(u128::to_be_bytes);
        let addresses = IpAddresses::V6 { source: &source, destination: &destination };
        let new = SequenceFields { seq: 1001, ..there };
        assert_eq!(
            table.numbers(addresses, new, &mut { NOWHERE }),
            Numbers { seq: 1001, ack: 5000, sack_base: 4999, is_relative: false }
        );
        assert_eq!(table.len(), 2);
    }
}

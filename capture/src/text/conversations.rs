//! The table that relative sequence numbers come from (print-tcp.c, `tcp_seq_hash`).
//!
//! tcpdump keeps two tables, one for each IP version, and never forgets a conversation. This one is bounded: when as
//! many are known as may be, the next new one takes the place of one that has not been seen for long, which is
//! counted. Until then it answers as tcpdump's would.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// A pair of addresses and ports, the same for both directions: the lower port comes first, and between equal ports
/// the lower address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key<A> {
    addresses: [A; 2],
    /// The first address's port in the high half.
    ports: u32,
}

/// A conversation's initial sequence numbers, as tcpdump names them: `seq` counts what the first address sends,
/// `ack` what the second does. Both may be off by what was sent before the conversation was first seen.
#[derive(Clone, Copy, Debug)]
struct Conversation<A> {
    key: Key<A>,
    seq: u32,
    ack: u32,
    /// Seen since the hand last passed.
    referenced: bool,
}

/// The conversations of one address family, in the order they were first seen, and an index over them.
#[derive(Debug)]
struct Table<A> {
    index: HashTable<u32>,
    conversations: Vec<Conversation<A>>,
    /// The next candidate for eviction (CLOCK, Corbató 1968).
    hand: usize,
}

/// One segment, to be looked up. All of it as it stands in the headers, in host byte order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<A> {
    pub(super) source: A,
    pub(super) destination: A,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) syn: bool,
}

/// The numbers to print for a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// What is subtracted from the edges of SACK blocks.
    pub(super) sack_base: u32,
}

impl<A: Copy + Eq + Hash + Ord> Table<A> {
    fn new() -> Self {
        Self { index: HashTable::new(), conversations: Vec::new(), hand: 0 }
    }

    #[inline]
    fn numbers(
        &mut self,
        segment: Segment<A>,
        hasher: &DefaultHashBuilder,
        limit: usize,
        evicted: &mut u64,
    ) -> Numbers {
        let Segment { source, destination, source_port, destination_port, mut seq, mut ack, syn } = segment;
        let reverse =
            source_port > destination_port || (source_port == destination_port && source > destination);
        let key = if reverse {
            let ports = u32::from(destination_port) << 16 | u32::from(source_port);
            Key { addresses: [destination, source], ports }
        } else {
            let ports = u32::from(source_port) << 16 | u32::from(destination_port);
            Key { addresses: [source, destination], ports }
        };
        let hash = hasher.hash_one(key);
        let found = self.index.find(hash, |&at| self.conversations[at as usize].key == key).copied();
        let conversation = match found {
            Some(at) => &mut self.conversations[at as usize],
            None => self.insert(key, hash, hasher, limit, evicted),
        };
        conversation.referenced = true;
        if found.is_none() || syn {
            let base = (seq, ack.wrapping_sub(1));
            (conversation.seq, conversation.ack) = if reverse { (base.1, base.0) } else { base };
        } else if reverse {
            (seq, ack) = (seq.wrapping_sub(conversation.ack), ack.wrapping_sub(conversation.seq));
        } else {
            (seq, ack) = (seq.wrapping_sub(conversation.seq), ack.wrapping_sub(conversation.ack));
        }
        Numbers { seq, ack, sack_base: if reverse { conversation.seq } else { conversation.ack } }
    }

    fn insert(
        &mut self,
        key: Key<A>,
        hash: u64,
        hasher: &DefaultHashBuilder,
        limit: usize,
        evicted: &mut u64,
    ) -> &mut Conversation<A> {
        let new = Conversation { key, seq: 0, ack: 0, referenced: true };
        let at = if self.conversations.len() < limit {
            self.conversations.push(new);
            self.conversations.len() - 1
        } else {
            let victim = self.victim();
            let victim_hash = hasher.hash_one(self.conversations[victim].key);
            if let Ok(entry) = self.index.find_entry(victim_hash, |&at| at as usize == victim) {
                entry.remove();
            }
            *evicted += 1;
            self.conversations[victim] = new;
            victim
        };
        let conversations = &self.conversations;
        self.index.insert_unique(hash, at as u32, |&at| hasher.hash_one(conversations[at as usize].key));
        &mut self.conversations[at]
    }

    /// The first conversation from the hand on that has not been seen since the hand last passed it.
    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (at + 1) % self.conversations.len();
            if !std::mem::take(&mut self.conversations[at].referenced) {
                return at;
            }
        }
    }
}

/// The conversations that have been seen, with what their sequence numbers are relative to.
#[derive(Debug)]
pub struct Conversations {
    v4: Table<[u8; 4]>,
    v6: Table<[u8; 16]>,
    hasher: DefaultHashBuilder,
    limit: usize,
    evicted: u64,
}

impl Conversations {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            v4: Table::new(),
            v6: Table::new(),
            hasher: DefaultHashBuilder::default(),
            limit: limit.clamp(1, u32::MAX as usize),
            evicted: 0,
        }
    }

    /// How many conversations are known.
    pub fn len(&self) -> usize {
        self.v4.conversations.len() + self.v6.conversations.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many had to be forgotten because there were more than the limit at once. Only after that can a line
    /// differ from tcpdump's: a forgotten conversation begins again with absolute numbers.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    #[inline]
    pub(super) fn numbers_v4(&mut self, segment: Segment<[u8; 4]>) -> Numbers {
        self.v4.numbers(segment, &self.hasher, self.limit, &mut self.evicted)
    }

    #[inline]
    pub(super) fn numbers_v6(&mut self, segment: Segment<[u8; 16]>) -> Numbers {
        self.v6.numbers(segment, &self.hasher, self.limit, &mut self.evicted)
    }
}

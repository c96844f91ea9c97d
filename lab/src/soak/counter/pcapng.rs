//! The blocks of a pcapng stream that are looked at.

use anyhow::{Context as _, Result, ensure};

/// An interface description block.
pub(super) const INTERFACE: u32 = 1;
/// An enhanced packet block.
pub(super) const PACKET: u32 = 6;
/// An interface statistics block.
const STATISTICS: u32 = 5;
/// Its fields in front of the options: type, length, interface, two words of time.
const FIELDS: usize = 20;

/// Codes of its options.
const ACCEPTED_BY_FILTER: u16 = 6;
const DROPPED_BY_SYSTEM: u16 = 7;
const DELIVERED: u16 = 8;

/// The fields of a packet's up to its interface: type, length, interface.
const PACKET_FIELDS: usize = 12;

/// The accounts of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) received: u64,
    pub(crate) dropped: u64,
    pub(crate) delivered: u64,
}

impl Statistics {
    /// The accounts of both.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            dropped: self.dropped + other.dropped,
            delivered: self.delivered + other.delivered,
        }
    }

    /// Checks them against those `before`, and against the packets in front of them, if these are all that were
    /// delivered.
    pub(super) fn check(&self, before: Option<&Self>, packets: Option<u64>) -> Result<()> {
        let Self { received, dropped, delivered } = *self;
        ensure!(
            received >= dropped + delivered,
            "the accounts in the file: {received} received are less than {dropped} dropped + {delivered} delivered"
        );
        if let Some(packets) = packets {
            ensure!(
                delivered == packets,
                "the accounts in the file say that {delivered} packets were delivered: {packets} are in front of them"
            );
        }
        let before = before.copied().unwrap_or_default();
        ensure!(
            received >= before.received && dropped >= before.dropped && delivered >= before.delivered,
            "the accounts in the file became smaller: {before:?}, then {self:?}"
        );
        Ok(())
    }
}

/// How much of the block is looked at whose beginning this is, if it is one of an interface: of accounts everything.
pub(super) fn header_length(begin: &[u8]) -> Option<usize> {
    let (words, _) = begin.as_chunks::<4>();
    let [kind, length] = words.get(..2)? else { return None };
    match u32::from_le_bytes(*kind) {
        STATISTICS => Some(u32::from_le_bytes(*length) as usize),
        PACKET => Some(PACKET_FIELDS),
        _ => None,
    }
}

/// The accounts in a block, unless it has only comments.
pub(super) fn statistics(block: &[u8]) -> Result<Option<Statistics>> {
    let mut statistics = Statistics::default();
    let mut had_one = false;
    let mut options = block.get(FIELDS..).context("a statistics block that is too short")?;
    while let Some((&[a, b, c, d], rest)) = options.split_first_chunk() {
        let (code, length) = (u16::from_le_bytes([a, b]), usize::from(u16::from_le_bytes([c, d])));
        if code == 0 {
            break;
        }
        let value = rest.get(..length).context("an option that is longer than its block")?;
        let number = value.try_into().map(u64::from_le_bytes).unwrap_or_default();
        match code {
            ACCEPTED_BY_FILTER => (statistics.received, had_one) = (number, true),
            DROPPED_BY_SYSTEM => statistics.dropped = number,
            DELIVERED => statistics.delivered = number,
            _ => {}
        }
        options = rest.get(length.next_multiple_of(4)..).context("an option without its padding")?;
    }
    Ok(had_one.then_some(statistics))
}

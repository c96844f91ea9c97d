//! Which interface a record is of: what is known of each, by the index that its records carry.

use capture_packet::{LinkType, SourceId};

/// An interface as records name it: the number of the programs' instance that is attached to it, and its index in the
/// network namespace of that instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordSource {
    /// The number of the programs' instance.
    pub instance: u16,
    /// The interface's index.
    pub ifindex: u32,
}

/// What a record's packet gets from its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The interface's place in the list of the capture's interfaces.
    pub id: SourceId,
    /// What tells it from all others that there are now: its index, or, in another network namespace than the one that
    /// capture was started in, a number that no index has.
    pub number: u32,
    /// What its frames begin with.
    pub link_type: LinkType,
}

/// An interface in the list that a packet's [`SourceId`] is a place in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name; nothing for the place that several share.
    pub name: Option<String>,
    /// What its frames begin with.
    pub link_type: LinkType,
    /// `ARPHRD_` hardware type, linux/if_arp.h.
    pub hardware_type: u16,
    /// Where it is attached, in words.
    pub hook: String,
}

/// The interfaces whose records can be in the rings.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// In the order of what records carry.
    entries: Vec<Entry>,
    /// The place of the last record's.
    last: usize,
    /// How many are gone.
    gone: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    source: RecordSource,
    origin: Origin,
    /// When it went, on the clock of the records' stamps, in nanoseconds.
    gone: Option<u64>,
}

impl Sources {
    /// Adds an interface. One that had its number before is forgotten.
    pub(super) fn add(&mut self, source: RecordSource, origin: Origin) {
        let entry = Entry { source, origin, gone: None };
        match self.entries.binary_search_by_key(&source, |entry| entry.source) {
            Ok(place) => {
                if let Some(before) = self.entries.get_mut(place) {
                    self.gone -= usize::from(std::mem::replace(before, entry).gone.is_some());
                }
            }
            Err(place) => self.entries.insert(place, entry),
        }
        self.last = 0;
    }

    /// Takes in that an interface is gone, at a time on the clock of the records' stamps. What is known of it is kept for
    /// its records that are still in the rings.
    pub(super) fn remove(&mut self, source: RecordSource, now: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.source == source)
            && entry.gone.replace(now).is_none()
        {
            self.gone += 1;
        }
    }

    /// Forgets the interfaces that were gone at a time before which all records have been read, and returns which.
    pub(super) fn forget(&mut self, before: u64) -> Vec<Origin> {
        if self.gone == 0 {
            return Vec::new();
        }
        let is_over = |entry: &mut Entry| entry.gone.is_some_and(|gone| gone < before);
        let over: Vec<_> = self.entries.extract_if(.., is_over).map(|entry| entry.origin).collect();
        self.gone -= over.len();
        self.last = 0;
        over
    }

    /// The interface of a record. A program that is attached to a bond runs with the indices of its ports with native XDP
    /// (drivers/net/bonding/bond_main.c, `bond_xdp_set`): what is not known counts as the first of its instance.
    #[inline]
    pub(super) fn of(&mut self, source: RecordSource) -> Origin {
        match self.entries.get(self.last) {
            Some(entry) if entry.source == source => entry.origin,
            _ => self.search(source),
        }
    }

    fn search(&mut self, source: RecordSource) -> Origin {
        let place = match self.entries.binary_search_by_key(&source, |entry| entry.source) {
            Ok(place) => {
                self.last = place;
                Some(place)
            }
            Err(_) => self.entries.iter().position(|entry| entry.source.instance == source.instance),
        };
        let entry = place.and_then(|place| self.entries.get(place)).or(self.entries.first());
        // With no interface at all there is no record of this capture's own.
        entry.map_or(
            Origin { id: SourceId(0), number: source.ifindex, link_type: LinkType::Ethernet },
            |entry| entry.origin,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(instance: u16, ifindex: u32) -> RecordSource {
        RecordSource { instance, ifindex }
    }

    fn origin(id: u32) -> Origin {
        let link_type = if id.is_multiple_of(2) { LinkType::Ethernet } else { LinkType::Raw };
        Origin { id: SourceId(id), number: id, link_type }
    }

    fn sources(all: &[RecordSource]) -> Sources {
        let mut sources = Sources::default();
        (0..).zip(all).for_each(|(id, source)| sources.add(*source, origin(id)));
        sources
    }

    #[test]
    fn instance_and_index_name_an_interface() {
        let all = [source(0, 7), source(0, 1), source(1, 2), source(1, 1)];
        let mut sources = sources(&all);
        for _ in 0..2 {
            for (id, source) in (0..).zip(all) {
                assert_eq!(sources.of(source), origin(id));
                assert_eq!(sources.of(source), origin(id));
            }
        }
        // Neither of a bond's ports nor of another program is an interface of the capture.
        for (instance, expected) in [(0, 1), (1, 3), (2, 1)] {
            assert_eq!(sources.of(source(instance, 9)), origin(expected));
        }
    }

    #[test]
    fn an_interface_that_is_gone_is_known_until_its_records_have_been_read() {
        let [one, two] = [source(0, 1), source(0, 2)];
        let mut sources = sources(&[one, two]);
        sources.remove(two, 100);
        sources.remove(two, 100);
        assert_eq!(sources.forget(100), []);
        assert_eq!(sources.of(two), origin(1));
        assert_eq!(sources.forget(101), [origin(1)]);
        assert_eq!(sources.of(two), origin(0));
        assert_eq!(sources.forget(u64::MAX), []);
    }

    #[test]
    fn an_index_that_is_used_again_is_the_new_interface() {
        let one = source(0, 1);
        let mut sources = sources(&[one]);
        sources.remove(one, 100);
        sources.add(one, origin(5));
        assert_eq!(sources.forget(u64::MAX), []);
        assert_eq!(sources.of(one), origin(5));
    }
}

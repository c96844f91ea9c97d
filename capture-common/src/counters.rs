//! The numbers the programs keep, one set per CPU, so that every packet is accounted for.

/// Counters of one CPU. Each only grows; the daemon adds up the CPUs.
///
/// After detaching, two identities hold: `matched = submitted + ring_full + unreadable`, and `submitted` is what the daemon has
/// read from the rings.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames the filter selected.
    pub matched: u64,
    /// Records put into a ring.
    pub submitted: u64,
    /// Selected frames lost because the ring had no room: tcpdump's "dropped by kernel".
    pub ring_full: u64,
    /// Frames that end before a field the filter has to read; they do not match.
    pub too_short: u64,
    /// Selected frames lost because the kernel did not give out their bytes, although it said that they are there.
    /// Nothing known makes this happen; it is counted because nothing is lost in silence.
    pub unreadable: u64,
}

const _: () = assert!(size_of::<Counters>() == 40);
const _: () = assert!(align_of::<Counters>() == 8);

impl Counters {
    /// Adds the numbers of another CPU.
    pub fn add(&mut self, other: &Self) {
        let Self { matched, submitted, ring_full, too_short, unreadable } = other;
        self.matched += matched;
        self.submitted += submitted;
        self.ring_full += ring_full;
        self.too_short += too_short;
        self.unreadable += unreadable;
    }
}

//! The numbers the programs keep, so that every packet is accounted for: one set for each CPU, and what is lost of each
//! interface.

/// Counters of one CPU. Each only grows; the daemon adds up the CPUs.
///
/// Once the programs have ended, an identity holds: `matched = read + ring_full + unreadable`, where `read` is how many
/// records the daemon has found in the rings. What is put into them is not counted here: a packet that is delivered
/// pays for one counter.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames the filter selected.
    pub matched: u64,
    /// Selected frames lost because the ring had no room: tcpdump's "dropped by kernel".
    pub ring_full: u64,
    /// Frames that end before a field the filter has to read; they do not match.
    pub too_short: u64,
    /// Selected frames lost because the kernel did not give out their bytes, although it said that they are there.
    /// Nothing known makes this happen; it is counted because nothing is lost in silence.
    pub unreadable: u64,
    /// Padding to the size of a cache line: the counters that CPUs write for each packet lie in different ones.
    pub reserved: [u64; 4],
}

/// The key of what is lost of interfaces that have no number of their own: no interface has this index.
pub const OTHERS: u32 = 0;

const _: () = assert!(size_of::<Counters>() == 64);
const _: () = assert!(align_of::<Counters>() == 8);

impl Counters {
    /// Adds the numbers of another CPU.
    pub fn add(&mut self, other: &Self) {
        let Self { matched, ring_full, too_short, unreadable, reserved: _ } = other;
        self.matched += matched;
        self.ring_full += ring_full;
        self.too_short += too_short;
        self.unreadable += unreadable;
    }
}

//! The numbers the programs keep, so that every packet is accounted for: one set for each CPU, and what is lost of each
//! interface.

/// What the programs at one hook count. Each number only grows.
///
/// Once the programs have ended, an identity holds: `matched = read + ring_full + unreadable`, where `read` is how many
/// of their records the daemon has found in the rings. What is put into them is not counted here: a packet that is
/// delivered pays for one counter.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounters {
    /// Frames the filter selected.
    pub matched: u64,
    /// Selected frames lost because the ring had no room: tcpdump's "dropped by kernel".
    pub ring_full: u64,
    /// Frames that end before a field the filter has to read; they do not match.
    pub too_short: u64,
    /// Selected frames lost because the kernel did not give out their bytes, although it said that they are there.
    /// Nothing known makes this happen; it is counted because nothing is lost in silence.
    pub unreadable: u64,
}

/// Counters of one CPU, which fill a cache line: those that different CPUs write lie in different ones. The daemon adds up
/// the CPUs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// At tc ingress, or at XDP.
    pub ingress: HookCounters,
    /// At tc egress.
    pub egress: HookCounters,
}

/// The key of what is lost of interfaces that have no number of their own: no interface has this index.
pub const OTHERS: u32 = 0;

const _: () = assert!(size_of::<HookCounters>() == 32);
const _: () = assert!(size_of::<Counters>() == 64);
const _: () = assert!(core::mem::offset_of!(Counters, egress) == 32);
const _: () = assert!(align_of::<Counters>() == 8);

impl HookCounters {
    /// Selected frames that were lost.
    pub fn lost(&self) -> u64 {
        self.ring_full + self.unreadable
    }

    fn add(&mut self, other: &Self) {
        let Self { matched, ring_full, too_short, unreadable } = other;
        self.matched += matched;
        self.ring_full += ring_full;
        self.too_short += too_short;
        self.unreadable += unreadable;
    }
}

impl Counters {
    /// Adds the numbers of another CPU.
    pub fn add(&mut self, other: &Self) {
        self.ingress.add(&other.ingress);
        self.egress.add(&other.egress);
    }

    /// Of both hooks together.
    pub fn of_both(&self) -> HookCounters {
        let mut both = self.ingress;
        both.add(&self.egress);
        both
    }
}

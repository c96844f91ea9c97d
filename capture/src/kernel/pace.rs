//! How long the rings are left alone while packets come.
//!
//! Each return to the rings costs the daemon about 14 us, however many records it finds: a timer, the clocks, and the
//! wake-up of the output's thread. With a quarter of a million packets a second that was a third of the time for a line.
//! So the more records an interval brings, the longer the next one is: up to a point that leaves room in the rings for
//! a burst. Where few records come, each is printed after the shortest interval.

use std::time::Duration;

/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest interval that any ring allows. Twice as long saves 3 ns per line more.
const LONGEST: Duration = Duration::from_millis(8);
/// Fewer records than this in an interval, and the next one is the shortest.
const MANY: usize = 16;
/// What one CPU can put into a ring within the shortest interval, in bytes: 4 million headers a second take half of it,
/// whole packets 17 Gbit/s.
const BURST: Burst = Burst { headers: 1 << 20, whole_packets: 2 << 20 };

struct Burst {
    headers: usize,
    whole_packets: usize,
}

/// Chooses the intervals.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    longest: Duration,
    /// What a ring may hold at the end of an interval, in bytes, for the next one to be as long.
    share: u64,
    /// Records, and bytes of the fullest ring, since the interval began.
    records: usize,
    filled: u64,
}

impl Pace {
    /// For rings of `size` bytes. `snaplen` is 0 where only headers are captured.
    pub(super) fn new(size: usize, snaplen: u32) -> Self {
        let burst = if snaplen == 0 { BURST.headers } else { BURST.whole_packets };
        // Half a ring is for the burst.
        let intervals = (size / 2 / burst).max(1) as u32;
        Self {
            interval: SHORTEST,
            longest: SHORTEST.saturating_mul(intervals).min(LONGEST),
            share: (size / 8) as u64,
            records: 0,
            filled: 0,
        }
    }

    /// Counts what has been read: records of all rings, and bytes of the one that had most.
    pub(super) fn read(&mut self, records: usize, filled: u64) {
        self.records += records;
        self.filled += filled;
    }

    /// How long the rings are to be left alone now.
    pub(super) fn next_interval(&mut self) -> Duration {
        self.interval = match (self.records, self.filled) {
            (..MANY, _) => SHORTEST,
            (_, filled) if filled > self.share => (self.interval / 2).max(SHORTEST),
            (_, filled) if filled <= self.share / 2 => (self.interval * 2).min(self.longest),
            _ => self.interval,
        };
        (self.records, self.filled) = (0, 0);
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// The intervals in milliseconds that follow each other while `records` of `length` bytes come in a millisecond.
    fn intervals(pace: &mut Pace, records: usize, length: u64) -> Vec<u128> {
        let mut elapsed = 1;
        let mut next = || {
            let records = records * elapsed;
            pace.read(records, records as u64 * length);
            let interval = pace.next_interval().as_millis();
            elapsed = interval as usize;
            interval
        };
        (0..6).map(|_| next()).collect()
    }

    #[test]
    fn a_quiet_wire_has_short_intervals_and_a_busy_one_has_long_ones() {
        let mut pace = Pace::new(16 * MIB, 0);
        assert_eq!(intervals(&mut pace, 2, 112), [1, 1, 1, 1, 1, 1]);
        assert_eq!(intervals(&mut pace, 250, 112), [2, 4, 8, 8, 8, 8]);
        assert_eq!(intervals(&mut pace, 0, 112), [1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn an_interval_leaves_room_for_a_burst() {
        // Of 3 million records a second an eighth of the ring is full in 6 ms.
        assert_eq!(intervals(&mut Pace::new(16 * MIB, 0), 3000, 112), [2, 4, 4, 4, 4, 4]);
        // 1 MiB is what a CPU can fill in 1 ms.
        assert_eq!(intervals(&mut Pace::new(MIB, 0), 250, 112), [1; 6]);
        assert_eq!(intervals(&mut Pace::new(4 * MIB, 0), 250, 112), [2; 6]);
        assert_eq!(intervals(&mut Pace::new(4096, 0), 250, 112), [1; 6]);
        // Whole packets.
        assert_eq!(intervals(&mut Pace::new(16 * MIB, 262_144), 100, 1600), [2, 4, 4, 4, 4, 4]);
        assert_eq!(intervals(&mut Pace::new(16 * MIB, 262_144), 2000, 1600), [1; 6]);
    }

    #[test]
    fn intervals_shrink_again_when_the_rings_fill() {
        let mut pace = Pace::new(16 * MIB, 0);
        assert_eq!(intervals(&mut pace, 250, 112), [2, 4, 8, 8, 8, 8]);
        // After 1 ms, as in the first interval of each call.
        assert_eq!(intervals(&mut pace, 5000, 112), [8, 4, 2, 2, 2, 2]);
    }
}

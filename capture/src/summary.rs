//! tcpdump's last words: how many packets were captured, and how many were lost, by cause.

use std::fmt;

/// The accounts of a live capture. Every packet that matched is in exactly one of `captured`, `dropped`,
/// `unreadable`, `unwritten` and, with `-c`, `beyond_count`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Packets whose lines were written.
    pub captured: u64,
    /// Packets that matched.
    pub received: u64,
    /// Packets lost because a ring was full: the output, or the daemon, was too slow.
    pub dropped: u64,
    /// Packets whose bytes the kernel did not give out.
    pub unreadable: u64,
    /// Packets that the interface had no room for, of all kinds: they are in no other number.
    pub dropped_by_interface: u64,
    /// Packets that were read and could not be written: the output failed, was closed, or still blocked when the
    /// capture was ended.
    pub unwritten: u64,
    /// Packets that matched after the last one that `-c` asked for.
    pub beyond_count: u64,
}

impl Summary {
    /// tcpdump's three numbers in one line, as it prints them on SIGUSR1.
    pub fn one_line(&self) -> String {
        let Self { captured, received, dropped_by_interface, .. } = self;
        let by_interface = match dropped_by_interface {
            0 => String::new(),
            dropped => format!(", {} dropped by interface", packets(*dropped)),
        };
        format!(
            "{} captured, {} received by filter, {} dropped by kernel{by_interface}",
            packets(*captured),
            packets(*received),
            packets(self.lost())
        )
    }

    fn lost(&self) -> u64 {
        self.dropped + self.unreadable
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { captured, received, unwritten, dropped_by_interface, .. } = self;
        writeln!(formatter, "{} captured", packets(*captured))?;
        writeln!(formatter, "{} received by filter", packets(*received))?;
        writeln!(formatter, "{} dropped by kernel", packets(self.lost()))?;
        if *dropped_by_interface > 0 {
            writeln!(formatter, "{} dropped by interface", packets(*dropped_by_interface))?;
        }
        if *unwritten > 0 {
            writeln!(
                formatter,
                "{} not written: the output was blocked, closed or full",
                packets(*unwritten)
            )?;
        }
        Ok(())
    }
}

/// `1 packet`, `2 packets`.
pub(crate) fn packets(count: u64) -> String {
    format!("{count} packet{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_tcpdumps() {
        let summary = Summary { captured: 1, received: 22, dropped: 20, unreadable: 1, ..Summary::default() };
        let expected = "1 packet captured\n22 packets received by filter\n21 packets dropped by kernel\n";
        assert_eq!(summary.to_string(), expected);
        let expected = "1 packet captured, 22 packets received by filter, 21 packets dropped by kernel";
        assert_eq!(summary.one_line(), expected);
    }

    #[test]
    fn what_the_interface_dropped_is_told_if_it_dropped_any() {
        let summary = Summary { captured: 2, received: 2, dropped_by_interface: 1, ..Summary::default() };
        assert!(
            summary.to_string().ends_with("\n0 packets dropped by kernel\n1 packet dropped by interface\n")
        );
        assert!(summary.one_line().ends_with(", 0 packets dropped by kernel, 1 packet dropped by interface"));
    }

    #[test]
    fn what_the_output_did_not_take_has_a_line_of_its_own() {
        let summary = Summary { captured: 2, received: 5, unwritten: 3, ..Summary::default() };
        assert!(
            summary
                .to_string()
                .ends_with("\n3 packets not written: the output was blocked, closed or full\n")
        );
    }
}

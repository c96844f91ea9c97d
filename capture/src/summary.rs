//! tcpdump's last words: how many packets were captured, and how many were lost, by cause.

use std::fmt;

/// Different warnings that are repeated at the end.
const WARNINGS: usize = 16;

/// The accounts of a live capture. Every packet that matched is in exactly one of `captured`, `dropped`,
/// `unreadable`, `unwritten` and, with `-c` or a limit of an output, `beyond_count`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Packets whose lines were written, to the last byte.
    pub captured: u64,
    /// Packets that matched. `None` where the kernel's counters cannot be read: `dropped` and `unreadable` are not
    /// known either then.
    pub received: Option<u64>,
    /// Packets lost because a ring was full: the output, or the daemon, was too slow.
    pub dropped: u64,
    /// Packets whose bytes the kernel did not give out.
    pub unreadable: u64,
    /// Packets that the interface had no room for, of all kinds: they are in no other number.
    pub dropped_by_interface: u64,
    /// Packets that were read and not written.
    pub unwritten: u64,
    /// Why they were not written.
    pub reason: Unwritten,
    /// Packets that matched after the last one that `-c`, or a limit of an output, asked for.
    pub beyond_count: u64,
    /// Whether it was the limit of an output: `-c` is tcpdump's, which says nothing of them.
    pub has_limit: bool,
    /// Records in the rings that were not capture's own: another program put them there, or the programs are those of
    /// another release, whose packets are then in no other number.
    pub foreign: u64,
}

/// Why packets were not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unwritten {
    /// The output failed, was closed, or took nothing any more when the capture ended.
    #[default]
    Output,
    /// A second request to end did not wait for the output.
    SecondSignal,
}

impl fmt::Display for Unwritten {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Output => "the output was blocked, closed or full",
            Self::SecondSignal => "a second signal ended the capture at once",
        })
    }
}

impl Summary {
    /// tcpdump's three numbers in one line, as it prints them on SIGUSR1, when the capture has read this many packets:
    /// as there, their lines may still wait to be written. Those that wait in the ring buffers have a number of their
    /// own.
    pub fn so_far(&self, read: u64) -> String {
        let Self { received, dropped_by_interface, .. } = self;
        let received = received.unwrap_or_default();
        let waiting = match received.saturating_sub(read + self.lost()) {
            0 => String::new(),
            waiting => format!(", {} waiting to be read", packets(waiting)),
        };
        let by_interface = match dropped_by_interface {
            0 => String::new(),
            dropped => format!(", {} dropped by interface", packets(*dropped)),
        };
        format!(
            "{} captured, {} received by filter, {} dropped by kernel{by_interface}{waiting}",
            packets(read),
            packets(received),
            packets(self.lost())
        )
    }

    fn lost(&self) -> u64 {
        self.dropped + self.unreadable
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            captured,
            received,
            unwritten,
            reason,
            dropped_by_interface,
            foreign,
            beyond_count,
            has_limit,
            ..
        } = self;
        writeln!(formatter, "{} captured", packets(*captured))?;
        if let Some(received) = received {
            writeln!(formatter, "{} received by filter", packets(*received))?;
            writeln!(formatter, "{} dropped by kernel", packets(self.lost()))?;
        }
        if *dropped_by_interface > 0 {
            writeln!(formatter, "{} dropped by interface", packets(*dropped_by_interface))?;
        }
        if *unwritten > 0 {
            writeln!(formatter, "{} not written: {reason}", packets(*unwritten))?;
        }
        if *has_limit && *beyond_count > 0 {
            writeln!(formatter, "{} after the limit", packets(*beyond_count))?;
        }
        if *foreign > 0 {
            let (plural, verb) = if *foreign == 1 { ("", "is") } else { ("s", "are") };
            writeln!(
                formatter,
                "{foreign} record{plural} in the ring buffers {verb} not capture's own: another program wrote to them, or the \
                 eBPF object is from another release"
            )?;
        }
        Ok(())
    }
}

/// The warnings of a capture, as the summary repeats them: each once, and not more of them than can be read.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    different: Vec<String>,
    further: u64,
}

impl Warnings {
    /// Keeps a warning.
    pub fn add(&mut self, warning: String) {
        if self.different.contains(&warning) {
            return;
        }
        if self.different.len() < WARNINGS {
            self.different.push(warning);
        } else {
            self.further += 1;
        }
    }
}

impl fmt::Display for Warnings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.different {
            writeln!(formatter, "capture: warning: {warning}")?;
        }
        match self.further {
            0 => Ok(()),
            further => writeln!(formatter, "capture: warning: {further} further warning(s) are above"),
        }
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
        let summary =
            Summary { captured: 1, received: Some(22), dropped: 20, unreadable: 1, ..Summary::default() };
        let expected = "1 packet captured\n22 packets received by filter\n21 packets dropped by kernel\n";
        assert_eq!(summary.to_string(), expected);
        let expected = "1 packet captured, 22 packets received by filter, 21 packets dropped by kernel";
        assert_eq!(summary.so_far(1), expected);
        let waiting = Summary { received: Some(23), ..summary };
        assert_eq!(waiting.so_far(1), expected.replace("22", "23") + ", 1 packet waiting to be read");
    }

    #[test]
    fn without_counters_there_are_the_other_numbers() {
        let summary = Summary { captured: 1, unwritten: 2, ..Summary::default() };
        let expected = "1 packet captured\n2 packets not written: the output was blocked, closed or full\n";
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn records_of_others_have_a_line_if_there_are_any() {
        for (foreign, words) in
            [(1, "1 record in the ring buffers is"), (2, "2 records in the ring buffers are")]
        {
            let summary = Summary { foreign, ..Summary::default() };
            assert!(summary.to_string().contains(&format!("\n{words} not capture's own: ")));
        }
        assert!(!Summary::default().to_string().contains("record"));
    }

    #[test]
    fn what_the_interface_dropped_has_a_line_if_it_dropped_any() {
        let summary =
            Summary { captured: 2, received: Some(2), dropped_by_interface: 1, ..Summary::default() };
        assert!(
            summary.to_string().ends_with("\n0 packets dropped by kernel\n1 packet dropped by interface\n")
        );
        assert!(summary.so_far(2).ends_with(", 0 packets dropped by kernel, 1 packet dropped by interface"));
    }

    #[test]
    fn what_was_not_written_has_a_line_with_the_reason() {
        let summary = Summary { captured: 2, received: Some(5), unwritten: 3, ..Summary::default() };
        let end = "\n3 packets not written: the output was blocked, closed or full\n";
        assert!(summary.to_string().ends_with(end));
        let summary = Summary { reason: Unwritten::SecondSignal, ..summary };
        let end = "\n3 packets not written: a second signal ended the capture at once\n";
        assert!(summary.to_string().ends_with(end));
    }

    /// An interface that comes and goes for weeks does not fill the memory.
    #[test]
    fn warnings_are_repeated_once_each() {
        let mut warnings = Warnings::default();
        assert_eq!(warnings.to_string(), "");
        for _ in 0..2 {
            warnings.add("one".to_owned());
        }
        assert_eq!(warnings.to_string(), "capture: warning: one\n");
        for number in 0..100 {
            warnings.add(number.to_string());
        }
        let text = warnings.to_string();
        assert_eq!(text.lines().count(), WARNINGS + 1);
        assert!(text.ends_with("capture: warning: 85 further warning(s) are above\n"), "{text}");
    }
}

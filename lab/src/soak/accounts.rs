//! What capture says of its packets while it runs, and the identities that hold.
//!
//! | identity | while it runs | when it has ended |
//! |---|---|---|
//! | of the kernel's side | received = read + dropped + in the rings, never less | received = read + dropped |
//! | of each output | read >= in the output + dropped | read = in the output + dropped + not written |

use anyhow::{Result, ensure};

/// The answer to SIGUSR1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Packets that were read, whether they have been written or not.
    pub(super) read: u64,
    pub(super) received: u64,
    /// Lost because the rings were full.
    pub(super) dropped: u64,
    /// In the rings.
    pub(super) waiting: u64,
    /// What outputs had no room for, by their names.
    outputs: Vec<(String, u64)>,
}

impl Answer {
    /// The last whole one in what was said.
    pub(super) fn last_in(said: &str) -> Option<Self> {
        let mut answer = None;
        for line in said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let Some(line) = line.strip_prefix("capture: ") else { continue };
            if let Some(numbers) = Self::numbers(line) {
                answer = Some(numbers);
            } else if let (Some(answer), Some(rest)) = (&mut answer, line.strip_suffix(" dropped so far"))
                && let Some((name, count)) = rest.rsplit_once(": ")
            {
                answer.outputs.extend(packets(count, "").map(|count| (name.to_owned(), count)));
            }
        }
        answer
    }

    /// tcpdump's three numbers in one line, and those that follow them.
    fn numbers(line: &str) -> Option<Self> {
        let mut parts = line.split(", ");
        let mut answer = Self { read: packets(parts.next()?, " captured")?, ..Self::default() };
        answer.received = packets(parts.next()?, " received by filter")?;
        answer.dropped = packets(parts.next()?, " dropped by kernel")?;
        for part in parts {
            answer.waiting = packets(part, " waiting to be read").unwrap_or(answer.waiting);
        }
        Some(answer)
    }

    /// What all outputs had no room for.
    pub(super) fn dropped_by_outputs(&self) -> u64 {
        self.outputs.iter().map(|(_, dropped)| dropped).sum()
    }

    /// Whether it tells of all outputs that one before told of: a file may have its first line before it has the others.
    pub(super) fn is_whole(&self, before: &Self) -> bool {
        before.outputs.iter().all(|(name, _)| self.outputs.iter().any(|(known, _)| known == name))
    }

    /// What the output had no room for.
    pub(super) fn dropped_by(&self, output: &str) -> u64 {
        self.outputs.iter().find(|(name, _)| name == output).map_or(0, |(_, dropped)| *dropped)
    }

    /// Checks the identity of the kernel's side, and that no number has become smaller since the answer `before`.
    pub(super) fn check(&self, before: &Self) -> Result<()> {
        let Self { read, received, dropped, waiting, .. } = self;
        ensure!(
            *received == read + dropped + waiting,
            "received by filter is {received}, which is not {read} read + {dropped} dropped + {waiting} in the rings"
        );
        for (what, now, before) in [
            ("read", read, before.read),
            ("received", received, before.received),
            ("dropped", dropped, before.dropped),
        ] {
            ensure!(*now >= before, "packets {what} were {before}, and are {now} now");
        }
        for (name, before) in &before.outputs {
            let now = self.dropped_by(name);
            ensure!(now >= *before, "{name} had dropped {before} packets, and has dropped {now} now");
        }
        Ok(())
    }

    /// Checks the identity of an output that had these packets before the question was asked.
    pub(super) fn check_output(&self, name: &str, packets: u64) -> Result<()> {
        let (read, dropped) = (self.read, self.dropped_by(name));
        ensure!(
            packets + dropped <= read,
            "{name} has {packets} packets and dropped {dropped}: more than the {read} that were read"
        );
        Ok(())
    }
}

/// `1 packet`, `2 packets`, and more words.
pub(super) fn packets(text: &str, words: &str) -> Option<u64> {
    let (count, unit) = text.strip_suffix(words)?.split_once(' ')?;
    matches!(unit, "packet" | "packets").then_some(count.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let said = "capture: listening on lo\n\
            capture: 1 packet captured, 3 packets received by filter, 2 packets dropped by kernel\n\
            capture: 9 packets lost: the ring buffers were full\n\
            capture: 5 packets captured, 10 packets received by filter, 2 packets dropped by kernel, 7 packets \
            dropped by interface, 3 packets waiting to be read\n\
            capture: standard output: 4 packets dropped so far\n\
            capture: 6 packets captured, 10 packets recei";
        let answer = Answer::last_in(said).unwrap();
        assert_eq!((answer.read, answer.received, answer.dropped, answer.waiting), (5, 10, 2, 3));
        assert_eq!((answer.dropped_by("standard output"), answer.dropped_by("x")), (4, 0));
        let first = Answer::last_in(&said[..140]).unwrap();
        assert_eq!((first.read, first.received), (1, 3));
        answer.check(&first).unwrap();
        assert!(answer.is_whole(&first) && !first.is_whole(&answer));
        first.check(&answer).unwrap_err();
        answer.check_output("standard output", 1).unwrap();
        answer.check_output("standard output", 2).unwrap_err();
        assert_eq!(Answer::last_in("capture: x\n"), None);
    }

    #[test]
    fn packets_that_nothing_is_said_of_are_found() {
        let answer = Answer { read: 5, received: 8, dropped: 2, waiting: 1, outputs: Vec::new() };
        answer.check(&Answer::default()).unwrap();
        for wrong in
            [Answer { read: 4, ..answer.clone() }, Answer { received: 6, waiting: 0, ..answer.clone() }]
        {
            wrong.check(&Answer::default()).unwrap_err();
        }
    }
}

//! A capture that has ended: what it said in the end, what is in its outputs, and whether the two agree.

use std::{path::PathBuf, process::ExitStatus};

use anyhow::{Context as _, Result, bail, ensure};

use super::{accounts::packets, counter::Tally};

/// A capture that has ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) said: String,
    pub(super) outputs: Vec<Content>,
    /// Its command line, and where what it said is.
    pub(super) line: String,
    pub(super) log: PathBuf,
}

/// An output at the end.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// What capture calls it.
    pub(super) name: String,
    pub(super) tally: Tally,
    /// Whether it was read to the end.
    pub(super) has_reader: bool,
    /// Whether packets were written that cannot be counted.
    pub(super) is_partial: bool,
}

/// What is missing from an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// It was too slow.
    pub(super) dropped: u64,
    pub(super) not_written: u64,
    /// After the limit.
    after_limit: u64,
    /// Of another link type than the file.
    left_out: u64,
}

impl Missing {
    fn sum(self) -> u64 {
        self.dropped + self.not_written + self.after_limit + self.left_out
    }

    /// Whether the output lacks packets that it was to have.
    fn is_some(self) -> bool {
        self.dropped + self.not_written + self.left_out > 0
    }
}

/// The summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) captured: u64,
    pub(super) received: u64,
    pub(super) dropped: u64,
    /// Of the capture, and of its only output.
    pub(super) missing: Missing,
    /// What is missing from each of several outputs, as they were asked for.
    pub(super) outputs: Vec<Missing>,
}

/// What a capture is to end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Status 0, unless an output lacks packets.
    Order,
    /// The same, or status 1 because an output that is not read did not take what comes after the last packet.
    Unread,
    /// As `Order`, after `-c`: packets after the last one are received, and nothing more is said of them.
    Count,
    /// Status 1, for another reason.
    Failure,
}

impl Ended {
    /// Checks all that it says, and its status.
    ///
    /// # Errors
    ///
    /// That says what does not hold.
    pub(super) fn check(&self, expected: Expected) -> Result<Summary> {
        let checked = self.try_check(expected);
        checked.with_context(|| format!("`{}` (it said {})", self.line, self.log.display()))
    }

    fn try_check(&self, expected: Expected) -> Result<Summary> {
        self.check_words()?;
        let summary = Summary::read(&self.said, &self.outputs)?;
        summary.check(&self.outputs, expected)?;
        for (number, content) in self.outputs.iter().enumerate() {
            summary.check_output(number, content).with_context(|| format!("{} is wrong", content.name))?;
        }
        let lacks = summary.is_incomplete(&self.outputs);
        let unclosed = expected == Expected::Unread && self.said.contains(" is not closed: ");
        let status = i32::from(lacks || unclosed || expected == Expected::Failure);
        ensure!(
            self.status.code() == Some(status),
            "it ended with {}, and {summary:?} asks for {status}: {}",
            self.status,
            self.said.trim()
        );
        Ok(summary)
    }

    /// That it says nothing that is always wrong.
    pub(super) fn check_words(&self) -> Result<()> {
        for words in ["panicked at", "not capture's own"] {
            ensure!(!self.said.contains(words), "it said `{words}`");
        }
        Ok(())
    }
}

impl Summary {
    /// In what was said at the end.
    ///
    /// # Errors
    ///
    /// When there is none.
    fn read(said: &str, outputs: &[Content]) -> Result<Self> {
        let mut lines = said.lines().skip_while(|line| packets(line, " captured").is_none());
        let captured =
            lines.next().and_then(|line| packets(line, " captured")).context("there is no summary")?;
        let mut summary =
            Self { captured, outputs: vec![Missing::default(); outputs.len()], ..Self::default() };
        for line in lines {
            let of_output =
                outputs.iter().zip(&mut summary.outputs).find_map(|(Content { name, .. }, missing)| {
                    Some((line.strip_prefix(name)?.strip_prefix(": ")?, missing))
                });
            let (line, missing) = of_output.unwrap_or((line, &mut summary.missing));
            let line = line.split_once(": ").map_or(line, |(line, _)| line);
            for (words, number) in [
                (" received by filter", &mut summary.received),
                (" dropped by kernel", &mut summary.dropped),
                (" dropped, because this output was too slow", &mut missing.dropped),
                (" not written", &mut missing.not_written),
                (" after the limit", &mut missing.after_limit),
                (" left out", &mut missing.left_out),
            ] {
                *number = packets(line, words).unwrap_or(*number);
            }
        }
        Ok(summary)
    }

    /// Checks both identities.
    fn check(&self, outputs: &[Content], expected: Expected) -> Result<()> {
        let Self { captured, received, dropped, missing, .. } = self;
        let accounted = captured + dropped + missing.sum();
        let holds = if expected == Expected::Count { *received >= accounted } else { *received == accounted };
        if !holds {
            bail!("{received} packets were received by filter, and {accounted} are accounted for: {self:?}");
        }
        for (number, Content { name, tally, is_partial, .. }) in outputs.iter().enumerate() {
            // What the only output lacks is in the summary's own lines.
            let missing = if outputs.len() > 1 { self.of_output(number).sum() } else { 0 };
            let accounted = tally.packets + missing;
            let holds = if *is_partial { accounted <= *captured } else { accounted == *captured };
            if !holds {
                bail!(
                    "{name} has {} packets, and {missing} are said to be missing: that makes {accounted}, and not the \
                     {captured} that were captured: {self:?}",
                    tally.packets
                );
            }
        }
        Ok(())
    }

    /// What an output lacks.
    fn of_output(&self, number: usize) -> Missing {
        match self.outputs.as_slice() {
            [_] => self.missing,
            outputs => outputs.get(number).copied().unwrap_or_default(),
        }
    }

    /// Checks what an output says of the capture in its own words, and that it is whole.
    fn check_output(&self, number: usize, content: &Content) -> Result<()> {
        let Content { tally, has_reader, is_partial, .. } = content;
        let missing = self.of_output(number);
        if !has_reader || *is_partial || missing.not_written > 0 {
            return Ok(());
        }
        ensure!(!tally.is_cut, "it ends in the middle of a packet");
        // What was not read is in neither.
        if self.missing.not_written > 0 {
            return Ok(());
        }
        if let Some(accounts) = tally.statistics {
            // What no output was to have is known of the whole capture alone.
            let received = match tally.interfaces {
                1 => self.received,
                _ => self.dropped + missing.dropped + tally.packets,
            };
            let expected = (received, self.dropped, tally.packets);
            ensure!(
                (accounts.received, accounts.dropped, accounts.delivered) == expected,
                "its last accounts are {accounts:?}: the summary says {self:?}"
            );
        }
        if let Some(objects) = tally.objects {
            let summary = objects.summary.context("it has no summary")?;
            let expected = (self.received, self.captured, self.dropped, missing.dropped);
            let lost = summary.lost;
            ensure!(
                (summary.received, summary.read, lost.by_kernel, lost.by_output) == expected,
                "its summary is {summary:?}: on standard error it is {self:?}"
            );
            ensure!(
                objects.lost == lost,
                "the losses that it told are {:?}, and its summary is {summary:?}",
                objects.lost
            );
        }
        Ok(())
    }

    /// Whether an output lacks packets, besides those whose readers have gone.
    fn is_incomplete(&self, outputs: &[Content]) -> bool {
        let is_read = outputs.iter().any(|output| output.has_reader);
        let lacks =
            |(number, output): (usize, &Content)| output.has_reader && self.of_output(number).is_some();
        is_read && self.missing.is_some() || outputs.iter().enumerate().any(lacks)
    }

    /// Packets that outputs lack, by cause: they were too slow, and they had failed.
    pub(super) fn lost_by_outputs(&self) -> [u64; 2] {
        let all = || self.outputs.iter().chain([&self.missing]);
        [all().map(|missing| missing.dropped).sum(), all().map(|missing| missing.not_written).sum()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(name: &str, packets: u64) -> Content {
        let tally = Tally { packets, ..Tally::default() };
        Content { name: name.to_owned(), tally, has_reader: true, is_partial: false }
    }

    fn gone(content: Content) -> Content {
        Content { has_reader: false, is_partial: true, ..content }
    }

    #[test]
    fn one_output_adds_up() {
        let said = "capture: 1 packet captured, 1 packet received by filter, 0 packets dropped by kernel\n\
            4 packets captured\n9 packets received by filter\n2 packets dropped by kernel\n\
            1 packet dropped by interface\n3 packets not written: the output was blocked, closed or full\n";
        let outputs = |packets| [content("standard output", packets)];
        let summary = Summary::read(said, &outputs(4)).unwrap();
        assert_eq!((summary.captured, summary.received, summary.missing.not_written), (4, 9, 3));
        summary.check(&outputs(4), Expected::Order).unwrap();
        for wrong in [3, 5] {
            summary.check(&outputs(wrong), Expected::Order).unwrap_err();
        }
        let with = |received| Summary { received, ..summary.clone() };
        for received in [8, 10] {
            with(received).check(&outputs(4), Expected::Order).unwrap_err();
        }
        with(10).check(&outputs(4), Expected::Count).unwrap();
        with(8).check(&outputs(4), Expected::Count).unwrap_err();
        assert!(summary.is_incomplete(&outputs(4)));
        assert!(!summary.is_incomplete(&outputs(4).map(gone)));
        Summary::read("capture: no\n", &[]).unwrap_err();
    }

    #[test]
    fn several_outputs_add_up() {
        let said = "7 packets captured\n9 packets received by filter\n2 packets dropped by kernel\n\
            /x/y.pcap: 3 packets not written\nstandard output: 1 packet dropped, because this output was too slow\n\
            standard output: 4 packets after the limit\neth1 disappeared once, for 0.1 s together\n";
        let outputs = |file, text| [content("/x/y.pcap", file), content("standard output", text)];
        let summary = Summary::read(said, &outputs(4, 2)).unwrap();
        summary.check(&outputs(4, 2), Expected::Order).unwrap();
        summary.check(&outputs(4, 3), Expected::Order).unwrap_err();
        let [file, text] = outputs(1, 2);
        summary.check(&[gone(file.clone()), text.clone()], Expected::Order).unwrap();
        summary.check(&[file, text], Expected::Order).unwrap_err();
        assert_eq!(summary.lost_by_outputs(), [1, 3]);
        let [file, text] = outputs(4, 2);
        assert!(summary.is_incomplete(&[gone(file.clone()), text.clone()]));
        assert!(!summary.is_incomplete(&[gone(file), gone(text)]));
    }
}

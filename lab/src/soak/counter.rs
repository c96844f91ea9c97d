//! Counts the packets in what capture writes, as it comes.

mod json;
mod pcapng;

use anyhow::{Context as _, Result, bail, ensure};

use self::{json::Objects, pcapng::Statistics};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Lines. Those of a packet after its first are indented, and comments begin with `// `.
    Text,
    Json,
    Pcap,
    Pcapng,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) packets: u64,
    /// Whether it ends in the middle of something.
    pub(super) is_cut: bool,
    /// The last accounts of a pcapng stream, those of all its interfaces together, and how many these are.
    pub(super) statistics: Option<Statistics>,
    pub(super) interfaces: usize,
    /// The accounts of JSON lines.
    pub(super) objects: Option<Objects>,
}

/// The header of a pcap file, and of each packet in it.
const PCAP_HEADER: usize = 24;
const PCAP_PACKET: usize = 16;
/// The type and the length of a pcapng block.
const BLOCK_HEADER: usize = 8;
/// Longer ones are not written.
const LONGEST_PACKET: u32 = 1 << 20;
const LONGEST_BLOCK: u32 = 1 << 25;

/// Counts.
#[derive(Debug)]
pub(super) struct Counter {
    format: Format,
    /// Whether it is all that was written: no other file is in front of it.
    is_all: bool,
    tally: Tally,
    /// Whether a pcap header has been seen.
    had_header: bool,
    /// The interfaces in a pcapng stream: packets in front, and the last accounts.
    interfaces: Vec<(u64, Option<Statistics>)>,
    /// The beginning of a line, or of a packet's or block's header.
    pending: Vec<u8>,
    /// Bytes to pass over, and whether a packet ends with them.
    skip: u64,
    is_packet: bool,
    /// What is not as it should be.
    fault: Option<String>,
}

impl Counter {
    /// Of something that `is_all` that is written: of several files none is.
    pub(super) fn new(format: Format, is_all: bool) -> Self {
        Self {
            format,
            is_all,
            tally: Tally::default(),
            had_header: false,
            interfaces: Vec::new(),
            pending: Vec::new(),
            skip: 0,
            is_packet: false,
            fault: None,
        }
    }

    /// Takes what comes next.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        let taken = match self.format {
            Format::Text | Format::Json => self.take_lines(bytes),
            Format::Pcap | Format::Pcapng => self.take_blocks(bytes),
        };
        self.fault = taken.err().map(|error| format!("{error:#}"));
    }

    /// What there is so far.
    ///
    /// # Errors
    ///
    /// When something is not as it should be.
    pub(super) fn tally(&self) -> Result<Tally> {
        if let Some(fault) = &self.fault {
            bail!("{fault} (after {} packets)", self.tally.packets);
        }
        let is_cut = !self.pending.is_empty() || self.skip > 0;
        let statistics =
            self.interfaces.iter().filter_map(|(_, statistics)| *statistics).reduce(Statistics::plus);
        Ok(Tally { is_cut, statistics, interfaces: self.interfaces.len(), ..self.tally.clone() })
    }

    fn take_lines(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.pending.is_empty() {
                self.take_line(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.pending);
                whole.extend_from_slice(line);
                self.take_line(&whole)?;
            }
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        if self.format == Format::Json {
            return json::take(line, &mut self.tally);
        }
        let is_packet =
            line.first().is_some_and(|first| !matches!(first, b' ' | b'\t')) && !line.starts_with(b"// ");
        self.tally.packets += u64::from(is_packet);
        Ok(())
    }

    fn take_blocks(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            bytes = &bytes[skipped as usize..];
            if self.skip > 0 {
                return Ok(());
            }
            self.tally.packets += u64::from(std::mem::take(&mut self.is_packet));
            let missing = self.header_length() - self.pending.len();
            if bytes.len() < missing {
                self.pending.extend_from_slice(bytes);
                return Ok(());
            }
            self.pending.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            let header = std::mem::take(&mut self.pending);
            self.take_header(&header)?;
        }
    }

    /// How long the header is that comes next, or is being collected.
    fn header_length(&self) -> usize {
        match self.format {
            Format::Pcap if self.had_header => PCAP_PACKET,
            Format::Pcap => PCAP_HEADER,
            _ => pcapng::header_length(&self.pending).unwrap_or(BLOCK_HEADER),
        }
    }

    fn take_header(&mut self, header: &[u8]) -> Result<()> {
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if self.format == Format::Pcap && !self.had_header {
            ensure!(matches!(word(0), 0xa1b2_c3d4 | 0xa1b2_3c4d), "{:#010x} begins no pcap file", word(0));
            self.had_header = true;
            return Ok(());
        }
        if self.format == Format::Pcap {
            let length = word(8);
            ensure!(length <= LONGEST_PACKET, "a packet of {length} bytes");
            (self.skip, self.is_packet) = (length.into(), true);
            return Ok(());
        }
        let length = word(4);
        if header.len() > BLOCK_HEADER {
            let interface = self.interfaces.get_mut(word(8) as usize);
            let (packets, accounts) =
                interface.with_context(|| format!("no interface has number {}", word(8)))?;
            if word(0) == pcapng::PACKET {
                *packets += 1;
                (self.skip, self.is_packet) = (u64::from(length) - header.len() as u64, true);
            } else if let Some(statistics) = pcapng::statistics(header)? {
                statistics.check(accounts.as_ref(), self.is_all.then_some(*packets))?;
                *accounts = Some(statistics);
            }
            return Ok(());
        }
        ensure!(
            length.is_multiple_of(4) && (12..=LONGEST_BLOCK).contains(&length),
            "a pcapng block of type {:#x} and {length} bytes",
            word(0)
        );
        if pcapng::header_length(header).is_some() {
            self.pending = header.to_vec();
            return Ok(());
        }
        self.skip = u64::from(length) - BLOCK_HEADER as u64;
        if word(0) == pcapng::INTERFACE {
            self.interfaces.push((0, None));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Making a difference as small as it can be seen.

use std::{fs, path::Path};

use anyhow::Result;

use crate::{
    oracle::Invocation,
    packets::{
        Packet,
        byte_order::ByteOrder,
        file::{CaptureFile, Format},
    },
};

/// What is left of a difference.
pub(super) struct Shrunk {
    pub(super) file: CaptureFile,
    pub(super) invocation: Invocation,
    /// What tcpdump prints.
    pub(super) expected: Vec<u8>,
    /// What capture prints.
    pub(super) got: Vec<u8>,
}

impl Shrunk {
    /// The first lines that differ, in a form in which like differences are equal.
    pub(super) fn signature(&self) -> String {
        let (expected, got) = (String::from_utf8_lossy(&self.expected), String::from_utf8_lossy(&self.got));
        let differing = expected.lines().zip(got.lines()).find(|(expected, got)| expected != got);
        let (expected, got) = differing.unwrap_or(("more or less", "lines"));
        // What both begin with does not matter, but for the last words of it.
        let common = expected.bytes().zip(got.bytes()).take_while(|(a, b)| a == b).count();
        let tail =
            |line: &str| String::from_utf8_lossy(&line.as_bytes()[common.saturating_sub(8)..]).into_owned();
        format!("{} | {}", signature(&tail(expected)), signature(&tail(got)))
    }
}

/// The text without its numbers.
pub(super) fn signature(text: &str) -> String {
    let mut signature = String::new();
    for character in text.chars() {
        let character = if character.is_ascii_digit() { '#' } else { character };
        if !(character == '#' && signature.ends_with('#')) {
            signature.push(character);
        }
    }
    signature
}

struct Shrinker<'a> {
    capture: &'a Path,
    scratch: &'a Path,
    file: CaptureFile,
    invocation: Invocation,
}

/// Shrinks a file on which the programs differ. `scratch` is written and removed. `fresh` is asked early, with a
/// signature, whether the like is not known yet; if it is, there is nothing to shrink.
pub(super) fn shrink(
    file: &CaptureFile,
    invocation: &Invocation,
    capture: &Path,
    scratch: &Path,
    fresh: impl FnOnce(String) -> bool,
) -> Result<Option<Shrunk>> {
    let mut shrinker = Shrinker { capture, scratch, file: file.clone(), invocation: invocation.clone() };
    shrinker.cut_the_end()?;
    if !fresh(shrinker.result()?.signature()) {
        fs::remove_file(scratch)?;
        return Ok(None);
    }
    shrinker.leave_out_packets()?;
    shrinker.plainer_file()?;
    shrinker.fewer_flags()?;
    for index in (0..shrinker.file.packets.len()).rev() {
        shrinker.shorten(index)?;
        shrinker.zero(index)?;
    }
    let shrunk = shrinker.result()?;
    fs::remove_file(scratch)?;
    Ok(Some(shrunk))
}

impl Shrinker<'_> {
    fn result(&self) -> Result<Shrunk> {
        fs::write(self.scratch, self.file.encode())?;
        let [tcpdump, capture] = self.invocation.outputs(self.capture, self.scratch, self.file.link)?;
        let (file, invocation) = (self.file.clone(), self.invocation.clone());
        Ok(Shrunk { file, invocation, expected: tcpdump.stdout, got: capture.stdout })
    }

    fn differs_with(&self, file: &CaptureFile, packets: &[Packet], invocation: &Invocation) -> Result<bool> {
        fs::write(self.scratch, file.encode_some(packets.iter()))?;
        Ok(invocation.agree(self.capture, self.scratch, file.link)?.is_none())
    }

    fn differs(&self, packets: &[Packet]) -> Result<bool> {
        self.differs_with(&self.file, packets, &self.invocation)
    }

    /// Finds the first packet that makes a difference: a longer file never loses one that a shorter one has.
    fn cut_the_end(&mut self) -> Result<()> {
        let (mut same, mut different) = (0, self.file.packets.len());
        while different - same > 1 {
            let middle = same.midpoint(different);
            if self.differs(&self.file.packets[..middle])? {
                different = middle;
            } else {
                same = middle;
            }
        }
        self.file.packets.truncate(different);
        Ok(())
    }

    /// Leaves out packets before the last: many at a time, then fewer.
    fn leave_out_packets(&mut self) -> Result<()> {
        let mut chunk = self.file.packets.len();
        while chunk > 0 {
            let mut start = 0;
            while start < self.file.packets.len().saturating_sub(1) {
                let end = (start + chunk).min(self.file.packets.len() - 1);
                let mut fewer = self.file.packets.clone();
                fewer.drain(start..end);
                if self.differs(&fewer)? {
                    self.file.packets = fewer;
                } else {
                    start = end;
                }
            }
            chunk /= 2;
        }
        Ok(())
    }

    fn plainer_file(&mut self) -> Result<()> {
        let plainer = [
            |file: &mut CaptureFile| file.format = Format::Pcap,
            |file: &mut CaptureFile| file.order = ByteOrder::Little,
            |file: &mut CaptureFile| file.snaplen = 262_144,
            |file: &mut CaptureFile| file.packets.iter_mut().for_each(|packet| packet.seconds = 0),
            |file: &mut CaptureFile| file.packets.iter_mut().for_each(|packet| packet.nanoseconds = 0),
        ];
        for change in plainer {
            let mut file = self.file.clone();
            change(&mut file);
            if self.differs_with(&file, &file.packets, &self.invocation)? {
                self.file = file;
            }
        }
        Ok(())
    }

    fn fewer_flags(&mut self) -> Result<()> {
        let mut plainer = self.invocation.clone();
        plainer.zone = None;
        self.take_if_different(plainer)?;
        let mut plainer = self.invocation.clone();
        plainer.port = None;
        self.take_if_different(plainer)?;
        // `-n` stays.
        for index in (1..self.invocation.flags.len()).rev() {
            let mut plainer = self.invocation.clone();
            plainer.flags.remove(index);
            self.take_if_different(plainer)?;
        }
        if !self.invocation.flags.iter().any(|flag| flag.starts_with("-t")) {
            let mut plainer = self.invocation.clone();
            plainer.flags.push("-t".into());
            self.take_if_different(plainer)?;
        }
        Ok(())
    }

    fn take_if_different(&mut self, invocation: Invocation) -> Result<()> {
        if self.differs_with(&self.file, &self.file.packets, &invocation)? {
            self.invocation = invocation;
        }
        Ok(())
    }

    /// Cuts bytes off the end of what was captured of a packet: many at a time, then fewer.
    fn shorten(&mut self, index: usize) -> Result<()> {
        let mut step = self.file.packets[index].data.len();
        while step > 0 {
            let mut packets = self.file.packets.clone();
            let length = packets[index].data.len();
            if length < step {
                step /= 2;
                continue;
            }
            packets[index].data.truncate(length - step);
            if self.differs(&packets)? {
                self.file.packets = packets;
            } else {
                step /= 2;
            }
        }
        Ok(())
    }

    /// Sets bytes of a packet to zero that need not be anything else.
    fn zero(&mut self, index: usize) -> Result<()> {
        for at in 0..self.file.packets[index].data.len().min(200) {
            if self.file.packets[index].data[at] == 0 {
                continue;
            }
            let mut packets = self.file.packets.clone();
            packets[index].data[at] = 0;
            if self.differs(&packets)? {
                self.file.packets = packets;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_that_differ_in_numbers_only_look_alike() {
        assert_eq!(signature("win 342, length 10"), signature("win 65535, length 7"));
        assert_ne!(signature("win 342"), signature("ack 342"));
    }
}

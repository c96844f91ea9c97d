//! A file in memory that packets are written to again and again.

use std::{
    fs::File,
    io::{self, Read, Seek as _, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::tempfile_in;

/// A file that has all its pages before it is written to: what is measured is the program, and not what memory costs that
/// was not used before. In a virtual machine that can be several times as much as writing: the host has to find it.
#[derive(Debug)]
pub(super) struct Space(File);

impl Space {
    /// With room for so many bytes.
    pub(super) fn new(folder: &Path, bytes: u64) -> Result<Self> {
        let mut file = tempfile_in(folder)?;
        io::copy(&mut io::repeat(0).take(bytes), &mut file)
            .with_context(|| format!("cannot have a file of {bytes} bytes in {}", folder.display()))?;
        Ok(Self(file))
    }

    /// The file as a program's standard output, from its beginning.
    pub(super) fn output(&self) -> Result<Stdio> {
        (&self.0).rewind()?;
        Ok(self.0.try_clone()?.into())
    }

    /// How many packets have been written.
    pub(super) fn count_packets(&self) -> Result<u64> {
        let mut file = &self.0;
        // What comes after it is older.
        let end = file.stream_position()?;
        file.rewind()?;
        count_packets(file.take(end))
    }
}

/// How many packets a file has, by the tool that everybody has.
pub(super) fn count_packets(mut file: impl Read) -> Result<u64> {
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-n", "--count", "-r", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tcpdump = tcpdump.stderr(Stdio::null()).spawn().context("cannot run tcpdump")?;
    let mut packets = tcpdump.stdin.take().context("no pipe")?;
    io::copy(&mut file, &mut packets)?;
    packets.flush()?;
    drop(packets);
    let output = tcpdump.wait_with_output()?;
    ensure!(output.status.success(), "tcpdump cannot read what was written");
    let output = String::from_utf8_lossy(&output.stdout);
    let count = output.split_whitespace().next().and_then(|count| count.parse().ok());
    count.with_context(|| format!("tcpdump counts no packets: {output}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::{Packet, file::CaptureFile, link::Link};

    #[test]
    fn what_is_left_of_an_earlier_run_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(folder.path(), 1 << 16).unwrap();
        for packets in [20, 3] {
            let packet = |number| Packet::whole(number, 0, vec![0; 60]);
            let file = CaptureFile::pcap(Link::Ethernet, (0..packets).map(packet).collect()).encode();
            drop(space.output().unwrap());
            (&space.0).write_all(&file).unwrap();
            assert_eq!(space.count_packets().unwrap(), u64::from(packets));
        }
    }
}

//! The packets of the goldens: each print mode, and each corner of what tcpdump prints of a malformed packet.

mod files;
mod ip;
mod modes;
mod tcp;
mod walkthrough;

use anyhow::Result;

use super::Entry;
use crate::packets::{
    Packet,
    file::CaptureFile,
    ip::Addresses,
    length,
    link::{Link, ethernet, frame},
    tcp::{ACK, PSH, SegmentFields, option},
};

/// The files and the lines of the list.
#[derive(Default)]
pub(crate) struct Corpus {
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) entries: Vec<Entry>,
}

/// Makes all of it.
pub(crate) fn corpus() -> Result<Corpus> {
    let mut corpus = Corpus::default();
    walkthrough::add(&mut corpus)?;
    modes::add(&mut corpus)?;
    tcp::add(&mut corpus)?;
    ip::add(&mut corpus)?;
    files::add(&mut corpus)?;
    Ok(corpus)
}

impl Corpus {
    /// Adds a file, and goldens of it: what each is called after the file's name, and its flags.
    fn add(&mut self, name: &str, bytes: Vec<u8>, goldens: &[(&str, &str)]) -> Result<()> {
        let extension = if bytes.starts_with(&[0x0a, 0x0d]) { "pcapng" } else { "pcap" };
        let file = format!("{name}.{extension}");
        for (suffix, flags) in goldens {
            let separator = if suffix.is_empty() { "" } else { "-" };
            self.entries.push(Entry::of_file(&format!("{name}{separator}{suffix}"), &file, flags.parse()?));
        }
        self.files.push((file, bytes));
        Ok(())
    }

    /// Adds a pcap file of Ethernet frames.
    fn add_frames(&mut self, name: &str, frames: Vec<Frame>, goldens: &[(&str, &str)]) -> Result<()> {
        self.add(name, pcap(Link::Ethernet, frames).encode(), goldens)
    }
}

/// A frame, and how much of it was captured if not all.
type Frame = (Vec<u8>, Option<usize>);

/// A file of frames, a millisecond and a bit apart.
fn pcap(link: Link, frames: Vec<Frame>) -> CaptureFile {
    let mut packets = Vec::new();
    for (index, (mut data, captured)) in (0..).zip(frames) {
        let wire_len = length(&data);
        data.truncate(captured.unwrap_or(data.len()));
        let microseconds = index * 1001;
        let (seconds, nanoseconds) =
            (1_700_000_000 + microseconds / 1_000_000, microseconds % 1_000_000 * 1000);
        packets.push(Packet { seconds, nanoseconds, wire_len, data });
    }
    CaptureFile::pcap(link, packets)
}

const SOURCE4: [u8; 4] = [10, 0, 0, 1];
const DESTINATION4: [u8; 4] = [10, 0, 0, 2];
const V4: Addresses = Addresses::V4(SOURCE4, DESTINATION4);
const SOURCE6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const DESTINATION6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const V6: Addresses = Addresses::V6(SOURCE6, DESTINATION6);

/// A segment from port 40000 to port 8888 with five bytes of payload.
fn segment() -> SegmentFields {
    SegmentFields {
        source: 40_000,
        destination: 8888,
        sequence: 1000,
        acknowledgment: 2000,
        flags: PSH | ACK,
        window: 342,
        payload: b"hello".to_vec(),
        ..SegmentFields::default()
    }
}

/// The usual option of a segment: two no-operations and a timestamp.
fn timestamp(value: u32, echo: u32) -> Vec<u8> {
    let timestamp = option(8, &[value.to_be_bytes(), echo.to_be_bytes()].concat());
    [&[1, 1][..], &timestamp].concat()
}

/// An Ethernet frame of a type around bytes.
fn framed(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let header = ethernet([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1], &[], ethertype);
    [header, packet.to_vec()].concat()
}

/// The Ethernet frame of a segment between the addresses, captured whole.
fn whole(addresses: &Addresses, segment: &SegmentFields) -> Frame {
    (frame(&[], &segment.packet(addresses)), None)
}

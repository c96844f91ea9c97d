//! pcap and pcapng files.

use super::{
    Packet,
    byte_order::ByteOrder,
    length,
    link::{LINKS, Link},
};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// pcap with microseconds.
    Pcap,
    /// pcap with nanoseconds.
    PcapNano,
    /// pcapng with enhanced packet blocks and a clock of its own.
    Pcapng(Clock),
}

/// The clock of a pcapng interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The option `if_tsresol`: the exponent of ten, or with the high bit set of two, of the ticks in a second.
    pub resolution: u8,
    /// The option `if_tsoffset`: seconds to be added.
    pub offset: i64,
}

impl Clock {
    /// Nanoseconds since the epoch.
    pub const NANOSECONDS: Self = Self { resolution: 9, offset: 0 };

    /// A time in ticks, cut off to 64 bits.
    fn ticks(self, packet: &Packet) -> u64 {
        let base: u64 = if self.resolution & 0x80 == 0 { 10 } else { 2 };
        let in_second = base.wrapping_pow(u32::from(self.resolution & 0x7f));
        let fraction = u128::from(packet.nanoseconds) * u128::from(in_second) / 1_000_000_000;
        u64::from(packet.seconds).wrapping_mul(in_second).wrapping_add(fraction as u64)
    }
}

/// A file to be written.
#[derive(Clone, Debug)]
pub struct CaptureFile {
    /// What kind of file.
    pub format: Format,
    /// The byte order of the file's headers.
    pub order: ByteOrder,
    /// The link type of all packets.
    pub link: Link,
    /// As the header claims; 0 for the maximum.
    pub snaplen: u32,
    /// What is in it.
    pub packets: Vec<Packet>,
}

impl CaptureFile {
    /// A pcap file as tcpdump writes it.
    pub fn pcap(link: Link, packets: Vec<Packet>) -> Self {
        Self { format: Format::Pcap, order: ByteOrder::Little, link, snaplen: SNAPLEN, packets }
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_some(self.packets.iter())
    }

    /// The bytes of the file with some packets only.
    pub fn encode_some<'p>(&self, packets: impl Iterator<Item = &'p Packet>) -> Vec<u8> {
        let mut writer = Writer { bytes: Vec::with_capacity(self.packets.len() * 128), order: self.order };
        match self.format {
            Format::Pcap => writer.pcap(MICROSECONDS, 1000, self, packets),
            Format::PcapNano => writer.pcap(NANOSECONDS, 1, self, packets),
            Format::Pcapng(clock) => writer.pcapng(clock, self, packets),
        }
        writer.bytes
    }
}

/// The magic number of a pcap file with microseconds.
pub const MICROSECONDS: u32 = 0xa1b2_c3d4;
/// The magic number of a pcap file with nanoseconds.
pub const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The type of a section header block.
pub const SECTION_HEADER: u32 = 0x0a0d_0d0a;

/// The snapshot length of tcpdump.
const SNAPLEN: u32 = 262_144;

/// The bytes of a little-endian pcap file with microseconds, of any link type.
pub fn pcap(link_type: u32, packets: impl IntoIterator<Item = Packet>) -> Vec<u8> {
    written(ByteOrder::Little, |file| {
        file.pcap_header(MICROSECONDS, SNAPLEN, link_type);
        for packet in packets {
            file.pcap_packet(packet.nanoseconds / 1000, &packet);
        }
    })
}

/// What `write` writes, in a byte order.
pub fn written(order: ByteOrder, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer { bytes: Vec::new(), order };
    write(&mut writer);
    writer.bytes
}

/// Bytes in a byte order.
pub struct Writer {
    /// What has been written.
    pub bytes: Vec<u8>,
    /// The order of what is written next.
    pub order: ByteOrder,
}

impl Writer {
    fn reordered<const N: usize>(&mut self, mut big_endian: [u8; N]) {
        if self.order == ByteOrder::Little {
            big_endian.reverse();
        }
        self.bytes.extend(big_endian);
    }

    /// Numbers of 16 bits.
    pub fn u16s(&mut self, values: &[u16]) {
        values.iter().for_each(|value| self.reordered(value.to_be_bytes()));
    }

    /// Numbers of 32 bits.
    pub fn u32s(&mut self, values: &[u32]) {
        values.iter().for_each(|value| self.reordered(value.to_be_bytes()));
    }

    /// The header of a pcap file, version 2.4.
    pub fn pcap_header(&mut self, magic: u32, snaplen: u32, link_type: u32) {
        self.u32s(&[magic]);
        self.u16s(&[2, 4]);
        self.u32s(&[0, 0, snaplen, link_type]);
    }

    /// A packet of a pcap file, with the fraction of the second in the file's unit.
    pub fn pcap_packet(&mut self, fraction: u32, packet: &Packet) {
        self.u32s(&[packet.seconds, fraction, length(&packet.data), packet.wire_len]);
        self.bytes.extend(&packet.data);
    }

    fn pcap<'p>(
        &mut self,
        magic: u32,
        divisor: u32,
        file: &CaptureFile,
        packets: impl Iterator<Item = &'p Packet>,
    ) {
        self.pcap_header(magic, file.snaplen, file.link.number());
        packets.for_each(|packet| self.pcap_packet(packet.nanoseconds / divisor, packet));
    }

    fn pcapng<'p>(&mut self, clock: Clock, file: &CaptureFile, packets: impl Iterator<Item = &'p Packet>) {
        self.section();
        self.interface(file.link, file.snaplen, clock);
        for packet in packets {
            self.enhanced_packet(0, clock.ticks(packet), packet);
        }
    }

    /// A section header block.
    pub fn section(&mut self) {
        self.block(SECTION_HEADER, |writer| {
            writer.u32s(&[0x1a2b_3c4d]);
            writer.u16s(&[1, 0]);
            writer.u32s(&[u32::MAX; 2]);
        });
    }

    /// An interface description block with a clock of its own.
    pub fn interface(&mut self, link: Link, snaplen: u32, clock: Clock) {
        let offset = written(self.order, |option| option.reordered(clock.offset.to_be_bytes()));
        self.interface_with(link.number() as u16, snaplen, &[(9, &[clock.resolution]), (14, &offset)]);
    }

    /// An interface description block with options: their codes and values.
    pub fn interface_with(&mut self, link_type: u16, snaplen: u32, options: &[(u16, &[u8])]) {
        self.block(1, |writer| {
            writer.u16s(&[link_type, 0]);
            writer.u32s(&[snaplen]);
            for (code, value) in options {
                writer.option(*code, value);
            }
        });
    }

    /// An option of a block.
    pub fn option(&mut self, code: u16, value: &[u8]) {
        self.u16s(&[code, value.len() as u16]);
        self.padded(value);
    }

    /// Bytes, and zeros up to a multiple of four.
    pub fn padded(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// An enhanced packet block. The time is in the ticks of the interface.
    pub fn enhanced_packet(&mut self, interface: u32, ticks: u64, packet: &Packet) {
        self.block(6, |writer| {
            let (high, low) = ((ticks >> 32) as u32, ticks as u32);
            writer.u32s(&[interface, high, low, length(&packet.data), packet.wire_len]);
            writer.bytes.extend(&packet.data);
        });
    }

    /// A block: its type, its length, the body padded to a multiple of four bytes, its length again.
    pub fn block(&mut self, block_type: u32, body: impl FnOnce(&mut Self)) {
        let body = written(self.order, |writer| {
            body(writer);
            writer.padded(&[]);
        });
        let length = length(&body) + 12;
        self.u32s(&[block_type, length]);
        self.bytes.extend(body);
        self.u32s(&[length]);
    }
}

/// The link type of a file (in pcapng that of its first interface), if it is one of ours.
pub fn link_of(bytes: &[u8]) -> Option<Link> {
    let u32_at = |at: usize, order: ByteOrder| {
        let raw = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(match order {
            ByteOrder::Little => u32::from_le_bytes(raw),
            ByteOrder::Big => u32::from_be_bytes(raw),
        })
    };
    let number = if bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        let orders = [ByteOrder::Little, ByteOrder::Big];
        let order = orders.into_iter().find(|order| u32_at(8, *order) == Some(0x1a2b_3c4d))?;
        let mut block = u32_at(4, order)? as usize;
        while u32_at(block, order)? != 1 {
            block += u32_at(block + 4, order)?.max(12) as usize;
        }
        let word = u32_at(block + 8, order)?;
        if order == ByteOrder::Little { word & 0xffff } else { word >> 16 }
    } else {
        let order = if *bytes.first()? == 0xa1 { ByteOrder::Big } else { ByteOrder::Little };
        u32_at(20, order)? & 0x03ff_ffff
    };
    LINKS.into_iter().find(|link| link.number() == number)
}

//! pcap and pcapng files.

use super::{
    Packet,
    byte_order::ByteOrder,
    length,
    link::{LINKS, Link},
};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// pcap with microseconds.
    Pcap,
    /// pcap with nanoseconds.
    PcapNano,
    /// pcapng with enhanced packet blocks and a clock of its own.
    Pcapng(Clock),
}

/// The clock of a pcapng interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// The option `if_tsresol`: the exponent of ten, or with the high bit set of two, of the ticks in a second.
    pub(crate) resolution: u8,
    /// The option `if_tsoffset`: seconds to be added.
    pub(crate) offset: i64,
}

impl Clock {
    pub(crate) const NANOSECONDS: Self = Self { resolution: 9, offset: 0 };

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
pub(crate) struct CaptureFile {
    pub(crate) format: Format,
    pub(crate) order: ByteOrder,
    pub(crate) link: Link,
    /// As the header claims; 0 for the maximum.
    pub(crate) snaplen: u32,
    pub(crate) packets: Vec<Packet>,
}

impl CaptureFile {
    /// A pcap file as tcpdump writes it.
    pub(crate) fn pcap(link: Link, packets: Vec<Packet>) -> Self {
        Self { format: Format::Pcap, order: ByteOrder::Little, link, snaplen: 262_144, packets }
    }

    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_some(self.packets.iter())
    }

    /// The bytes of the file with some packets only.
    pub(crate) fn encode_some<'p>(&self, packets: impl Iterator<Item = &'p Packet>) -> Vec<u8> {
        let mut writer = Writer { bytes: Vec::with_capacity(self.packets.len() * 128), order: self.order };
        match self.format {
            Format::Pcap => writer.pcap(0xa1b2_c3d4, 1000, self, packets),
            Format::PcapNano => writer.pcap(0xa1b2_3c4d, 1, self, packets),
            Format::Pcapng(clock) => writer.pcapng(clock, self, packets),
        }
        writer.bytes
    }
}

/// Bytes in a byte order.
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) order: ByteOrder,
}

impl Writer {
    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend(match self.order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        });
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend(match self.order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        });
    }

    fn pcap<'p>(
        &mut self,
        magic: u32,
        divisor: u32,
        file: &CaptureFile,
        packets: impl Iterator<Item = &'p Packet>,
    ) {
        self.u32(magic);
        self.u16(2);
        self.u16(4);
        for word in [0, 0, file.snaplen, file.link.number()] {
            self.u32(word);
        }
        for packet in packets {
            let fraction = packet.nanoseconds / divisor;
            for word in [packet.seconds, fraction, length(&packet.data), packet.wire_len] {
                self.u32(word);
            }
            self.bytes.extend(&packet.data);
        }
    }

    fn pcapng<'p>(&mut self, clock: Clock, file: &CaptureFile, packets: impl Iterator<Item = &'p Packet>) {
        self.section();
        self.interface(file.link, file.snaplen, clock);
        for packet in packets {
            self.enhanced_packet(0, clock.ticks(packet), packet);
        }
    }

    /// A section header block.
    pub(crate) fn section(&mut self) {
        self.block(0x0a0d_0d0a, |writer| {
            writer.u32(0x1a2b_3c4d);
            writer.u16(1);
            writer.u16(0);
            writer.bytes.extend([0xff; 8]);
        });
    }

    /// An interface description block.
    pub(crate) fn interface(&mut self, link: Link, snaplen: u32, clock: Clock) {
        self.block(1, |writer| {
            writer.u16(link.number() as u16);
            writer.u16(0);
            writer.u32(snaplen);
            writer.u16(9);
            writer.u16(1);
            writer.bytes.extend([clock.resolution, 0, 0, 0]);
            writer.u16(14);
            writer.u16(8);
            let offset = clock.offset;
            writer.bytes.extend(match writer.order {
                ByteOrder::Little => offset.to_le_bytes(),
                ByteOrder::Big => offset.to_be_bytes(),
            });
        });
    }

    /// An enhanced packet block. The time is in the ticks of the interface.
    pub(crate) fn enhanced_packet(&mut self, interface: u32, ticks: u64, packet: &Packet) {
        self.block(6, |writer| {
            let (high, low) = ((ticks >> 32) as u32, ticks as u32);
            for word in [interface, high, low, length(&packet.data), packet.wire_len] {
                writer.u32(word);
            }
            writer.bytes.extend(&packet.data);
        });
    }

    /// A block: its type, its length, the body padded to a multiple of four bytes, its length again.
    pub(crate) fn block(&mut self, block_type: u32, body: impl FnOnce(&mut Self)) {
        let mut inner = Self { bytes: Vec::new(), order: self.order };
        body(&mut inner);
        inner.bytes.resize(inner.bytes.len().next_multiple_of(4), 0);
        let length = length(&inner.bytes) + 12;
        self.u32(block_type);
        self.u32(length);
        self.bytes.extend(inner.bytes);
        self.u32(length);
    }
}

/// The link type of a file (in pcapng that of its first interface), if it is one of ours.
pub(crate) fn link_of(bytes: &[u8]) -> Option<Link> {
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

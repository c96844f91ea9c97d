//! The frames that are sent: a TCP segment with timestamps, 66 bytes and its data, in as many flows as asked for.

use crate::packets::{
    ip::{Addresses, Ipv4},
    link::{ETHERTYPE_IPV4, ethernet},
    tcp::{self, SegmentFields},
};

/// Length of a frame without data, in bytes: Ethernet 14, IPv4 20, TCP 20, and 12 of options.
pub(crate) const LENGTH: usize = 66;

/// The port that the measured programs select.
pub(crate) const PORT: u16 = 8888;
/// A port that they do not select.
pub(crate) const OTHER_PORT: u16 = 9999;

/// Ports per source address, and the first of them.
const PORTS: u32 = 16_384;
pub(crate) const FIRST_PORT: u16 = 20_000;

/// Where the fields lie that differ between the frames of one sender.
const IP_CHECKSUM: usize = 24;
const IP_DESTINATION: usize = 30;
pub(crate) const SOURCE_PORT: usize = 34;
const SEQUENCE: usize = 38;

/// A segment to a port of 10.0.0.2, with nop,nop,TS and so many bytes of `data`. The Ethernet address is unicast and no
/// interface has it, so that the receiving stack drops the packet as soon as the taps have seen it.
pub(crate) fn frame(source: [u8; 4], port: u16, data: usize) -> Vec<u8> {
    const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0x3b, 0x9a, 0xca, 0x07, 0x1d, 0xcd, 0x65, 0x03];
    const DESTINATION: [u8; 4] = [10, 0, 0, 2];

    let segment = SegmentFields {
        source: FIRST_PORT,
        destination: port,
        acknowledgment: 10_000,
        flags: tcp::ACK,
        window: 501,
        options: TIMESTAMPS.to_vec(),
        payload: vec![b'x'; data],
        ..SegmentFields::default()
    };
    let segment = segment.encode(&Addresses::V4(source, DESTINATION));
    let packet = Ipv4::default().encode(source, DESTINATION, &segment);
    let header = ethernet([2, 0, 0, 0, 0, 0x99], [2, 0, 0, 0, 0, 1], &[], ETHERTYPE_IPV4);
    [header, packet].concat()
}

/// The frames of one sender, one after the other: flows in turn, sequence numbers counting up. The TCP checksum is
/// that of the first, as it is in many a real capture where the network card was to fill it in.
pub(crate) struct Frames {
    template: Vec<u8>,
    /// Source address and IP checksum of each [`PORTS`] flows: what stands between [`IP_CHECKSUM`] and the destination.
    sources: Vec<[u8; 6]>,
    flows: u32,
    flow: u32,
    sequence: u32,
}

impl Frames {
    /// Of `flows` flows to `port`, each with so many bytes of `data`. Two senders of different `number` share no flow.
    pub(crate) fn new(number: u8, flows: u32, port: u16, data: usize) -> Self {
        let sources = (0..flows.div_ceil(PORTS)).map(|high| {
            let frame = frame([10, 1 + number, (high >> 8) as u8, high as u8], port, data);
            let mut source = [0; 6];
            source.copy_from_slice(&frame[IP_CHECKSUM..IP_DESTINATION]);
            source
        });
        Self {
            template: frame([10, 1 + number, 0, 0], port, data),
            sources: sources.collect(),
            flows,
            flow: 0,
            sequence: 1,
        }
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> &[u8] {
        let Self { template, sources, flows, flow, sequence } = self;
        template[IP_CHECKSUM..IP_DESTINATION].copy_from_slice(&sources[(*flow / PORTS) as usize]);
        let port = FIRST_PORT + (*flow % PORTS) as u16;
        template[SOURCE_PORT..36].copy_from_slice(&port.to_be_bytes());
        template[SEQUENCE..42].copy_from_slice(&sequence.to_be_bytes());
        *sequence = sequence.wrapping_add(1);
        *flow = if *flow + 1 == *flows { 0 } else { *flow + 1 };
        template
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::packets::checksum;

    #[test]
    fn the_ip_header_adds_up() {
        let mut frames = Frames::new(1, 40_000, PORT, 0);
        for _ in 0..40_000 {
            assert_eq!(checksum(&[&frames.next()[14..34]]), 0);
        }
    }

    #[test]
    fn data_makes_a_frame_longer() {
        let mut frames = Frames::new(1, 1, PORT, 1448);
        assert_eq!(frames.next().len(), 1514);
        assert_eq!(checksum(&[&frames.next()[14..34]]), 0);
    }

    #[test]
    fn flows_are_as_many_as_asked_for_and_no_sender_has_anothers() {
        let flow = |frame: &[u8]| <[u8; 10]>::try_from(&frame[26..36]).unwrap();
        let mut flows = HashSet::new();
        for number in [0, 1] {
            let mut frames = Frames::new(number, 40_000, PORT, 0);
            flows.extend((0..100_000).map(|_| flow(frames.next())));
        }
        assert_eq!(flows.len(), 80_000);
    }
}

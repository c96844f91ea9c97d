//! The frames that are sent: a TCP segment with timestamps and no data, 66 bytes, in as many flows as asked for.

/// Length of a frame in bytes: Ethernet 14, IPv4 20, TCP 20, and 12 of options.
pub(super) const LENGTH: usize = 66;

/// The port that the measured programs select.
pub(super) const PORT: u16 = 8888;
/// A port that they do not select.
pub(super) const OTHER_PORT: u16 = 9999;

/// Ports per source address, and the first of them.
const PORTS: u32 = 16_384;
const FIRST_PORT: u16 = 20_000;

/// Where the fields lie that differ between the frames of one sender.
const IP_CHECKSUM: usize = 24;
const IP_SOURCE: usize = 26;
const SOURCE_PORT: usize = 34;
const SEQUENCE: usize = 38;

/// One segment: Ethernet to a unicast address that is nobody's, so that the receiving stack lets go of the packet as
/// soon as the taps have seen it; IPv4; TCP with ACK set, an acknowledgement, a window, and nop,nop,TS.
pub(super) fn segment(source: [u8; 4], source_port: u16, destination_port: u16) -> [u8; LENGTH] {
    let mut frame = [0; LENGTH];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 1, 8, 0]);
    frame[14..26].copy_from_slice(&[0x45, 0, 0, (LENGTH - 14) as u8, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0]);
    frame[IP_SOURCE..30].copy_from_slice(&source);
    frame[30..SOURCE_PORT].copy_from_slice(&[10, 0, 0, 2]);
    let checksum = ip_checksum(&frame[14..34]);
    frame[IP_CHECKSUM..IP_SOURCE].copy_from_slice(&checksum.to_be_bytes());
    frame[SOURCE_PORT..36].copy_from_slice(&source_port.to_be_bytes());
    frame[36..SEQUENCE].copy_from_slice(&destination_port.to_be_bytes());
    frame[42..54].copy_from_slice(&[0, 0, 0x27, 0x10, 0x80, 0x10, 0x01, 0xf5, 0, 0, 0, 0]);
    frame[54..].copy_from_slice(&[1, 1, 8, 10, 0x3b, 0x9a, 0xca, 0x07, 0x1d, 0xcd, 0x65, 0x03]);
    frame
}

/// RFC 1071, of a header whose checksum field is zero.
fn ip_checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// The frames of one sender, one after the other: flows in turn, sequence numbers counting up.
pub(super) struct Frames {
    template: [u8; LENGTH],
    /// Source address and IP checksum of each [`PORTS`] flows: what stands between [`IP_CHECKSUM`] and the destination.
    sources: Vec<[u8; 6]>,
    flows: u32,
    flow: u32,
    sequence: u32,
}

impl Frames {
    /// Of `flows` flows to `port`. Two senders of different `number` share no flow.
    pub(super) fn new(number: u8, flows: u32, port: u16) -> Self {
        let sources = (0..flows.div_ceil(PORTS)).map(|high| {
            let frame = segment([10, 1 + number, (high >> 8) as u8, high as u8], FIRST_PORT, port);
            let mut source = [0; 6];
            source.copy_from_slice(&frame[IP_CHECKSUM..30]);
            source
        });
        Self {
            template: segment([10, 1 + number, 0, 0], FIRST_PORT, port),
            sources: sources.collect(),
            flows,
            flow: 0,
            sequence: 1,
        }
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> &[u8; LENGTH] {
        let Self { template, sources, flows, flow, sequence } = self;
        template[IP_CHECKSUM..30].copy_from_slice(&sources[(*flow / PORTS) as usize]);
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

    #[test]
    fn the_ip_header_adds_up() {
        let mut frames = Frames::new(1, 40_000, PORT);
        for _ in 0..40_000 {
            assert_eq!(ip_checksum(&frames.next()[14..34]), 0);
        }
    }

    #[test]
    fn flows_are_as_many_as_asked_for_and_no_sender_has_anothers() {
        let flow = |frame: &[u8; LENGTH]| <[u8; 10]>::try_from(&frame[IP_SOURCE..36]).unwrap();
        let mut flows = HashSet::new();
        for number in [0, 1] {
            let mut frames = Frames::new(number, 40_000, PORT);
            flows.extend((0..100_000).map(|_| flow(frames.next())));
        }
        assert_eq!(flows.len(), 80_000);
    }
}

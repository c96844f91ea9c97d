//! A connection to port 8888 on one machine, from the handshake to the reset, as a well-known walk-through of
//! tcpdump's output shows it.

use anyhow::Result;

use super::{Corpus, timestamp};
use crate::packets::{
    Packet,
    file::CaptureFile,
    ip::{Addresses, Ipv4},
    link::{ETHERTYPE_IPV4, Link, ethernet},
    tcp::{ACK, FIN, PSH, RST, SYN, SegmentFields, option},
};

const CLIENT: u16 = 1234;
const SERVER: u16 = 8888;
const ADDRESS: [u8; 4] = [10, 96, 78, 213];

const REQUEST: &[u8] = b"hello\n";
/// 106 bytes.
const RESPONSE: &[u8] =
    b"HTTP/1.0 200 OK\r\nServer: example\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n\r\n\
    what you had asked for:\n";

/// Midnight of the day, in GMT.
const MIDNIGHT: u32 = 1_546_300_800;

pub(super) fn add(corpus: &mut Corpus) -> Result<()> {
    let client = |flags, sequence, acknowledgment| SegmentFields {
        source: CLIENT,
        destination: SERVER,
        flags,
        sequence,
        acknowledgment,
        window: 342,
        ..SegmentFields::default()
    };
    let server = |flags, sequence, acknowledgment| SegmentFields {
        source: SERVER,
        destination: CLIENT,
        ..client(flags, sequence, acknowledgment)
    };
    let opening = |segment: SegmentFields, value: u32, echo: u32| SegmentFields {
        window: 43_690,
        options: [
            option(2, &65_495_u16.to_be_bytes()),
            option(4, &[]),
            option(8, &[value.to_be_bytes(), echo.to_be_bytes()].concat()),
            vec![1],
            option(3, &[7]),
        ]
        .concat(),
        ..segment
    };
    let stamped =
        |segment: SegmentFields, value, echo| SegmentFields { options: timestamp(value, echo), ..segment };
    // The initial sequence numbers.
    let (c, s) = (1_057_661_546, 2_496_367_938);
    // The last timestamps of the opening, of the request, of the response.
    let (t0, t1, t2) = (1_879_360_564, 1_879_386_145, 1_879_386_146);
    let segments = [
        ((14, 7, 53), 220_954, opening(client(SYN, c, 0), t0, 0)),
        // The walk-through has this time, earlier than that of the line before.
        ((14, 1, 6), 103_599, opening(server(SYN | ACK, s, c + 1), t0, t0)),
        ((14, 7, 53), 221_003, stamped(client(ACK, c + 1, s + 1), t0, t0)),
        (
            (14, 8, 18),
            802_016,
            SegmentFields { payload: REQUEST.to_vec(), ..stamped(client(PSH | ACK, c + 1, s + 1), t1, t0) },
        ),
        ((14, 8, 18), 802_041, stamped(server(ACK, s + 1, c + 7), t1, t1)),
        (
            (14, 8, 18),
            802_683,
            SegmentFields { payload: RESPONSE.to_vec(), ..stamped(server(PSH | ACK, s + 1, c + 7), t2, t1) },
        ),
        ((14, 8, 18), 802_695, stamped(client(ACK, c + 7, s + 107), t2, t2)),
        ((14, 8, 18), 802_800, stamped(server(FIN | ACK, s + 107, c + 7), t2, t2)),
        ((14, 8, 18), 842_051, stamped(client(ACK, c + 7, s + 108), 1_879_386_186, t2)),
        ((14, 20, 49), 874_086, stamped(client(FIN | ACK, c + 7, s + 108), 1_880_137_218, t2)),
        ((14, 20, 49), 874_107, SegmentFields { window: 0, ..server(RST, s + 108, 0) }),
    ];
    let addresses = Addresses::V4(ADDRESS, ADDRESS);
    let packets = segments.into_iter().map(|((hours, minutes, seconds), microseconds, segment)| {
        let packet = Ipv4::default().encode(ADDRESS, ADDRESS, &segment.encode(&addresses));
        let frame = [ethernet([0; 6], [0; 6], &[], ETHERTYPE_IPV4), packet].concat();
        Packet::whole(MIDNIGHT + (hours * 60 + minutes) * 60 + seconds, microseconds * 1000, frame)
    });
    let file = CaptureFile::pcap(Link::Ethernet, packets.collect());
    corpus.add("walkthrough", file.encode(), &[("", "-n --port 8888")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_are_those_of_the_walk_through() {
        assert_eq!((REQUEST.len(), RESPONSE.len()), (6, 106));
    }
}

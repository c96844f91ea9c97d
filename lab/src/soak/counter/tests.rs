use super::*;
use crate::packets::{
    Packet,
    byte_order::ByteOrder,
    file::{CaptureFile, Clock, Format as FileFormat, written},
    link::Link,
};

/// What is counted in bytes that come in pieces of each length.
fn counted(format: Format, bytes: &[u8]) -> Tally {
    let mut tallies = [1, 2, 3, 7, 16, 1000, usize::MAX].map(|length| {
        let mut counter = Counter::new(format, true);
        bytes.chunks(length).for_each(|piece| counter.take(piece));
        counter.tally().unwrap()
    });
    tallies.rotate_left(1);
    assert!(tallies.iter().all(|tally| *tally == tallies[0]), "{tallies:?}");
    tallies[0].clone()
}

fn fault(format: Format, bytes: &[u8]) -> String {
    let mut counter = Counter::new(format, true);
    counter.take(bytes);
    counter.tally().unwrap_err().to_string()
}

fn packets() -> Vec<Packet> {
    [60, 0, 61, 1514].map(|length| Packet::whole(1, 0, vec![b'x'; length])).to_vec()
}

#[test]
fn packets_in_files() {
    let pcap = CaptureFile::pcap(Link::Ethernet, packets());
    let pcapng = CaptureFile { format: FileFormat::Pcapng(Clock::NANOSECONDS), ..pcap.clone() };
    for (format, file, interfaces) in [(Format::Pcap, pcap, 0), (Format::Pcapng, pcapng, 1)] {
        let bytes = file.encode();
        assert_eq!(counted(format, &bytes), Tally { packets: 4, interfaces, ..Tally::default() });
        let cut = counted(format, &bytes[..bytes.len() - 1]);
        assert_eq!((cut.packets, cut.is_cut), (3, true));
        assert!(!fault(format, &[7; 64]).is_empty());
    }
}

#[test]
fn lines() {
    let text = "// a comment\n1 IP a > b\n2 IP (tos 0x0)\n    a > b\n\t0x0000:  4500\n\n";
    assert_eq!(counted(Format::Text, text.as_bytes()), Tally { packets: 2, ..Tally::default() });
    assert!(counted(Format::Text, b"1 IP a > b\n2 I").is_cut);
}

#[test]
fn objects() {
    let text = concat!(
        "{\"type\":\"capture\",\"schema\":1}\n{\"type\":\"packet\",\"time\":1}\n",
        "{\"type\":\"loss\",\"dropped_by_kernel\":2,\"dropped_by_interface\":0,\"dropped_by_output\":\"1\"}\n",
        "{\"type\":\"event\"}\n{\"type\":\"packet\",\"time\":2}\n",
        "{\"type\":\"summary\",\"received\":5,\"read\":3,\"dropped_by_kernel\":2,\"dropped_by_interface\":0,",
        "\"dropped_by_output\":1}\n"
    );
    let tally = counted(Format::Json, text.as_bytes());
    let lost = json::Lost { by_kernel: 2, by_interface: 0, by_output: 1 };
    let summary = Some(json::Summary { received: 5, read: 3, lost });
    assert_eq!((tally.packets, tally.objects), (2, Some(Objects { lost, summary })));
    for wrong in ["{\"type\":\"packet\",\"time\":", "{", "{\"type\":\"surprise\"}", "{\"type\":\"loss\"}"] {
        fault(Format::Json, format!("{wrong}\n").as_bytes());
    }
    fault(Format::Json, format!("{text}{text}").as_bytes());
}

/// A section with `delivered` packets in front of accounts of 9 received and 2 dropped ones.
fn with_accounts(packets: u32, delivered: u64) -> Vec<u8> {
    written(ByteOrder::Little, |file| {
        file.section();
        file.interface(Link::Ethernet, 0, Clock::NANOSECONDS);
        for number in 0..packets {
            file.enhanced_packet(0, number.into(), &Packet::whole(1, 0, vec![0; 60]));
        }
        let counts = [(6, 9_u64), (7, 2), (8, delivered)].map(|(code, count)| (code, count.to_le_bytes()));
        file.block(5, |file| {
            file.u32s(&[0, 0, 0]);
            file.option(1, b"a comment");
            counts.iter().for_each(|(code, count)| file.option(*code, count));
            file.option(0, &[]);
        });
    })
}

#[test]
fn accounts_in_pcapng() {
    let tally = counted(Format::Pcapng, &with_accounts(3, 3));
    let statistics = Statistics { received: 9, dropped: 2, delivered: 3 };
    assert_eq!(tally, Tally { packets: 3, statistics: Some(statistics), interfaces: 1, ..Tally::default() });
    // One packet too few in front of them, and more than were received.
    assert!(fault(Format::Pcapng, &with_accounts(2, 3)).contains("2 are in front of them"));
    assert!(fault(Format::Pcapng, &with_accounts(8, 8)).contains("are less than"));
    let smaller = [with_accounts(7, 7), with_accounts(0, 6)].concat();
    let mut counter = Counter::new(Format::Pcapng, false);
    counter.take(&smaller);
    assert!(counter.tally().unwrap_err().to_string().contains("became smaller"));
}

#[test]
fn each_interface_in_pcapng_has_its_accounts() {
    let stream = |delivered: [u64; 2]| {
        written(ByteOrder::Little, |file| {
            file.section();
            (0..2).for_each(|_| file.interface(Link::Ethernet, 0, Clock::NANOSECONDS));
            for interface in [0, 1, 1] {
                file.enhanced_packet(interface, 1, &Packet::whole(1, 0, vec![0; 60]));
            }
            for (interface, delivered) in (0..).zip(delivered) {
                file.block(5, |file| {
                    file.u32s(&[interface, 0, 0]);
                    file.option(6, &(delivered + 3).to_le_bytes());
                    file.option(7, &3_u64.to_le_bytes());
                    file.option(8, &delivered.to_le_bytes());
                    file.option(0, &[]);
                });
            }
        })
    };
    let tally = counted(Format::Pcapng, &stream([1, 2]));
    let statistics = Statistics { received: 9, dropped: 6, delivered: 3 };
    assert_eq!(tally, Tally { packets: 3, statistics: Some(statistics), interfaces: 2, ..Tally::default() });
    assert!(fault(Format::Pcapng, &stream([2, 1])).contains("1 are in front of them"));
    let unknown = written(ByteOrder::Little, |file| {
        file.section();
        file.enhanced_packet(0, 1, &Packet::whole(1, 0, vec![0; 60]));
    });
    assert!(fault(Format::Pcapng, &unknown).contains("no interface has number 0"));
}

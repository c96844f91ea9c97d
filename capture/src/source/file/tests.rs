//! Every expected value and message here is what libpcap 1.10.3 says of the same bytes.

use capture_packet::{Direction, LinkType, Precision, Timestamp};

use test_support::packets::{
    self, byte_order,
    file::{self, MICROSECONDS, NANOSECONDS, Writer},
};

use super::*;

fn written(order: ByteOrder, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let order = match order {
        ByteOrder::Little => byte_order::ByteOrder::Little,
        ByteOrder::Big => byte_order::ByteOrder::Big,
    };
    file::written(order, write)
}

fn pcap(order: ByteOrder, magic: u32, snaplen: u32, link_type: u32) -> Vec<u8> {
    written(order, |file| file.pcap_header(magic, snaplen, link_type))
}

fn put(file: &mut Vec<u8>, order: ByteOrder, words: &[u32]) {
    file.extend(written(order, |file| file.u32s(words)));
}

fn section(order: ByteOrder) -> Vec<u8> {
    written(order, Writer::section)
}

fn interface(order: ByteOrder, link_type: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    written(order, |file| file.interface_with(link_type, snaplen, options))
}

fn enhanced(order: ByteOrder, interface: u32, ticks: u64, wire_len: u32, data: &[u8]) -> Vec<u8> {
    let packet = packets::Packet { wire_len, ..packets::Packet::whole(0, 0, data.to_vec()) };
    written(order, |file| file.enhanced_packet(interface, ticks, &packet))
}

/// Seconds, nanoseconds, length on the wire, data.
type Seen = (i64, i64, u32, Vec<u8>);

/// All packets up to the end or the error.
fn read_as(file: &[u8], times: impl Into<Times>) -> (Vec<Seen>, Option<String>) {
    let mut seen = Vec::new();
    let mut source = match FileSource::new(file, times) {
        Ok(source) => source,
        Err(error) => return (seen, Some(error.to_string())),
    };
    loop {
        match source.next_packet() {
            Ok(None) => return (seen, None),
            Err(error) => return (seen, Some(error.to_string())),
            Ok(Some(Packet { time: Timestamp { seconds, nanoseconds }, wire_len, data, .. })) => {
                seen.push((seconds, nanoseconds, wire_len, data.to_vec()));
            }
        }
    }
}

fn read(file: &[u8]) -> (Vec<Seen>, Option<String>) {
    read_as(file, Precision::Micro)
}

fn error(file: &[u8]) -> String {
    read(file).1.unwrap()
}

const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

#[test]
fn pcap_in_both_byte_orders_and_resolutions() {
    for order in ORDERS {
        let mut file = pcap(order, MICROSECONDS, 65535, 1);
        put(&mut file, order, &[7, 999_999, 3, 60]);
        file.extend(b"abc");
        put(&mut file, order, &[8, 1_000_001, 0, 0]);
        let expected = vec![(7, 999_999_000, 60, b"abc".to_vec()), (8, 1_000_001_000, 0, vec![])];
        assert_eq!(read(&file), (expected.clone(), None));
        assert_eq!(read_as(&file, Precision::Nano), (expected, None));

        let mut file = pcap(order, NANOSECONDS, 65535, 1);
        put(&mut file, order, &[7, 999_999_999, 1, 1, 0]);
        file.truncate(file.len() - 3);
        assert_eq!(read(&file).0[0].1, 999_999_000);
        assert_eq!(read_as(&file, Precision::Nano).0[0].1, 999_999_999);
    }
}

#[test]
fn seconds_are_signed_only_in_the_byte_order_of_the_machine() {
    for order in ORDERS {
        let mut file = pcap(order, MICROSECONDS, 65535, 1);
        put(&mut file, order, &[u32::MAX, 0, 0, 0]);
        let expected = if order == ByteOrder::NATIVE { -1 } else { i64::from(u32::MAX) };
        assert_eq!(read(&file).0[0].0, expected);
    }
}

/// tcpdump's reading of a time follows from what the file means.
#[test]
fn exact_times_are_unsigned_in_both_byte_orders() {
    for order in ORDERS {
        for (magic, unit) in [(MICROSECONDS, 1000), (NANOSECONDS, 1)] {
            let mut file = pcap(order, magic, 65535, 1);
            let numbers = [0, 7, 999_999, 0x7fff_ffff, 0x8000_0000, 2_208_988_800, u32::MAX];
            for seconds in numbers {
                numbers.iter().for_each(|fraction| put(&mut file, order, &[seconds, *fraction, 0, 0]));
            }
            let exact = read_as(&file, Times::Exact).0;
            let expected = numbers.iter().flat_map(|seconds| numbers.map(|fraction| (*seconds, fraction)));
            let expected = expected.map(|(seconds, fraction)| (seconds.into(), i64::from(fraction) * unit));
            assert!(exact.iter().map(|packet| (packet.0, packet.1)).eq(expected));
            let signed = FileSource::new(&file[..], Times::Exact).unwrap().signed_times();
            assert_eq!(signed.is_some(), order == ByteOrder::NATIVE);
            let tcpdumps = read_as(&file, Precision::Nano).0;
            for (exact, tcpdumps) in exact.iter().zip(tcpdumps) {
                let time = Timestamp { seconds: exact.0, nanoseconds: exact.1 };
                let time = signed.map_or(time, |signed| signed.of(time));
                assert_eq!((time.seconds, time.nanoseconds), (tcpdumps.0, tcpdumps.1));
            }
        }
    }
}

#[test]
fn old_and_patched_pcap() {
    let order = ByteOrder::Little;
    let lengths = |minor: u8, first: u32, second: u32| {
        let mut file = pcap(order, MICROSECONDS, 65535, 1);
        file[6] = minor;
        put(&mut file, order, &[0, 0, first, second, 0]);
        read(&file).0.first().map(|packet| (packet.2, packet.3.len()))
    };
    assert_eq!(lengths(4, 4, 60), Some((60, 4)));
    assert_eq!(lengths(2, 60, 4), Some((60, 4)));
    assert_eq!(lengths(3, 60, 4), Some((60, 4)));
    assert_eq!(lengths(3, 4, 60), Some((60, 4)));

    let mut file = pcap(order, 0xa1b2_cd34, 65535, 1);
    put(&mut file, order, &[1, 2, 4, 4, 0xdead, 0xbeef, 0x6463_6261]);
    assert_eq!(read(&file), (vec![(1, 2000, 4, b"abcd".to_vec())], None));
}

#[test]
fn a_packet_over_the_snapshot_length_is_cut_to_it() {
    let order = ByteOrder::Little;
    let mut file = pcap(order, MICROSECONDS, 3, 1);
    put(&mut file, order, &[0, 0, 5, 9]);
    file.extend(b"abcde");
    assert_eq!(read(&file), (vec![(0, 0, 9, b"abc".to_vec())], None));
    file.pop();
    assert_eq!(error(&file), "truncated dump file; tried to read 5 captured bytes, only got 4");
    file.truncate(file.len() - 2);
    assert_eq!(error(&file), "truncated dump file; tried to read 3 captured bytes, only got 2");
}

#[test]
fn a_length_that_cannot_be_believed_is_refused() {
    let order = ByteOrder::Little;
    for (snaplen, message) in [
        (0, "invalid packet capture length 262145, bigger than snaplen of 262144"),
        (u32::MAX, "invalid packet capture length 262145, bigger than snaplen of 262144"),
        (96, "invalid packet capture length 262145, bigger than snaplen of 96"),
        (300_000, "invalid packet capture length 262145, bigger than maximum of 262144"),
    ] {
        let mut file = pcap(order, MICROSECONDS, snaplen, 1);
        put(&mut file, order, &[0, 0, 262_145, 262_145]);
        assert_eq!(error(&file), message);
    }
}

#[test]
fn every_whole_packet_comes_before_the_error() {
    let order = ByteOrder::Little;
    let mut file = pcap(order, MICROSECONDS, 65535, 1);
    for _ in 0..2 {
        put(&mut file, order, &[1, 2, 4, 4]);
        file.extend(b"abcd");
    }
    for length in 0..=file.len() {
        let (packets, error) = read(&file[..length]);
        assert_eq!(packets.len(), length.saturating_sub(24) / 20, "{length}");
        let expected = match length {
            0..4 => format!("tried to read 4 file header bytes, only got {length}"),
            4..24 => format!("tried to read 24 file header bytes, only got {}", length - 4),
            _ => match (length - 24) % 20 {
                0 => {
                    assert_eq!(error, None);
                    continue;
                }
                got @ 1..16 => format!("tried to read 16 header bytes, only got {got}"),
                got => format!("tried to read 4 captured bytes, only got {}", got - 16),
            },
        };
        assert_eq!(error.unwrap(), format!("truncated dump file; {expected}"));
    }
}

#[test]
fn records_that_straddle_the_buffer_come_out_whole() {
    let order = ByteOrder::Little;
    let mut file = pcap(order, MICROSECONDS, 262_144, 1);
    let lengths = [200_000, 1, 262_144, 70_000, 0, 262_144, 3];
    for (number, length) in (0..).zip(lengths) {
        put(&mut file, order, &[number, 0, length, length]);
        file.extend((0..length).map(|at| (at + number) as u8));
    }
    let (packets, error) = read(&file);
    assert_eq!(error, None);
    for ((number, length), packet) in (0..).zip(lengths).zip(&packets) {
        assert_eq!(packet.3.len(), length as usize);
        assert!((0..).zip(&packet.3).all(|(at, byte): (u32, _)| *byte == (at + number) as u8));
    }
    assert_eq!(packets.len(), lengths.len());
}

#[test]
fn files_that_are_refused() {
    let order = ByteOrder::Little;
    assert_eq!(error(b"GET / HTTP/1.0\r\n"), "unknown file format");
    assert_eq!(error(b"\n\r\r\n a text that begins like pcapng"), "unknown file format");
    let mut file = pcap(order, MICROSECONDS, 65535, 1);
    file[4] = 1;
    assert_eq!(error(&file), "archaic pcap savefile format");
    file[4..8].copy_from_slice(&[2, 0, 5, 0]);
    assert_eq!(error(&file), "unsupported pcap savefile version 2.5");
    assert_eq!(
        error(&pcap(order, MICROSECONDS, 65535, 9)),
        "link-type 9 (PPP) is not supported (supported: EN10MB, RAW, IPV4, IPV6, NULL, LOOP, LINUX_SLL, LINUX_SLL2)"
    );
    assert!(error(&pcap(order, MICROSECONDS, 65535, 14)).starts_with("link-type 14 is not supported"));
    // The high bits of the number say something else.
    assert_eq!(read(&pcap(order, MICROSECONDS, 65535, 0x1000_0001)), (vec![], None));
    let missing = open(Path::new("/nonexistent/x.pcap")).unwrap_err();
    assert!(missing.to_string().starts_with("/nonexistent/x.pcap: No such file or directory"));
    let directory = FileSource::new(open(Path::new("/")).unwrap(), Precision::Micro).unwrap_err();
    assert!(directory.to_string().starts_with("error reading dump file: Is a directory"));
}

#[test]
fn pcapng_packets_of_all_three_kinds() {
    for order in ORDERS {
        let mut file = section(order);
        // A name resolution block, and an unknown one.
        file.extend(written(order, |file| file.block(4, |block| block.bytes.extend([1, 2, 3, 4]))));
        file.extend(written(order, |file| file.block(0xbad, |_| {})));
        file.extend(interface(order, 1, 3, &[(2, b"lo")]));
        file.extend(enhanced(order, 0, 5_000_001, 60, b"abc"));
        let simple = |block: &mut Writer| {
            block.u32s(&[4]);
            block.bytes.extend(b"abcd");
        };
        let obsolete = |block: &mut Writer| {
            block.u16s(&[0, 9]);
            block.u32s(&[1, 0, 2, 70]);
            block.bytes.extend(b"xy");
        };
        file.extend(written(order, |file| file.block(3, simple)));
        file.extend(written(order, |file| file.block(2, obsolete)));
        let expected = vec![
            (5, 1000, 60, b"abc".to_vec()),
            (0, 0, 4, b"abc".to_vec()),
            (4294, 967_296_000, 70, b"xy".to_vec()),
        ];
        assert_eq!(read(&file), (expected, None));
    }
}

/// An interface with a link type that capture does not read has no place in the list; the one after it has.
#[test]
fn an_interface_that_is_not_listed_is_no_neighbour() {
    let order = ByteOrder::Little;
    for before in 0..3 {
        let mut file = section(order);
        for _ in 0..before {
            file.extend(interface(order, 1, 0, &[]));
        }
        file.extend(interface(order, 147, 0, &[]));
        file.extend(interface(order, 1, 0, &[]));
        file.extend(enhanced(order, before + 1, 5_000_001, 1, b"x"));
        let (packets, error) = read(&file);
        assert_eq!((packets.len(), error), (1, None), "after {before}");
    }
}

#[test]
fn pcapng_interfaces_have_their_own_clocks_and_links() {
    let order = ByteOrder::Big;
    let mut file = section(order);
    file.extend(interface(order, 1, 0, &[(9, &[9]), (14, &(-3600_i64).to_be_bytes())]));
    file.extend(interface(order, 101, 0, &[(9, &[0x8a])]));
    file.extend(interface(order, 0, 0, &[(9, &[3]), (0, &[])]));
    file.extend(enhanced(order, 0, 7_200_123_456_789, 1, b"a"));
    file.extend(enhanced(order, 1, 1024 + 1023, 1, b"b"));
    file.extend(enhanced(order, 2, 1001, 1, b"c"));
    // The next section has to describe its own.
    file.extend(section(order));
    file.extend(enhanced(order, 0, 0, 1, b"d"));
    let (packets, error) = read(&file);
    let times: Vec<_> = packets.iter().map(|packet| (packet.0, packet.1)).collect();
    assert_eq!(times, [(3600, 123_456_000), (1, 999_023_000), (1, 1_000_000)]);
    assert_eq!(
        error.unwrap(),
        "a packet arrived on interface 0, but there's no Interface Description Block for that interface"
    );
    let nano = read_as(&file, Precision::Nano).0;
    assert_eq!((nano[0].1, nano[1].1), (123_456_789, 999_023_437));

    let mut source = FileSource::new(&file[..], Precision::Micro).unwrap();
    assert_eq!(source.interfaces(), [InterfaceDescription::new(LinkType::Ethernet, 262_144)]);
    let mut links = Vec::new();
    while let Ok(Some(packet)) = source.next_packet() {
        links.push(packet.link_type);
    }
    assert_eq!(links, [LinkType::Ethernet, LinkType::Raw, LinkType::Null]);
    let digits: Vec<_> = source.interfaces().iter().map(|interface| interface.time_digits).collect();
    assert_eq!(digits, [9, 9, 3]);
}

#[test]
fn pcapng_faults_are_named() {
    let order = ByteOrder::Little;
    let start = || [section(order), interface(order, 1, 8, &[])].concat();
    let with = |more: &[u8]| error(&[&start()[..], more].concat());
    let packet = enhanced(order, 0, 0, 4, b"abcd");

    assert_eq!(with(&packet[..5]), "truncated pcapng dump file; tried to read 8 bytes, only got 5");
    assert_eq!(with(&packet[..30]), "truncated pcapng dump file; tried to read 28 bytes, only got 22");
    assert_eq!(with(&[6, 0, 0, 0, 11, 0, 0, 0]), "block in pcapng dump file has a length of 11 < 12");
    assert_eq!(
        with(&[6, 0, 0, 0, 14, 0, 0, 0]),
        "block in pcapng dump file has a length of 14 that is not a multiple of 4"
    );
    assert_eq!(with(&[6, 0, 0, 0, 4, 0, 0, 1]), "pcapng block size 16777220 > maximum 16777216");
    let mut differing = packet.clone();
    differing[32] = 0;
    assert_eq!(with(&differing), "block total length in header and trailer don't match");
    let mut long = packet.clone();
    long[20] = 8;
    assert_eq!(with(&long), "block of type 6 in pcapng dump file is too short");
    long[20] = 9;
    assert_eq!(with(&long), "invalid packet capture length 9, bigger than snaplen of 8");
    assert_eq!(with(&section(ByteOrder::Big)), "pcapng block size 469762048 > maximum 16777216");
    let mut swapped = section(order);
    swapped[8..12].reverse();
    assert_eq!(with(&swapped), "the file has sections with different byte orders");
    swapped[8] = 0;
    assert_eq!(with(&swapped), "the file has a section with a bad byte order magic field");
    let mut version = section(order);
    version[12] = 2;
    assert_eq!(with(&version), "unknown pcapng savefile major version number 2");
    assert_eq!(error(&version), "unsupported pcapng savefile version 2.0");
    assert_eq!(error(&section(order)), "the capture file has no Interface Description Blocks");
    assert_eq!(
        error(&[section(order), packet].concat()),
        "the capture file has a packet block before any Interface Description Blocks"
    );
    let mut insane = section(order);
    insane[4] = 27;
    assert_eq!(
        error(&insane),
        "Section Header Block in pcapng dump file has invalid length 28 < _27_ < 1048576 (BT_SHB_INSANE_MAX)"
    );

    let options = |options: &[(u16, &[u8])]| {
        error(&[section(order), interface(order, 1, 0, options)].concat())
            .replace("Interface Description Block ", "")
    };
    assert_eq!(options(&[(0, &[0])]), "has opt_endofopt option with length 1 != 0");
    assert_eq!(options(&[(9, &[6, 6])]), "has if_tsresol option with length 2 != 1");
    assert_eq!(options(&[(9, &[6]), (9, &[6])]), "has more than one if_tsresol option");
    assert_eq!(options(&[(9, &[20])]), "if_tsresol option resolution 10^-20 is too high");
    assert_eq!(options(&[(9, &[0xc0])]), "if_tsresol option resolution 2^-64 is too high");
    assert_eq!(options(&[(14, &[0])]), "has if_tsoffset option with length 1 != 8");
    assert_eq!(options(&[(14, &[0; 8]), (14, &[0; 8])]), "has more than one if_tsoffset option");
    let mut unsupported = [section(order), interface(order, 9, 0, &[])].concat();
    assert_eq!(read(&unsupported), (vec![], None));
    unsupported.extend(enhanced(order, 0, 0, 1, b"a"));
    assert!(error(&unsupported).starts_with("link-type 9 (PPP) is not supported"));
}

/// The source and the direction of each packet.
fn origins(file: &[u8]) -> Vec<(u32, Option<Direction>)> {
    let mut source = FileSource::new(file, Precision::Micro).unwrap();
    let mut origins = Vec::new();
    while let Some(packet) = source.next_packet().unwrap() {
        origins.push((packet.source.0, packet.direction));
    }
    origins
}

#[test]
fn packets_name_their_interface_and_their_direction() {
    let option = |order, code: u16, value: &[u8]| written(order, |file| file.option(code, value));
    let with_options = |order, interface: u32, data: &[u8], options: &[u8]| {
        let packet = |block: &mut Writer| {
            block.u32s(&[interface, 0, 0, data.len() as u32, data.len() as u32]);
            block.padded(data);
            block.bytes.extend(options);
        };
        written(order, |file| file.block(6, packet))
    };
    for order in ORDERS {
        let flags = |flags: u32| option(order, 2, &written(order, |value| value.u32s(&[flags])));
        let (link, cooked) = (interface(order, 1, 0, &[]), interface(order, 113, 0, &[]));
        let outgoing = [0, 4, 0, 1, 0, 0];
        let comment = [option(order, 1, b"abc"), flags(2), option(order, 0, &[])].concat();
        let end = [option(order, 0, &[]), flags(2)].concat();
        let file = [
            section(order),
            link.clone(),
            cooked.clone(),
            with_options(order, 0, b"abcde", &[]),
            with_options(order, 0, b"abcde", &flags(1)),
            with_options(order, 0, b"abcd", &comment),
            with_options(order, 0, b"abc", &flags(0x1f0)),
            with_options(order, 0, b"abc", &end),
            // Malformed: longer than the block.
            with_options(order, 0, b"abc", &option(order, 1, &[0; 8])[..8]),
            with_options(order, 1, &outgoing, &[]),
            // The packet flags come first.
            with_options(order, 1, &outgoing, &flags(1)),
            section(order),
            cooked,
            enhanced(order, 0, 0, 6, &outgoing),
        ];
        let (inbound, outbound) = (Some(Direction::In), Some(Direction::Out));
        let expected = [
            (0, None),
            (0, inbound),
            (0, outbound),
            (0, None),
            (0, None),
            (0, None),
            (1, outbound),
            (1, inbound),
            (2, outbound),
        ];
        assert_eq!(origins(&file.concat()), expected);
    }
    let mut file = pcap(ByteOrder::Little, MICROSECONDS, 65535, 113);
    put(&mut file, ByteOrder::Little, &[7, 0, 3, 60]);
    file.extend([0, 4, 0]);
    assert_eq!(origins(&file), [(0, Some(Direction::Out))]);
}

//! The signature test: a corpus of frames through the real programs with `BPF_PROG_TEST_RUN`, and the record in the
//! ring equal to what the shared parser, run here over the same bytes, says that it has to be.

use std::num::NonZeroUsize;

use aya::{
    TestRun, TestRunOptions,
    programs::{SchedClassifier, Xdp},
};
use capture_common::{
    counters::{Counters, HookCounters},
    parse::{Frame as _, Location, Network, locate_ethernet, locate_raw},
    record::{ABI_VERSION, MAX_SNAPLEN, RecordHeader, captured_len, packet_type},
};
use capture_filter::{
    ebpf::{Hook, Instruction},
    interpret::Frame,
    names::NoNames,
    program as filter,
    target::{Link, Place, Target, Way},
};
use test_support::packets::{
    ip::{Addresses, Ipv4, Ipv6, fragment_header},
    link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ethernet, frame},
    tcp::{ACK, PSH, SegmentFields},
};

use super::{
    LogLevel,
    object::{FilterCode, OBJECT, Object, ObjectOptions},
    ring::Ring,
};
use crate::{filter::Filter, ports::PortList};

const RING_SIZE: usize = 1 << 20;
/// What records carry.
const INSTANCE: u16 = 3;
/// `BPF_PROG_TEST_RUN` takes no shorter frames (net/bpf/test_run.c, `bpf_test_init`).
const SHORTEST: usize = 14;

/// One way to build a frame: the bytes, and what they are.
struct Sample {
    name: String,
    bytes: Vec<u8>,
}

fn tcp(source: u16, destination: u16, options: &[u8], payload: usize) -> Vec<u8> {
    let segment = SegmentFields {
        source,
        destination,
        sequence: 1,
        acknowledgment: 2,
        flags: ACK | PSH,
        window: 256,
        options: options.to_vec(),
        payload: (0..payload).map(|index| index as u8).collect(),
        ..SegmentFields::default()
    };
    segment.encode(&Addresses::V4(SOURCE, DESTINATION))
}

const SOURCE: [u8; 4] = [127, 0, 0, 1];
const DESTINATION: [u8; 4] = [127, 0, 0, 2];

fn ipv4(protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = Ipv4 { protocol, fragment, options: options.to_vec(), ..Ipv4::default() };
    header.encode(SOURCE, DESTINATION, payload)
}

fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    Ipv6 { next_header, ..Ipv6::default() }.encode([0xfd; 16], [0xfd; 16], payload)
}

/// Packets without a link header: the name, the Ethernet type, the bytes.
fn packets() -> Vec<(String, u16, Vec<u8>)> {
    const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let mut packets = Vec::new();
    let mut add = |name: &str, ethertype, bytes| packets.push((name.to_owned(), ethertype, bytes));
    for (name, source, destination) in
        [("to the port", 1234, 8888), ("from it", 8888, 1234), ("past it", 1, 2)]
    {
        for (options, option_bytes) in [("", &[][..]), (" with options", &TIMESTAMPS), (" full", &[1; 40])] {
            for payload in [0, 1, 100, 1400] {
                let segment = tcp(source, destination, option_bytes, payload);
                let name = format!("{name}{options}, {payload} bytes");
                add(&format!("IPv4 {name}"), ETHERTYPE_IPV4, ipv4(6, 0x4000, &[], &segment));
                add(&format!("IPv4 with options {name}"), ETHERTYPE_IPV4, ipv4(6, 0, &[1; 40], &segment));
                add(&format!("IPv6 {name}"), ETHERTYPE_IPV6, ipv6(6, &segment));
            }
        }
    }
    let segment = tcp(1234, 8888, &TIMESTAMPS, 32);
    add("first fragment", ETHERTYPE_IPV4, ipv4(6, 0x2000, &[], &segment));
    add("later fragment", ETHERTYPE_IPV4, ipv4(6, 0x2001, &[], &segment));
    add("last fragment", ETHERTYPE_IPV4, ipv4(6, 0x1fff, &[1; 40], &segment));
    add("UDP", ETHERTYPE_IPV4, ipv4(17, 0, &[], &segment));
    add("UDP over IPv6", ETHERTYPE_IPV6, ipv6(17, &segment));
    let fragmented = |next_header: u8, offset: u16| {
        ipv6(44, &[&fragment_header(next_header, offset, true, 9)[..], &segment].concat())
    };
    add("IPv6 first fragment", ETHERTYPE_IPV6, fragmented(6, 0));
    add("IPv6 later fragment", ETHERTYPE_IPV6, fragmented(6, 0x5a8));
    add("IPv6 fragment of UDP", ETHERTYPE_IPV6, fragmented(17, 0));
    add("ARP", 0x0806, segment.clone());
    for header_length in 0..5 {
        let mut packet = ipv4(6, 0, &[], &segment);
        packet[0] = 0x40 + header_length;
        // With such lengths the filter finds its port in the IP header.
        packet[usize::from(header_length) * 4..][..2].copy_from_slice(&8888_u16.to_be_bytes());
        packet[9] = 6;
        add(&format!("IPv4 header length {header_length}"), ETHERTYPE_IPV4, packet);
    }
    for data_offset in [0, 4, 6, 15] {
        let mut segment = tcp(1234, 8888, &[], 4);
        segment[12] = data_offset << 4;
        add(&format!("data offset {data_offset}"), ETHERTYPE_IPV4, ipv4(6, 0, &[], &segment));
    }
    packets
}

/// The corpus for an interface with or without an Ethernet header; every packet also cut off at every length up to
/// the end of its headers.
fn corpus(link_header: bool) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (name, ethertype, packet) in packets() {
        let tags: &[&[u16]] = &[&[], &[0x8100], &[0x88a8, 0x8100], &[0x9100], &[0x8100, 0x8100, 0x8100]];
        for tags in if link_header { tags } else { &tags[..1] } {
            let tags: Vec<_> = tags.iter().map(|tag| (*tag, 0x6005)).collect();
            let header = ethernet([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], &tags, ethertype);
            let bytes = if link_header { [header, packet.clone()].concat() } else { packet.clone() };
            let whole = bytes.len();
            let cuts = (SHORTEST..whole.min(150)).chain([whole]);
            samples.extend(cuts.map(|length| Sample {
                name: format!("{name}, tags {tags:x?}, {length} of {whole} bytes"),
                bytes: bytes[..length].to_vec(),
            }));
        }
    }
    samples
}

/// One of the programs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    TcIngress,
    TcEgress,
    Xdp,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::TcIngress => "tc_ingress",
            Self::TcEgress => "tc_egress",
            Self::Xdp => "xdp",
        }
    }

    fn place(self) -> Place {
        match self {
            Self::TcIngress => Place::Tc(Way::In),
            Self::TcEgress => Place::Tc(Way::Out),
            Self::Xdp => Place::Xdp,
        }
    }

    fn hook(self) -> Hook {
        if self == Self::Xdp { Hook::Xdp } else { Hook::Tc }
    }

    fn code(self, instructions: Vec<Instruction>) -> FilterCode {
        let none = FilterCode::default();
        match self {
            Self::TcIngress => FilterCode { tc_ingress: instructions, ..none },
            Self::TcEgress => FilterCode { tc_egress: instructions, ..none },
            Self::Xdp => FilterCode { xdp: instructions, ..none },
        }
    }

    /// What its records say of a frame. `BPF_PROG_TEST_RUN` lets the kernel find it out as for any Ethernet frame, by
    /// the destination and the address of an interface that none of the frames has (net/ethernet/eth.c,
    /// `eth_type_trans`).
    fn packet_type(self, bytes: &[u8]) -> u8 {
        match self {
            Self::TcIngress if bytes.starts_with(&[0xff; 6]) => packet_type::BROADCAST,
            Self::TcIngress if bytes[0] & 1 != 0 => packet_type::MULTICAST,
            Self::TcIngress => packet_type::OTHERHOST,
            Self::TcEgress => packet_type::OUTGOING,
            Self::Xdp => packet_type::UNKNOWN,
        }
    }
}

/// The record that has to be made of `bytes`, with the time and the interface left out, or that none may be.
fn expected(
    bytes: &[u8],
    filter: &filter::Program,
    options: &ObjectOptions<'_>,
    program: Program,
) -> (Location, Option<RecordHeader>) {
    let frame = Frame { data: bytes, wire_len: bytes.len() as u32, ..Frame::default() };
    let location = match options.link_header {
        _ if !filter.matches(&frame) => Location::Other,
        true => locate_ethernet(bytes),
        false => locate_raw(bytes),
    };
    let header = match location {
        Location::Tcp { layers, headers_end } => Some(RecordHeader {
            time: 0,
            wire_len: bytes.len() as u32,
            captured_len: captured_len(bytes.len() as u32, headers_end as u32, options.snaplen),
            ifindex: 0,
            instance: INSTANCE,
            abi_version: ABI_VERSION,
            l3_offset: layers.l3_offset as u8,
            l4_offset: layers.l4_offset.map_or(0, NonZeroUsize::get) as u8,
            ip_version: match layers.network {
                Network::Ipv4 => 4,
                Network::Ipv6 => 6,
            },
            packet_type: program.packet_type(bytes),
        }),
        Location::Other | Location::TooShort => None,
    };
    (location, header)
}

/// Whether `BPF_PROG_TEST_RUN` takes the frame for a TC program: it wants something after an Ethernet header, and a
/// whole IP header where the type is that of IP (net/bpf/test_run.c, `bpf_prog_test_run_skb`). XDP and the frames with
/// a tag cover what it refuses here.
fn tc_takes(bytes: &[u8]) -> bool {
    match bytes.read(12).map(u16::from_be_bytes) {
        Some(0x0800) => bytes.len() >= 14 + 20,
        Some(0x86dd) => bytes.len() >= 14 + 40,
        _ => bytes.len() > 14,
    }
}

/// Runs the corpus through one program; returns how many records were compared.
fn check(program: Program, ports: &str, link_header: bool, snaplen: u32) -> u64 {
    check_on(false, program, ports, link_header, snaplen)
}

/// As [`check`], for a kernel with or without PREEMPT_RT.
fn check_on(preemptible: bool, program: Program, ports: &str, link_header: bool, snaplen: u32) -> u64 {
    let ports: Vec<PortList> = ports.split_whitespace().map(|list| list.parse().unwrap()).collect();
    let filter = Filter::new(&ports, String::new(), &mut NoNames).unwrap();
    let link = if link_header { Link::Ethernet } else { Link::Raw };
    let target = Target { link, place: program.place(), only_tcp: true };
    let compiled = filter.program(&target).unwrap();
    let code = program.code(filter.instructions(&compiled, program.hook()).unwrap());
    let options = ObjectOptions {
        filter: Some(&code),
        link_header,
        instance: INSTANCE,
        snaplen,
        ring_size: RING_SIZE,
        rings: 1,
        log_level: LogLevel::Off,
    };
    let mut object = Object::load_for(preemptible, OBJECT, &options).unwrap();
    let mut ring = Ring::new(object.rings.remove(0), RING_SIZE).unwrap();
    let mut expected_counters = HookCounters::default();
    let corpus =
        corpus(link_header).into_iter().filter(|sample| program == Program::Xdp || tc_takes(&sample.bytes));
    for Sample { name, bytes } in corpus {
        let mut run = TestRunOptions::new();
        run.data_in = Some(&bytes);
        let verdict = if program == Program::Xdp {
            object.program::<Xdp>(program.name()).unwrap().test_run(run)
        } else {
            object.program::<SchedClassifier>(program.name()).unwrap().test_run(run)
        };
        let verdict = verdict.unwrap_or_else(|error| panic!("{name}: {error}")).return_value;
        let pass = if program == Program::Xdp { 2 } else { -1_i32 as u32 };
        assert_eq!(verdict, pass, "{name}: the packet's fate was changed");

        let (location, expected) = expected(&bytes, &compiled, &options, program);
        match location {
            Location::Tcp { .. } => expected_counters.matched += 1,
            Location::TooShort => expected_counters.too_short += 1,
            Location::Other => {}
        }
        let found = ring.peek().map(|record| {
            let (header, captured) = RecordHeader::from_record(record).expect("a record of this layout");
            (header, captured.to_vec(), record.len())
        });
        let comparable = found.as_ref().map(|(header, ..)| RecordHeader { time: 0, ifindex: 0, ..*header });
        assert_eq!(comparable, expected, "{name}");
        if let Some((header, captured, length)) = found {
            assert_eq!(captured, bytes[..header.captured_len as usize], "{name}");
            assert!({ header.time } > 0, "{name}: no stamp");
            // Sound also where it was cut off before its headers.
            let located = header
                .layers()
                .map(|layers| (layers.l3_offset, layers.l4_offset.map_or(0, NonZeroUsize::get)));
            assert_eq!(located, Some((header.l3_offset.into(), header.l4_offset.into())), "{name}");
            ring.skip(length);
            ring.publish();
        }
    }
    let none = HookCounters::default();
    let [ingress, egress] =
        if program == Program::TcEgress { [none, expected_counters] } else { [expected_counters, none] };
    assert_eq!(object.counters().unwrap(), Counters { ingress, egress });
    expected_counters.matched
}

/// Every program with a port, with none, and with payload.
fn check_all(program: Program) {
    const PORTS: &str = "1,8888,9000-9100";
    for link_header in [true, false] {
        for (ports, snaplen) in [(PORTS, 0), ("", 0), (PORTS, 40), (PORTS, 300), (PORTS, MAX_SNAPLEN)] {
            assert!(check(program, ports, link_header, snaplen) > 100);
        }
        assert!(check_on(true, program, PORTS, link_header, 0) > 100);
        // What lies where the ports of a header with a wrong length would be is not this port either.
        assert_eq!(check(program, "7777", link_header, 0), 0);
    }
}

#[test]
#[ignore = "needs root"]
fn tc_ingress_records_are_what_the_parser_says() {
    check_all(Program::TcIngress);
}

#[test]
#[ignore = "needs root"]
fn tc_egress_records_are_what_the_parser_says() {
    check_all(Program::TcEgress);
}

#[test]
#[ignore = "needs root"]
fn xdp_records_are_what_the_parser_says() {
    check_all(Program::Xdp);
}

/// Reading the types of the running kernel takes more memory than all of a capture. The loader must not do it.
#[test]
#[ignore = "needs root"]
fn the_kernels_types_are_not_read() {
    let status = || std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = |status: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    };
    let types = std::fs::metadata("/sys/kernel/btf/vmlinux").unwrap().len() / 1024;
    // From here on the peak is the present size (proc(5), `clear_refs`).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak(&status());
    let options = ObjectOptions {
        filter: None,
        link_header: true,
        instance: 0,
        snaplen: 0,
        ring_size: 4096,
        rings: 1,
        log_level: LogLevel::Off,
    };
    let _object = Object::load(OBJECT, &options).unwrap();
    let grown = peak(&status()) - before;
    // The file alone, and as much again for what is made of it. Pages of the executable count, too.
    assert!(grown < 2 * types, "{grown} KiB more, and the kernel's types have {types}");
}

#[test]
#[ignore = "needs root"]
fn a_full_ring_loses_counted_records_and_recovers() {
    const SMALL: usize = 4096;
    const ROUNDS: u64 = 100;
    let options = ObjectOptions {
        filter: None,
        link_header: true,
        instance: 0,
        snaplen: 0,
        ring_size: SMALL,
        rings: 1,
        log_level: LogLevel::Off,
    };
    let mut object = Object::load(OBJECT, &options).unwrap();
    let mut ring = Ring::new(object.rings.remove(0), SMALL).unwrap();
    let frame = frame(&[], &ipv4(6, 0, &[], &tcp(1, 2, &[], 0)));
    assert!(frame.as_slice().read::<1>(53).is_some_and(|_| frame.len() == 54));
    // 28 bytes of header and 68 for 54 of the frame, after the kernel's 8.
    let room = SMALL as u64 / (8 + 28 + 68);
    let mut read = 0;
    for round in 1..=2 {
        for _ in 0..ROUNDS {
            let mut run = TestRunOptions::new();
            run.data_in = Some(&frame);
            object.program::<SchedClassifier>("tc_ingress").unwrap().test_run(run).unwrap();
        }
        while let Some(length) = ring.peek().map(<[u8]>::len) {
            ring.skip(length);
            read += 1;
        }
        assert!(ring.publish());
        let counters = object.counters().unwrap().ingress;
        assert_eq!(counters.matched, round * ROUNDS);
        assert_eq!(counters.ring_full, counters.matched - read);
        assert!(read.abs_diff(round * room) <= round, "{read} records in {round} rounds of {room}");
    }
}

//! Micro-benchmarks of what each packet goes through in user space: the merge of the rings, the filter, the printer
//! with its table of conversations, the JSON lines, the connection tracker, the file readers, the encoders of files.
//!
//! `cargo run --release --package microbench` prints nanoseconds. On a machine that has other things to do, ask for
//! instructions instead, which hardly vary: `cargo lab bench --instructions` runs each case under callgrind, which
//! counts what happens inside [`measured`].

#![expect(clippy::print_stdout, reason = "a command for people")]

use std::{
    hint::black_box,
    io::Cursor,
    ops::ControlFlow,
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use capture::{
    filter::Filter,
    kernel::merge::{Left, Merge, Queue},
    output::{encoder::Encoder, json::JsonEncoder, pcap::PcapEncoder, pcapng::PcapngEncoder},
    source::{
        file::FileSource,
        filter::{Selected, Selector},
        interface::InterfaceDescription,
    },
};
use capture_common::{
    parse::{Layers, locate_ethernet},
    record::{ABI_VERSION, RecordHeader},
};
use capture_filter::{
    interpret::{self, Matcher},
    names::NoNames,
    target::{Link, Place, Target},
};
use capture_flow::Tracker;
use capture_packet::{Direction, LinkType, Packet, Precision, Timestamp, layers::locate};
use capture_text::{Conversations, Printer, comments::write_comment, options::TextOptions};
use jiff::tz::TimeZone;
use test_support::packets::{
    self,
    byte_order::ByteOrder,
    file,
    ip::{Addresses, Ipv4},
    link::frame,
    tcp::SegmentFields,
};

/// How often each case is timed; the fastest counts.
const ROUNDS: usize = 9;
/// Text that is collected before it is thrown away, as the daemon's is handed on.
const CHUNK: usize = 256 * 1024;
/// Conversations that are remembered: more than there are.
const LIMIT: usize = 1 << 22;

/// A case: its name, how many packets it is measured with, and what is to be measured with that many.
struct Case {
    name: &'static str,
    packets: usize,
    prepare: fn(usize) -> Box<dyn FnMut()>,
}

const CASES: [Case; 24] = [
    Case { name: "merge-1", packets: 100_000, prepare: |n| merge(n, 1, 1) },
    Case { name: "merge-2-in-turns", packets: 100_000, prepare: |n| merge(n, 2, 1) },
    Case { name: "merge-64-in-bursts", packets: 100_000, prepare: |n| merge(n, 64, 32) },
    Case { name: "filter-match", packets: 100_000, prepare: |n| filter(n, 8888) },
    Case { name: "filter-other-port", packets: 100_000, prepare: |n| filter(n, 8889) },
    Case {
        name: "print-segment",
        packets: 20_000,
        prepare: |n| print(n, vec![segment(0, 0x10, TIMESTAMPS, 0)]),
    },
    Case {
        name: "print-data",
        packets: 20_000,
        prepare: |n| print(n, vec![segment(0, 0x18, TIMESTAMPS, 1448)]),
    },
    Case { name: "print-syn", packets: 20_000, prepare: |n| print(n, vec![segment(0, 0x02, SYN, 0)]) },
    Case { name: "print-sack", packets: 20_000, prepare: |n| print(n, vec![segment(0, 0x10, SACK, 0)]) },
    Case { name: "print-ipv6", packets: 20_000, prepare: |n| print(n, vec![segment_v6(TIMESTAMPS)]) },
    Case { name: "print-mixed", packets: 20_000, prepare: |n| print(n, mixed()) },
    Case { name: "print-file", packets: 50_000, prepare: |n| print_file(pcap(n)) },
    Case { name: "json", packets: 20_000, prepare: |n| json(n, vec![segment(0, 0x10, TIMESTAMPS, 0)]) },
    Case { name: "json-mixed", packets: 20_000, prepare: |n| json(n, mixed()) },
    Case { name: "conversations-known", packets: 200_000, prepare: known_conversations },
    Case { name: "conversations-new", packets: 200_000, prepare: new_conversations },
    Case { name: "track-known", packets: 200_000, prepare: known_connections },
    Case { name: "track-new", packets: 20_000, prepare: new_connections },
    Case { name: "read-pcap", packets: 50_000, prepare: |n| read(pcap(n)) },
    Case { name: "read-pcapng", packets: 50_000, prepare: |n| read(pcapng(n)) },
    Case { name: "write-pcap", packets: 50_000, prepare: |n| write(n, pcap_encoder(), 0) },
    Case { name: "write-pcap-data", packets: 50_000, prepare: |n| write(n, pcap_encoder(), 1448) },
    Case { name: "write-pcapng", packets: 50_000, prepare: |n| write(n, pcapng_encoder(), 0) },
    Case { name: "write-pcapng-data", packets: 50_000, prepare: |n| write(n, pcapng_encoder(), 1448) },
];

const TIMESTAMPS: &[u8] = &[1, 1, 8, 10, 0x3b, 0x9a, 0xca, 0x07, 0x1d, 0xcd, 0x65, 0x03];
const SYN: &[u8] = &[2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0x3b, 0x9a, 0xca, 0x07, 0, 0, 0, 0, 1, 3, 3, 7];
const SACK: &[u8] =
    &[1, 1, 8, 10, 0x3b, 0x9a, 0xca, 0x07, 0x1d, 0xcd, 0x65, 0x03, 1, 1, 5, 10, 0, 0, 0x40, 0, 0, 0, 0x50, 0];

/// All that is counted. Not inlined, so that it can be found by its name.
#[inline(never)]
fn measured(body: &mut dyn FnMut()) {
    body();
}

/// A frame whose layers have been located, as a source gives it.
#[derive(Clone)]
struct Frame {
    data: Vec<u8>,
    wire_len: u32,
    layers: Option<Layers>,
}

impl Frame {
    fn new(data: Vec<u8>, wire_len: u32) -> Self {
        let layers = locate(LinkType::Ethernet, &data);
        Self { data, wire_len, layers }
    }

    fn packet(&self, time: Timestamp) -> Packet<'_> {
        let packet = Packet::new(time, LinkType::Ethernet, self.wire_len, &self.data);
        Packet { layers: self.layers, ..packet }
    }
}

/// A frame of flow number `flow`, with `length` bytes of data of which none was captured.
fn segment(flow: u32, flags: u8, options: &[u8], length: u16) -> Frame {
    let (source, destination) = ([10, 1, (flow >> 22) as u8, (flow >> 14) as u8], [192, 168, 100, 200]);
    let segment = tcp(20_000 + (flow & 0x3fff) as u16, flags, options);
    let segment = segment.encode(&Addresses::V4(source, destination));
    let header = Ipv4 { total_length: Some(20 + segment.len() as u16 + length), ..Ipv4::default() };
    let frame = frame(&[], &header.encode(source, destination, &segment));
    let wire_len = packets::length(&frame) + u32::from(length);
    Frame::new(frame, wire_len)
}

fn segment_v6(options: &[u8]) -> Frame {
    let [source, destination] = [0x1201, 0x1202].map(|end| ((0x2001_0db8_u128 << 96) + end).to_be_bytes());
    let frame = frame(&[], &tcp(20_000, 0x10, options).packet(&Addresses::V6(source, destination)));
    let wire_len = packets::length(&frame);
    Frame::new(frame, wire_len)
}

fn tcp(source: u16, flags: u8, options: &[u8]) -> SegmentFields {
    SegmentFields {
        source,
        destination: 8888,
        sequence: 0x1234_5678,
        acknowledgment: 0x2345_6789,
        flags,
        window: 501,
        options: options.to_vec(),
        ..SegmentFields::default()
    }
}

/// What a server sees: mostly data and acknowledgements, some connections that come and go.
fn mixed() -> Vec<Frame> {
    let segments = (0..8).map(|flow| segment(flow, 0x10, TIMESTAMPS, 0));
    let data = (0..8).map(|flow| segment(flow, 0x18, TIMESTAMPS, 100 + 150 * flow as u16));
    let others = [
        segment(9, 0x02, SYN, 0),
        segment(9, 0x11, TIMESTAMPS, 0),
        segment(10, 0x04, &[], 0),
        segment(11, 0x10, SACK, 0),
        segment_v6(TIMESTAMPS),
        segment_v6(SYN),
    ];
    segments.chain(data).chain(others).collect()
}

/// A ring in ordinary memory.
#[derive(Clone)]
struct Memory {
    records: Vec<[u8; RecordHeader::SIZE + 68]>,
    next: usize,
}

impl Queue for Memory {
    #[inline]
    fn peek(&mut self) -> Option<&[u8]> {
        self.records.get(self.next).map(<[u8; _]>::as_slice)
    }

    #[inline]
    fn skip(&mut self, _: usize) {
        self.next += 1;
    }
}

/// Packets that have come on several CPUs in turns, in bursts of so many.
fn merge(packets: usize, cpus: usize, burst: usize) -> Box<dyn FnMut()> {
    let Frame { data, wire_len, .. } = segment(0, 0x10, TIMESTAMPS, 0);
    let mut queues = vec![Memory { records: Vec::new(), next: 0 }; cpus];
    for number in 0..packets {
        let mut record = [0; RecordHeader::SIZE + 68];
        record[..8].copy_from_slice(&(number as u64).to_ne_bytes());
        record[8..12].copy_from_slice(&wire_len.to_ne_bytes());
        record[12..16].copy_from_slice(&(data.len() as u32).to_ne_bytes());
        record[RecordHeader::ABI_VERSION_OFFSET..][..2].copy_from_slice(&ABI_VERSION.to_ne_bytes());
        record[RecordHeader::SIZE..][..data.len()].copy_from_slice(&data);
        queues[number / burst % cpus].records.push(record);
    }
    let mut merge = Merge::default();
    Box::new(move || {
        queues.iter_mut().for_each(|queue| queue.next = 0);
        let left = merge.drain(&mut queues, u64::MAX, |header, captured| {
            black_box((header, captured));
            ControlFlow::Continue(())
        });
        assert_eq!((left, merge.foreign()), (Left::Nothing, 0));
    })
}

fn one_port(port: u16) -> Filter {
    let list = port.to_string().parse().expect("a port is a list");
    Filter::new(&[list], String::new(), &mut NoNames).expect("a port is a filter")
}

fn filter(packets: usize, port: u16) -> Box<dyn FnMut()> {
    let Frame { data, .. } = segment(0, 0x10, TIMESTAMPS, 0);
    let target = Target { link: Link::Ethernet, place: Place::File, only_tcp: false };
    let program = Matcher::new(one_port(port).program(&target).expect("Ethernet frames have ports"));
    let wire_len = data.len() as u32;
    Box::new(move || {
        for _ in 0..packets {
            let frame = interpret::Frame { data: &data, wire_len, ifindex: 0, tag: None };
            if program.matches(black_box(&frame)) {
                black_box(locate_ethernet(black_box(data.as_slice())));
            }
        }
    })
}

/// Prints packets and forgets the text.
struct Sink {
    printer: Printer,
    text: BytesMut,
    microseconds: i64,
}

impl Sink {
    fn new() -> Self {
        let printer = Printer::new(TextOptions::default(), TimeZone::UTC, Conversations::reproducible(LIMIT));
        Self { printer, text: BytesMut::with_capacity(2 * CHUNK), microseconds: 0 }
    }

    fn print_frame(&mut self, frame: &Frame) {
        self.microseconds += 1;
        let seconds = 1_700_000_000 + self.microseconds / 1_000_000;
        let time = Timestamp { seconds, nanoseconds: self.microseconds % 1_000_000 * 1000 };
        self.print(&frame.packet(time));
    }

    fn print(&mut self, packet: &Packet<'_>) {
        let Self { printer, text, .. } = self;
        printer.print(black_box(packet), text);
        if text.len() > CHUNK {
            text.clear();
        }
    }
}

fn print(packets: usize, frames: Vec<Frame>) -> Box<dyn FnMut()> {
    let mut sink = Sink::new();
    // What is done once, for the first packet of a conversation, does not count.
    frames.iter().for_each(|frame| sink.print_frame(frame));
    Box::new(move || frames.iter().cycle().take(packets).for_each(|frame| sink.print_frame(frame)))
}

/// Makes objects of packets and forgets them.
fn json(packets: usize, frames: Vec<Frame>) -> Box<dyn FnMut()> {
    let conversations = Conversations::reproducible(LIMIT);
    let mut encoder = JsonEncoder::with_conversations(Vec::new(), conversations);
    let mut block = BytesMut::with_capacity(2 * CHUNK);
    let mut microseconds = 0;
    let mut encode = move |frame: &Frame| {
        microseconds += 1;
        let time = Timestamp { seconds: 1_700_000_000, nanoseconds: microseconds % 1_000_000 * 1000 };
        encoder.packet(black_box(&frame.packet(time)), &mut block);
        if block.len() > CHUNK {
            block.clear();
        }
    };
    frames.iter().for_each(&mut encode);
    Box::new(move || frames.iter().cycle().take(packets).for_each(&mut encode))
}

fn flows(packets: usize) -> Vec<Frame> {
    (0..packets as u32).map(|flow| segment(flow, 0x10, TIMESTAMPS, 0)).collect()
}

fn known_conversations(packets: usize) -> Box<dyn FnMut()> {
    print(packets, flows(packets))
}

fn new_conversations(packets: usize) -> Box<dyn FnMut()> {
    let frames = flows(packets);
    Box::new(move || {
        let mut sink = Sink::new();
        frames.iter().for_each(|frame| sink.print_frame(frame));
    })
}

fn known_connections(packets: usize) -> Box<dyn FnMut()> {
    let mut tracker = Tracker::new(1 << 12);
    let mut text = BytesMut::new();
    let frames: Vec<_> = (0..1 << 10).map(|flow| segment(flow, 0x10, TIMESTAMPS, 0)).collect();
    let mut track = move |frame: &Frame| {
        let packet = frame.packet(Timestamp::default());
        tracker.track(black_box(&packet), |event| write_comment(event, &mut text));
        text.clear();
    };
    frames.iter().for_each(&mut track);
    Box::new(move || frames.iter().cycle().take(packets).for_each(&mut track))
}

fn new_connections(packets: usize) -> Box<dyn FnMut()> {
    let frames = flows(packets);
    Box::new(move || {
        // Few, so that most are forgotten.
        let mut tracker = Tracker::new(1 << 12);
        let mut text = BytesMut::with_capacity(1 << 12);
        for frame in &frames {
            let packet = frame.packet(Timestamp::default());
            tracker.track(black_box(&packet), |event| write_comment(event, &mut text));
            text.clear();
        }
    })
}

/// A file in memory, little-endian.
fn pcap(packets: usize) -> Vec<u8> {
    let packet = |number: u32| {
        let Frame { data, .. } = segment(number % 8, 0x10, TIMESTAMPS, 0);
        packets::Packet::whole(1_700_000_000, number % 1_000_000 * 1000, data)
    };
    file::pcap(1, (0..packets as u32).map(packet))
}

/// The same in enhanced packet blocks.
fn pcapng(packets: usize) -> Vec<u8> {
    let packet = packets::Packet::whole(0, 0, segment(0, 0x10, TIMESTAMPS, 0).data);
    file::written(ByteOrder::Little, |file| {
        file.section();
        file.interface_with(1, 262_144, &[]);
        for number in 0..packets as u64 {
            file.enhanced_packet(0, 1_700_000_000_000_000 + number, &packet);
        }
    })
}

fn read(file: Vec<u8>) -> Box<dyn FnMut()> {
    Box::new(move || {
        let source = FileSource::new(Cursor::new(file.as_slice()), Precision::Micro);
        let mut source = source.expect("the file is well-formed");
        while let Some(packet) = source.next_packet().expect("the packets are well-formed") {
            black_box(packet);
        }
    })
}

/// All that a file's packets go through but the engine: read, selected, printed.
fn print_file(file: Vec<u8>) -> Box<dyn FnMut()> {
    let (mut sink, filter) = (Sink::new(), one_port(8888));
    let mut print = move || {
        let source = FileSource::new(Cursor::new(file.as_slice()), Precision::Micro);
        let mut source = source.expect("the file is well-formed");
        let mut selector = Selector::new(&filter, source.byte_order());
        while let Some(mut packet) = source.next_packet().expect("the packets are well-formed") {
            if selector.select(&mut packet) == Selected::Yes {
                sink.print(&packet);
            }
        }
    };
    print();
    Box::new(print)
}

fn interface() -> InterfaceDescription {
    let unnamed = InterfaceDescription::new(LinkType::Ethernet, 262_144);
    InterfaceDescription { name: Some("eth0".into()), ..unnamed }
}

fn pcap_encoder() -> Box<dyn Encoder> {
    Box::new(PcapEncoder::new(&interface(), Precision::Micro))
}

fn pcapng_encoder() -> Box<dyn Encoder> {
    Box::new(PcapngEncoder::new(vec![interface()], false))
}

/// Frames with `length` bytes of data, captured whole.
fn write(packets: usize, mut encoder: Box<dyn Encoder>, length: usize) -> Box<dyn FnMut()> {
    let Frame { data: mut frame, .. } = segment(0, 0x18, TIMESTAMPS, length as u16);
    frame.resize(frame.len() + length, 0);
    let mut block = BytesMut::with_capacity(2 * CHUNK);
    Box::new(move || {
        for microseconds in 0..packets as i64 {
            let time = Timestamp { seconds: 1_700_000_000, nanoseconds: microseconds * 1000 };
            let packet = Packet::new(time, LinkType::Ethernet, frame.len() as u32, &frame);
            let packet = Packet { direction: Some(Direction::In), ..packet };
            encoder.packet(black_box(&packet), &mut block);
            if block.len() > CHUNK {
                block.clear();
            }
        }
    })
}

/// The fastest of several runs.
fn time(case: &Case) -> Duration {
    let mut body = (case.prepare)(case.packets);
    let run = |body: &mut dyn FnMut()| {
        let start = Instant::now();
        measured(body);
        start.elapsed()
    };
    (0..ROUNDS).map(|_| run(&mut body)).min().unwrap_or_default()
}

/// `--list` prints the cases and how many packets each is measured with; `--case NAME` runs one case once;
/// without either, each is timed.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--list") {
        CASES.iter().for_each(|Case { name, packets, .. }| println!("{name} {packets}"));
        return ExitCode::SUCCESS;
    }
    let Some(at) = arguments.iter().position(|argument| argument == "--case") else {
        for case in &CASES {
            println!("{:20} {:8.1} ns/packet", case.name, time(case).as_nanos() as f64 / case.packets as f64);
        }
        return ExitCode::SUCCESS;
    };
    let Some(case) = CASES.iter().find(|case| Some(case.name) == arguments.get(at + 1).map(String::as_str))
    else {
        println!("no such case; see --list");
        return ExitCode::FAILURE;
    };
    measured(&mut (case.prepare)(case.packets));
    ExitCode::SUCCESS
}

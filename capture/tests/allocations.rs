//! Nothing on the way of a packet allocates, and a file takes only so much memory: counted by the allocator itself.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    io::{self, Cursor, Read},
    path::Path,
};

use bytes::BytesMut;
use capture::{
    output::{encoder::Encoder, json::JsonEncoder, pcap::PcapEncoder, pcapng::PcapngEncoder},
    source::{
        file::{FileSource, Record},
        interface::InterfaceDescription,
    },
};
use capture_flow::Tracker;
use capture_packet::{LinkType, Precision};
use capture_text::{Conversations, Printer, comments::write_comment, options::TextOptions};
use jiff::tz::TimeZone;
use test_support::packets::{
    Packet,
    byte_order::ByteOrder,
    file::{MICROSECONDS, SECTION_HEADER, Writer, written},
};

/// The system's allocator, which counts for each thread how often it is asked for memory, and how much there is.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that are allocated, and the most that were.
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    BYTES.set(BYTES.get() + bytes as isize);
    PEAK.set(PEAK.get().max(BYTES.get()));
}

fn uncount(bytes: usize) {
    BYTES.set(BYTES.get() - bytes as isize);
}

// SAFETY: every call is handed on as it is. The count is in a `Cell` of plain numbers, which needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller vouches for the layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        uncount(layout.size());
        // SAFETY: the caller vouches for both.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        uncount(layout.size());
        count(size);
        // SAFETY: the caller vouches for all three.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn described(link_type: LinkType) -> InterfaceDescription {
    InterfaceDescription::new(link_type, 0)
}

/// Allocations per packet of a second pass over the goldens, when tables and buffers have their size.
#[test]
fn reading_explaining_and_encoding_a_packet_allocates_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let with = |verbosity, link_header, number| TextOptions {
        verbosity,
        link_header,
        number,
        ..TextOptions::default()
    };
    let (mut files, mut packets) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_capture =
            path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng");
        if !is_capture {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for options in [with(0, false, false), with(3, true, true)] {
            let mut printer = Printer::new(options, TimeZone::UTC, Conversations::new(1 << 10));
            let mut json = JsonEncoder::with_conversations(Vec::new(), Conversations::new(1 << 10));
            let mut tracker = Tracker::new(1 << 10);
            let interfaces = LinkType::ALL.map(described);
            let mut pcap = PcapEncoder::new(&interfaces[1], Precision::Micro);
            let mut pcapng = PcapngEncoder::new(interfaces.into(), true);
            let mut text = BytesMut::with_capacity(1 << 22);
            for pass in 0..2 {
                let Ok(mut source) = FileSource::new(Cursor::new(&bytes), Precision::Micro) else { break };
                let mut known = source.interfaces().len();
                loop {
                    let start = ALLOCATIONS.get();
                    let Ok(Some(Record { packet, options, interfaces })) = source.next_record() else {
                        break;
                    };
                    let packet = packet.located();
                    let read = ALLOCATIONS.get();
                    options.comments().for_each(|comment| pcapng.comment(comment));
                    tracker.track(&packet, |event| {
                        write_comment(event, &mut text);
                        pcapng.event(event, &mut text);
                        json.event(event, &mut text);
                    });
                    printer.print(&packet, &mut text);
                    pcap.packet(&packet, &mut text);
                    pcapng.packet(&packet, &mut text);
                    json.packet(&packet, &mut text);
                    let printed = ALLOCATIONS.get();
                    text.clear();
                    packets += pass;
                    // The file's buffer grows with its longest packet, and the list of interfaces with each.
                    let is_new = std::mem::replace(&mut known, interfaces.len()) < interfaces.len();
                    let grows = is_new || packet.data.len() > 1 << 16;
                    let to_read = if grows { 0 } else { read - start };
                    let allocations = to_read + printed - read;
                    assert!(pass == 0 || allocations == 0, "{}: {allocations}", path.display());
                }
            }
        }
        files += 1;
    }
    assert!(files > 50 && packets > 3000, "{packets} packets in {files} files");
}

/// A block of a pcapng file around `fields` and zeros, which are nowhere in memory.
fn long_block(block_type: u32, fields: &[u32], length: u32) -> impl Read + use<> {
    let words = [&[block_type, length], fields].concat();
    let start: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let zeros = u64::from(length) - start.len() as u64 - 4;
    Cursor::new(start).chain(io::repeat(0).take(zeros)).chain(Cursor::new(length.to_le_bytes()))
}

fn section() -> Vec<u8> {
    written(ByteOrder::Little, Writer::section)
}

/// An interface for Ethernet whose packets may have any length, with an offset of its time if that is not 0.
fn interface(offset: u64) -> Vec<u8> {
    let option: (u16, &[u8]) = (14, &offset.to_le_bytes());
    let options = if offset == 0 { &[][..] } else { &[option] };
    written(ByteOrder::Little, |file| file.interface_with(1, 0x7fff_ffff, options))
}

fn named(name: &[u8]) -> Vec<u8> {
    written(ByteOrder::Little, |file| file.interface_with(1, 96, &[(2, name)]))
}

fn packet(interface: u32) -> Vec<u8> {
    let packet = Packet::whole(0, 0, vec![0; 4]);
    written(ByteOrder::Little, |file| file.enhanced_packet(interface, 0, &packet))
}

/// Blocks that are made as they are read.
struct Blocks<F> {
    make: F,
    left: std::ops::Range<u32>,
    rest: Cursor<Vec<u8>>,
}

fn blocks<F: FnMut(u32) -> Vec<u8>>(count: u32, make: F) -> Blocks<F> {
    Blocks { make, left: 0..count, rest: Cursor::default() }
}

impl<F: FnMut(u32) -> Vec<u8>> Read for Blocks<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.rest.position() == self.rest.get_ref().len() as u64 {
            match self.left.next() {
                Some(number) => self.rest = Cursor::new((self.make)(number)),
                None => return Ok(0),
            }
        }
        self.rest.read(bytes)
    }
}

/// How many packets a file has up to its end or a fault, the fault, and the most memory that reading it took.
fn read(file: impl Read) -> (u32, String, isize) {
    let before = BYTES.get();
    PEAK.set(before);
    let mut packets = 0;
    let fault = match FileSource::new(file, Precision::Micro) {
        Err(error) => error.to_string(),
        Ok(mut source) => loop {
            match source.next_packet() {
                Ok(Some(_)) => packets += 1,
                Ok(None) => break String::new(),
                Err(error) => break error.to_string(),
            }
        },
    };
    (packets, fault, PEAK.get() - before)
}

/// A file, its packets, its fault, and how much memory it may take, in bytes.
type Case<'a> = (&'a str, Box<dyn Read>, u32, &'a str, isize);

/// libpcap reads blocks of up to 16 MiB, and any number of interfaces.
#[test]
fn the_memory_that_a_pcapng_file_takes_is_bounded() {
    const MIB: isize = 1 << 20;
    const LONGEST: u32 = 16 << 20;
    const MANY: u32 = 1_000_000;

    let start = || Cursor::new([section(), interface(0)].concat());
    let end = || Cursor::new(packet(0));
    let claims =
        |block_type: u32| Cursor::new([block_type.to_le_bytes(), LONGEST.to_le_bytes(), [0; 4]].concat());
    let magic = [0x1a2b_3c4d, 1];
    let truncated = format!("truncated pcapng dump file; tried to read {} bytes, only got 4", LONGEST - 8);
    let files: Vec<Case<'_>> = vec![
        ("a few packets", Box::new(start().chain(blocks(1000, |_| packet(0)))), 1000, "", MIB / 2),
        // What is not there is not made room for.
        ("a length of a packet", Box::new(start().chain(claims(6))), 0, &truncated, MIB / 2),
        ("a length of an interface", Box::new(start().chain(claims(1))), 0, &truncated, MIB / 2),
        ("a length of what is not looked at", Box::new(start().chain(claims(4))), 0, &truncated, MIB / 2),
        // What is not looked at is not kept.
        (
            "a long list of names",
            Box::new(start().chain(long_block(4, &[], LONGEST)).chain(end())),
            1,
            "",
            MIB / 2,
        ),
        (
            "long sections",
            Box::new(start().chain(long_block(SECTION_HEADER, &magic, LONGEST)).chain(start()).chain(end())),
            1,
            "",
            MIB / 2,
        ),
        (
            "a long first section",
            Box::new(long_block(SECTION_HEADER, &magic, 1 << 20).chain(start()).chain(end())),
            1,
            "",
            MIB / 2,
        ),
        // Any number of interfaces, and of sections, with names however long. The block itself is in memory.
        (
            "interfaces with long names",
            Box::new(start().chain(blocks(MANY / 100, |_| named(&[b'x'; 60_000]))).chain(end())),
            1,
            "",
            3 * MIB / 2,
        ),
        (
            "interfaces that are alike",
            Box::new(start().chain(blocks(MANY, |_| interface(0))).chain(Cursor::new(packet(MANY)))),
            1,
            "",
            MIB / 2,
        ),
        (
            "interfaces that are not",
            Box::new(
                start()
                    .chain(blocks(MANY, |number| interface(number.into())))
                    .chain(end())
                    .chain(Cursor::new(packet(1000))),
            ),
            2,
            "",
            3 * MIB,
        ),
        (
            "sections",
            Box::new(blocks(MANY / 10, |_| [section(), interface(1), interface(2), packet(1)].concat())),
            MANY / 10,
            "",
            MIB / 2,
        ),
        // Packets are kept whole, one at a time.
        (
            "the longest packet",
            Box::new(start().chain(long_block(6, &[0, 0, 0, LONGEST - 32, LONGEST], LONGEST)).chain(end())),
            2,
            "",
            17 * MIB,
        ),
        (
            "long packets",
            Box::new(start().chain(long_block(6, &[0, 0, 0, 262_144, 262_144], 262_176)).chain(end())),
            2,
            "",
            MIB,
        ),
        (
            "a long description of an interface",
            Box::new(start().chain(long_block(1, &[1, 0], LONGEST)).chain(end())),
            1,
            "",
            17 * MIB,
        ),
    ];
    for (name, file, packets, fault, most) in files {
        let read = read(file);
        assert_eq!((read.0, &read.1[..]), (packets, fault), "{name}");
        assert!(read.2 <= most, "{name}: {} bytes", read.2);
    }
}

/// Of a file of a million different interfaces, the first are known; a packet that names another says so.
#[test]
fn interfaces_that_were_not_kept_are_named() {
    const KEPT: u32 = 1 << 15;
    let file = |packets: &[u32]| {
        let packets: Vec<u8> = packets.iter().flat_map(|number| packet(*number)).collect();
        Cursor::new(section())
            .chain(blocks(KEPT + 2, |number| interface(number.into())))
            .chain(Cursor::new(packets))
    };
    let (packets, fault, _) = read(file(&[0, KEPT - 1, KEPT]));
    let reason = "and the file describes too many different interfaces before that";
    assert_eq!((packets, fault), (2, format!("a packet arrived on interface {KEPT}, {reason}")));
    let (packets, fault, _) = read(file(&[0, KEPT + 2]));
    let reason = "but there's no Interface Description Block for that interface";
    assert_eq!((packets, fault), (1, format!("a packet arrived on interface {}, {reason}", KEPT + 2)));
}

/// A pcap file has no more than one packet of 256 KiB in memory, whatever it claims.
#[test]
fn the_memory_that_a_pcap_file_takes_is_bounded() {
    for (snaplen, length) in
        [(u32::MAX, 262_144_u32), (262_144, 262_144), (0, 262_145), (u32::MAX, u32::MAX), (1 << 30, 1 << 29)]
    {
        let header = written(ByteOrder::Little, |file| {
            file.pcap_header(MICROSECONDS, snaplen, 1);
            file.u32s(&[0, 0, length, length]);
        });
        let (packets, _, most) = read(Cursor::new(header).chain(io::repeat(0).take(1 << 25)));
        assert_eq!(packets > 0, length == 262_144, "{snaplen} {length}");
        assert!(most <= 1 << 20, "{snaplen} {length}: {most} bytes");
    }
}

/// That it would notice.
#[test]
fn the_allocator_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get(), before + 1);
    let before = BYTES.get();
    PEAK.set(before);
    drop(std::hint::black_box(vec![0_u8; 1000]));
    assert_eq!((BYTES.get() - before, PEAK.get() - before), (0, 1000));
}

//! `-r A -w B`: what a pcapng file says of its interfaces and packets, as other programs find it in the file that is written
//! from it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use test_support::{
    oracle::{Invocation, printed},
    packets::{
        byte_order::ByteOrder,
        file::{MICROSECONDS as PCAP_MICROSECONDS, NANOSECONDS as PCAP_NANOSECONDS, Writer, written},
    },
};

const COMMENT: u16 = 1;

/// An IPv4 header and a TCP header to port 8888.
const SEGMENT: [u8; 40] = [
    0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 4, 0xd2, 0x22, 0xb8, 0, 0, 0, 1, 0, 0,
    0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0,
];
const RAW: u16 = 101;
const ETHERNET: u16 = 1;

/// The segment as a frame of a link type.
fn frame(link_type: u16) -> Vec<u8> {
    let ethernet = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let header = if link_type == ETHERNET { &ethernet[..] } else { &[] };
    [header, &SEGMENT].concat()
}

fn packet(file: &mut Writer, interface: u32, ticks: u64, link_type: u16, options: &[(u16, &[u8])]) {
    let data = frame(link_type);
    file.block(6, |block| {
        block.u32s(&[interface, (ticks >> 32) as u32, ticks as u32, data.len() as u32, data.len() as u32]);
        block.padded(&data);
        options.iter().for_each(|(code, value)| block.option(*code, value));
    });
}

const MICROSECONDS: u64 = 1_700_000_000_000_001;

/// Two sections. In each, an interface that the other has, too; one comes after packets; one has no packet.
fn described(order: ByteOrder) -> Vec<u8> {
    let eth0: [(u16, &[u8]); 5] =
        [(2, b"eth0"), (3, b"uplink"), (11, b"\0tcp"), (12, b"Linux 6.1"), (15, b"Intel X710")];
    written(order, |file| {
        file.section();
        file.interface_with(ETHERNET, 262_144, &eth0);
        packet(
            file,
            0,
            MICROSECONDS,
            ETHERNET,
            &[(COMMENT, b"first"), (2, &[0; 4]), (COMMENT, "zwölf".as_bytes())],
        );
        file.interface_with(RAW, 96, &[(2, b"tun0\0"), (9, &[9])]);
        packet(file, 1, MICROSECONDS * 1000 + 7, RAW, &[]);
        packet(file, 0, MICROSECONDS + 1, ETHERNET, &[(COMMENT, b"third")]);
        file.section();
        file.interface_with(ETHERNET, 262_144, &eth0);
        file.interface_with(RAW, 96, &[(2, b"wg0"), (9, &[3])]);
        packet(file, 1, MICROSECONDS / 1000, RAW, &[]);
        packet(file, 0, MICROSECONDS + 2, ETHERNET, &[]);
        file.interface_with(RAW, 96, &[(3, b"without packets")]);
    })
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(file: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.pcapng"), file).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn capture(&self, arguments: &[&str]) -> Output {
        let mut capture = Command::new(env!("CARGO_BIN_EXE_capture"));
        let output =
            capture.current_dir(self.0.path()).args(["-r", "a.pcapng"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

fn tshark(path: &Path, fields: &[&str]) -> String {
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields", "-E", "aggregator=|", "-r"]).arg(path);
    fields.iter().for_each(|field| {
        tshark.args(["-e", field]);
    });
    printed(tshark)
}

/// tshark 4.0 gives packets of the second section names from the first one: these are what the file says.
const FRAMES: [&str; 5] = [
    "eth0\tuplink\t1700000000.000001000\t54\tfirst|zwölf",
    "tun0\t\t1700000000.000001007\t40\t",
    "eth0\tuplink\t1700000000.000002000\t54\tthird",
    "wg0\t\t1700000000.000000000\t40\t",
    "eth0\tuplink\t1700000000.000003000\t54\t",
];

const FIELDS: [&str; 5] = [
    "frame.interface_name",
    "frame.interface_description",
    "frame.time_epoch",
    "frame.cap_len",
    "frame.comment",
];

fn capinfos(path: &Path) -> String {
    let mut capinfos = Command::new("capinfos");
    capinfos.arg("-M").arg(path);
    printed(capinfos).split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn interfaces_and_comments_are_those_of_the_source() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let folder = Folder::new(&described(order));
        folder.capture(&["-w", "b.pcapng"]);
        let frames = tshark(&folder.path("b.pcapng"), &FIELDS);
        assert_eq!(frames.lines().collect::<Vec<_>>(), FRAMES);
        let words = capinfos(&folder.path("b.pcapng"));
        for expected in [
            "Number of interfaces in file: 4",
            "Name = eth0 Description = uplink",
            "Hardware = Intel X710",
            "Filter string = tcp",
            "Operating system = Linux 6.1",
            "Time precision = microseconds (6)",
            "Name = tun0",
            "Time precision = nanoseconds (9)",
            "Name = wg0",
            "Time precision = milliseconds (3)",
            "Description = without packets",
            "Number of packets = 3",
        ] {
            assert!(words.contains(expected), "`{expected}` in {words}");
        }
    }
}

/// What was selected when the file was made, and now.
#[test]
fn the_filter_is_both_filters() {
    let folder = Folder::new(&described(ByteOrder::Little));
    folder.capture(&["-w", "b.pcapng", "--port", "8888"]);
    let words = capinfos(&folder.path("b.pcapng"));
    assert!(words.contains("Filter string = (tcp) and (tcp port 8888)"), "{words}");
    assert!(words.contains("Filter string = tcp port 8888"), "{words}");
}

/// Also where an interface becomes known after the first file.
#[test]
fn each_file_of_a_ring_has_the_interfaces() {
    let folder = Folder::new(&described(ByteOrder::Little));
    folder.capture(&["-w", "ring.pcapng", "--ring-buffer", "packets:1"]);
    let mut files: Vec<_> = fs::read_dir(folder.0.path()).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let frames: String = files[1..].iter().map(|file| tshark(file, &FIELDS)).collect();
    assert_eq!(files.len(), 6);
    assert_eq!(frames.lines().collect::<Vec<_>>(), FRAMES);
}

#[test]
fn json_names_the_interface_of_each_packet() {
    let folder = Folder::new(&described(ByteOrder::Little));
    let output = folder.capture(&["--json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str, key: &str| -> Vec<Value> {
        objects.iter().filter(|object| object["type"] == kind).map(|object| object[key].clone()).collect()
    };
    assert_eq!(of("packet", "interface"), ["eth0", "tun0", "eth0", "wg0", "eth0"]);
    assert_eq!(objects[0]["interfaces"][0]["hardware"], "Intel X710");
    assert_eq!(objects[0]["interfaces"][0]["description"], "uplink");
    assert_eq!(of("interface", "name"), [Value::from("tun0"), "wg0".into(), Value::Null]);
    // In front of its first packet.
    let place = |kind: &str, key: &str| {
        objects.iter().position(|object| object["type"] == kind && object[key] == "tun0").unwrap()
    };
    assert!(place("interface", "name") < place("packet", "interface"));
}

/// libpcap and tshark read no block of more than 16 MiB. Comments of one packet have 1 MiB at most; the rest is reported.
#[test]
fn more_comments_than_readers_take_are_left_out_and_told() {
    let long = vec![b'x'; usize::from(u16::MAX)];
    let file = written(ByteOrder::Little, |file| {
        file.section();
        file.interface_with(RAW, 96, &[]);
        let comments: Vec<(u16, &[u8])> = vec![(COMMENT, &long); 200];
        packet(file, 0, MICROSECONDS, RAW, &comments);
        packet(file, 0, MICROSECONDS, RAW, &[(COMMENT, b"the next")]);
    });
    let folder = Folder::new(&file);
    let output = folder.capture(&["-w", "b.pcapng"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "capture: 185 comments were left out: those of one packet had more than 1024 KiB\n";
    assert!(said.ends_with(expected), "{said}");
    let comments = tshark(&folder.path("b.pcapng"), &["frame.comment"]);
    let lengths: Vec<_> = comments.lines().map(str::len).collect();
    assert_eq!(lengths, [15 * (long.len() + 1) - 1, 8]);
    assert_eq!(printed(count(&folder.path("b.pcapng"))), "2 packets\n");
}

fn count(path: &Path) -> Command {
    let mut count = Command::new("tcpdump");
    count.args(["--count", "-r"]).arg(path);
    count
}

/// Of interfaces with names, the first are known by name, the others share one.
#[test]
fn interfaces_beyond_a_thousand_share_a_description() {
    let file = written(ByteOrder::Little, |file| {
        file.section();
        for number in 0..5000 {
            file.interface_with(RAW, 96, &[(2, format!("if{number}").as_bytes())]);
        }
        for number in [0, 999, 1000, 4999] {
            packet(file, number, MICROSECONDS, RAW, &[]);
        }
    });
    let folder = Folder::new(&file);
    let output = folder.capture(&["-w", "b.pcapng"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.ends_with("capture: 4000 interfaces of the file have no names: they are too many\n"),
        "{said}"
    );
    let frames = tshark(&folder.path("b.pcapng"), &["frame.interface_id", "frame.interface_name"]);
    let names: Vec<_> = frames.lines().map(|line| line.split('\t').collect::<Vec<_>>()).collect();
    assert_eq!(names[..2], [["0", "if0"], ["999", "if999"]]);
    assert_eq!((names[2][0], names[3][0]), ("1000", "1000"));
}

/// Also those before a packet that is not selected.
#[test]
fn losses_before_packets_are_those_of_the_source() {
    let lost = |file: &mut Writer, count: u64, data: &[u8]| {
        let count = written(file.order, |option| option.u32s(&[count as u32, 0]));
        file.block(6, |block| {
            block.u32s(&[0, 0, 7, data.len() as u32, data.len() as u32]);
            block.padded(data);
            block.option(4, &count);
        });
    };
    let mut datagram = SEGMENT;
    datagram[9] = 17;
    let file = written(ByteOrder::Little, |file| {
        file.section();
        file.interface_with(RAW, 96, &[]);
        lost(file, 5, &SEGMENT);
        lost(file, 2, &datagram);
        lost(file, 3, &SEGMENT);
        packet(file, 0, MICROSECONDS, RAW, &[]);
    });
    let folder = Folder::new(&file);
    folder.capture(&["-w", "b.pcapng"]);
    assert_eq!(tshark(&folder.path("b.pcapng"), &["frame.drop_count"]), "5\n5\n\n");
}

/// The seconds of a pcap file are unsigned, and end in 2106. tcpdump prints them as signed, where the file has the byte
/// order of the machine, and so do we; other formats get what the file means, as tshark reads it.
#[test]
fn times_after_2038_are_right_but_for_the_text() {
    let (micro, nano) = ([0, 999_999], [0, 999_999_999]);
    for (magic, fractions, digits) in [(PCAP_MICROSECONDS, micro, 6), (PCAP_NANOSECONDS, nano, 9)] {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let seconds = [1, 0x7fff_ffff, 0x8000_0000, 2_208_988_800, u32::MAX];
            let times = seconds.iter().flat_map(|seconds| fractions.map(|fraction| (*seconds, fraction)));
            let file = written(order, |file| {
                file.pcap_header(magic, 262_144, RAW.into());
                for (seconds, fraction) in times.clone() {
                    file.u32s(&[seconds, fraction, 40, 40]);
                    file.bytes.extend(SEGMENT);
                }
            });
            let expected: Vec<_> = times
                .map(|(seconds, fraction)| format!("{seconds}.{fraction:0digits$}{:0<1$}", "", 9 - digits))
                .collect();
            let folder = Folder::new(&file);
            for flags in ["-n -tttt", "-n -ttt", "-n -tt --nano"] {
                let invocation: Invocation = flags.parse().unwrap();
                let text = printed(invocation.command("tcpdump", &folder.path("a.pcapng")));
                let arguments: Vec<_> = flags.split(' ').chain(["-w", "b.pcapng", "--print"]).collect();
                let output = folder.capture(&arguments);
                assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{order:?} {flags}");
            }
            let written = tshark(&folder.path("b.pcapng"), &["frame.time_epoch"]);
            assert_eq!(written.lines().collect::<Vec<_>>(), expected);
            let source = tshark(&folder.path("a.pcapng"), &["frame.time_epoch"]);
            assert_eq!(source.lines().collect::<Vec<_>>(), expected);
            let lines = String::from_utf8(folder.capture(&["--json"]).stdout).unwrap();
            assert!(lines.contains("\"time\":\"2106-02-07T06:28:15.999999"), "{lines}");
            assert!(lines.contains("\"time\":\"2040-01-01T00:00:00.000000000Z\""), "{lines}");
        }
    }
}

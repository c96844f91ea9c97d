//! The files that outputs write, as others read them: tcpdump, tshark and capinfos, and capture itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::BytesMut;
use capture::{
    output::{encoder::Encoder, pcap::PcapEncoder, pcapng::PcapngEncoder, statistics::Statistics},
    source::{file::FileSource, interface::InterfaceDescription},
};
use capture_flow::{Forgotten, Tracker};
use capture_packet::{Direction, LinkType, Packet, Precision, SourceId, Timestamp};
use capture_text::comments::write_comment;
use test_support::{
    oracle::{Invocation, printed},
    packets::file::link_of,
};

/// A packet that outlives its source.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    source: SourceId,
    direction: Option<Direction>,
    time: Timestamp,
    link_type: LinkType,
    wire_len: u32,
    data: Vec<u8>,
}

impl Seen {
    fn packet(&self) -> Packet<'_> {
        let &Self { source, direction, time, link_type, wire_len, ref data } = self;
        Packet { source, direction, ..Packet::new(time, link_type, wire_len, data) }.located()
    }
}

/// The packets of a file up to its end or its first fault.
fn read(file: &[u8], precision: Precision) -> Vec<Seen> {
    let mut packets = Vec::new();
    let Ok(mut source) = FileSource::new(file, precision) else { return packets };
    while let Ok(Some(packet)) = source.next_packet() {
        let Packet { source, direction, time, link_type, wire_len, data, .. } = packet;
        packets.push(Seen { source, direction, time, link_type, wire_len, data: data.into() });
    }
    packets
}

/// The files of `tests/golden` in which there are packets.
fn goldens() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let is_capture = |path: &PathBuf| {
        let is_capture =
            path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng");
        is_capture && !read(&fs::read(path).unwrap(), Precision::Micro).is_empty()
    };
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(is_capture).collect()
}

fn encode(encoder: &mut dyn Encoder, packets: &[Seen]) -> Vec<u8> {
    let mut file = BytesMut::from(encoder.header());
    for packet in packets {
        encoder.packet(&packet.packet(), &mut file);
    }
    assert_eq!(encoder.remarks(), "");
    file.to_vec()
}

fn interface(link_type: LinkType) -> InterfaceDescription {
    InterfaceDescription::new(link_type, 0)
}

fn pcap(packets: &[Seen], precision: Precision) -> Vec<u8> {
    encode(&mut PcapEncoder::new(&interface(packets[0].link_type), precision), packets)
}

/// The same packets in pcapng, with the interfaces that they name.
fn pcapng(packets: &[Seen]) -> Vec<u8> {
    let mut interfaces = Vec::new();
    for packet in packets {
        let number = packet.source.0 as usize;
        interfaces.resize(interfaces.len().max(number + 1), interface(LinkType::Ethernet));
        interfaces[number] = interface(packet.link_type);
    }
    encode(&mut PcapngEncoder::new(interfaces, false), packets)
}

fn has_one_link_type(packets: &[Seen]) -> bool {
    packets.iter().all(|packet| packet.link_type == packets[0].link_type)
}

/// Whether 64 bits of nanoseconds since 1970 give the same seconds and nanoseconds back.
fn is_sane(time: Timestamp) -> bool {
    time.seconds >= 0 && (0..1_000_000_000).contains(&time.nanoseconds)
}

/// A file for other programs, which is removed with this value.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("files-{}-{name}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

#[test]
fn what_is_written_is_read_back() {
    let (mut count, mut insane) = (0, 0);
    for path in goldens() {
        let bytes = fs::read(&path).unwrap();
        for precision in [Precision::Micro, Precision::Nano] {
            let mut packets = read(&bytes, precision);
            count += packets.len();
            if has_one_link_type(&packets) {
                let fits = |packet: &Seen| precision == Precision::Micro || is_sane(packet.time);
                let packets: Vec<_> = packets.iter().filter(|packet| fits(packet)).cloned().collect();
                let back =
                    if packets.is_empty() { vec![] } else { read(&pcap(&packets, precision), precision) };
                assert_eq!(back.len(), packets.len(), "{}", path.display());
                for (back, packet) in back.into_iter().zip(packets) {
                    let of_link = Direction::of_cooked(packet.link_type, &packet.data);
                    let expected = Seen { source: SourceId(0), direction: of_link, ..packet };
                    assert_eq!(back, expected, "{}", path.display());
                }
            }
            for (number, packet) in packets.iter_mut().enumerate() {
                match number % 3 {
                    0 => {}
                    1 => packet.direction = Some(Direction::In),
                    _ => packet.direction = Some(Direction::Out),
                }
            }
            let back = read(&pcapng(&packets), precision);
            assert_eq!(back.len(), packets.len(), "{}", path.display());
            for (mut back, packet) in back.into_iter().zip(packets) {
                if !is_sane(packet.time) {
                    insane += 1;
                    back.time = packet.time;
                }
                assert_eq!(back, packet, "{}", path.display());
            }
        }
    }
    assert!(count > 3000 && insane * 50 < count, "{insane} of {count} packets");
}

/// A pcap file has one link type. Of packets of two in turn, those of the other one are told, and are not counted as if
/// they were in the file.
#[test]
fn packets_of_another_link_type_are_left_out_and_told() {
    let golden = |name: &str, source| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let packet = read(&fs::read(path).unwrap(), Precision::Micro).swap_remove(0);
        Seen { source: SourceId(source), ..packet }
    };
    let [ethernet, raw] = [golden("walkthrough.pcap", 0), golden("link-raw.pcap", 1)];
    assert_ne!(ethernet.link_type, raw.link_type);
    let packets: Vec<Seen> = [ethernet.clone(), raw].into_iter().cycle().take(10).collect();
    let source = Written::new("two.pcapng", &pcapng(&packets));
    // With the fifth that is in the file, the run ends.
    for (arguments, left_out) in
        [(&[][..], 5), (&["--ring-buffer", "packets:5"], 5), (&["--autostop", "packets:5"], 4)]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut capture = Command::new(env!("CARGO_BIN_EXE_capture"));
        capture.arg("-r").arg(&source.0).arg("-w").arg(folder.path().join("x.pcap")).args(arguments);
        let output = capture.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let line = format!(": {left_out} packets left out: of another link type than the file\n");
        assert!(said.contains(&line), "{arguments:?}: {said}");
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
        let [file] = &files[..] else { panic!("{files:?}") };
        assert_eq!(
            read(&fs::read(file).unwrap(), Precision::Micro),
            vec![ethernet.clone(); 5],
            "{arguments:?}"
        );
    }
}

/// Of every golden that tcpdump reads.
#[test]
fn tcpdump_prints_what_it_prints_of_the_source() {
    let run = |path: &Path, link, nano: bool| {
        let flags = if nano { "-n -tttt -e -vvv -X --nano" } else { "-n -tttt -e -vvv -X" };
        let output = flags.parse::<Invocation>().unwrap().tcpdump(path, link).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let mut files = 0;
    for path in goldens() {
        let bytes = fs::read(&path).unwrap();
        for (precision, nano) in [(Precision::Micro, false), (Precision::Nano, true)] {
            let packets = read(&bytes, precision);
            let link = link_of(&bytes);
            let sane = packets.iter().all(|packet| is_sane(packet.time));
            let is_held = !nano || sane;
            if !is_held || !has_one_link_type(&packets) {
                continue;
            }
            // A source that is cut off or broken has its whole packets printed.
            let (_, expected) = run(&path, link, nano);
            let pcap = Written::new("again.pcap", &pcap(&packets, precision));
            assert_eq!(run(&pcap.0, link, nano), (true, expected.clone()), "{}", path.display());
            if sane {
                let pcapng = Written::new("again.pcapng", &pcapng(&packets));
                assert_eq!(run(&pcapng.0, link, nano), (true, expected), "{}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 80, "{files} files");
}

/// A file as a live capture writes it: with a name, a hook, directions, comments and statistics. And for each packet,
/// what tshark is to say of it.
fn live_capture() -> (Vec<u8>, Vec<String>) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/walkthrough.pcap");
    let mut packets = read(&fs::read(golden).unwrap(), Precision::Nano);
    let interface = InterfaceDescription {
        name: Some("eth0".into()),
        snaplen: 262_144,
        filter: Some("tcp port 8888".into()),
        hook: Some("tc ingress and egress".into()),
        ..interface(packets[0].link_type)
    };
    let mut encoder = PcapngEncoder::new(vec![interface], true);
    let mut tracker = Tracker::new(16);
    let (mut file, mut said) = (BytesMut::from(encoder.header()), Vec::new());
    for (number, packet) in (1_u64..).zip(&mut packets) {
        packet.direction = Some(if number % 2 == 0 { Direction::Out } else { Direction::In });
        let mut text = BytesMut::new();
        tracker.track(&packet.packet(), |event| {
            encoder.event(event, &mut file);
            write_comment(event, &mut text);
        });
        encoder.packet(&packet.packet(), &mut file);
        let Timestamp { seconds, nanoseconds } = packet.time;
        let comments: Vec<_> =
            str::from_utf8(&text).unwrap().lines().map(|line| line.trim_start_matches("// ")).collect();
        said.push(format!(
            "{number}\teth0\ttc ingress and egress\t0x{:08x}\t{}\t{}\t{seconds}.{nanoseconds:09}\t{}",
            2 - number % 2,
            packet.data.len(),
            packet.wire_len,
            comments.join("|"),
        ));
        let statistics = Statistics {
            time: packet.time,
            received: number,
            read: number,
            losses_are_known: true,
            ..Statistics::default()
        };
        encoder.statistics(&statistics, &mut file);
    }
    // A comment that no packet follows.
    encoder.epilogue(Some(Forgotten { connections: 1, limit: 16 }), true, &mut file);
    (file.to_vec(), said)
}

#[test]
fn all_programs_read_a_pcapng_file_with_everything() {
    let (file, said) = live_capture();
    assert!(said.iter().filter(|line| line.ends_with("the client opens a connection")).count() > 0);
    let file = Written::new("live.pcapng", &file);
    let fields = ["frame.number", "frame.interface_name", "frame.interface_description"];
    let fields = fields.into_iter().chain(["frame.packet_flags_direction", "frame.cap_len", "frame.len"]);
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields", "-E", "aggregator=|", "-r"]).arg(&file.0);
    for field in fields.chain(["frame.time_epoch", "frame.comment"]) {
        tshark.args(["-e", field]);
    }
    assert_eq!(printed(tshark).lines().collect::<Vec<_>>(), said);

    let mut capinfos = Command::new("capinfos");
    capinfos.arg("-M").arg(&file.0);
    let words = printed(capinfos).split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        &format!("Number of packets: {}", said.len()),
        concat!("Capture application: capture ", env!("CARGO_PKG_VERSION")),
        "Capture oper-sys: Linux",
        "File timestamp precision: nanoseconds (9)",
        "Number of interfaces in file: 1",
        "Name = eth0",
        "Description = tc ingress and egress",
        "Filter string = tcp port 8888",
        "Capture length = 262144",
        "Time resolution = 0x09",
        &format!("Number of stat entries = {}", said.len() + 1),
    ] {
        assert!(words.contains(expected), "`{expected}` in {words}");
    }

    for program in ["tcpdump", env!("CARGO_BIN_EXE_capture")] {
        let mut count = Command::new(program);
        count.args(["--count", "-r"]).arg(&file.0);
        assert_eq!(printed(count), format!("{} packets\n", said.len()), "{program}");
    }
}

#[test]
fn tshark_and_capinfos_read_a_pcap_file() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/walkthrough.pcap");
    for (precision, name) in [(Precision::Micro, "microseconds (6)"), (Precision::Nano, "nanoseconds (9)")] {
        let packets = read(&fs::read(&golden).unwrap(), precision);
        let file = Written::new("written.pcap", &pcap(&packets, precision));
        let mut capinfos = Command::new("capinfos");
        capinfos.arg("-M").arg(&file.0);
        let words = printed(capinfos).split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        for expected in [
            &format!("Number of packets: {}", packets.len()),
            name,
            "Packet size limit: file hdr: 262144 bytes",
        ] {
            assert!(words.contains(expected), "`{expected}` in {words}");
        }
        let frames = |path: &Path| {
            let mut tshark = Command::new("tshark");
            tshark.args(["-n", "-t", "ud", "-x", "-r"]).arg(path);
            printed(tshark)
        };
        assert_eq!(frames(&file.0), frames(&golden), "{name}");
    }
}

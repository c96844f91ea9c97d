//! Where capture differs from tcpdump on purpose: the rows of the table in docs/output-format.md that a file can show.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as tests do")]

use std::{fs, path::Path, process::Command};

use test_support::{
    oracle::{self, Invocation},
    packets::{
        Packet,
        byte_order::ByteOrder,
        file::{Writer, pcap},
        ip::Addresses,
        link,
        tcp::{ACK, PSH, SegmentFields},
    },
};

/// A segment with payload.
fn segment(source: u16, payload: &[u8]) -> SegmentFields {
    SegmentFields {
        source,
        destination: 8888,
        sequence: 9,
        acknowledgment: 1,
        flags: ACK | PSH,
        window: 256,
        payload: payload.to_vec(),
        ..SegmentFields::default()
    }
}

/// The same in an Ethernet frame, with VLAN tags.
fn frame(tags: &[u16], source_port: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = Addresses::V4([10, 0, 0, 1], [10, 0, 0, 2]);
    link::frame(tags, &segment(source_port, payload).packet(&addresses))
}

/// The same in an IPv6 packet, without a link header.
fn ipv6() -> Vec<u8> {
    let [source, destination] = [1_u128, 2].map(u128::to_be_bytes);
    segment(1234, b"").packet(&Addresses::V6(source, destination))
}

/// A file and how it is printed.
struct Case<'a> {
    name: &'a str,
    link_type: u32,
    /// The time of all packets, in seconds.
    seconds: u32,
    frames: &'a [Vec<u8>],
    flags: &'a str,
    zone: &'a str,
    /// `--port`, and the same for tcpdump.
    ports: &'a str,
    filter: &'a str,
}

const ETHERNET: u32 = 1;

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            name: "",
            link_type: ETHERNET,
            seconds: 0,
            frames: &[],
            flags: "-t -n",
            zone: "UTC0",
            ports: "8888",
            filter: "tcp port 8888",
        }
    }
}

impl Case<'_> {
    /// What capture and tcpdump print of the same file.
    fn printed(&self) -> [String; 2] {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.pcap", self.name));
        let packets = self.frames.iter().map(|frame| Packet::whole(self.seconds, 0, frame.clone()));
        fs::write(&path, pcap(self.link_type, packets)).unwrap();
        let Self { zone, flags, ports, .. } = self;
        let invocation: Invocation = format!("TZ={zone} {flags} --port {ports}").parse().unwrap();
        let mut capture = invocation.capture(env!("CARGO_BIN_EXE_capture"), &path);
        // tcpdump asks for names unless `-n` is given.
        if !flags.contains("-n") {
            capture.arg("--resolve");
        }
        let mut tcpdump = invocation.command("tcpdump", &path);
        tcpdump.arg(self.filter);
        [capture, tcpdump].map(oracle::printed)
    }
}

/// What both print of Ethernet frames.
fn printed(name: &str, frames: &[Vec<u8>]) -> [String; 2] {
    Case { name, frames, ..Case::default() }.printed()
}

/// The ports at which tcpdump looks into payload (print-tcp.c, `tcp_print`), and what it makes of a request of HTTP.
const DECODED: [(u16, &str); 22] = [
    (21, ": FTP: GET / HTTP/1.1"),
    (22, ""),
    (23, ""),
    (25, ": SMTP: GET / HTTP/1.1"),
    (43, ": WHOIS: GET / HTTP/1.1"),
    (53, " [prefix length(18245) != length(14)] (invalid)"),
    (80, ": HTTP: GET / HTTP/1.1"),
    (139, ""),
    (179, ": BGP"),
    (323, ", RPKI-RTR"),
    (445, ""),
    (554, ": RTSP"),
    (639, ": msdp [|msdp]"),
    (646, ""),
    (1723, ": pptp UNEXPECTED Magic-Cookie!!(2f204854) "),
    (2049, ""),
    (6379, ": RESP \"GET / HTTP/1.1\""),
    (6633, ": OpenFlow\n\tversion unknown (0x47), "),
    (6653, ": OpenFlow\n\tversion unknown (0x47), "),
    (8080, ": HTTP: GET / HTTP/1.1"),
    (8554, ": RTSP"),
    (10288, " BEEP (payload or undecoded)"),
];

#[test]
fn application_protocols_are_not_decoded() {
    for (port, tail) in DECODED.into_iter().chain([(1, "")]) {
        let frames = [frame(&[], port, b"GET / HTTP/1.1\r\n")];
        let [capture, tcpdump] = printed(&format!("decode-port-{port}"), &frames);
        let ours = capture.trim_end();
        assert!(ours.ends_with(", length 16") && ours.lines().count() == 1, "{ours}");
        assert!(tcpdump.starts_with(&format!("{ours}{tail}")), "port {port}: {tcpdump}");
        assert_eq!(tail.is_empty(), tcpdump == capture, "port {port}: {tcpdump}");
    }
}

/// Where tcpdump gives up in the middle of an application protocol, it has forgotten where the link header ends.
#[test]
fn dumps_begin_behind_the_link_header() {
    let frames = &[frame(&[], 1723, b"G")];
    let case = Case { name: "decode-dump", frames, flags: "-t -n -x", ..Case::default() };
    let [capture, tcpdump] = case.printed();
    assert!(capture.contains(", length 1\n\t0x0000:  4500 0029 "), "{capture}");
    assert!(tcpdump.contains(", length 1: pptp [|pptp]\n\t0x0000:  0200 0000 0002 0200 "), "{tcpdump}");
}

/// tcpdump's filter asks for both ports in turn where there is a range. Several ports without one it looks up
/// together, as capture does.
#[test]
fn the_source_port_is_enough_where_the_frame_ends_behind_it() {
    let frames = &[frame(&[], 1234, b"")[..36].to_vec()];
    for (ports, filter, selected) in [
        ("1234,8888-8889", "tcp port 1234 or tcp portrange 8888-8889", true),
        ("8888-8889,1234", "tcp portrange 8888-8889 or tcp port 1234", false),
        ("8888,1234", "tcp port 8888 or tcp port 1234", true),
    ] {
        let [capture, tcpdump] = Case { name: "between", frames, ports, filter, ..Case::default() }.printed();
        assert_eq!(capture, "IP truncated-ip - 18 bytes missing! 10.0.0.1 > 10.0.0.2: [|tcp]\n");
        assert_eq!(tcpdump, if selected { &capture } else { "" }, "{filter}");
    }
}

#[test]
fn tags_in_a_file_do_not_hide_a_packet() {
    let frames = &[frame(&[0x8100], 1, b""), frame(&[0x88a8, 0x8100], 2, b""), frame(&[], 3, b"")];
    let [capture, tcpdump] = printed("tags", frames);
    assert_eq!(tcpdump.lines().count(), 1);
    assert_eq!(capture.lines().count(), 3);
    assert_eq!(capture.lines().last(), tcpdump.lines().last());
}

/// What tcpdump's expression for two tags says of three.
#[test]
fn a_third_tag_hides_a_packet() {
    let frames = &[
        frame(&[0x8100; 2], 2, b""),
        frame(&[0x8100; 3], 3, b""),
        frame(&[0x88a8, 0x9100, 0x8100], 3, b""),
        frame(&[0x8100; 4], 4, b""),
    ];
    let filter = "tcp port 8888 or (vlan and (tcp port 8888 or (vlan and tcp port 8888)))";
    let case = Case { name: "third-tag", frames, flags: "-t -n -e", filter, ..Case::default() };
    let [capture, tcpdump] = case.printed();
    assert_eq!(capture, tcpdump);
    assert_eq!(capture.lines().count(), 1);
}

/// Packets that the filter `tcp` does not select: tcpdump prints them where nothing is asked for.
#[test]
fn what_is_left_out_of_a_file_is_said() {
    let udp = |mut frame: Vec<u8>| {
        frame[23] = 17;
        frame
    };
    let segment = frame(&[], 1234, b"");
    let mut arp = segment.clone();
    arp[12..14].copy_from_slice(&[8, 6]);
    let mut unknown = segment.clone();
    unknown[12..14].copy_from_slice(&[0x88, 0xb5]);
    let hop_by_hop = {
        let mut frame = [&segment[..12], &[0x86, 0xdd], &ipv6()[..]].concat();
        let options = [6, 0, 1, 4, 0, 0, 0, 0];
        (frame[14 + 5], frame[14 + 6]) = (28, 0);
        frame.splice(54..54, options);
        frame
    };
    let short = segment[..20].to_vec();
    let others = [
        udp(segment.clone()),
        arp,
        unknown,
        hop_by_hop,
        short,
        frame(&[0x8100; 3], 1, b""),
        segment[..13].to_vec(),
    ];
    let write = |name: &str, frames: &[Vec<u8>]| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let packets = frames.iter().map(|frame| Packet::whole(0, 0, frame.clone()));
        fs::write(&path, pcap(ETHERNET, packets)).unwrap();
        path
    };
    let mixed: Vec<Vec<u8>> = others.iter().flat_map(|other| [other.clone(), segment.clone()]).collect();
    let (mixed, one, tcp) =
        (write("mixed.pcap", &mixed), write("one.pcap", &others[..1]), write("tcp.pcap", &[segment]));
    let all = "\ncapture: 7 packets were not printed: capture prints what the filter `tcp` selects\n";
    for (file, flags, lines, expected) in [
        (&mixed, "", 7, all),
        (&mixed, "--explain", 7, all),
        // Those after the last packet that is asked for are not read.
        (
            &mixed,
            "-c 2",
            2,
            "\ncapture: 2 packets were not printed: capture prints what the filter `tcp` selects\n",
        ),
        (
            &mixed,
            "--count",
            1,
            "\ncapture: 7 packets were not counted: capture counts what the filter `tcp` selects\n",
        ),
        (&one, "", 0, "\ncapture: 1 packet was not printed: capture prints what the filter `tcp` selects\n"),
        (&tcp, "", 1, ""),
        // TCP is what these ask for.
        (&mixed, "tcp", 7, ""),
        (&mixed, "tcp port 8888", 7, ""),
        (&mixed, "--port 53", 0, ""),
        // Four others are over Ethernet and not IPv4 with this address; UDP is.
        (
            &mixed,
            "not port 9",
            7,
            "\ncapture: 5 packets were not printed: capture prints what the filter `tcp` selects\n",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
        let output =
            command.args(["-n", "-r"]).arg(file).args(flags.split_ascii_whitespace()).output().unwrap();
        assert!(output.status.success(), "{flags}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let packets = printed.lines().filter(|line| !line.starts_with("// ")).count();
        assert_eq!(packets, lines, "{flags}: {printed}");
        let said = String::from_utf8(output.stderr).unwrap();
        let (_, said) = said.split_at(said.find('\n').unwrap());
        assert_eq!(
            said.strip_prefix('\n').unwrap_or_default(),
            expected.strip_prefix('\n').unwrap_or_default(),
            "{flags}"
        );
    }
    // tcpdump prints each of them.
    let tcpdump = Command::new("tcpdump").args(["-n", "-t", "-r"]).arg(&mixed).output().unwrap();
    let lines = String::from_utf8(tcpdump.stdout).unwrap();
    assert!(lines.lines().filter(|line| !line.starts_with('\t')).count() >= 14, "{lines}");
}

#[test]
fn a_link_type_of_one_version_is_believed() {
    const IPV4: u32 = 228;
    const IPV6: u32 = 229;
    let ipv4 = frame(&[], 1234, b"").split_off(14);
    for (name, link_type, packet) in [("ipv4", IPV4, ipv6()), ("ipv6", IPV6, ipv4)] {
        let case = Case { name, link_type, frames: &[packet], ..Case::default() };
        // By both filters.
        assert_eq!(case.printed(), ["", ""], "{name}");
    }
    // What is TCP to port 8888 for who takes it for IPv4. Its version is 6, and by that it is printed.
    let mut packet = ipv6();
    (packet[0], packet[5], packet[6], packet[7], packet[9]) = (0x65, 1, 0, 0, 6);
    packet[22..24].copy_from_slice(&8888_u16.to_be_bytes());
    let case = Case { name: "version", link_type: IPV4, frames: &[packet], ..Case::default() };
    let expected = ["ip-proto-0 1", "[|hbhopt]"].map(|rest| format!("IP6 6::22b8 > ::2:  {rest}\n"));
    assert_eq!(case.printed(), expected);
}

/// Hardware type 803 is ARPHRD_IEEE80211_RADIOTAP.
#[test]
fn cooked_frames_are_what_their_protocol_says() {
    const LINUX_SLL: u32 = 113;
    let header = [&[0, 0, 3, 35, 0, 6][..], &[0; 8], &[8, 0]].concat();
    let packet = [header, frame(&[], 1234, b"").split_off(14)].concat();
    let case = Case { name: "radiotap", link_type: LINUX_SLL, frames: &[packet], ..Case::default() };
    let [capture, tcpdump] = case.printed();
    assert_eq!(tcpdump, " [|802.11_radio]\n");
    assert!(capture.starts_with("IP 10.0.0.1.1234 > 10.0.0.2.8888: "), "{capture}");
}

/// What follows the stamp is the same.
#[test]
fn zones_that_mean_something_else_to_the_c_library() {
    let frames = &[frame(&[], 1234, b"")];
    let [noon, next_day] = ["2019-01-01 12:00:00", "2019-01-02 12:00:00"];
    for (name, zone, ours, theirs) in [
        ("leap-seconds", "right/UTC", noon, "2019-01-01 11:59:33"),
        ("far", "CET-25", noon, next_day),
        ("malformed", "CET-1x", noon, "2019-01-01 13:00:00"),
        ("known", "Europe/Berlin", "2019-01-01 13:00:00", "2019-01-01 13:00:00"),
    ] {
        let case = Case { name, zone, frames, flags: "-n -tttt", seconds: 1_546_344_000, ..Case::default() };
        let printed = case.printed();
        let stamps = printed.each_ref().map(|line| line.split_once('.').unwrap().0);
        assert_eq!(stamps, [ours, theirs], "{zone}");
    }
}

#[test]
fn makers_of_network_cards_have_no_names() {
    let frames = &[frame(&[], 1234, b"")];
    let case = Case { name: "oui", frames, flags: "-t -e", ..Case::default() };
    let [capture, tcpdump] = case.printed();
    assert!(
        tcpdump.starts_with("02:00:00:00:00:01 (oui Unknown) > 02:00:00:00:00:02 (oui Unknown), "),
        "{tcpdump}"
    );
    assert_eq!(capture, tcpdump.replace(" (oui Unknown)", ""));
}

/// libpcap ends with the second interface; capture prints the packets of both.
#[test]
fn interfaces_of_one_file_may_differ() {
    const RAW: u16 = 101;
    let ethernet = frame(&[], 1234, b"12");
    let raw = ethernet[14..].to_vec();
    for (name, link_type, snaplen, packet, fault) in [
        ("type", RAW, 1000, &raw, "a type 101 different from the type of the first interface"),
        (
            "snapshot length",
            ETHERNET as u16,
            999,
            &ethernet,
            "a snapshot length 999 different from the snapshot length",
        ),
    ] {
        let mut file = Writer { bytes: Vec::new(), order: ByteOrder::Little };
        file.section();
        let interfaces = [(ETHERNET as u16, 1000, &ethernet), (link_type, snaplen, packet)];
        for (number, (link_type, snaplen, packet)) in (0..).zip(interfaces) {
            file.interface_with(link_type, snaplen, &[]);
            file.enhanced_packet(number, 0, &Packet::whole(0, 0, packet.clone()));
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interfaces.pcapng");
        fs::write(&path, file.bytes).unwrap();
        let [capture, tcpdump] = [env!("CARGO_BIN_EXE_capture"), "tcpdump"]
            .map(|program| Command::new(program).args(["-n", "-t", "-r"]).arg(&path).output().unwrap());
        assert!(capture.status.success(), "{name}");
        assert_eq!(capture.stdout.iter().filter(|byte| **byte == b'\n').count(), 2, "{name}");
        assert!(capture.stdout.starts_with(&tcpdump.stdout) && !tcpdump.stdout.is_empty(), "{name}");
        let said = String::from_utf8(tcpdump.stderr).unwrap();
        assert!(said.contains(&format!("an interface has {fault}")), "{name}: {said}");
    }
}

#[test]
fn other_link_types_are_named() {
    const PPP: u32 = 9;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ppp.pcap");
    let packet = [&[0xff, 3, 0, 0x21][..], &frame(&[], 1234, b"")[14..]].concat();
    fs::write(&path, pcap(PPP, [Packet::whole(0, 0, packet)])).unwrap();
    let run = |program: &str| Command::new(program).args(["-n", "-t", "-r"]).arg(&path).output().unwrap();
    assert!(run("tcpdump").stdout.starts_with(b"IP 10.0.0.1.1234 > 10.0.0.2.8888: "));
    let capture = run(env!("CARGO_BIN_EXE_capture"));
    assert_eq!((capture.status.code(), capture.stdout), (Some(1), Vec::new()));
    let said = String::from_utf8(capture.stderr).unwrap();
    assert!(
        said.starts_with("capture: link-type 9 (PPP) is not supported (supported: EN10MB, RAW, "),
        "{said}"
    );
}

#[test]
fn exit_statuses() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/walkthrough.pcap");
    for (program, wrong, full) in [(env!("CARGO_BIN_EXE_capture"), 2, 1), ("tcpdump", 1, 14)] {
        let status = Command::new(program).arg("--no-such-option").output().unwrap().status;
        assert_eq!(status.code(), Some(wrong), "{program}");
        let output = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(program);
        let status = command.args(["-n", "-l", "-r"]).arg(&golden).stdout(output).status().unwrap();
        assert_eq!(status.code(), Some(full), "{program}");
    }
}

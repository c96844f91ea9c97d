//! Where capture differs from tcpdump on purpose: the rows of the table in docs/output-format.md that a file can show.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as tests do")]

use std::{fs, path::Path, process::Command};

/// A segment with payload in an Ethernet frame, with VLAN tags.
fn frame(tags: &[u16], source_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for tag in tags {
        frame.extend_from_slice(&tag.to_be_bytes());
        frame.extend_from_slice(&[0, 5]);
    }
    frame.extend_from_slice(&[8, 0, 0x45, 0]);
    frame.extend_from_slice(&(40 + payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend_from_slice(&source_port.to_be_bytes());
    frame.extend_from_slice(&8888_u16.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(payload);
    frame
}

/// The segment of [`frame`] in an IPv6 packet, without a link header.
fn ipv6() -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
    packet.extend([[0; 15].as_slice(), &[1], &[0; 15], &[2]].concat());
    packet.extend_from_slice(&frame(&[], 1234, b"")[34..]);
    packet
}

/// A file and how it is printed.
struct Case<'a> {
    name: &'a str,
    link_type: u32,
    /// The time of all packets, in seconds.
    seconds: u32,
    frames: &'a [Vec<u8>],
    flags: &'a [&'a str],
    zone: &'a str,
}

const ETHERNET: u32 = 1;

impl Default for Case<'_> {
    fn default() -> Self {
        Self { name: "", link_type: ETHERNET, seconds: 0, frames: &[], flags: &["-t", "-n"], zone: "UTC0" }
    }
}

impl Case<'_> {
    /// What capture and tcpdump print of the same file.
    fn printed(&self) -> [String; 2] {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.pcap", self.name));
        let mut file = Vec::new();
        for number in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, self.link_type] {
            file.extend_from_slice(&number.to_le_bytes());
        }
        for frame in self.frames {
            for number in [self.seconds, 0, frame.len() as u32, frame.len() as u32] {
                file.extend_from_slice(&number.to_le_bytes());
            }
            file.extend_from_slice(frame);
        }
        fs::write(&path, file).unwrap();
        let run = |program: &str, more: &[&str]| {
            let mut command = Command::new(program);
            command.env("TZ", self.zone).arg("-r").arg(&path).args(self.flags).args(more);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        // tcpdump asks for names unless it is told not to.
        let resolve = if self.flags.contains(&"-n") { &[][..] } else { &["--resolve"] };
        let capture = run(env!("CARGO_BIN_EXE_capture"), &[&["--port", "8888"], resolve].concat());
        [capture, run("tcpdump", &["tcp", "port", "8888"])]
    }
}

/// What both print of Ethernet frames.
fn printed(name: &str, frames: &[Vec<u8>]) -> [String; 2] {
    Case { name, frames, ..Case::default() }.printed()
}

#[test]
fn application_protocols_are_not_decoded() {
    let lines = [
        (80, ": HTTP: GET / HTTP/1.1"),
        (8080, ": HTTP: GET / HTTP/1.1"),
        (21, ": FTP: GET / HTTP/1.1"),
        (25, ": SMTP: GET / HTTP/1.1"),
        (43, ": WHOIS: GET / HTTP/1.1"),
        (554, ": RTSP"),
        (8888, ""),
    ];
    let frames = lines.map(|(port, _)| frame(&[], port, b"GET / HTTP/1.1\r\n"));
    let [capture, tcpdump] = printed("decode-ports", &frames);
    assert_eq!(tcpdump.lines().count(), lines.len());
    for ((ours, theirs), (port, tail)) in capture.lines().zip(tcpdump.lines()).zip(lines) {
        assert!(ours.ends_with("length 16"), "{ours}");
        assert_eq!(format!("{ours}{tail}"), theirs, "port {port}");
    }
}

#[test]
fn tags_in_a_file_do_not_hide_a_packet() {
    let frames = [frame(&[0x8100], 1, b""), frame(&[0x88a8, 0x8100], 2, b""), frame(&[], 3, b"")];
    let [capture, tcpdump] = printed("tags", &frames);
    assert_eq!(tcpdump.lines().count(), 1);
    assert_eq!(capture.lines().count(), 3);
    assert_eq!(capture.lines().last(), tcpdump.lines().last());
}

#[test]
fn a_link_type_of_one_version_is_believed() {
    const IPV4: u32 = 228;
    const IPV6: u32 = 229;
    let ipv4 = frame(&[], 1234, b"").split_off(14);
    for (name, link_type, packet) in [("ipv4", IPV4, ipv6()), ("ipv6", IPV6, ipv4)] {
        let case = Case { name, link_type, frames: &[packet], ..Case::default() };
        // tcpdump's filter believes it, too; only without one does it print what the version says.
        assert_eq!(case.printed(), ["", ""], "{name}");
    }
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

/// Times that only some zones have: what is behind the stamp is the same.
#[test]
fn zones_that_only_the_c_library_takes() {
    let frames = &[frame(&[], 1234, b"")];
    for (name, zone, ours, theirs) in [
        ("posix", "posix/Europe/Berlin", "1970-01-01 00:00:00", "1970-01-01 01:00:00"),
        ("leap-seconds", "right/Europe/Berlin", "1970-01-01 00:00:00", "1970-01-01 01:00:00"),
        ("no-rules", "CET-1CEST", "1970-01-01 00:00:00", "1970-01-01 01:00:00"),
        ("known", "Europe/Berlin", "1970-01-01 01:00:00", "1970-01-01 01:00:00"),
    ] {
        let printed = Case { name, zone, frames, flags: &["-n", "-tttt"], ..Case::default() }.printed();
        let stamps = printed.each_ref().map(|line| line.split_once('.').unwrap().0);
        assert_eq!(stamps, [ours, theirs], "{zone}");
    }
}

#[test]
fn makers_of_network_cards_have_no_names() {
    let frames = &[frame(&[], 1234, b"")];
    let case = Case { name: "oui", frames, flags: &["-t", "-e"], ..Case::default() };
    let [capture, tcpdump] = case.printed();
    assert!(
        tcpdump.starts_with("02:00:00:00:00:01 (oui Unknown) > 02:00:00:00:00:02 (oui Unknown), "),
        "{tcpdump}"
    );
    assert_eq!(capture, tcpdump.replace(" (oui Unknown)", ""));
}

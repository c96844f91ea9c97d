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

/// What capture and tcpdump print of the same frames.
fn printed(name: &str, frames: &[Vec<u8>]) -> [String; 2] {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcap"));
    let mut file = Vec::new();
    for number in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1_u32] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    for frame in frames {
        for number in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend_from_slice(&number.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    fs::write(&path, file).unwrap();
    let run = |program: &str, filter: &[&str]| {
        let output = Command::new(program).args(["-t", "-n", "-r"]).arg(&path).args(filter).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let capture = run(env!("CARGO_BIN_EXE_capture"), &["--port", "8888"]);
    [capture, run("tcpdump", &["tcp", "port", "8888"])]
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

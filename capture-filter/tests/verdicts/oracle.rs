//! Which packets of a file the real tcpdump selects.

use std::{fs, process::Command};

use test_support::packets::{Packet, byte_order::ByteOrder, file, link::Link};

/// What tcpdump says to an expression.
pub(crate) enum Answer {
    /// For each packet, whether it is selected.
    Selected(Vec<bool>),
    /// "expression rejects all packets".
    RejectsAll,
    /// Another error.
    Refused(String),
}

/// Runs `tcpdump -r` over packets, with its optimiser.
pub(crate) fn select(link: Link, order: ByteOrder, packets: &[Vec<u8>], expression: &str) -> Answer {
    run(link, order, packets, &["-w", "-", "--", expression])
}

/// Whether tcpdump selects one packet without its optimiser.
pub(crate) fn selects_unoptimised(link: Link, order: ByteOrder, packet: &[u8], expression: &str) -> bool {
    let answer = run(link, order, &[packet.to_vec()], &["-O", "-w", "-", "--", expression]);
    matches!(answer, Answer::Selected(selected) if selected == [true])
}

/// The number of a packet stands in its time.
fn run(link: Link, order: ByteOrder, packets: &[Vec<u8>], arguments: &[&str]) -> Answer {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("packets.pcap");
    let bytes = file::written(order, |writer| {
        writer.pcap_header(file::MICROSECONDS, 262_144, link.number());
        for (number, data) in packets.iter().enumerate() {
            writer.pcap_packet(0, &Packet::whole(number as u32, 0, data.clone()));
        }
    });
    fs::write(&path, bytes).unwrap();
    let output = Command::new("tcpdump").arg("-r").arg(&path).args(arguments).output().unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return if said.contains("expression rejects all packets") {
            Answer::RejectsAll
        } else {
            Answer::Refused(said)
        };
    }
    // tcpdump writes the byte order of this machine.
    let mut selected = vec![false; packets.len()];
    let mut rest = output.stdout.get(24..).unwrap_or_default();
    let number = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    while rest.len() >= 16 {
        selected[number(rest, 0)] = true;
        rest = &rest[16 + number(rest, 8)..];
    }
    Answer::Selected(selected)
}

//! Any bytes as a file: no panic, no more memory than a file may claim, and the same packets however the bytes come
//! in.

#![no_main]

use std::io::{self, Read};

use capture::{
    ports::{PortList, PortSet},
    source::{file::FileSource, filter},
};
use capture_common::parse::Selection;
use capture_packet::Precision;
use libfuzzer_sys::fuzz_target;

/// Gives its bytes in pieces of a few bytes, as a pipe may.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(self.0.len()).min(7);
        let (given, rest) = self.0.split_at(length);
        into[..length].copy_from_slice(given);
        self.0 = rest;
        Ok(length)
    }
}

/// The lengths of all packets, whether a port was found in each, and how it ended.
fn read(file: impl Read, precision: Precision) -> (Vec<(u32, usize, bool)>, String) {
    let ports: PortSet = "8888,0".parse::<PortList>().iter().collect();
    let mut packets = Vec::new();
    let mut source = match FileSource::new(file, precision) {
        Ok(source) => source,
        Err(error) => return (packets, error.to_string()),
    };
    let byte_order = source.byte_order();
    loop {
        match source.next_packet() {
            Ok(Some(packet)) => {
                let any = filter::select(&packet, byte_order, &PortSet::any());
                let port = filter::select(&packet, byte_order, &ports);
                let found = matches!(port, Selection::Match(_));
                assert!(!found || matches!(any, Selection::Match(_)), "a port without TCP");
                packets.push((packet.wire_len, packet.data.len(), found));
            }
            Ok(None) => return (packets, String::new()),
            Err(error) => return (packets, error.to_string()),
        }
    }
}

fuzz_target!(|file: &[u8]| {
    let whole = read(file, Precision::Micro);
    let captured: usize = whole.0.iter().map(|packet| packet.1).sum();
    assert!(captured <= file.len(), "more than there is");
    assert_eq!(whole, read(Trickle(file), Precision::Nano));
});

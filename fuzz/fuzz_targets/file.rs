//! Any bytes as a file: no panic, no more memory than a file may claim, and the same packets however the bytes come
//! in.

#![no_main]

use std::io::{self, Read};

use std::sync::LazyLock;

use capture::{
    filter::Filter,
    source::{
        file::FileSource,
        filter::{Selected, Selector},
    },
};
use capture_filter::names::NoNames;
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

static FILTERS: LazyLock<[Filter; 2]> = LazyLock::new(|| {
    [[].as_slice(), &["8888,0"]].map(|lists| {
        let lists: Vec<_> = lists.iter().map(|list| list.parse().expect("a list of ports")).collect();
        Filter::new(&lists, String::new(), &mut NoNames).expect("ports are a filter")
    })
});

/// The lengths of all packets, whether a port was found in each, and how it ended.
fn read(file: impl Read, precision: Precision) -> (Vec<(u32, usize, bool)>, String) {
    let mut packets = Vec::new();
    let mut source = match FileSource::new(file, precision) {
        Ok(source) => source,
        Err(error) => return (packets, error.to_string()),
    };
    let [mut everything, mut ports] =
        FILTERS.each_ref().map(|filter| Selector::new(filter, source.byte_order()));
    loop {
        match source.next_packet() {
            Ok(Some(mut packet)) => {
                let any = everything.select(&mut packet) == Selected::Yes;
                let layers = packet.layers;
                let port = ports.select(&mut packet) == Selected::Yes;
                assert!(!port || any && packet.layers == layers, "a port without TCP");
                packets.push((packet.wire_len, packet.data.len(), port));
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

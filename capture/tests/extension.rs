//! What a new source, a new rendering of events and a new destination take: each is one type here, and one line where it is
//! used. Nothing else of capture knows them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::BytesMut;
use capture::{
    engine::Engine,
    output::{
        Flush, Output,
        destination::{Destination, Progress},
        encoder::Encoder,
    },
    source::interface::InterfaceDescription,
};
use capture_flow::{Event, EventKind, Tracker};
use capture_packet::{LinkType, Packet, Timestamp};

/// A source: a client that asks again and again for a connection, a second between.
struct Knocking {
    segment: [u8; 40],
    seconds: std::ops::Range<i64>,
}

impl Knocking {
    fn new(times: i64) -> Self {
        let mut segment = [0; 40];
        segment[..20].copy_from_slice(&[0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        segment[20..34].copy_from_slice(&[4, 0xd2, 0x22, 0xb8, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2]);
        Self { segment, seconds: 0..times }
    }

    fn interface(&self) -> InterfaceDescription {
        InterfaceDescription { name: Some("door".to_owned()), ..InterfaceDescription::new(LinkType::Raw, 40) }
    }

    fn next_packet(&mut self) -> Option<Packet<'_>> {
        let time = Timestamp { seconds: self.seconds.next()?, nanoseconds: 0 };
        Some(Packet::new(time, LinkType::Raw, 40, &self.segment).located())
    }
}

/// A rendering of events: how often a SYN was sent, a line each. Packets have none.
#[derive(Debug)]
struct Tries;

impl Encoder for Tries {
    fn interface(&mut self, interface: &InterfaceDescription, block: &mut BytesMut) {
        block.extend_from_slice(format!("at the {}\n", interface.name.as_deref().unwrap_or("?")).as_bytes());
    }

    fn packet(&mut self, _: &Packet<'_>, _: &mut BytesMut) -> bool {
        true
    }

    fn event(&mut self, event: &Event, block: &mut BytesMut) {
        if let EventKind::SynRepeated { tries } = event.kind {
            block.extend_from_slice(format!("try {tries}\n").as_bytes());
        }
    }
}

/// A destination: memory.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Destination for Memory {
    fn write(&mut self, block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()> {
        self.0.lock().unwrap().extend_from_slice(block);
        progress.wrote(ends.len());
        Ok(())
    }
}

#[test]
fn a_source_a_rendering_and_a_destination_take_a_line_each() {
    let mut source = Knocking::new(3);
    let memory = Memory::default();
    let output = Output::here("tries".to_owned(), Box::new(Tries), Box::new(memory.clone()), Flush::WhenIdle);
    let mut engine = Engine::new(vec![output], Some(Tracker::new(16)), None);
    engine.interface(&source.interface());
    while let Some(packet) = source.next_packet() {
        if engine.packet(&packet).is_break() {
            engine.hand_over(false);
        }
    }
    engine.epilogue(false);
    assert!(engine.flush());
    engine.close();
    let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    assert_eq!(written, "at the door\ntry 2\ntry 3\n");
    assert_eq!(engine.summary(None).captured, 3);
}

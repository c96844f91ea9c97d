//! A source: a client that asks again and again for a connection, a second between.

use std::ops::Range;

use capture::{engine::Engine, source::interface::InterfaceDescription};
use capture_packet::{LinkType, Packet, Timestamp};

/// So many SYNs.
pub(crate) struct Knocking {
    segment: [u8; 40],
    seconds: Range<i64>,
}

impl Knocking {
    /// As many as `times`.
    pub(crate) fn new(times: i64) -> Self {
        let mut segment = [0; 40];
        segment[..20].copy_from_slice(&[0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        segment[20..34].copy_from_slice(&[4, 0xd2, 0x22, 0xb8, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2]);
        Self { segment, seconds: 0..times }
    }

    /// Where they come from.
    pub(crate) fn interface(&self) -> InterfaceDescription {
        InterfaceDescription { name: Some("door".to_owned()), ..InterfaceDescription::new(LinkType::Raw, 40) }
    }

    /// Hands all of them to the outputs.
    pub(crate) fn drive(&mut self, engine: &mut Engine) {
        for seconds in self.seconds.by_ref() {
            let time = Timestamp { seconds, nanoseconds: 0 };
            let packet = Packet::new(time, LinkType::Raw, 40, &self.segment).located();
            if engine.packet(&packet).is_break() {
                engine.hand_over(false);
            }
        }
    }
}

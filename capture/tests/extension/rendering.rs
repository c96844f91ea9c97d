//! A rendering of events: how often a SYN was sent, a line each. Packets have none.

use bytes::{Bytes, BytesMut};
use capture::output::{
    encoder::Encoder,
    format::{Events, Format, Request, Setup},
};
use capture_flow::{Event, EventKind};
use capture_packet::Packet;

/// Tries.
pub(crate) const FORMAT: Format = Format {
    name: "tries",
    help: "Write how often a connection is asked for",
    asked: Request::ByName,
    whole_packets: false,
    exact_times: false,
    interfaces: true,
    events: Events::Always,
    encoder: |setup| Box::new(Tries::new(setup)),
};

#[derive(Debug)]
struct Tries {
    names: Vec<String>,
}

impl Tries {
    fn new(setup: &Setup<'_>) -> Self {
        Self { names: setup.interfaces.iter().filter_map(|interface| interface.name.clone()).collect() }
    }
}

impl Encoder for Tries {
    fn header(&self) -> Bytes {
        format!("at the {}\n", self.names.join(" and the ")).into()
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

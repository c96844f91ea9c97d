//! An output: a row for each packet, with commas between the values.

use bytes::{Bytes, BytesMut};
use capture::output::{
    encoder::Encoder,
    format::{Events, Format, Request},
};
use capture_packet::Packet;

/// Rows.
pub(crate) const FORMAT: Format = Format {
    name: "csv",
    help: "Write packets as rows",
    asked: Request::ByName,
    whole_packets: false,
    exact_times: true,
    interfaces: false,
    events: Events::Never,
    encoder: |_| Box::new(Rows),
};

#[derive(Debug)]
struct Rows;

impl Encoder for Rows {
    fn header(&self) -> Bytes {
        Bytes::from_static(b"seconds,length\n")
    }

    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
        block.extend_from_slice(format!("{},{}\n", packet.time.seconds, packet.wire_len).as_bytes());
        true
    }
}

//! tcpdump's lines, and between them the comments of `--explain`.

use bytes::BytesMut;
use capture_flow::{Event, Forgotten};
use capture_packet::Packet;
use capture_text::{
    Printer,
    comments::{write_comment, write_forgotten},
};

use super::{
    cooked::{Cooked, Cooking},
    encoder::Encoder,
};
use crate::source::{file::SignedTimes, interface::InterfaceDescription};

/// Makes lines.
#[derive(Debug)]
pub struct TextEncoder {
    printer: Printer,
    comments: bool,
    /// How tcpdump reads the source's times, if in another way than they were read.
    signed: Option<SignedTimes>,
}

impl TextEncoder {
    /// Lines by `printer`, with `comments` or without.
    pub fn new(printer: Printer, comments: bool) -> Self {
        Self { printer, comments, signed: None }
    }

    /// Times as tcpdump reads them.
    pub fn with_signed_times(self, signed: Option<SignedTimes>) -> Self {
        Self { signed, ..self }
    }

    /// Lines of the packets of `interfaces`, or of the "cooked" frames that are made of them.
    pub fn of(self, interfaces: &[InterfaceDescription], cooking: Option<Cooking>) -> Box<dyn Encoder> {
        match cooking {
            Some(cooking) => Box::new(Cooked::new(self, interfaces, cooking.snaplen)),
            None => Box::new(self),
        }
    }
}

impl Encoder for TextEncoder {
    #[inline]
    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
        match self.signed {
            None => self.printer.print(packet, block),
            Some(signed) => {
                let time = signed.of(packet.time);
                self.printer.print(&Packet { time, ..*packet }, block);
            }
        }
        true
    }

    fn interface_name(&mut self, index: u32, name: Option<&str>) {
        self.printer.set_interface(index, name);
    }

    fn event(&mut self, event: &Event, block: &mut BytesMut) {
        if self.comments {
            write_comment(event, block);
        }
    }

    fn epilogue(&mut self, forgotten: Option<Forgotten>, interrupted: bool, block: &mut BytesMut) {
        if let Some(forgotten) = forgotten
            && self.comments
        {
            write_forgotten(forgotten, block);
        }
        // tcpdump, too, ends an interrupted capture with an empty line, in case one was being printed (tcpdump.c,
        // `main`).
        if interrupted {
            block.extend_from_slice(b"\n");
        }
    }

    /// How many conversations were forgotten, if any were: only then can lines differ from tcpdump's.
    fn remarks(&self) -> String {
        let conversations = self.printer.conversations();
        match conversations.evicted() {
            0 => String::new(),
            forgotten => format!(
                "capture: more than {} conversations of one IP version: {forgotten} were forgotten; if seen again, they \
                 began with absolute sequence numbers\n",
                conversations.limit()
            ),
        }
    }
}

//! What all protocol printers share: the options, the bytes that may be read, the line.

use alloc::string::String;

use super::{
    conversations::Conversations,
    endpoints::Endpoints,
    line::{Line, Write},
    options::TextOptions,
};

/// The captured bytes ended where a printer had to read. What tcpdump then does is to leave all printers at once
/// and to end the line with ` [|` protocol `]` (netdissect.c, `nd_trunc_longjmp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Truncated;

/// One packet on its way into the line (tcpdump's `netdissect_options`). The printers are methods of it, each in its
/// protocol's module.
pub(super) struct Dissector<'p> {
    pub(super) options: TextOptions,
    pub(super) line: &'p mut Line,
    pub(super) endpoints: &'p mut Endpoints,
    pub(super) conversations: &'p mut Conversations,
    /// Names of interfaces by their index.
    pub(super) interfaces: &'p [(u32, String)],
    /// The frame, up to where it may be read (`ndo_snapend`): the captured bytes, cut at the end of the IP packet as
    /// soon as that is known. All offsets are from the start of the frame.
    pub(super) data: &'p [u8],
    /// Length of the frame on the wire.
    pub(super) wire_len: u32,
    /// The protocol that ` [|` `]` names (`ndo_protocol`).
    pub(super) protocol: &'static str,
}

impl<'p> Dissector<'p> {
    /// The `N` bytes at `offset` (`GET_BE_U_4` and the like).
    #[inline(always)]
    pub(super) fn array<const N: usize>(&self, offset: usize) -> Result<&'p [u8; N], Truncated> {
        self.data.get(offset..).and_then(|rest| rest.first_chunk()).ok_or(Truncated)
    }

    #[inline(always)]
    pub(super) fn u8(&self, offset: usize) -> Result<u8, Truncated> {
        self.data.get(offset).copied().ok_or(Truncated)
    }

    #[inline(always)]
    pub(super) fn u16(&self, offset: usize) -> Result<u16, Truncated> {
        self.array(offset).map(|bytes| u16::from_be_bytes(*bytes))
    }

    #[inline(always)]
    pub(super) fn u32(&self, offset: usize) -> Result<u32, Truncated> {
        self.array(offset).map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Whether `length` bytes at `offset` can be read (`ND_TTEST_LEN`).
    #[inline(always)]
    pub(super) fn has(&self, offset: usize, length: usize) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.data.len())
    }

    /// How many bytes can be read from `offset` on (`ND_BYTES_AVAILABLE_AFTER`).
    pub(super) fn available(&self, offset: usize) -> usize {
        self.data.len().saturating_sub(offset)
    }

    /// Cuts what may be read to `length` bytes from `offset` on, if it goes further (`nd_push_snaplen`).
    #[inline]
    pub(super) fn cut(&mut self, offset: usize, length: usize) {
        if let Some(data) = self.data.get(..offset + length) {
            self.data = data;
        }
    }

    /// ` [|` protocol `]`: the packet goes on where the capture does not.
    pub(super) fn print_truncated(&mut self, _: Truncated) {
        self.line.text(" [|");
        self.line.text(self.protocol);
        self.line.byte(b']');
    }

    /// A text and a number. Not for what every line has: there the text is better written where its length is known.
    #[inline(never)]
    pub(super) fn labelled(&mut self, label: &str, value: u32) {
        self.line.text(label);
        self.line.decimal(value);
    }

    /// What tcpdump prints of a protocol it does not know (print-ip-demux.c, `ip_demux_print`).
    pub(super) fn unknown_protocol(&mut self, protocol: u8, length: u32) {
        self.labelled(" ip-proto-", protocol.into());
        self.labelled(" ", length);
    }
}

/// ipproto.c, `ipproto_values`, as far as the filter lets through.
pub(super) fn protocol_name(protocol: u8) -> &'static str {
    match protocol {
        6 => "TCP",
        44 => "Fragment",
        _ => "unknown",
    }
}

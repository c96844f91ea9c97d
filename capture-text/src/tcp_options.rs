//! TCP options: the second half of print-tcp.c, `tcp_print`.

use capture_packet::tcp::option;

use super::{
    dissector::{Dissector, Truncated},
    line::{Cursor, Write},
};

/// RFC 6994's identifier of the experimental form of Fast Open (RFC 7413).
const FAST_OPEN_EXPERIMENT: u16 = 0xf989;

const MD5_LENGTH: usize = 16;

/// Why the options were not printed to their end.
enum Stop {
    /// They contradict themselves (`goto bad`).
    Bad,
    /// The option goes on where the capture does not (`goto trunc`).
    CutOff,
    /// A single field does: all printers are left at once.
    Truncated,
}

impl From<Truncated> for Stop {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// What the printing of an option has to know of the segment.
struct Options {
    /// Where the next byte is.
    at: usize,
    /// How many bytes of the header are left.
    remaining: usize,
    /// Where the segment's data begins.
    data: usize,
    /// How long it is on the wire.
    data_length: u32,
    flags: u8,
    sack_base: u32,
}

/// Prints, in one go, the beginning of the list that nearly every segment has, and gives its length: two NOPs and the
/// timestamps (RFC 7323 appendix A), or all that a SYN of Linux has (net/ipv4/tcp_output.c, `tcp_options_write`). If the
/// list begins otherwise, nothing is printed. The options are what `frame` has from `offset` to `data`.
#[inline(always)]
pub(super) fn known_options(frame: &[u8], offset: usize, data: usize, line: &mut Cursor<'_>) -> usize {
    const TIMESTAMPS: usize = 12;
    const SYN: usize = 20;

    let length = data - offset;
    let Some(rest) = frame.get(offset..) else { return 0 };
    if length >= TIMESTAMPS
        && let Some(&[option::NOP, option::NOP, option::TIMESTAMPS, 10, v3, v2, v1, v0, e3, e2, e1, e0]) =
            rest.first_chunk()
    {
        line.text(", options [nop,nop,TS val ");
        line.long_decimal(u32::from_be_bytes([v3, v2, v1, v0]));
        line.text(" ecr ");
        line.long_decimal(u32::from_be_bytes([e3, e2, e1, e0]));
        if length == TIMESTAMPS {
            line.byte(b']');
        }
        return TIMESTAMPS;
    }
    if length == SYN
        && let Some(
            &[option::MSS, 4, m1, m0, option::SACK_PERMITTED, 2, option::TIMESTAMPS, 10, ref rest @ ..],
        ) = rest.first_chunk::<SYN>()
        && let [v3, v2, v1, v0, e3, e2, e1, e0, option::NOP, option::WINDOW_SCALE, 3, scale] = *rest
    {
        line.text(", options [mss ");
        line.decimal(u16::from_be_bytes([m1, m0]).into());
        line.text(",sackOK,TS val ");
        line.long_decimal(u32::from_be_bytes([v3, v2, v1, v0]));
        line.text(" ecr ");
        line.decimal(u32::from_be_bytes([e3, e2, e1, e0]));
        line.text(",nop,wscale ");
        line.octet(scale);
        line.byte(b']');
        return SYN;
    }
    0
}

impl Dissector<'_> {
    /// Prints the options from `offset` to `data`, of which the first `known` bytes have been printed. Whether they were
    /// printed to their end; if not, so is the line.
    #[inline(never)]
    pub(super) fn tcp_options(
        &mut self,
        offset: usize,
        known: usize,
        data: usize,
        data_length: u32,
        flags: u8,
        sack_base: u32,
    ) -> Result<bool, Truncated> {
        let mut options = Options {
            at: offset + known,
            remaining: data - offset - known,
            data,
            data_length,
            flags,
            sack_base,
        };
        let mut first = known == 0;
        if first {
            self.line.text(", options [");
        }
        while options.remaining > 0 {
            if !first {
                self.line.byte(b',');
            }
            match self.tcp_option(&mut options) {
                Ok(option::END) => break,
                Ok(_) => first = false,
                Err(Stop::Bad) => {
                    self.line.text(if first { "[bad opt]" } else { "[bad opt]]" });
                    return Ok(false);
                }
                Err(Stop::CutOff) => {
                    self.print_truncated(Truncated);
                    self.line.text(if first { "" } else { ">" });
                    return Ok(false);
                }
                Err(Stop::Truncated) => return Err(Truncated),
            }
        }
        self.line.byte(b']');
        Ok(true)
    }

    /// Prints the option at `options.at`, moves past it and gives its kind.
    fn tcp_option(&mut self, options: &mut Options) -> Result<u8, Stop> {
        let kind = self.u8(options.at)?;
        options.at += 1;
        let mut length = 1;
        if !matches!(kind, option::END | option::NOP) {
            length = usize::from(self.u8(options.at)?);
            options.at += 1;
            if length < 2 || length > options.remaining {
                return Err(Stop::Bad);
            }
            options.remaining -= 1;
        }
        options.remaining -= 1;
        let used = self.tcp_option_value(kind, length, options)?;
        options.at += used;
        options.remaining -= used;
        let expected = if matches!(kind, option::END | option::NOP) { 1 } else { used + 2 };
        if expected != length {
            self.labelled("[len ", length as u32);
            self.line.byte(b']');
        }
        Ok(kind)
    }

    /// Prints what follows the length byte and gives how many bytes that was, whatever the length byte says.
    fn tcp_option_value(&mut self, kind: u8, length: usize, options: &Options) -> Result<usize, Stop> {
        let at = options.at;
        let claimed = length.saturating_sub(2);
        match kind {
            option::END => self.line.text("eol"),
            option::NOP => self.line.text("nop"),
            option::SACK_PERMITTED => self.line.text("sackOK"),
            option::MSS => {
                self.line.text("mss");
                self.check(options, 2)?;
                self.labelled(" ", self.u16(at)?.into());
                return Ok(2);
            }
            option::WINDOW_SCALE => {
                self.line.text("wscale");
                self.check(options, 1)?;
                self.labelled(" ", self.u8(at)?.into());
                return Ok(1);
            }
            option::TIMESTAMPS => {
                self.line.text("TS");
                self.check(options, 8)?;
                self.labelled(" val ", self.u32(at)?);
                self.labelled(" ecr ", self.u32(at + 4)?);
                return Ok(8);
            }
            option::SACK => self.sack(options, claimed)?,
            option::ECHO => return self.number_option("echo", options),
            option::ECHO_REPLY => return self.number_option("echoreply", options),
            option::CC => return self.number_option("cc", options),
            option::CC_NEW => return self.number_option("ccnew", options),
            // 4.99.3 has no name for it.
            option::CC_ECHO => return self.number_option("", options),
            option::MD5 => {
                self.line.text("md5");
                self.check(options, MD5_LENGTH)?;
                self.md5(options);
                return Ok(MD5_LENGTH);
            }
            option::SCPS => {
                self.line.text("scps");
                self.check(options, 2)?;
                let &[capabilities, connection] = self.array(at)?;
                self.line.text(" cap ");
                self.line.hex_bytes(&[capabilities]);
                self.labelled(" id ", connection.into());
                return Ok(2);
            }
            option::USER_TIMEOUT => {
                self.line.text("uto");
                self.check(options, 2)?;
                self.user_timeout(self.u16(at)?);
                return Ok(2);
            }
            option::AUTHENTICATION => self.authentication(options, claimed)?,
            option::MULTIPATH => {
                self.line.text("mptcp");
                self.check(options, claimed)?;
                self.multipath(at - 2, length, options.flags).ok_or(Stop::Bad)?;
            }
            option::FAST_OPEN => {
                self.line.text("tfo");
                self.check(options, claimed)?;
                self.line.byte(b' ');
                self.fast_open(at, claimed);
            }
            option::EXPERIMENT_2 => self.experiment(options, claimed)?,
            _ => {
                self.labelled("unknown-", kind.into());
                if claimed > 0 {
                    self.line.text(" 0x");
                    self.hex_option(options, 0, claimed)?;
                }
            }
        }
        // The rest is as long as it says, except those that have nothing after the length byte.
        Ok(if matches!(kind, option::END | option::NOP | option::SACK_PERMITTED) { 0 } else { claimed })
    }

    /// `LENCHECK`: whether so many bytes are left in the header, and have been captured.
    #[inline]
    fn check(&self, options: &Options, length: usize) -> Result<(), Stop> {
        if length > options.remaining {
            return Err(Stop::Bad);
        }
        if self.has(options.at, length) { Ok(()) } else { Err(Stop::CutOff) }
    }

    fn number_option(&mut self, name: &str, options: &Options) -> Result<usize, Stop> {
        self.line.text(name);
        self.check(options, 4)?;
        self.labelled(" ", self.u32(options.at)?);
        Ok(4)
    }

    /// RFC 2018 section 3. The edges are relative to what the other side has sent.
    fn sack(&mut self, options: &Options, claimed: usize) -> Result<(), Stop> {
        self.line.text("sack");
        if !claimed.is_multiple_of(8) {
            self.line.text(" invalid sack");
            return Ok(());
        }
        self.labelled(" ", claimed as u32 / 8);
        self.line.byte(b' ');
        for block in (0..claimed).step_by(8) {
            self.check(options, block + 4)?;
            self.check(options, block + 8)?;
            let left = self.u32(options.at + block)?.wrapping_sub(options.sack_base);
            let right = self.u32(options.at + block + 4)?.wrapping_sub(options.sack_base);
            self.labelled("{", left);
            self.labelled(":", right);
            self.line.byte(b'}');
        }
        Ok(())
    }

    /// RFC 2385. There is no secret to check it with; tcpdump says first if it could not have checked it anyway.
    fn md5(&mut self, options: &Options) {
        // Where only headers are captured, tcpdump next to it has the whole frame.
        let end = if self.options.headers_only { self.wire_len as usize } else { self.data.len() };
        let whole = options.data + options.data_length as usize <= end;
        self.line.text(if whole {
            " shared secret not supplied with -M, can't check - "
        } else {
            " snaplen too short, can't check - "
        });
        let digest = self.data.get(options.at..options.at + MD5_LENGTH).unwrap_or_default();
        self.line.hex_bytes(digest);
    }

    /// RFC 5482 section 3: 15 bits of seconds, or of minutes if the low bit is set.
    fn user_timeout(&mut self, value: u16) {
        self.line.text(" 0x");
        self.line.hex(value.into());
        let unit = if value & 1 != 0 { 60 } else { 1 };
        self.labelled(" ", u32::from(value >> 1) * unit);
    }

    /// RFC 5925 section 2.2.
    fn authentication(&mut self, options: &Options, claimed: usize) -> Result<(), Stop> {
        self.line.text("tcp-ao");
        if claimed < 2 {
            self.line.text(" (invalid)");
            return Ok(());
        }
        self.check(options, 1)?;
        self.labelled(" keyid ", self.u8(options.at)?.into());
        self.check(options, 2)?;
        self.labelled(" rnextkeyid ", self.u8(options.at + 1)?.into());
        if claimed > 2 {
            self.line.text(" mac 0x");
            self.hex_option(options, 2, claimed)?;
        }
        Ok(())
    }

    /// The bytes from `start` to `end` of an option's value, as far as they have been captured.
    fn hex_option(&mut self, options: &Options, start: usize, end: usize) -> Result<(), Stop> {
        for n in start..end {
            self.check(options, n + 1)?;
            let byte = self.u8(options.at + n)?;
            self.line.hex_bytes(&[byte]);
        }
        Ok(())
    }

    /// RFC 7413 section 4.1.1. The option has been captured to its end.
    fn fast_open(&mut self, offset: usize, length: usize) {
        if length == 0 {
            self.line.text(" cookiereq");
        } else if !length.is_multiple_of(2) || !(4..=16).contains(&length) {
            self.line.text(" (invalid)");
        } else {
            self.line.text(" cookie ");
            self.line.hex_bytes(self.data.get(offset..offset + length).unwrap_or_default());
        }
    }

    /// RFC 6994 section 3.
    fn experiment(&mut self, options: &Options, claimed: usize) -> Result<(), Stop> {
        self.line.text("exp");
        self.check(options, claimed)?;
        if claimed < 2 {
            return Err(Stop::Bad);
        }
        let identifier = self.u16(options.at)?;
        if identifier == FAST_OPEN_EXPERIMENT {
            self.line.text("-tfo");
            self.fast_open(options.at + 2, claimed - 2);
        } else {
            self.line.byte(b'-');
            self.line.hex_padded(identifier.into(), 4);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use capture_packet::LinkType;

    use super::super::{
        options::TextOptions,
        testing::{Tcp, line, print_cut},
    };

    /// What follows `win 342` for a segment with these options.
    fn options(flags: u8, options: &[u8]) -> String {
        let packet = Tcp { flags, options, ..Tcp::default() }.ipv4();
        let line = line(&packet);
        let at = line.find(", options [").unwrap();
        line[at + 2..].trim_end_matches(", length 0\n").to_owned()
    }

    #[test]
    fn each_kind() {
        for (bytes, text) in [
            (&[1, 1, 1, 0][..], "options [nop,nop,nop,eol]"),
            (&[2, 4, 5, 0xb4], "options [mss 1460]"),
            (&[3, 3, 7, 1], "options [wscale 7,nop]"),
            (&[4, 2, 1, 1], "options [sackOK,nop,nop]"),
            (&[5, 2, 1, 1], "options [sack 0 ,nop,nop]"),
            (&[1, 1, 5, 10, 0, 0, 7, 0xd0, 0, 0, 7, 0xda], "options [nop,nop,sack 1 {1:11}]"),
            (&[6, 6, 0, 0, 0, 1, 7, 6, 0, 0, 0, 2], "options [echo 1,echoreply 2]"),
            (&[1, 1, 8, 10, 0, 0, 0, 1, 255, 255, 255, 255], "options [nop,nop,TS val 1 ecr 4294967295]"),
            (
                &[11, 6, 0, 0, 0, 1, 12, 6, 0, 0, 0, 2, 13, 6, 0, 0, 0, 3, 1, 1],
                "options [cc 1,ccnew 2, 3,nop,nop]",
            ),
            (
                &[1, 1, 19, 18, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
                "options [nop,nop,md5 shared secret not supplied with -M, can't check - \
                 000102030405060708090a0b0c0d0e0f]",
            ),
            (&[20, 4, 10, 200], "options [scps cap 0a id 200]"),
            (&[28, 4, 0, 10, 28, 4, 0, 11], "options [uto 0xa 5,uto 0xb 300]"),
            (
                &[29, 4, 1, 2, 29, 8, 1, 2, 0xab, 0xcd, 0, 1],
                "options [tcp-ao keyid 1 rnextkeyid 2,tcp-ao keyid 1 rnextkeyid 2 mac 0xabcd0001]",
            ),
            (&[29, 3, 9, 1], "options [tcp-ao (invalid),nop]"),
            (
                &[34, 2, 34, 6, 0xab, 0xcd, 0, 1, 34, 5, 1, 2, 3, 1, 1, 1],
                "options [tfo  cookiereq,tfo  cookie abcd0001,tfo  (invalid),nop,nop,nop]",
            ),
            (
                &[254, 4, 0xf9, 0x89, 254, 8, 0xf9, 0x89, 1, 2, 3, 4],
                "options [exp-tfo cookiereq,exp-tfo cookie 01020304]",
            ),
            (&[254, 5, 0x12, 0x34, 0, 1, 1, 1], "options [exp-1234,nop,nop,nop]"),
            (&[253, 4, 0xf9, 0x89, 172, 2, 1, 1], "options [unknown-253 0xf989,unknown-172,nop,nop]"),
        ] {
            assert_eq!(options(0x10, bytes), text);
        }
    }

    #[test]
    fn lengths_that_are_not_the_kinds() {
        for (bytes, text) in [
            (&[2, 3, 5, 1][..], "options [mss 1281[len 3]]"),
            (&[4, 4, 9, 9], "options [sackOK[len 4]"),
            (&[5, 5, 1, 2, 3, 1, 1, 1], "options [sack invalid sack,nop,nop,nop]"),
        ] {
            assert!(options(0x10, bytes).starts_with(text), "{}", options(0x10, bytes));
        }
    }

    #[test]
    fn contradictions_end_the_line() {
        for (bytes, text) in [
            (&[2, 1, 0, 0][..], "options [[bad opt]\n"),
            (&[2, 5, 0, 0], "options [[bad opt]\n"),
            (&[1, 2, 1, 0], "options [nop,[bad opt]]\n"),
            (&[1, 1, 3, 2], "options [nop,nop,wscale[bad opt]]\n"),
            (&[1, 254, 3, 0], "options [nop,exp[bad opt]]\n"),
        ] {
            assert_eq!(options(0x10, bytes), text);
        }
    }

    #[test]
    fn the_length_byte_may_stand_in_the_data() {
        let nops = &[1, 1, 1, 2];
        let without_data = Tcp { options: nops, ..Tcp::default() }.ipv4();
        let start = "IP 10.0.0.1.1234 > 10.0.0.2.8888: Flags [.]";
        assert_eq!(
            line(&without_data),
            format!("{start}, ack 2000, win 342, options [nop,nop,nop, [|tcp]\n")
        );
        let with_data = Tcp { options: nops, payload: b"x", ..Tcp::default() }.ipv4();
        assert_eq!(
            line(&with_data),
            format!("{start}, seq 1000:1001, ack 2000, win 342, options [nop,nop,nop,[bad opt]]\n")
        );
    }

    #[test]
    fn captures_that_end_within_an_option() {
        let packet = Tcp { options: &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], ..Tcp::default() }.ipv4();
        let cut = |captured| print_cut(TextOptions::default(), LinkType::Raw, &packet, captured);
        let start = "IP 10.0.0.1.1234 > 10.0.0.2.8888: Flags [.], ack 2000, win 342, options [";
        for (captured, end) in [
            (40, " [|tcp]\n"),
            (41, "nop, [|tcp]\n"),
            (42, "nop,nop, [|tcp]\n"),
            (43, "nop,nop, [|tcp]\n"),
            (44, "nop,nop,TS [|tcp]>\n"),
            (51, "nop,nop,TS [|tcp]>\n"),
            (52, "nop,nop,TS val 1 ecr 2], length 0\n"),
        ] {
            assert_eq!(cut(captured), format!("{start}{end}"));
        }
    }
}

//! The Multipath TCP option: print-mptcp.c. RFC 6824, with what tcpdump 4.99.3 knows of RFC 8684.

use capture_packet::tcp::flag;

use super::{address::WriteAddress, dissector::Dissector, line::Write};

impl Dissector<'_> {
    /// Prints the option at `offset`, from its length on. `None` if it is not what its subtype has to be.
    pub(super) fn multipath(&mut self, offset: usize, length: usize, flags: u8) -> Option<()> {
        self.protocol = "mptcp";
        let option = self.data.get(offset..offset + length)?;
        let &subtype = option.get(2)?;
        self.labelled(" ", length as u32);
        match subtype >> 4 {
            0 => self.capable(option, flags),
            1 => self.join(option, flags),
            2 => self.dss(option, flags),
            3 => self.add_address(option),
            4 => self.remove_address(option),
            5 => self.priority(option),
            6 => self.fail(option),
            7 => self.fast_close(option),
            _ => {
                self.line.text(" unknown");
                Some(())
            }
        }
    }

    fn hex_key(&mut self, label: &str, key: u64) {
        self.line.text(label);
        self.line.hex(key);
    }

    /// `mp_capable_print`.
    fn capable(&mut self, option: &[u8], flags: u8) -> Option<()> {
        self.line.text(" capable");
        let (syn, ack) = (flags & flag::SYN != 0, flags & flag::ACK != 0);
        match option.len() {
            4 | 12 if syn => {}
            20 | 22 if ack && !syn => {}
            _ => return None,
        }
        let version = option.get(2)? & 15;
        if version > 1 {
            self.labelled(" Unknown Version (", version.into());
            self.line.byte(b')');
            return Some(());
        }
        self.labelled(" v", version.into());
        if option.get(3)? & 0x80 != 0 {
            self.line.text(" csum");
        }
        if option.len() >= 12 {
            self.hex_key(" {0x", u64_at(option, 4)?);
            if option.len() >= 20 {
                self.hex_key(",0x", u64_at(option, 12)?);
            }
            self.line.byte(b'}');
        }
        Some(())
    }

    /// `mp_join_print`.
    fn join(&mut self, option: &[u8], flags: u8) -> Option<()> {
        self.line.text(" join");
        let (syn, ack) = (flags & flag::SYN != 0, flags & flag::ACK != 0);
        match option.len() {
            12 if syn => {
                self.join_address(option)?;
                self.hex_key(" token 0x", u32_at(option, 4)?.into());
                self.hex_key(" nonce 0x", u32_at(option, 8)?.into());
            }
            16 if syn && ack => {
                self.join_address(option)?;
                self.hex_key(" hmac 0x", u64_at(option, 4)?);
                self.hex_key(" nonce 0x", u32_at(option, 12)?.into());
            }
            24 if ack => {
                self.line.text(" hmac 0x");
                self.line.hex_bytes(option.get(4..)?);
            }
            _ => return None,
        }
        Some(())
    }

    fn join_address(&mut self, option: &[u8]) -> Option<()> {
        if option.get(2)? & 1 != 0 {
            self.line.text(" backup");
        }
        self.labelled(" id ", (*option.get(3)?).into());
        Some(())
    }

    /// `mp_dss_print`. The flags say which fields there are and how long they are.
    fn dss(&mut self, option: &[u8], flags: u8) -> Option<()> {
        self.line.text(" dss");
        let (&fields, mut rest) = option.get(3..)?.split_first()?;
        if flags & flag::SYN != 0 {
            return None;
        }
        if fields & 0x10 != 0 {
            self.line.text(" fin");
        }
        if fields & 0x01 != 0 {
            self.line.text(" ack ");
            self.dss_number(&mut rest, fields & 0x02 != 0)?;
        }
        if fields & 0x04 != 0 {
            self.line.text(" seq ");
            self.dss_number(&mut rest, fields & 0x08 != 0)?;
            self.labelled(" subseq ", u32::from_be_bytes(*take(&mut rest)?));
            self.labelled(" len ", u16::from_be_bytes(*take(&mut rest)?).into());
            if let Some(&checksum) = take(&mut rest) {
                self.hex_key(" csum 0x", u16::from_be_bytes(checksum).into());
            }
        }
        rest.is_empty().then_some(())
    }

    /// A data sequence number of eight bytes or of four.
    fn dss_number(&mut self, rest: &mut &[u8], long: bool) -> Option<()> {
        if long {
            self.line.decimal64(u64::from_be_bytes(*take(rest)?));
        } else {
            self.line.decimal(u32::from_be_bytes(*take(rest)?));
        }
        Some(())
    }

    /// `add_addr_print`. The length says what there is: an address of either family, a port, an HMAC.
    fn add_address(&mut self, option: &[u8]) -> Option<()> {
        self.line.text(" add-addr");
        let (address_end, has_port, has_hmac) = match option.len() {
            8 => (8, false, false),
            10 => (8, true, false),
            16 => (8, false, true),
            18 => (8, true, true),
            20 => (20, false, false),
            22 => (20, true, false),
            28 => (20, false, true),
            30 => (20, true, true),
            _ => return None,
        };
        self.line.text(match option.get(2)? & 15 {
            0 => " v1",
            1 => " v1-echo",
            4 => " v0-ip4",
            6 => " v0-ip6",
            _ => " [bad version/echo]",
        });
        self.labelled(" id ", (*option.get(3)?).into());
        self.line.byte(b' ');
        match option.get(4..address_end)? {
            &[a, b, c, d] => self.line.ipv4([a, b, c, d]),
            address => self.line.ipv6(address.first_chunk()?),
        }
        let mut rest = option.get(address_end..)?;
        if has_port {
            self.labelled(":", u16::from_be_bytes(*take(&mut rest)?).into());
        }
        if has_hmac {
            self.hex_key(" hmac 0x", u64::from_be_bytes(*take(&mut rest)?));
        }
        Some(())
    }

    /// `remove_addr_print`.
    fn remove_address(&mut self, option: &[u8]) -> Option<()> {
        self.line.text(" rem-addr");
        let ids = option.get(3..).filter(|ids| !ids.is_empty())?;
        self.line.text(" id");
        for &id in ids {
            self.labelled(" ", id.into());
        }
        Some(())
    }

    /// `mp_prio_print`.
    fn priority(&mut self, option: &[u8]) -> Option<()> {
        self.line.text(" prio");
        let (&[_, _, subtype], id) = option.split_first_chunk()?;
        if id.len() > 1 {
            return None;
        }
        self.line.text(if subtype & 1 != 0 { " backup" } else { " non-backup" });
        if let &[id] = id {
            self.labelled(" id ", id.into());
        }
        Some(())
    }

    /// `mp_fail_print`.
    fn fail(&mut self, option: &[u8]) -> Option<()> {
        self.line.text(" fail");
        let number = u64_at(option, 4).filter(|_| option.len() == 12)?;
        self.line.text(" seq ");
        self.line.decimal64(number);
        Some(())
    }

    /// `mp_fast_close_print`.
    fn fast_close(&mut self, option: &[u8]) -> Option<()> {
        self.line.text(" fast-close");
        let key = u64_at(option, 4).filter(|_| option.len() == 12)?;
        self.hex_key(" key 0x", key);
        Some(())
    }
}

/// Splits an array off the front, if there are so many bytes.
fn take<'p, const N: usize>(rest: &mut &'p [u8]) -> Option<&'p [u8; N]> {
    let (array, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(array)
}

fn u32_at(option: &[u8], offset: usize) -> Option<u32> {
    option.get(offset..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn u64_at(option: &[u8], offset: usize) -> Option<u64> {
    option.get(offset..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tcp, line};

    /// What an option of kind 30 with this value gives in a segment with these flags, after `options [`.
    fn multipath(flags: u8, value: &[u8]) -> String {
        let mut option = vec![30, value.len() as u8 + 2];
        option.extend(value);
        option.resize(option.len().next_multiple_of(4), 1);
        let line = line(&Tcp { flags, options: &option, ..Tcp::default() }.ipv4());
        line.split_once("options [mptcp").unwrap().1.to_owned()
    }

    const SYN: u8 = 0x02;
    const SYN_ACK: u8 = 0x12;
    const ACK: u8 = 0x10;

    #[test]
    fn each_subtype() {
        let key = [0, 0, 0, 0, 0, 0, 0xab, 0xcd];
        for (flags, value, text) in [
            (SYN, [&[0x01, 0x81][..]].concat(), " 4 capable v1 csum]"),
            (SYN, [&[0x00, 0x01][..], &key].concat(), " 12 capable v0 {0xabcd}]"),
            (ACK, [&[0x01, 0x01][..], &key, &[1; 8]].concat(), " 20 capable v1 {0xabcd,0x101010101010101}]"),
            (
                ACK,
                [&[0x01, 0x01][..], &key, &[1; 8], &[0; 2]].concat(),
                " 22 capable v1 {0xabcd,0x101010101010101},nop,nop]",
            ),
            (SYN, [&[0x02, 0][..]].concat(), " 4 capable Unknown Version (2)]"),
            (SYN, [&[0x11, 7][..], &key].concat(), " 12 join backup id 7 token 0x0 nonce 0xabcd]"),
            (SYN_ACK, [&[0x10, 7][..], &key, &[0, 0, 0, 9]].concat(), " 16 join id 7 hmac 0xabcd nonce 0x9]"),
            (ACK, [&[0x10, 0][..], &[0xa5; 20]].concat(), &format!(" 24 join hmac 0x{}]", "a5".repeat(20))),
            (ACK, [&[0x20, 0x10][..]].concat(), " 4 dss fin]"),
            (ACK, [&[0x20, 0x01][..], &[0, 0, 0, 5]].concat(), " 8 dss ack 5]"),
            (
                ACK,
                [&[0x20, 0x0f][..], &[0xff; 8], &key, &[0, 0, 0, 2, 0, 3, 0xbe, 0xef]].concat(),
                " 28 dss ack 18446744073709551615 seq 43981 subseq 2 len 3 csum 0xbeef]",
            ),
            (
                ACK,
                [&[0x20, 0x04][..], &[0, 0, 0, 9], &[0, 0, 0, 2, 0, 3]].concat(),
                " 14 dss seq 9 subseq 2 len 3,nop,nop]",
            ),
            (ACK, [&[0x34, 1][..], &[10, 0, 0, 1]].concat(), " 8 add-addr v0-ip4 id 1 10.0.0.1]"),
            (
                ACK,
                [&[0x30, 1][..], &[10, 0, 0, 1], &[0x22, 0xb8], &key].concat(),
                " 18 add-addr v1 id 1 10.0.0.1:8888 hmac 0xabcd,nop,nop]",
            ),
            (
                ACK,
                [&[0x36, 1, 0xfe, 0x80][..], &[0; 13], &[1, 0, 80]].concat(),
                " 22 add-addr v0-ip6 id 1 fe80::1:80,nop,nop]",
            ),
            (ACK, [&[0x31, 1][..], &[0; 16], &key].concat(), " 28 add-addr v1-echo id 1 :: hmac 0xabcd]"),
            (ACK, [&[0x32, 1][..], &[0; 4]].concat(), " 8 add-addr [bad version/echo] id 1 0.0.0.0]"),
            (ACK, [&[0x40, 1, 2, 3][..]].concat(), " 6 rem-addr id 1 2 3,nop,nop]"),
            (ACK, [&[0x51][..]].concat(), " 3 prio backup,nop]"),
            (ACK, [&[0x50, 4][..]].concat(), " 4 prio non-backup id 4]"),
            (ACK, [&[0x60, 0][..], &key].concat(), " 12 fail seq 43981]"),
            (ACK, [&[0x70, 0][..], &key].concat(), " 12 fast-close key 0xabcd]"),
            (ACK, [&[0x80, 0][..]].concat(), " 4 unknown]"),
        ] {
            assert_eq!(multipath(flags, &value), format!("{text}, length 0\n"));
        }
    }

    #[test]
    fn what_does_not_fit_its_subtype() {
        for (flags, value, text) in [
            (ACK, &[][..], "[bad opt]\n"),
            (ACK, &[0x01, 0x01], " 4 capable[bad opt]\n"),
            (SYN, &[0x10, 0], " 4 join[bad opt]\n"),
            (ACK, &[0x20], " 3 dss[bad opt]\n"),
            (SYN, &[0x20, 0], " 4 dss[bad opt]\n"),
            (ACK, &[0x20, 1], " 4 dss ack [bad opt]\n"),
            (ACK, &[0x20, 1, 0, 0, 0, 5, 0], " 9 dss ack 5[bad opt]\n"),
            (ACK, &[0x30, 1, 0], " 5 add-addr[bad opt]\n"),
            (ACK, &[0x40], " 3 rem-addr[bad opt]\n"),
            (ACK, &[0x50, 1, 1], " 5 prio[bad opt]\n"),
            (ACK, &[0x60, 1], " 4 fail[bad opt]\n"),
            (ACK, &[0x70, 1], " 4 fast-close[bad opt]\n"),
        ] {
            assert_eq!(multipath(flags, value), text);
        }
    }
}

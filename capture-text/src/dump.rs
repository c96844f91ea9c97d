//! Dumps of a packet's bytes below its line: print-ascii.c.

use super::{
    line::{Line, Write, hex_digits},
    options::Dump,
};

const BYTES_PER_LINE: usize = 16;

/// Prints what `-x`, `-X` or `-A` ask for.
#[inline]
pub(super) fn print(dump: Dump, frame: &[u8], link_header_length: usize, line: &mut Line) {
    let part = |from_link_header: bool| {
        let start = if from_link_header { 0 } else { link_header_length };
        frame.get(start..).filter(|bytes| !bytes.is_empty())
    };
    match dump {
        Dump::None => {}
        Dump::Hex { link_header } => part(link_header).into_iter().for_each(|bytes| hex(bytes, line)),
        Dump::HexAscii { link_header } => {
            part(link_header).into_iter().for_each(|bytes| hex_and_ascii(bytes, line));
        }
        Dump::Ascii { link_header } => part(link_header).into_iter().for_each(|bytes| ascii(bytes, line)),
    }
}

/// `\n\t0x0010:  4500 0034 ..`, sixteen bytes to a line.
fn hex(bytes: &[u8], line: &mut Line) {
    for (n, row) in bytes.chunks(BYTES_PER_LINE).enumerate() {
        row_start(n, line);
        hex_row(row, line);
    }
}

/// As [`hex`], with the bytes as text after it: what is not a graphic ASCII character is a dot.
pub(super) fn hex_and_ascii(bytes: &[u8], line: &mut Line) {
    for (n, row) in bytes.chunks(BYTES_PER_LINE).enumerate() {
        row_start(n, line);
        let hex_length = hex_row(row, line);
        for _ in hex_length..BYTES_PER_LINE / 2 * 5 + 2 {
            line.byte(b' ');
        }
        for &byte in row {
            line.byte(if byte.is_ascii_graphic() { byte } else { b'.' });
        }
    }
}

fn row_start(n: usize, line: &mut Line) {
    line.text("\n\t0x");
    line.hex_padded((n * BYTES_PER_LINE) as u64, 4);
    line.text(": ");
}

/// Two bytes to a group, a blank before each. Gives how many characters that took.
fn hex_row(row: &[u8], line: &mut Line) -> usize {
    let groups = row.chunks_exact(2);
    let (pairs, rest) = (groups.len(), groups.remainder());
    for pair in groups {
        let [[a, b], [c, d]] = [hex_digits(pair[0]), hex_digits(pair[1])];
        line.prefix([b' ', a, b, c, d], 5);
    }
    for &byte in rest {
        let [a, b] = hex_digits(byte);
        line.prefix([b' ', a, b], 3);
    }
    pairs * 5 + rest.len() * 3
}

/// The bytes as text. Blank, tab and newline stay, other bytes that are not graphic are dots, and a carriage return
/// is left out before a newline or before the last byte (`ascii_print`, its condition taken as it is).
fn ascii(bytes: &[u8], line: &mut Line) {
    line.byte(b'\n');
    for (n, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' => {
                let rest = &bytes[n + 1..];
                if rest.len() > 1 && rest[0] != b'\n' {
                    line.byte(b'.');
                }
            }
            b'\t' | b'\n' | b' ' => line.byte(byte),
            _ => line.byte(if byte.is_ascii_graphic() { byte } else { b'.' }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumped(dump: Dump, link_header_length: usize, frame: &[u8]) -> String {
        let mut line = Line::new();
        print(dump, frame, link_header_length, &mut line);
        line.taken()
    }

    /// Two bytes of a link header, then 17 of a packet.
    const FRAME: &[u8] = b"LLGET /\0\x7f\xff\x1b[2J\x80  ~x";

    #[test]
    fn hex_of_the_packet_or_of_the_frame() {
        assert_eq!(
            dumped(Dump::Hex { link_header: false }, 2, FRAME),
            "\n\t0x0000:  4745 5420 2f00 7fff 1b5b 324a 8020 207e\n\t0x0010:  78"
        );
        assert_eq!(
            dumped(Dump::Hex { link_header: true }, 2, FRAME),
            "\n\t0x0000:  4c4c 4745 5420 2f00 7fff 1b5b 324a 8020\n\t0x0010:  207e 78"
        );
    }

    #[test]
    fn text_next_to_it_is_graphic_ascii_alone() {
        assert_eq!(
            dumped(Dump::HexAscii { link_header: false }, 2, FRAME),
            "\n\t0x0000:  4745 5420 2f00 7fff 1b5b 324a 8020 207e  GET./....[2J...~\
             \n\t0x0010:  78                                       x"
        );
    }

    #[test]
    fn text_keeps_blanks_tabs_and_newlines_alone() {
        let text = Dump::Ascii { link_header: false };
        assert_eq!(dumped(text, 2, FRAME), "\nGET /....[2J.  ~x");
        // A carriage return is a dot, but for those before a newline and the last two.
        assert_eq!(dumped(text, 0, b"a\r\nb\rc\td\n\re\r"), "\na\nb.c\td\n.e");
        assert_eq!(dumped(text, 0, b"ab\re"), "\nabe");
        for byte in 0..=255 {
            let printed = dumped(text, 0, &[byte]);
            assert!(printed.bytes().all(|byte| byte.is_ascii_graphic() || b" \t\n".contains(&byte)));
        }
    }

    #[test]
    fn nothing_is_dumped_where_there_is_nothing_but_a_link_header() {
        for dump in [false, true].map(|link_header| Dump::Hex { link_header }) {
            assert_eq!(dumped(dump, 19, FRAME).is_empty(), dump == Dump::Hex { link_header: false });
        }
        assert_eq!(dumped(Dump::Ascii { link_header: false }, 19, FRAME), "");
    }

    #[test]
    fn long_dumps_count_on() {
        let dump = dumped(Dump::Hex { link_header: true }, 0, &[0; 0x1_0010]);
        assert!(dump.contains("\n\t0xfff0:  0000"));
        assert!(dump.contains("\n\t0x10000:  0000"));
    }
}

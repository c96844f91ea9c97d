//! TCP's options as structure.

use capture_packet::tcp::option;
use serde::{Serialize, Serializer, ser::SerializeSeq as _};

use super::values::Hex;

/// The longest list of options: what the data offset can say beyond the fixed header.
const MAX_LENGTH: usize = 40;

/// The options of a segment. What has no key of its own is in `other`, as it stands.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mss: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wscale: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sack_permitted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sack: Option<SackBlocks<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamps: Option<Timestamps>,
    #[serde(skip_serializing_if = "Others::is_empty")]
    other: Others<'a>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Timestamps {
    val: u32,
    ecr: u32,
}

/// The edges of the blocks, as they stand in the option, and what the relative ones are relative to.
#[derive(Clone, Copy, Debug)]
struct SackBlocks<'a> {
    edges: &'a [[u8; 8]],
    base: Option<u32>,
}

#[derive(Serialize)]
struct SackBlock {
    left: u32,
    right: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative_left: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative_right: Option<u32>,
}

/// Options by their numbers.
#[derive(Clone, Copy, Debug)]
struct Others<'a> {
    list: &'a [u8],
    /// A bit for each place in the list where one begins.
    starts: u64,
}

#[derive(Serialize)]
struct Other<'a> {
    kind: u8,
    data: Hex<'a>,
}

impl<'a> Options<'a> {
    /// The options in `list`, up to the first that contradicts itself or is cut off, and whether there is one. The edges
    /// of SACK blocks are relative to `sack_base`.
    #[inline]
    pub(super) fn read(list: &'a [u8], sack_base: Option<u32>) -> (Self, bool) {
        let list = &list[..list.len().min(MAX_LENGTH)];
        let mut options = Self {
            mss: None,
            wscale: None,
            sack_permitted: None,
            sack: None,
            timestamps: None,
            other: Others { list, starts: 0 },
        };
        let mut rest = list;
        while let [kind, after @ ..] = rest {
            match *kind {
                option::END => break,
                option::NOP => rest = after,
                kind => {
                    let Some((data, next)) = split(rest) else { return (options, true) };
                    if !options.set(kind, data, sack_base) {
                        options.other.starts |= 1 << (list.len() - rest.len());
                    }
                    rest = next;
                }
            }
        }
        (options, false)
    }

    /// Whether the option has a key of its own, the length that it should have, and was not there before.
    #[inline]
    fn set(&mut self, kind: u8, data: &'a [u8], sack_base: Option<u32>) -> bool {
        match (kind, data) {
            (option::MSS, &[a, b]) if self.mss.is_none() => self.mss = Some(u16::from_be_bytes([a, b])),
            (option::WINDOW_SCALE, &[shift]) if self.wscale.is_none() => self.wscale = Some(shift),
            (option::SACK_PERMITTED, []) if self.sack_permitted.is_none() => self.sack_permitted = Some(true),
            (option::TIMESTAMPS, &[a, b, c, d, e, f, g, h]) if self.timestamps.is_none() => {
                let [val, ecr] = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
                self.timestamps = Some(Timestamps { val, ecr });
            }
            (option::SACK, data) if self.sack.is_none() => {
                let (edges, []) = data.as_chunks() else { return false };
                self.sack = Some(SackBlocks { edges, base: sack_base });
            }
            _ => return false,
        }
        true
    }
}

/// The data of the option at the beginning of `list`, and the list after it. `None` if the option's length is
/// impossible.
#[inline]
fn split(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(*list.get(1)?);
    Some((list.get(2..length)?, list.get(length..)?))
}

impl Serialize for SackBlocks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.edges.iter().map(|&[a, b, c, d, e, f, g, h]| {
            let [left, right] = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
            let [relative_left, relative_right] =
                [left, right].map(|edge| self.base.map(|base| edge.wrapping_sub(base)));
            SackBlock { left, right, relative_left, relative_right }
        }))
    }
}

impl Others<'_> {
    fn is_empty(&self) -> bool {
        self.starts == 0
    }
}

impl Serialize for Others<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut others = serializer.serialize_seq(None)?;
        for start in (0..self.list.len()).filter(|start| self.starts >> start & 1 != 0) {
            let option = &self.list[start..];
            if let (Some((data, _)), [kind, ..]) = (split(option), option) {
                others.serialize_element(&Other { kind: *kind, data: Hex(data) })?;
            }
        }
        others.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &[u8], sack_base: Option<u32>) -> (String, bool) {
        let (options, is_malformed) = Options::read(list, sack_base);
        (serde_json::to_string(&options).unwrap(), is_malformed)
    }

    #[test]
    fn each_option() {
        for (list, expected) in [
            (&[][..], "{}"),
            (&[1, 1, 1, 0], "{}"),
            (&[2, 4, 5, 0xb4], r#"{"mss":1460}"#),
            (&[3, 3, 7, 1], r#"{"wscale":7}"#),
            (&[4, 2, 1, 1], r#"{"sack_permitted":true}"#),
            (&[5, 2, 1, 1], r#"{"sack":[]}"#),
            (&[8, 10, 0, 0, 0, 1, 255, 255, 255, 255], r#"{"timestamps":{"val":1,"ecr":4294967295}}"#),
            (&[34, 6, 0xab, 0xcd, 0, 1], r#"{"other":[{"kind":34,"data":"abcd0001"}]}"#),
            (
                &[172, 2, 2, 3, 5, 2, 4, 5, 0xb4, 2, 4, 0, 1],
                r#"{"mss":1460,"other":[{"kind":172,"data":""},{"kind":2,"data":"05"},{"kind":2,"data":"0001"}]}"#,
            ),
            (&[5, 4, 1, 2], r#"{"other":[{"kind":5,"data":"0102"}]}"#),
            (&[0, 2, 4, 5, 0xb4], "{}"),
        ] {
            assert_eq!(read(list, None), (expected.to_owned(), false), "{list:?}");
        }
    }

    #[test]
    fn edges_are_relative_where_the_base_is_known() {
        let list = [5, 10, 0, 0, 0x13, 0x88, 0, 0, 0x13, 0x92];
        assert_eq!(read(&list, None).0, r#"{"sack":[{"left":5000,"right":5010}]}"#);
        let relative = r#"{"sack":[{"left":5000,"right":5010,"relative_left":10,"relative_right":20}]}"#;
        assert_eq!(read(&list, Some(4990)).0, relative);
    }

    #[test]
    fn contradictions_end_the_list() {
        for list in [
            &[3, 3, 7, 2][..],
            &[3, 3, 7, 2, 0],
            &[3, 3, 7, 2, 1],
            &[3, 3, 7, 2, 5, 1, 1],
            &[3, 3, 7, 8, 200],
        ] {
            assert_eq!(read(list, None), (r#"{"wscale":7}"#.to_owned(), true), "{list:?}");
        }
    }
}

//! The ports of `--port`: the text on the command line, and the set the filter looks into.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use capture_common::ports::{self, PortBitmap, Ports, WORDS};

/// One value of `--port`: `8888`, `80,443`, `8000-8100`, or any of these joined by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortList(Vec<RangeInclusive<u16>>);

/// Why a value of `--port` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortListError {
    /// An item is neither a port nor a range.
    #[error(
        "`{item}` is not a port: give a number from 0 to 65535, a range such as 8000-8100, or several joined by commas"
    )]
    NotAPort {
        /// The item as it was given.
        item: String,
    },
    /// There is nothing where an item should be.
    #[error(
        "a port is missing: give a number from 0 to 65535, a range such as 8000-8100, or several joined by commas"
    )]
    Missing,
    /// A range ends before it begins.
    #[error("the range `{item}` runs backwards: write {end}-{start}")]
    Backwards {
        /// The item as it was given.
        item: String,
        /// What stands before the hyphen.
        start: u16,
        /// What stands after it.
        end: u16,
    },
}

impl FromStr for PortList {
    type Err = PortListError;

    fn from_str(text: &str) -> Result<Self, PortListError> {
        text.split(',').map(parse_item).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_item(item: &str) -> Result<RangeInclusive<u16>, PortListError> {
    if item.is_empty() {
        return Err(PortListError::Missing);
    }
    let port = |text: &str| {
        // `u16::from_str` also takes a plus sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().ok_or(PortListError::NotAPort { item: item.into() })
    };
    let (start, end) = match item.split_once('-') {
        Some((start, end)) => (port(start)?, port(end)?),
        None => (port(item)?, port(item)?),
    };
    if start > end {
        return Err(PortListError::Backwards { item: item.into(), start, end });
    }
    Ok(start..=end)
}

/// The set of ports a filter selects. Empty stands for "any": the filter is then `tcp` without a port.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet {
    bitmap: Box<PortBitmap>,
    any: bool,
}

impl PortSet {
    /// The set without a port in it, which selects TCP on any port.
    pub fn any() -> Self {
        Self { bitmap: Box::new([0; WORDS]), any: true }
    }

    /// The bitmap, as the programs in the kernel look into it. All zero if [`any`](Ports::any) is true.
    pub fn bitmap(&self) -> &PortBitmap {
        &self.bitmap
    }
}

impl<'a> FromIterator<&'a PortList> for PortSet {
    fn from_iter<I: IntoIterator<Item = &'a PortList>>(lists: I) -> Self {
        let mut set = Self::any();
        for port in lists.into_iter().flat_map(|list| &list.0).cloned().flatten() {
            let (word, mask) = ports::position(port);
            set.bitmap[word] |= mask;
            set.any = false;
        }
        set
    }
}

impl Ports for PortSet {
    fn any(&self) -> bool {
        self.any
    }

    fn contains(&self, port: u16) -> bool {
        let (word, mask) = ports::position(port);
        self.bitmap[word] & mask != 0
    }
}

/// The filter as tcpdump's expression: `tcp`, `tcp port 8888`, `tcp portrange 8000-8100 or tcp port 80`.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.any {
            return f.write_str("tcp");
        }
        let mut ports = (0..=u16::MAX).filter(|port| self.contains(*port)).peekable();
        let mut or = "";
        while let Some(first) = ports.next() {
            let mut last = first;
            while let Some(next) = ports.next_if(|port| Some(*port) == last.checked_add(1)) {
                last = next;
            }
            if first == last {
                write!(f, "{or}tcp port {first}")?;
            } else {
                write!(f, "{or}tcp portrange {first}-{last}")?;
            }
            or = " or ";
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..=u16::MAX).filter(|port| self.contains(*port))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str]) -> Vec<u16> {
        let lists: Vec<PortList> = values.iter().map(|value| value.parse().unwrap()).collect();
        let set: PortSet = lists.iter().collect();
        assert_eq!(set.any(), values.is_empty());
        (0..=u16::MAX).filter(|port| set.contains(*port)).collect()
    }

    #[test]
    fn ports_lists_and_ranges_add_up() {
        assert_eq!(set(&[]), [0_u16; 0]);
        assert_eq!(set(&["8888"]), [8888]);
        assert_eq!(set(&["443,80", "80"]), [80, 443]);
        assert_eq!(set(&["8000-8002,1", "0-0"]), [0, 1, 8000, 8001, 8002]);
        assert_eq!(set(&["65535"]), [65535]);
        assert_eq!(set(&["0-65535"]).len(), 65536);
    }

    #[test]
    fn a_set_is_an_expression() {
        for (values, expected) in [
            (&[][..], "tcp"),
            (&["8888"], "tcp port 8888"),
            (&["0,8000-8100,80"], "tcp port 0 or tcp port 80 or tcp portrange 8000-8100"),
            (&["65534-65535"], "tcp portrange 65534-65535"),
        ] {
            let lists: Vec<PortList> = values.iter().map(|value| value.parse().unwrap()).collect();
            assert_eq!(lists.iter().collect::<PortSet>().to_string(), expected);
        }
    }

    #[test]
    fn refusals_name_the_item() {
        for item in ["http", "65536", "-1", "1-", "+1", "80 ", "1-2-3", "0x50"] {
            let error = format!("1,{item}").parse::<PortList>().unwrap_err();
            assert_eq!(error, PortListError::NotAPort { item: item.into() });
        }
        for list in ["", ",", "1,", "1,,2"] {
            assert_eq!(list.parse::<PortList>(), Err(PortListError::Missing), "{list}");
        }
        let error = "8100-8000".parse::<PortList>().unwrap_err();
        assert_eq!(error.to_string(), "the range `8100-8000` runs backwards: write 8000-8100");
    }
}

//! The ports of `--port` on the command line.

use std::{ops::RangeInclusive, str::FromStr};

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

impl PortList {
    /// The ports.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_ports_and_ranges() {
        for (list, expected) in [
            ("8888", &[8888..=8888][..]),
            ("443,80", &[443..=443, 80..=80]),
            ("8000-8002,1,0-0", &[8000..=8002, 1..=1, 0..=0]),
            ("0-65535", &[0..=65535]),
        ] {
            assert_eq!(list.parse::<PortList>().unwrap().ranges(), expected, "{list}");
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

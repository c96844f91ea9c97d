//! Which kernels are run.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Result, bail};

/// A line of kernels, such as 6.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (major, minor) = text.split_once('.').context("a kernel is written as 6.12")?;
        Ok(Self { major: major.parse()?, minor: minor.parse()? })
    }
}

/// What is run where nothing else is asked for: those of Debian's releases, from the oldest that capture runs on, and
/// the newest ones.
const LADDER: [Series; 5] = [
    OLDEST,
    Series { major: 6, minor: 1 },
    Series { major: 6, minor: 12 },
    Series { major: 7, minor: 2 },
    Series { major: 7, minor: 3 },
];

/// The oldest that capture runs on: it has rings of the size of one's choice within a map.
const OLDEST: Series = Series { major: 5, minor: 10 };

/// The kernels to run, in ascending order, and what there is to say about them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) series: Vec<Series>,
    pub(super) remarks: Vec<String>,
}

impl Choice {
    /// The oldest and the newest of what the archive has; `have` is in ascending order.
    ///
    /// # Errors
    ///
    /// When there are not two.
    pub(super) fn ends(have: &[Series]) -> Result<Self> {
        let usable: Vec<Series> = have.iter().copied().filter(|series| *series >= OLDEST).collect();
        let [oldest, .., newest] = usable[..] else {
            bail!("the archive has {} kernel(s), not two", usable.len())
        };
        let mut remarks = Vec::new();
        if oldest != OLDEST {
            remarks.push(format!("{OLDEST} has left the archive: {oldest} is the oldest there"));
        }
        Ok(Self { series: vec![oldest, newest], remarks })
    }

    /// Those of the ladder. One that is not in the archive is replaced by the nearest that is not chosen yet.
    ///
    /// # Errors
    ///
    /// When there are not two.
    pub(super) fn ladder(have: &[Series]) -> Result<Self> {
        let mut series: Vec<Series> = LADDER.into_iter().filter(|series| have.contains(series)).collect();
        let mut remarks = Vec::new();
        for gone in LADDER.into_iter().filter(|series| !have.contains(series)) {
            let place = |series: &Series| have.binary_search(series).unwrap_or_else(|place| place);
            let free =
                have.iter().enumerate().filter(|(_, other)| **other >= OLDEST && !series.contains(other));
            // Between the neighbours, the one below it is as near as the one above it.
            let nearest =
                free.min_by_key(
                    |(index, other)| {
                        if **other < gone { place(&gone) - index } else { index + 1 - place(&gone) }
                    },
                );
            match nearest {
                Some((_, other)) => {
                    remarks.push(format!("{gone} is not in the archive: {other} takes its place"));
                    series.push(*other);
                }
                None => {
                    remarks.push(format!("{gone} is not in the archive, and no other is left for its place"))
                }
            }
        }
        series.sort_unstable();
        if series.len() < 2 {
            bail!("the archive has {} kernel(s), not two", series.len());
        }
        Ok(Self { series, remarks })
    }

    /// Those that were asked for.
    ///
    /// # Errors
    ///
    /// When the archive does not have one of them.
    pub(super) fn exactly(wanted: &[Series], have: &[Series]) -> Result<Self> {
        if let Some(missing) = wanted.iter().find(|series| !have.contains(series)) {
            let have: Vec<String> = have.iter().map(Series::to_string).collect();
            bail!("the archive has no kernel {missing} (it has {})", have.join(", "));
        }
        let mut series = wanted.to_vec();
        series.sort_unstable();
        series.dedup();
        Ok(Self { series, remarks: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(list: &str) -> Vec<Series> {
        list.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn the_ends_are_the_oldest_and_the_newest() {
        let choice = Choice::ends(&series("4.19 5.10 6.1 7.3 7.10")).unwrap();
        assert_eq!(choice, Choice { series: series("5.10 7.10"), remarks: vec![] });
        let choice = Choice::ends(&series("6.1 7.3")).unwrap();
        assert_eq!(choice.series, series("6.1 7.3"));
        assert_eq!(choice.remarks, ["5.10 has left the archive: 6.1 is the oldest there"]);
        assert!(Choice::ends(&series("4.19 7.3")).is_err());
        assert!(Choice::ends(&[]).is_err());
    }

    #[test]
    fn a_kernel_that_left_is_replaced_by_its_neighbour() {
        let choice = Choice::ladder(&series("5.10 6.1 6.12 7.1 7.2 7.3")).unwrap();
        assert_eq!(choice, Choice { series: series("5.10 6.1 6.12 7.2 7.3"), remarks: vec![] });
        let choice = Choice::ladder(&series("4.19 6.1 6.12 6.18 7.1 7.3 7.4")).unwrap();
        assert_eq!(choice.series, series("6.1 6.12 6.18 7.1 7.3"));
        assert_eq!(
            choice.remarks,
            [
                "5.10 is not in the archive: 6.18 takes its place",
                "7.2 is not in the archive: 7.1 takes its place"
            ]
        );
        let choice = Choice::ladder(&series("6.1 7.4")).unwrap();
        assert_eq!(choice.series, series("6.1 7.4"));
        assert_eq!(choice.remarks.len(), 4);
        assert!(Choice::ladder(&series("6.1")).is_err());
    }

    #[test]
    fn what_was_asked_for_is_there_or_an_error() {
        let choice = Choice::exactly(&series("7.3 6.1 7.3"), &series("5.10 6.1 7.3")).unwrap();
        assert_eq!(choice.series, series("6.1 7.3"));
        let error = Choice::exactly(&series("6.2"), &series("5.10 6.1")).unwrap_err();
        assert_eq!(error.to_string(), "the archive has no kernel 6.2 (it has 5.10, 6.1)");
    }
}

//! Which kernels are run.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Result, bail};

/// A line of kernels, such as 6.12, or 6.12-rt with PREEMPT_RT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) real_time: bool,
}

impl Series {
    /// A line of kernels without PREEMPT_RT.
    const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor, real_time: false }
    }
}

/// What a line of kernels with PREEMPT_RT ends with.
const REAL_TIME: &str = "-rt";

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.real_time { REAL_TIME } else { "" };
        write!(formatter, "{}.{}{end}", self.major, self.minor)
    }
}

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.strip_suffix(REAL_TIME);
        let (major, minor) = numbers
            .unwrap_or(text)
            .split_once('.')
            .context("a kernel is written as 6.12, or 6.12-rt with PREEMPT_RT")?;
        Ok(Self { major: major.parse()?, minor: minor.parse()?, real_time: numbers.is_some() })
    }
}

/// What is run where nothing else is asked for: those of Debian's releases, from the oldest that capture runs on, and
/// the newest ones. The newest with PREEMPT_RT comes to them.
const LADDER: [Series; 5] =
    [OLDEST, Series::new(6, 1), Series::new(6, 12), Series::new(7, 2), Series::new(7, 3)];

/// The oldest that capture runs on: it has rings of the size of one's choice within a map.
const OLDEST: Series = Series::new(5, 10);

/// The kernels that capture runs on, without those with PREEMPT_RT.
fn usable(have: &[Series]) -> impl Iterator<Item = Series> {
    have.iter().copied().filter(|series| *series >= OLDEST && !series.real_time)
}

/// The kernels to run, and what there is to say about them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) series: Vec<Series>,
    pub(super) remarks: Vec<String>,
}

impl Choice {
    /// The oldest and the newest without PREEMPT_RT of what the archive has; `have` is in ascending order.
    ///
    /// # Errors
    ///
    /// When there are not two.
    pub(super) fn ends(have: &[Series]) -> Result<Self> {
        let usable: Vec<Series> = usable(have).collect();
        let [oldest, .., newest] = usable[..] else {
            bail!("the archive has {} kernel(s), not two", usable.len())
        };
        let mut remarks = Vec::new();
        if oldest != OLDEST {
            remarks.push(format!("{OLDEST} has left the archive: {oldest} is the oldest there"));
        }
        Ok(Self { series: vec![oldest, newest], remarks })
    }

    /// Those of the ladder, and the newest with PREEMPT_RT. One that is not in the archive is replaced by the nearest
    /// that is not chosen yet.
    ///
    /// # Errors
    ///
    /// When there are not two.
    pub(super) fn ladder(have: &[Series]) -> Result<Self> {
        let usable: Vec<Series> = usable(have).collect();
        let mut series: Vec<Series> = LADDER.into_iter().filter(|series| usable.contains(series)).collect();
        let mut remarks = Vec::new();
        for gone in LADDER.into_iter().filter(|series| !usable.contains(series)) {
            let place = |series: &Series| usable.binary_search(series).unwrap_or_else(|place| place);
            let free = usable.iter().enumerate().filter(|(_, other)| !series.contains(other));
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
        match have.iter().rev().find(|series| series.real_time && **series >= OLDEST) {
            Some(newest) => series.push(*newest),
            None => remarks.push("no kernel with PREEMPT_RT is in the archive".to_owned()),
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
        let choice = Choice::ends(&series("4.19 5.10 5.10-rt 6.1 7.3 7.10 7.10-rt")).unwrap();
        assert_eq!(choice, Choice { series: series("5.10 7.10"), remarks: vec![] });
        let choice = Choice::ends(&series("6.1 7.3")).unwrap();
        assert_eq!(choice.series, series("6.1 7.3"));
        assert_eq!(choice.remarks, ["5.10 has left the archive: 6.1 is the oldest there"]);
        assert!(Choice::ends(&series("4.19 7.3 7.3-rt")).is_err());
        assert!(Choice::ends(&[]).is_err());
    }

    #[test]
    fn a_kernel_that_left_is_replaced_by_its_neighbour() {
        let choice = Choice::ladder(&series("5.10 6.1 6.12 6.12-rt 7.1 7.2 7.2-rt 7.3")).unwrap();
        assert_eq!(choice, Choice { series: series("5.10 6.1 6.12 7.2 7.3 7.2-rt"), remarks: vec![] });
        let choice = Choice::ladder(&series("4.19 6.1 6.1-rt 6.12 6.18 7.1 7.3 7.4")).unwrap();
        assert_eq!(choice.series, series("6.1 6.12 6.18 7.1 7.3 6.1-rt"));
        assert_eq!(
            choice.remarks,
            [
                "5.10 is not in the archive: 6.18 takes its place",
                "7.2 is not in the archive: 7.1 takes its place"
            ]
        );
        let choice = Choice::ladder(&series("6.1 7.4")).unwrap();
        assert_eq!(choice.series, series("6.1 7.4"));
        assert_eq!(choice.remarks.len(), 5);
        assert_eq!(choice.remarks[4], "no kernel with PREEMPT_RT is in the archive");
        assert!(Choice::ladder(&series("6.1 6.1-rt")).is_err());
    }

    #[test]
    fn a_kernel_with_preempt_rt_is_written_with_its_ending() {
        let with = "6.12-rt".parse::<Series>().unwrap();
        assert_eq!(with, Series { real_time: true, ..Series::new(6, 12) });
        assert_eq!(with.to_string(), "6.12-rt");
        assert!(Series::new(6, 12) < with && with < Series::new(6, 13));
        assert!("6.12-cloud".parse::<Series>().is_err());
    }

    #[test]
    fn what_was_asked_for_is_there_or_an_error() {
        let choice = Choice::exactly(&series("7.3 6.1 7.3"), &series("5.10 6.1 7.3")).unwrap();
        assert_eq!(choice.series, series("6.1 7.3"));
        let error = Choice::exactly(&series("6.2"), &series("5.10 6.1")).unwrap_err();
        assert_eq!(error.to_string(), "the archive has no kernel 6.2 (it has 5.10, 6.1)");
    }
}

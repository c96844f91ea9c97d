//! Interfaces that are not there for a while, and what is said of it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::super::interface::printable;

/// How many interfaces that went are named in a minute.
const MOST_REPORTS: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// When an interface with a wanted name was not there.
#[derive(Debug)]
pub(super) struct Gaps {
    pub(super) name: String,
    /// Since when, while it is not there.
    since: Option<Instant>,
    /// How often it has gone, and for how long it was away until it came back.
    count: u64,
    total: Duration,
}

impl Gaps {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), since: None, count: 0, total: Duration::ZERO }
    }

    /// It has gone.
    pub(super) fn begin(&mut self) {
        (self.since, self.count) = (Some(Instant::now()), self.count + 1);
    }

    /// It is there. For how long it was away, if it had gone.
    pub(super) fn end(&mut self) -> Option<Duration> {
        let away = self.since.take()?.elapsed();
        self.total += away;
        Some(away)
    }

    /// A line about them; nothing if there were none.
    pub(super) fn remark(&self) -> String {
        let Self { name, since, count, total } = self;
        let name = printable(name);
        let times = match count {
            0 => return String::new(),
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        let total = *total + since.map_or(Duration::ZERO, |since| since.elapsed());
        let still = if since.is_some() { ", and is gone" } else { "" };
        format!("{name} disappeared {times}, for {:.1} s together{still}\n", total.as_secs_f64())
    }
}

/// Interfaces that have gone, where none is asked for by name.
#[derive(Debug, Default)]
pub(super) struct Gone {
    count: u64,
    /// The last of them that are not back, and since when.
    names: VecDeque<(String, Instant)>,
}

impl Gone {
    /// One has gone.
    pub(super) fn add(&mut self, name: &str) {
        const MOST: usize = 64;

        self.count += 1;
        if self.names.len() == MOST {
            self.names.pop_front();
        }
        self.names.push_back((name.to_owned(), Instant::now()));
    }

    /// One is there. For how long it was away, if it is one of the last that have gone.
    pub(super) fn take(&mut self, name: &str) -> Option<Duration> {
        let place = self.names.iter().rposition(|(gone, _)| gone == name)?;
        self.names.remove(place).map(|(_, since)| since.elapsed())
    }

    /// A line about them; nothing if there were none.
    pub(super) fn remark(&self) -> String {
        match self.count {
            0 => String::new(),
            1 => "1 interface disappeared during the capture\n".to_owned(),
            count => format!("{count} interfaces disappeared during the capture\n"),
        }
    }
}

/// How much was said of interfaces in this minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reports {
    minute: Instant,
    count: u32,
}

impl Reports {
    pub(super) fn new() -> Self {
        Self { minute: Instant::now(), count: 0 }
    }

    /// Whether one more is not too much to read.
    pub(super) fn may_say(&mut self) -> bool {
        if self.minute.elapsed() > MINUTE {
            *self = Self::new();
        }
        self.count += 1;
        self.count <= MOST_REPORTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted() {
        let mut gaps = Gaps::new("e\n");
        assert_eq!((gaps.end(), gaps.remark()), (None, String::new()));
        gaps.begin();
        assert_eq!(gaps.remark(), "e? disappeared once, for 0.0 s together, and is gone\n");
        assert!(gaps.end().is_some());
        gaps.begin();
        gaps.end();
        gaps.total = Duration::from_millis(1260);
        assert_eq!(gaps.remark(), "e? disappeared 2 times, for 1.3 s together\n");
    }

    #[test]
    fn the_last_that_have_gone_are_known() {
        let mut gone = Gone::default();
        assert_eq!((gone.take("e0"), gone.remark()), (None, String::new()));
        gone.add("e0");
        assert!(gone.take("e0").is_some() && gone.take("e0").is_none());
        assert_eq!(gone.remark(), "1 interface disappeared during the capture\n");
        (0..1000).for_each(|number| gone.add(&format!("e{number}")));
        assert!(gone.take("e0").is_none() && gone.take("e999").is_some());
        assert_eq!(gone.remark(), "1001 interfaces disappeared during the capture\n");
    }

    #[test]
    fn only_so_many_are_named_in_a_minute() {
        let mut reports = Reports::new();
        let said = (0..100).filter(|_| reports.may_say()).count();
        assert_eq!(said, MOST_REPORTS as usize);
        reports.minute = Instant::now().checked_sub(2 * MINUTE).unwrap();
        assert!(reports.may_say());
    }
}

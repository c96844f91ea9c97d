//! What files are called.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use jiff::{
    ZonedDateTime,
    civil::DateTime,
    fmt::strtime::{BrokenDownTime, Config, PosixCustom},
};

use super::options::{FilesOptions, Rotation, Tcpdump};

/// Makes names.
#[derive(Debug)]
pub(super) struct Names {
    path: PathBuf,
    style: Style,
    /// The name without its number, of the present period.
    base: PathBuf,
    /// The number of the present file.
    number: u64,
    /// The latest local time of a name.
    latest: DateTime,
    /// Whether the present name may be one that this output has used: the clock has been set back.
    is_doubtful: bool,
}

#[derive(Clone, Copy, Debug)]
enum Style {
    /// tcpdump's: a number after the name, of that many digits at least; of the first file only if there are any. A ring
    /// begins again at 0.
    Numbers { is_pattern: bool, digits: usize, ring: Option<u64> },
    /// dumpcap's: a number, which grows, and the time.
    NumberAndTime,
}

/// Why there is a next file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A file has what it is to have.
    Full,
    /// It is time.
    Time,
}

impl Names {
    /// The names of files of which the first begins `now`.
    pub(super) fn new(options: &FilesOptions, now: &ZonedDateTime) -> Self {
        let style = match options.rotation {
            Rotation::None => Style::Numbers { is_pattern: false, digits: 0, ring: None },
            Rotation::Tcpdump(Tcpdump { size, period, files }) => {
                let ring = size.and(files);
                // As many as the largest number has; none where that is 0 (tcpdump.c, `getWflagChars`).
                let digits = ring
                    .map_or(0, |files| (files.saturating_sub(1)).checked_ilog10().map_or(0, |log| log + 1));
                Style::Numbers { is_pattern: period.is_some(), digits: digits as usize, ring }
            }
            Rotation::Ring(_) => Style::NumberAndTime,
        };
        let path = options.path.clone();
        let mut names =
            Self { path, style, base: PathBuf::new(), number: 0, latest: now.datetime(), is_doubtful: false };
        match style {
            Style::Numbers { .. } => names.base = names.base(now),
            Style::NumberAndTime => {
                names.number = 1;
                names.base = names.path.clone();
            }
        }
        names
    }

    /// The name of the present file, which begins `now`.
    pub(super) fn current(&self, now: &ZonedDateTime) -> PathBuf {
        match self.style {
            Style::Numbers { digits: 0, .. } if self.number == 0 => self.base.clone(),
            Style::Numbers { digits, .. } => with_suffix(&self.base, &format!("{:0digits$}", self.number)),
            Style::NumberAndTime => {
                let infix = format!("_{:05}_{}", self.number, now.strftime("%Y%m%d%H%M%S"));
                let stem = self.base.file_stem().unwrap_or_default();
                let mut name = with_suffix(&self.base.with_file_name(stem), &infix).into_os_string();
                if let Some(extension) = self.base.extension() {
                    name.push(".");
                    name.push(extension);
                }
                name.into()
            }
        }
    }

    /// Goes on to the file that begins `now`.
    pub(super) fn advance(&mut self, now: &ZonedDateTime, why: Why) {
        let Style::Numbers { .. } = self.style else {
            self.number += 1;
            return;
        };
        self.is_doubtful = false;
        let base = if why == Why::Time { self.base(now) } else { self.base.clone() };
        if base == self.base {
            self.another();
        } else {
            (self.base, self.number) = (base, 0);
            self.is_doubtful = now.datetime() <= self.latest;
        }
        self.latest = self.latest.max(now.datetime());
    }

    /// Takes the next number.
    pub(super) fn another(&mut self) {
        self.number += 1;
        if let Style::Numbers { ring: Some(ring), .. } = self.style {
            self.number %= ring.max(1);
        }
    }

    /// Whether an existing file of the present name is to be left alone: it may be one of this output, because the
    /// clock was set back. Rings and names that come again every day do replace theirs.
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_doubtful && !matches!(self.style, Style::Numbers { ring: Some(_), .. })
    }

    /// Whether periods of so many seconds have names of their own, as far as the first ones show.
    pub(super) fn have_time(&self, now: &ZonedDateTime, seconds: u32) -> bool {
        let period = jiff::SignedDuration::from_secs(i64::from(seconds));
        let times = std::iter::successors(Some(now.clone()), |time| time.checked_add(period).ok());
        let names: Vec<PathBuf> = times.take(4).map(|time| self.base(&time)).collect();
        names.windows(2).all(|names| names[0] != names[1])
    }

    /// The name of a period.
    fn base(&self, now: &ZonedDateTime) -> PathBuf {
        let pattern = self.path.as_os_str().as_bytes();
        if !matches!(self.style, Style::Numbers { is_pattern: true, .. }) || !pattern.contains(&b'%') {
            return self.path.clone();
        }
        // What strftime(3) does not know stays as it is, as in the C library.
        let config = Config::new().custom(PosixCustom::new()).lenient(true);
        let time = BrokenDownTime::from(now);
        let mut name = OsString::new();
        // The formatter replaces bytes that are no UTF-8.
        for chunk in pattern.utf8_chunks() {
            let mut text = String::new();
            if time.format_with_config(&config, chunk.valid(), &mut text).is_err() {
                return self.path.clone();
            }
            name.push(text);
            name.push(OsStr::from_bytes(chunk.invalid()));
        }
        name.into()
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

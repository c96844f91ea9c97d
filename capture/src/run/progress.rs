//! How far a run has come, on a terminal: one line that is written over and over, as tcpdump's `Got N` with `-v -w`.

use std::{
    fs::{File, Metadata},
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use crate::{config::Config, messages::CLEAR};

/// Between two lines.
const SECOND: Duration = Duration::from_secs(1);

/// Whether there is a terminal to show it on, and no output that can end up on that terminal: each is a file. What a
/// pipe brings there is not known.
pub(super) fn is_wanted(config: &Config) -> bool {
    let is_file =
        || io::stdout().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    let uses_standard_output = config.count_only || config.outputs.uses_standard_output();
    io::stderr().is_terminal()
        && (!uses_standard_output || is_file().is_ok_and(|metadata| metadata.is_file()))
}

/// The line for a live capture: `packets` of `bytes` on the wire have been read and `lost` have not, of them
/// `per_second` packets in the last second.
pub(super) fn live(packets: u64, bytes: u64, lost: u64, per_second: u64) -> String {
    line(&format!("{packets} packets, {}, {lost} lost, {per_second} packets/s", size(bytes)))
}

/// The line for a file of which so many of `length` bytes have been read, and so many packets, `per_second` of them lately.
/// The length is not known of a pipe.
fn file(read: u64, length: Option<u64>, packets: u64, per_second: u64) -> String {
    let share = match length {
        Some(length @ 1..) => format!("{} %, ", (read.min(length) * 100) / length),
        _ => String::new(),
    };
    line(&format!("{share}{}, {packets} packets, {per_second} packets/s", size(read)))
}

/// The cursor is back at the beginning, so that what comes next writes over it.
fn line(text: &str) -> String {
    format!("{CLEAR}{text}\r")
}

/// Shows how much of a file has been read, once a second.
#[derive(Debug)]
pub(super) struct Meter {
    length: Option<u64>,
    read: u64,
    /// When the last line was shown, or the reading began, and how many packets had been read by then.
    last: Instant,
    packets: u64,
    is_shown: bool,
}

impl Meter {
    /// Nothing has been read yet of `file`.
    pub(super) fn new(file: &File) -> Self {
        let length = file.metadata().ok().filter(Metadata::is_file).map(|metadata| metadata.len());
        Self { length, read: 0, last: Instant::now(), packets: 0, is_shown: false }
    }

    /// Takes in that `bytes` more have been read, and returns what to show, if it is time.
    pub(super) fn read(&mut self, bytes: usize, packets: u64) -> Option<String> {
        self.read += bytes as u64;
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.last);
        if elapsed < SECOND {
            return None;
        }
        let more = packets - std::mem::replace(&mut self.packets, packets);
        let per_second = more as f64 / elapsed.as_secs_f64();
        (self.last, self.is_shown) = (now, true);
        Some(file(self.read, self.length, packets, per_second as u64))
    }

    /// What removes the line, if there is one.
    pub(super) fn end(&self) -> &'static str {
        if self.is_shown { CLEAR } else { "" }
    }
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= 10 * unit) {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_replaces_the_one_before() {
        assert_eq!(live(1200, 66_000, 3, 400), "\x1b[K1200 packets, 66 kB, 3 lost, 400 packets/s\r");
        assert_eq!(file(50, Some(200), 7, 9), "\x1b[K25 %, 50 bytes, 7 packets, 9 packets/s\r");
        assert_eq!(file(12_000_000, None, 7, 0), "\x1b[K12 MB, 7 packets, 0 packets/s\r");
        assert_eq!(file(5, Some(0), 0, 0), "\x1b[K5 bytes, 0 packets, 0 packets/s\r");
    }
}

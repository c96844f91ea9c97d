//! What is to be written where, and when the next file begins.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use jiff::tz::TimeZone;
use nix::sys::signal::SigSet;

use super::claims::Claims;

/// What [`Files`](super::Files) writes.
#[derive(Clone, Debug)]
pub struct FilesOptions {
    /// The file, or what the names of files are made from.
    pub path: PathBuf,
    /// When the next file begins, and what it is called.
    pub rotation: Rotation,
    /// When the output has enough.
    pub autostop: Autostop,
    /// `-z`: a program that gets the name of each finished file as its argument.
    pub command: Option<OsString>,
    /// The signals that are blocked in that program.
    pub blocked: SigSet,
    /// The files in use that it must not write to.
    pub claims: Claims,
    /// Where the times in names are those of the day.
    pub time_zone: TimeZone,
}

impl Default for FilesOptions {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            rotation: Rotation::None,
            autostop: Autostop::default(),
            command: None,
            blocked: SigSet::empty(),
            claims: Claims::default(),
            time_zone: TimeZone::UTC,
        }
    }
}

/// When the next file begins, and what it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// All packets go to one file.
    #[default]
    None,
    /// By tcpdump's rules.
    Tcpdump(Tcpdump),
    /// By dumpcap's rules: `a.pcap` becomes `a_00001_20261126023342.pcap`.
    Ring(Ring),
}

/// tcpdump's rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcpdump {
    /// `-C`, in bytes: a file that has more gets no further packet. The next has a number after its name.
    pub size: Option<u64>,
    /// `-G`, in seconds: then the next file begins. The path is one for strftime(3).
    pub period: Option<u32>,
    /// `-W`: with `-C`, the numbers begin again at 0 after so many files; with `-G` alone, they are enough.
    pub files: Option<u64>,
}

/// dumpcap's rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    /// The next file begins at multiples of this on the wall clock.
    pub interval: Option<Duration>,
    /// The next file begins so long after the last one.
    pub duration: Option<Duration>,
    /// A file of this many bytes gets no further packet.
    pub size: Option<u64>,
    /// A file of this many packets gets no further one.
    pub packets: Option<u64>,
    /// So many files are kept; the oldest are deleted.
    pub files: Option<u64>,
    /// All files together have no more bytes than this, but for the one that is being written; the oldest are deleted.
    pub total: Option<u64>,
}

/// When the output has enough, in dumpcap's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Autostop {
    /// So long after the start.
    pub duration: Option<Duration>,
    /// When a file has this many bytes.
    pub size: Option<u64>,
    /// When so many packets have been written.
    pub packets: Option<u64>,
    /// When so many files are finished.
    pub files: Option<u64>,
}

impl Rotation {
    /// A file of more bytes than this gets no further packet.
    pub(super) fn largest(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Tcpdump(rules) => rules.size,
            Self::Ring(rules) => rules.size.map(|size| size.saturating_sub(1)),
        }
    }

    /// So many packets are the most for a file.
    pub(super) fn packets(&self) -> Option<u64> {
        if let Self::Ring(rules) = self { rules.packets } else { None }
    }

    /// So many files are enough.
    pub(super) fn enough_files(&self) -> Option<u64> {
        match self {
            Self::Tcpdump(Tcpdump { size: None, period: Some(_), files }) => *files,
            _ => None,
        }
    }
}

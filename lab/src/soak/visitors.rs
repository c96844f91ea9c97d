//! Short captures, one after the other: each with another filter, other outputs, and something that happens to it.

mod run;
mod shape;

use crate::random::Random;

pub(super) use self::{run::Visit, shape::Shape};

/// What happens to a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Incident {
    Nothing,
    /// Its pipe is not read for a while.
    Unread,
    /// Its pipe is not read before it has ended.
    UnreadAtEnd,
    /// Its pipe is read slowly.
    SlowlyRead,
    /// The reader of its pipe goes away.
    ReaderGoes,
    /// The disk of its file is full, and is emptied then.
    FullDisk,
    /// It is stopped for a while (SIGSTOP).
    Stopped,
    /// Its interface is deleted.
    InterfaceDeleted,
    /// It is killed.
    Killed,
    /// The process is killed that keeps its programs attached.
    HelperKilled,
    /// It has enough: `-c`.
    Count,
    /// Its file has enough: `--autostop`.
    Autostop,
    /// Its interface comes late, goes and comes again: `--wait`.
    Late,
    /// It is at XDP.
    Xdp,
    /// It is on the interfaces of the long captures: `-i any`, and several `-i`.
    Any,
    Several,
    /// It is on all interfaces of two other namespaces, one of which is left by all others meanwhile: `--netns`.
    Namespaces,
}

impl Incident {
    /// All of them.
    pub(super) const ALL: &'static [Self] = &[
        Self::Nothing,
        Self::Unread,
        Self::UnreadAtEnd,
        Self::SlowlyRead,
        Self::ReaderGoes,
        Self::FullDisk,
        Self::Stopped,
        Self::InterfaceDeleted,
        Self::Killed,
        Self::HelperKilled,
        Self::Count,
        Self::Autostop,
        Self::Late,
        Self::Xdp,
        Self::Any,
        Self::Several,
        Self::Namespaces,
    ];

    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing happens",
            Self::Unread => "not read for a while",
            Self::UnreadAtEnd => "not read at the end",
            Self::SlowlyRead => "read slowly",
            Self::ReaderGoes => "the reader goes",
            Self::FullDisk => "the disk is full",
            Self::Stopped => "SIGSTOP",
            Self::InterfaceDeleted => "the interface is deleted",
            Self::Killed => "SIGKILL",
            Self::HelperKilled => "SIGKILL to the helper",
            Self::Count => "-c",
            Self::Autostop => "--autostop",
            Self::Late => "--wait",
            Self::Xdp => "XDP",
            Self::Any => "-i any",
            Self::Several => "several -i",
            Self::Namespaces => "--netns",
        }
    }

    /// The outputs that this can happen to.
    fn shapes(self) -> &'static [Shape] {
        match self {
            Self::Unread | Self::UnreadAtEnd | Self::SlowlyRead | Self::ReaderGoes => {
                Shape::TO_STANDARD_OUTPUT
            }
            Self::FullDisk => Shape::TO_ONE_FILE,
            Self::Autostop => Shape::TO_FILES,
            _ => Shape::ALL,
        }
    }
}

/// The next shape for an incident: of those that are left, one that the incident can happen to.
pub(super) struct Shapes {
    left: Vec<Shape>,
}

impl Shapes {
    pub(super) fn new() -> Self {
        Self { left: Vec::new() }
    }

    pub(super) fn draw(&mut self, incident: Incident, random: &mut Random) -> Shape {
        let possible = incident.shapes();
        if !self.left.iter().any(|shape| possible.contains(shape)) {
            self.left.extend_from_slice(Shape::ALL);
        }
        let places: Vec<usize> =
            (0..self.left.len()).filter(|place| possible.contains(&self.left[*place])).collect();
        self.left.swap_remove(random.pick(&places))
    }
}

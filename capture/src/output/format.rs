//! What the rest of capture has to know of an output, as data. The command line, the configuration, the sandbox and what
//! opens outputs go through the [table](super::FORMATS), and know no output by its name.

use std::fmt;

use capture_packet::Precision;

use super::{cooked::Cooking, encoder::Encoder};
use crate::source::interface::InterfaceDescription;

/// A form in which packets, or the events of their connections, go somewhere.
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What the help says of it.
    pub help: &'static str,
    /// How it is asked for.
    pub asked: Request,
    /// Whether whole packets are captured for it, where the command line does not say how much; else the headers.
    pub whole_packets: bool,
    /// Whether it always has the times that the source means, to the nanosecond.
    pub exact_times: bool,
    /// Whether it has a place for interfaces, of any link type.
    pub interfaces: bool,
    /// Whether it has the events of connections.
    pub events: Events,
    /// What appends packets, and events, to its blocks.
    pub encoder: fn(&Setup<'_>) -> Box<dyn Encoder>,
}

/// How a format is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// By an option of its own: `--NAME=FILE`, or `--NAME` for standard output.
    ByName,
    /// As a format of the file of `-w`, whose name ends in its name: for programs, and complete. It holds up the source, and
    /// is not shown on a terminal.
    OfFile,
}

/// Which events of connections a format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// None.
    Never,
    /// All, with `--explain`.
    Explained,
    /// All.
    Always,
}

/// What an encoder is made from.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The interfaces of the source that are known, which a packet's source is the place in.
    pub interfaces: &'a [InterfaceDescription],
    /// How exact times are to be, where the form leaves that open.
    pub precision: Precision,
    /// `--explain`.
    pub explain: bool,
    /// Whether packets are to be "cooked" frames.
    pub cooking: Option<Cooking>,
}

impl Format {
    /// Its option, as messages name it.
    pub fn option(&self) -> String {
        match self.asked {
            Request::ByName => format!("--{}", self.name),
            Request::OfFile => "-w".to_owned(),
        }
    }

    /// Whether it is a format of the file of `-w`.
    pub fn is_of_file(&self) -> bool {
        self.asked == Request::OfFile
    }

    /// Whether it can show the events of connections.
    pub fn has_events(&self) -> bool {
        self.events != Events::Never
    }
}

/// Names are unique.
impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

//! What the two processes say to each other.

use capture_packet::{LinkType, SourceId};

use super::super::{
    chain::Notice,
    losses::Losses,
    sources::{Listed, Origin, RecordSource},
};
use crate::process::message::{Encoded, Malformed, Message, Rest};

/// What the process that reads packets asks the helper for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To detach from all interfaces.
    Detach,
    /// What was lost of each interface.
    Losses,
}

/// What the helper says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next in the list of interfaces that a packet's [`SourceId`] is a place in.
    Listed(Listed),
    /// From now on there can be packets of an interface.
    Attached {
        /// What its records carry.
        source: RecordSource,
        /// What is printable of its name.
        name: String,
        /// What its packets have from it.
        origin: Origin,
    },
    /// No more packets of this interface come.
    Gone {
        /// What its records carry.
        source: RecordSource,
    },
    /// What is good to know.
    Note(String),
    /// That packets may be missing.
    Warning(String),
    /// Why the capture ends by itself.
    Lost(String),
    /// Packets that were lost since the helper said so last.
    Counted {
        /// What records of their interface carry; with the index [`OTHERS`](capture_common::counters::OTHERS), it is one without a
        /// number of its own.
        source: RecordSource,
        /// How many.
        losses: Losses,
    },
    /// The answer to [`Request::Losses`]: they have all been said.
    AllCounted,
    /// The answer to [`Request::Detach`], and the last event: no program runs any more.
    Detached {
        /// What there is to say of the interfaces at the end, whole lines.
        remarks: String,
        /// What went wrong.
        failure: Option<String>,
    },
}

impl From<Notice> for Event {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Note(text) => Self::Note(text),
            Notice::Warning(text) => Self::Warning(text),
        }
    }
}

impl Message for Request {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Detach => vec![0],
            Self::Losses => vec![1],
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes {
            [0] => Ok(Self::Detach),
            [1] => Ok(Self::Losses),
            _ => Err(Malformed),
        }
    }
}

impl Message for Event {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Listed(Listed { name, link_type, hardware_type, hook }) => {
                let mut bytes = Encoded::new(0);
                bytes.number(link_type.number().into());
                bytes.number((*hardware_type).into());
                bytes.text(hook);
                bytes.optional(name.as_deref());
                bytes.0
            }
            Self::Attached { source, name, origin: Origin { id, number, link_type } } => {
                let mut bytes = Encoded::new(1);
                bytes.source(*source);
                bytes.number(id.0.into());
                bytes.number((*number).into());
                bytes.number(link_type.number().into());
                bytes.text(name);
                bytes.0
            }
            Self::Gone { source } => {
                let mut bytes = Encoded::new(2);
                bytes.source(*source);
                bytes.0
            }
            Self::Note(text) => Encoded::new(3).with_text(text),
            Self::Warning(text) => Encoded::new(4).with_text(text),
            Self::Lost(text) => Encoded::new(5).with_text(text),
            Self::Counted { source, losses: Losses { dropped, dropped_by_interface } } => {
                let mut bytes = Encoded::new(6);
                bytes.source(*source);
                bytes.number(*dropped);
                bytes.number(*dropped_by_interface);
                bytes.0
            }
            Self::AllCounted => Encoded::new(8).0,
            Self::Detached { remarks, failure } => {
                let mut bytes = Encoded::new(7);
                bytes.text(remarks);
                bytes.optional(failure.as_deref());
                bytes.0
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, rest) = bytes.split_first().ok_or(Malformed)?;
        let mut rest = Rest(rest);
        let event = match kind {
            0 => {
                let link_type = rest.link_type()?;
                let hardware_type = rest.small()?;
                let hook = rest.text()?;
                Self::Listed(Listed { name: rest.optional()?, link_type, hardware_type, hook })
            }
            1 => {
                let source = rest.source()?;
                let id = SourceId(rest.small()?);
                let number = rest.small()?;
                let link_type = rest.link_type()?;
                Self::Attached { source, name: rest.text()?, origin: Origin { id, number, link_type } }
            }
            2 => Self::Gone { source: rest.source()? },
            3 => Self::Note(rest.text()?),
            4 => Self::Warning(rest.text()?),
            5 => Self::Lost(rest.text()?),
            6 => {
                let source = rest.source()?;
                let losses = Losses { dropped: rest.number()?, dropped_by_interface: rest.number()? };
                Self::Counted { source, losses }
            }
            7 => Self::Detached { remarks: rest.text()?, failure: rest.optional()? },
            8 => Self::AllCounted,
            _ => return Err(Malformed),
        };
        if rest.0.is_empty() { Ok(event) } else { Err(Malformed) }
    }
}

impl Encoded {
    fn source(&mut self, RecordSource { instance, ifindex }: RecordSource) {
        self.number(instance.into());
        self.number(ifindex.into());
    }
}

impl Rest<'_> {
    fn source(&mut self) -> Result<RecordSource, Malformed> {
        Ok(RecordSource { instance: self.small()?, ifindex: self.small()? })
    }

    fn link_type(&mut self) -> Result<LinkType, Malformed> {
        LinkType::from_number(self.small()?).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::message::{SIZE, TEXT};

    fn events() -> Vec<Event> {
        let listed = Listed {
            name: Some("eth0".to_owned()),
            link_type: LinkType::Ethernet,
            hardware_type: 1,
            hook: "tc ingress (tcx)".to_owned(),
        };
        vec![
            Event::Listed(Listed { name: None, ..listed.clone() }),
            Event::Listed(listed),
            Event::Attached {
                source: RecordSource { instance: u16::MAX, ifindex: u32::MAX },
                name: "\u{e4}".to_owned(),
                origin: Origin { id: SourceId(7), number: 9, link_type: LinkType::Raw },
            },
            Event::Gone { source: RecordSource { instance: 1, ifindex: 3 } },
            Event::Note(String::new()),
            Event::Warning("w".to_owned()),
            Event::Lost("l".to_owned()),
            Event::Counted {
                source: RecordSource { instance: 1, ifindex: 0 },
                losses: Losses { dropped: u64::MAX, dropped_by_interface: 1 },
            },
            Event::AllCounted,
            Event::Detached { remarks: "r\n".to_owned(), failure: None },
            Event::Detached { remarks: String::new(), failure: Some("f".to_owned()) },
        ]
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        for request in [Request::Detach, Request::Losses] {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        for event in events() {
            assert_eq!(Event::decode(&event.encode()), Ok(event));
        }
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_no_message() {
        for event in events() {
            let mut bytes = event.encode();
            for length in 0..bytes.len() {
                assert_eq!(Event::decode(&bytes[..length]), Err(Malformed), "{event:?}, {length} bytes");
            }
            bytes.push(0);
            assert_eq!(Event::decode(&bytes), Err(Malformed));
        }
        for bytes in [&[][..], &[2], &[0, 0], &[u8::MAX]] {
            assert_eq!(Request::decode(bytes), Err(Malformed));
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "\u{20ac}".repeat(SIZE);
        let event = Event::Detached { remarks: long.clone(), failure: Some(long) };
        let bytes = event.encode();
        assert!(bytes.len() <= SIZE);
        let Ok(Event::Detached { remarks, failure, .. }) = Event::decode(&bytes) else { panic!() };
        assert_eq!((remarks.len(), failure.map(|text| text.len())), (TEXT, Some(TEXT)));
        assert!(TEXT.is_multiple_of(3));
    }
}

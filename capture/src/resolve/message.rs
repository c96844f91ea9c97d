//! What is said between who prints names ([`Resolver`](super::Resolver)) and the helper that asks for them
//! ([`helper`](super::helper)).

use std::net::IpAddr;

use crate::process::message::{Encoded, Malformed, Message, Rest};

/// An address whose name is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question(pub IpAddr);

/// What the helper says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It begins, and this is what it may still do, in words; empty where that is everything.
    Begun(String),
    /// It could not give up what it does not need, and ends.
    Refused(String),
    /// The name of an address, if it has one that can be printed.
    Named(IpAddr, Option<String>),
}

impl Message for Question {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Encoded::new(0);
        bytes.address(self.0);
        bytes.0
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, rest) = bytes.split_first().ok_or(Malformed)?;
        let mut rest = Rest(rest);
        let address = rest.address()?;
        if *kind == 0 && rest.0.is_empty() { Ok(Self(address)) } else { Err(Malformed) }
    }
}

impl Message for Answer {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Begun(holds) => Encoded::new(0).with_text(holds),
            Self::Refused(why) => Encoded::new(1).with_text(why),
            Self::Named(address, name) => {
                let mut bytes = Encoded::new(2);
                bytes.address(*address);
                bytes.optional(name.as_deref());
                bytes.0
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, rest) = bytes.split_first().ok_or(Malformed)?;
        let mut rest = Rest(rest);
        let answer = match kind {
            0 => Self::Begun(rest.text()?),
            1 => Self::Refused(rest.text()?),
            2 => Self::Named(rest.address()?, rest.optional()?),
            _ => return Err(Malformed),
        };
        if rest.0.is_empty() { Ok(answer) } else { Err(Malformed) }
    }
}

impl Encoded {
    /// The bytes of an address: 4 or 16, which its version in front of them says.
    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.0.push(4);
                self.0.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                self.0.push(6);
                self.0.extend_from_slice(&address.octets());
            }
        }
    }
}

impl Rest<'_> {
    fn address(&mut self) -> Result<IpAddr, Malformed> {
        let (version, rest) = self.0.split_first().ok_or(Malformed)?;
        let (address, rest) = match version {
            4 => rest.split_first_chunk::<4>().map(|(octets, rest)| (IpAddr::from(*octets), rest)),
            6 => rest.split_first_chunk::<16>().map(|(octets, rest)| (IpAddr::from(*octets), rest)),
            _ => None,
        }
        .ok_or(Malformed)?;
        self.0 = rest;
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const FOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn answers() -> Vec<Answer> {
        vec![
            Answer::Begun(String::new()),
            Answer::Refused("w".to_owned()),
            Answer::Named(FOUR, None),
            Answer::Named(SIX, Some("host".to_owned())),
        ]
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        for question in [FOUR, SIX].map(Question) {
            assert_eq!(Question::decode(&question.encode()), Ok(question));
        }
        for answer in answers() {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_no_message() {
        let is_question: fn(&[u8]) -> bool = |bytes| Question::decode(bytes).is_ok();
        let is_answer: fn(&[u8]) -> bool = |bytes| Answer::decode(bytes).is_ok();
        let questions = [FOUR, SIX].map(|address| (Question(address).encode(), is_question));
        let answers = answers().into_iter().map(|answer| (answer.encode(), is_answer));
        for (mut bytes, is_message) in answers.chain(questions) {
            assert!(is_message(&bytes));
            for length in 0..bytes.len() {
                assert!(!is_message(&bytes[..length]), "{bytes:?}, {length} bytes");
            }
            bytes.push(0);
            assert!(!is_message(&bytes));
        }
        for bytes in [&[0, 5, 1, 2, 3, 4][..], &[1, 4, 1, 2, 3, 4], &[3, 0, 0]] {
            assert_eq!(Question::decode(bytes), Err(Malformed));
            assert_eq!(Answer::decode(bytes), Err(Malformed));
        }
    }
}

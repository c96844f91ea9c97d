//! What is said between who writes files ([`Files`](super::Files)) and the helper that opens them ([`helper`](super::helper)).
//! The one who asks says a time and what to do, and no name. What is answered is a set of messages with texts for messages,
//! and with one of them comes an open file.

use jiff::Timestamp;

use super::names::Why;
use crate::process::message::{Encoded, Malformed, Message, Rest};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The next file, which begins now.
    Open {
        /// The time of day.
        now: Timestamp,
        /// Why; nothing for the first file.
        why: Option<Why>,
    },
    /// To wait until the pipe has a reader, of which it was [said](Answer::Waits) that it has none.
    Wait,
    /// The file is closed: to start the program of `-z` for it.
    Finish,
    /// To delete the oldest of the finished files.
    Delete,
}

/// What is answered. [`Opened`](Self::Opened) comes with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is open.
    Opened {
        /// What messages call it, where that is not what the options do.
        name: Option<String>,
    },
    /// It is a pipe that no one reads.
    Waits,
    /// It is done.
    Done,
    /// It is done but for something that is good to know.
    Noted(String),
    /// There is no file.
    Failed {
        /// What messages call it, where that is not what the options do.
        name: Option<String>,
        /// Why.
        why: String,
        /// The number of the system's answer, if it was the system's.
        errno: Option<i32>,
    },
}

/// What the helper says when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// What it may still do, in words; empty where that is everything.
    Begun(String),
    /// It could not give up what it does not need, and ends.
    Refused(String),
}

/// To end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End;

/// Whether there is a number, and the number.
fn optional(bytes: &mut Encoded, number: Option<u64>) {
    bytes.0.push(number.is_some().into());
    number.inspect(|number| bytes.number(*number));
}

impl Message for Request {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Open { now, why } => {
                let mut bytes = Encoded::new(0);
                bytes.number(now.as_second().cast_unsigned());
                bytes.number(i64::from(now.subsec_nanosecond()).cast_unsigned());
                bytes.number(match why {
                    None => 0,
                    Some(Why::Full) => 1,
                    Some(Why::Time) => 2,
                });
                bytes.0
            }
            Self::Wait => vec![1],
            Self::Finish => vec![2],
            Self::Delete => vec![3],
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, rest) = bytes.split_first().ok_or(Malformed)?;
        let mut rest = Rest(rest);
        let request = match kind {
            0 => {
                let (seconds, nanoseconds) = (rest.number()?.cast_signed(), rest.number()?.cast_signed());
                let nanoseconds = i32::try_from(nanoseconds).map_err(|_| Malformed)?;
                let now = Timestamp::new(seconds, nanoseconds).map_err(|_| Malformed)?;
                // One time is one message.
                if (now.as_second(), now.subsec_nanosecond()) != (seconds, nanoseconds) {
                    return Err(Malformed);
                }
                let why = match rest.number()? {
                    0 => None,
                    1 => Some(Why::Full),
                    2 => Some(Why::Time),
                    _ => return Err(Malformed),
                };
                Self::Open { now, why }
            }
            1 => Self::Wait,
            2 => Self::Finish,
            3 => Self::Delete,
            _ => return Err(Malformed),
        };
        if rest.0.is_empty() { Ok(request) } else { Err(Malformed) }
    }
}

impl Message for Answer {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Opened { name } => {
                let mut bytes = Encoded::new(0);
                bytes.optional(name.as_deref());
                bytes.0
            }
            Self::Waits => vec![1],
            Self::Done => vec![2],
            Self::Noted(text) => Encoded::new(3).with_text(text),
            Self::Failed { name, why, errno } => {
                let mut bytes = Encoded::new(4);
                bytes.optional(name.as_deref());
                bytes.text(why);
                optional(&mut bytes, errno.map(|errno| i64::from(errno).cast_unsigned()));
                bytes.0
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, rest) = bytes.split_first().ok_or(Malformed)?;
        let mut rest = Rest(rest);
        let answer = match kind {
            0 => Self::Opened { name: rest.optional()? },
            1 => Self::Waits,
            2 => Self::Done,
            3 => Self::Noted(rest.text()?),
            4 => {
                let (name, why) = (rest.optional()?, rest.text()?);
                let (is_there, number) = rest.0.split_first().ok_or(Malformed)?;
                rest.0 = number;
                let errno = match is_there {
                    0 => None,
                    1 => Some(i32::try_from(rest.number()?.cast_signed()).map_err(|_| Malformed)?),
                    _ => return Err(Malformed),
                };
                Self::Failed { name, why, errno }
            }
            _ => return Err(Malformed),
        };
        if rest.0.is_empty() { Ok(answer) } else { Err(Malformed) }
    }
}

impl Message for Beginning {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Begun(text) => Encoded::new(0).with_text(text),
            Self::Refused(text) => Encoded::new(1).with_text(text),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, rest) = bytes.split_first().ok_or(Malformed)?;
        let mut rest = Rest(rest);
        let beginning = match kind {
            0 => Self::Begun(rest.text()?),
            1 => Self::Refused(rest.text()?),
            _ => return Err(Malformed),
        };
        if rest.0.is_empty() { Ok(beginning) } else { Err(Malformed) }
    }
}

impl Message for End {
    fn encode(&self) -> Vec<u8> {
        vec![0]
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes == [0] { Ok(Self) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::process::message::SIZE;

    fn requests() -> Vec<Request> {
        let times = [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH, Timestamp::constant(-1, -5)];
        let whys = [None, Some(Why::Full), Some(Why::Time)];
        let open = times.into_iter().flat_map(|now| whys.map(|why| Request::Open { now, why }));
        open.chain([Request::Wait, Request::Finish, Request::Delete]).collect()
    }

    fn answers() -> Vec<Answer> {
        let text = || "\u{e4}".to_owned();
        vec![
            Answer::Opened { name: None },
            Answer::Opened { name: Some(text()) },
            Answer::Waits,
            Answer::Done,
            Answer::Noted(text()),
            Answer::Failed { name: None, why: String::new(), errno: None },
            Answer::Failed { name: Some(text()), why: text(), errno: Some(i32::MIN) },
        ]
    }

    fn arrives<M: Message + PartialEq + Debug>(message: &M) {
        let mut bytes = message.encode();
        assert_eq!(M::decode(&bytes).as_ref(), Ok(message));
        for length in 0..bytes.len() {
            assert_eq!(M::decode(&bytes[..length]), Err(Malformed), "{message:?}, {length} bytes");
        }
        bytes.push(0);
        assert_eq!(M::decode(&bytes), Err(Malformed), "{message:?}");
    }

    #[test]
    fn messages_arrive_as_they_were_sent_or_not_at_all() {
        requests().iter().for_each(arrives);
        answers().iter().for_each(arrives);
        let text = || "x".to_owned();
        [Beginning::Begun(text()), Beginning::Refused(text())].iter().for_each(arrives);
        arrives(&End);
        assert_eq!(Request::decode(&[4]), Err(Malformed));
        assert_eq!(Answer::decode(&[5]), Err(Malformed));
    }

    /// Also where the time is none, or is written in another way.
    #[test]
    fn what_is_no_time_is_refused() {
        let open = |seconds: i64, nanoseconds: i64, why: u64| {
            let mut bytes = Encoded::new(0);
            [seconds, nanoseconds].iter().for_each(|number| bytes.number(number.cast_unsigned()));
            bytes.number(why);
            Request::decode(&bytes.0)
        };
        assert!(open(1, 5, 2).is_ok());
        for (seconds, nanoseconds, why) in
            [(i64::MAX, 0, 0), (1, -5, 0), (0, 1_000_000_000, 0), (0, i64::MAX, 0), (0, 0, 3)]
        {
            assert_eq!(open(seconds, nanoseconds, why), Err(Malformed), "{seconds} {nanoseconds} {why}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "x".repeat(SIZE);
        let answer = Answer::Failed { name: Some(long.clone()), why: long, errno: Some(1) };
        let bytes = answer.encode();
        assert!(bytes.len() <= SIZE);
        assert!(matches!(Answer::decode(&bytes), Ok(Answer::Failed { .. })));
    }
}

//! What the processes of a run say to each other, as bytes: one that says which message it is, then numbers and texts in a
//! fixed order. A message has a largest size, and neither process believes the other: what is not a message is refused.
//!
//! Numbers are in the machine's own byte order, because both processes run the same program. A text is two bytes with its
//! length, then UTF-8.

/// What a message takes at most, in bytes.
pub const SIZE: usize = 4096;
/// What a text takes at most, in bytes: the rest is cut off. A message has two at most.
pub const TEXT: usize = 1536;

/// What one process says to another.
pub trait Message: Sized {
    /// As bytes, at most [`SIZE`] of them, and one at least.
    fn encode(&self) -> Vec<u8>;

    /// From bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    fn decode(bytes: &[u8]) -> Result<Self, Malformed>;
}

/// A message that is none: its kind is unknown, or it does not have the length of what it says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other process of this capture sent something that is no message")]
pub struct Malformed;

/// A message on its way to bytes, and these.
pub(crate) struct Encoded(pub(crate) Vec<u8>);

impl Encoded {
    pub(crate) fn new(kind: u8) -> Self {
        Self(vec![kind])
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_ne_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        let end = (0..=text.len().min(TEXT)).rev().find(|end| text.is_char_boundary(*end));
        let text = text.get(..end.unwrap_or(0)).unwrap_or_default();
        // A text is shorter than that.
        self.0.extend_from_slice(&(text.len() as u16).to_ne_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn optional(&mut self, text: Option<&str>) {
        self.0.push(text.is_some().into());
        text.inspect(|text| self.text(text));
    }

    pub(crate) fn with_text(mut self, text: &str) -> Vec<u8> {
        self.text(text);
        self.0
    }
}

/// What is left of a message to be decoded.
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl Rest<'_> {
    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u64::from_ne_bytes(*number))
    }

    /// A number of fewer bytes.
    pub(crate) fn small<N: TryFrom<u64>>(&mut self) -> Result<N, Malformed> {
        self.number()?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let (length, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let (text, rest) = rest.split_at_checked(length).filter(|_| length <= TEXT).ok_or(Malformed)?;
        self.0 = rest;
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| Malformed)
    }

    pub(crate) fn optional(&mut self) -> Result<Option<String>, Malformed> {
        let (is_there, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        match is_there {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(Malformed),
        }
    }
}

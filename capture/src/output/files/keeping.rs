//! Where files are named, opened and deleted: here, or by a helper that is asked to.

use std::{fs::File, io, path::PathBuf};

use jiff::Timestamp;
use nix::errno::Errno;

use super::{
    error::{Cause, FilesError},
    keeper::{Keeper, Opened},
    message::{Answer, Request},
    names::Why,
    options::FilesOptions,
};
use crate::process::{
    channel::{Broken, End},
    disown,
    message::Malformed,
};

/// An output whose files the [helper](super::helper::Helper) opens.
#[derive(Debug)]
pub struct Asked(pub(super) End<Request, Answer>);

/// Who opens the files of an output.
#[derive(Debug)]
pub(super) enum Keeping {
    Here(Box<Keeper>),
    There(Asked),
}

/// What became of opening a file.
#[derive(Debug)]
pub(super) enum Opening {
    /// It is open.
    File {
        /// What messages call it, where that is not what the options do.
        name: Option<String>,
        file: File,
        /// Whether it holds nothing else.
        is_own: bool,
    },
    /// It is a pipe that no one reads.
    Waits,
}

impl Keeping {
    /// The file that begins `now`.
    pub(super) fn open(
        &mut self,
        now: Timestamp,
        why: Option<Why>,
        options: &FilesOptions,
    ) -> Result<Opening, FilesError> {
        match self {
            Self::Here(keeper) => keeper.open(now, why).map(|opened| Opening::new(opened, keeper)),
            Self::There(asked) => asked.open(Request::Open { now, why }, options),
        }
    }

    /// Waits until the pipe has a reader.
    pub(super) fn wait_for_reader(&mut self, options: &FilesOptions) -> Result<Opening, FilesError> {
        match self {
            Self::Here(keeper) => keeper.wait_for_reader().map(|opened| Opening::new(opened, keeper)),
            Self::There(asked) => asked.open(Request::Wait, options),
        }
    }

    /// The file is closed. What there is to say.
    pub(super) fn finish(&mut self) -> io::Result<Option<String>> {
        match self {
            Self::Here(keeper) => Ok(keeper.finish()),
            Self::There(asked) => asked.act(Request::Finish),
        }
    }

    /// Deletes the oldest of the files that are complete. What there is to say.
    pub(super) fn delete_oldest(&mut self) -> io::Result<Option<String>> {
        match self {
            Self::Here(keeper) => Ok(keeper.delete_oldest()),
            Self::There(asked) => asked.act(Request::Delete),
        }
    }

    /// Whether it is still there.
    pub(super) fn check(&self) -> io::Result<()> {
        match self {
            Self::Here(_) => Ok(()),
            // It says nothing that it is not asked.
            Self::There(asked) => match asked.0.next() {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(no_use(Malformed.into())),
                Err(broken) => Err(no_use(broken)),
            },
        }
    }
}

impl Opening {
    fn new(opened: Opened, keeper: &Keeper) -> Self {
        match opened {
            Opened::Waits => Self::Waits,
            Opened::File { path, file, is_own } => Self::File { name: keeper.name(&path), file, is_own },
        }
    }
}

impl Asked {
    /// For a process that is to have nothing of this: the child of the one that has it.
    pub fn disown(&self) {
        disown(&self.0);
    }

    fn ask(&self, request: Request) -> Result<(Answer, Option<File>), Broken> {
        self.0.say(&request)?;
        self.0.take()
    }

    fn open(&self, request: Request, options: &FilesOptions) -> Result<Opening, FilesError> {
        let of = |name: Option<String>| name.map_or_else(|| options.path.clone(), PathBuf::from);
        let no_use = |broken| FilesError::new(&options.path, Cause::Helper(broken));
        match self.ask(request).map_err(no_use)? {
            (Answer::Opened { name }, Some(file)) => Ok(Opening::File { name, file, is_own: true }),
            (Answer::Waits, _) => Ok(Opening::Waits),
            (Answer::Failed { name, why, errno }, _) => {
                let kind = errno.map_or(io::ErrorKind::InvalidInput, |errno| {
                    io::Error::from(Errno::from_raw(errno)).kind()
                });
                Err(FilesError::new(&of(name), Cause::Told { why, kind }))
            }
            (Answer::Opened { .. } | Answer::Done | Answer::Noted(_), _) => Err(no_use(Malformed.into())),
        }
    }

    fn act(&self, request: Request) -> io::Result<Option<String>> {
        match self.ask(request).map_err(no_use)? {
            (Answer::Done, _) => Ok(None),
            (Answer::Noted(note), _) => Ok(Some(note)),
            _ => Err(no_use(Malformed.into())),
        }
    }
}

fn no_use(broken: Broken) -> io::Error {
    io::Error::other(Cause::Helper(broken).to_string())
}

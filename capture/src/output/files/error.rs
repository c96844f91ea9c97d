//! Why a file cannot be written, and what to do then.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use crate::process::channel::Broken;

/// A file cannot be opened or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to {}: {cause}", path.display())]
pub struct FilesError {
    /// Which file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub cause: Cause,
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A symbolic link can lead to a file of someone else's.
    #[error("it is a symbolic link; name the file that it leads to, or remove it")]
    Link,
    /// A directory.
    #[error("it is a directory; name a file in it")]
    Directory,
    /// The path ends without a name.
    #[error("it has no file name; add one")]
    NoName,
    /// The file that packets are read from.
    #[error("it is the file that is read, {}; name another one", .0.display())]
    Input(PathBuf),
    /// The file of another output.
    #[error("another output goes to this file, as {}; name another one", .0.display())]
    Output(PathBuf),
    /// A pipe or a device, where several files are asked for.
    #[error(
        "only a regular file can be followed by another; leave out -C, -G and --ring-buffer, or name a file"
    )]
    NotRegular,
    /// The directory cannot be opened.
    #[error("its directory cannot be opened: {}{}", .0, next_step(.0))]
    Folder(io::Error),
    /// The system's answer.
    #[error("{}{}", .0, next_step(.0))]
    System(io::Error),
    /// What the helper has said.
    #[error("{why}")]
    Told {
        /// In its words.
        why: String,
        /// The kind of the system's answer to it.
        kind: io::ErrorKind,
    },
    /// There is no helper any more.
    #[error("lost the helper process that opens the files: {0}; start capture again")]
    Helper(Broken),
}

impl FilesError {
    pub(super) fn new(path: &Path, cause: Cause) -> Self {
        Self { path: path.to_owned(), cause }
    }

    /// The kind of the system's answer.
    pub fn kind(&self) -> io::ErrorKind {
        match &self.cause {
            Cause::Folder(error) | Cause::System(error) => error.kind(),
            Cause::Told { kind, .. } => *kind,
            Cause::Helper(_) => io::ErrorKind::Other,
            Cause::Link
            | Cause::Directory
            | Cause::NoName
            | Cause::NotRegular
            | Cause::Input(_)
            | Cause::Output(_) => io::ErrorKind::InvalidInput,
        }
    }

    /// The number of the system's answer, if it was the system's.
    pub(super) fn errno(&self) -> Option<i32> {
        match &self.cause {
            Cause::Folder(error) | Cause::System(error) => error.raw_os_error(),
            _ => None,
        }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        match errno {
            // With O_NOFOLLOW (open(2)).
            Errno::ELOOP => Self::Link,
            Errno::EISDIR => Self::Directory,
            errno => Self::System(errno.into()),
        }
    }
}

/// What to do about the system's answer.
pub(super) fn next_step(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => "; create the directory first",
        Some(Errno::EACCES | Errno::EPERM) => "; choose a directory that you may write to",
        Some(Errno::EROFS) => "; choose a directory on another file system",
        Some(Errno::ENOSPC | Errno::EDQUOT) => "; make room, or choose a directory on another file system",
        Some(Errno::EFBIG) => {
            "; raise the limit for a file's size (`ulimit -f`), or begin a new file with -C"
        }
        Some(Errno::EMFILE | Errno::ENFILE) => "; raise the limit of open files (`ulimit -Hn`)",
        Some(Errno::ETXTBSY) => "; it is a program that runs: choose another name",
        _ => "",
    }
}

//! What a process may still do that parses hostile bytes: as little as its work allows. docs/security.md has the table.
//!
//! [`Sandbox::confine`] takes away the user and the capabilities ([`identity`]) and the file system ([`paths`]), and
//! [`Confined::seal`] the system calls ([`calls`]). Between the two, threads may be started: they inherit what has been
//! taken away, and the system calls are taken away from all threads. A process that is confined again has less.

mod calls;
mod identity;
mod paths;

use std::{fmt, io, path::PathBuf};

use self::{
    identity::{Identity, Target},
    paths::Paths,
};
use crate::etc::PASSWD;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxOptions {
    /// Whether there is to be a sandbox.
    pub is_wanted: bool,
    /// `-Z`: the user that root becomes.
    pub user: Option<String>,
    /// Whether to say what the sandbox consists of.
    pub is_reported: bool,
}

/// What the work from now on needs, besides the descriptors that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Directories in which files are opened for writing and deleted.
    pub folders: Vec<PathBuf>,
    /// Whether that is done for another process, by threads of this one.
    pub serves: bool,
    /// Whether another process, which is a child, does so for this one, or asks for names.
    pub asks: bool,
    /// Whether names of hosts are asked for.
    pub names: bool,
    /// Whether packets come from rings, and from another process what there is to be known of them.
    pub live: bool,
    /// Whether other programs are started: what this process may not do, they may not do either.
    pub programs: bool,
    /// Whether files are opened only when the outputs are: they belong to the user that started the process, as those that
    /// are opened before anything is given up.
    pub opens_once: bool,
}

impl Needs {
    fn opens_files(&self) -> bool {
        !self.folders.is_empty()
    }
}

/// There is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// `-Z` with a name that is none.
    #[error("-Z {0}: there is no such user in {PASSWD}; name another one, or leave out -Z")]
    NoSuchUser(String),
    /// `-Z` without users.
    #[error("-Z {user}: {PASSWD} cannot be read: {source}; leave out -Z")]
    Users {
        /// The user.
        user: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// `-Z` with a user that this process cannot become.
    #[error("-Z {user}: this process cannot become that user: {source}; leave out -Z")]
    User {
        /// The user.
        user: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Something else is refused.
    #[error(
        "cannot give up {what} before packets are read: {source}; add --no-sandbox to go on with all that this process may \
         do"
    )]
    Refused {
        /// What was to be given up.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl SandboxError {
    fn refused<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Refused { what, source: source.into() }
    }
}

/// A sandbox that is still to be entered.
#[derive(Debug)]
pub struct Sandbox {
    target: Target,
}

/// A process that has given up all but system calls.
#[derive(Debug)]
#[must_use = "the system calls are still there"]
pub struct Confined {
    needs: Needs,
    identity: Identity,
    paths: Paths,
}

impl Sandbox {
    /// Looks up the users: once the file system is out of reach, that is too late.
    ///
    /// # Errors
    ///
    /// When the user of `-Z` cannot be found.
    pub fn new(options: &SandboxOptions) -> Result<Self, SandboxError> {
        Target::find(options.user.as_deref()).map(|target| Self { target })
    }

    /// Gives up the user, the capabilities and the file system, as far as `needs` allow. No other thread may run.
    ///
    /// # Errors
    ///
    /// When the system refuses it. A kernel without Landlock is no error, and no other user for root where there is none.
    pub fn confine(&self, needs: Needs) -> Result<Confined, SandboxError> {
        let identity = identity::give_up(&self.target, &needs)?;
        let paths = paths::give_up(&needs)?;
        Ok(Confined { needs, identity, paths })
    }
}

/// Gives up what the helper of a live capture does not need: all capabilities but those for interfaces and programs, the
/// file system, and the system calls for anything else. It `enters` network namespaces, or not. No other thread may run.
/// Returns what the sandbox consists of.
///
/// # Errors
///
/// When the system refuses it.
pub fn confine_helper(enters: bool) -> Result<Sealed, SandboxError> {
    let identity = identity::keep_for_helper()?;
    // It opens nothing.
    let paths = paths::give_up(&Needs::default())?;
    calls::give_up_for_helper(enters)?;
    Ok(Sealed { identity, paths })
}

impl Confined {
    /// Gives up the system calls, in all threads, and returns what the sandbox consists of.
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub fn seal(self) -> Result<Sealed, SandboxError> {
        calls::give_up(&self.needs)?;
        Ok(Sealed { identity: self.identity, paths: self.paths })
    }
}

/// What a sandbox consists of, in words.
#[derive(Debug)]
pub struct Sealed {
    identity: Identity,
    paths: Paths,
}

impl Sealed {
    /// Why root stays root, if it was to become another user: one sentence with what there is to do. Without capabilities it
    /// is still the owner of root's files.
    pub fn stays_root(&self) -> Option<String> {
        self.identity.stays_root()
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, no_new_privs, {}, seccomp", self.identity, self.paths)
    }
}

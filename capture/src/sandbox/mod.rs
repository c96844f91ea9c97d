//! What a process may still do that parses hostile bytes: as little as its work allows. docs/security.md has the table.
//!
//! [`Sandbox::confine`] takes away the user and the capabilities ([`identity`]) and the file system ([`paths`]), and
//! [`Confined::seal`] the system calls ([`calls`]). Between the two, threads may be started: they inherit what has been
//! taken away, and the system calls are taken away from all threads. A process that is confined again has less.

mod calls;
mod error;
mod identity;
mod needs;
mod paths;

use std::fmt;

pub use self::{error::SandboxError, needs::Needs};
use self::{
    identity::{Identity, Target},
    paths::Paths,
};

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

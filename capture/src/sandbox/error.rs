//! Why there is no sandbox.

use std::io;

use crate::etc::PASSWD;

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
    pub(super) fn refused<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Refused { what, source: source.into() }
    }
}

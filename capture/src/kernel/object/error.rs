//! Why the programs and their maps cannot be loaded or used.

use std::io;

use super::super::privileges::NotPermitted;

/// Why the object or one of its programs is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The process may not do what it has to.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),

    /// There are no more file descriptors.
    #[error(transparent)]
    TooManyFiles(#[from] TooManyFiles),

    /// The verifier was interrupted by one signal after the other.
    #[error("cannot load program {program}: signals interrupted the kernel's verifier each time; try again")]
    Interrupted {
        /// The program.
        program: &'static str,
    },

    /// The kernel has no memory for a program.
    #[error(
        "cannot load program {program}: the kernel has no memory for it; raise the memory limit of the cgroup"
    )]
    NoMemory {
        /// The program.
        program: &'static str,
    },

    /// The kernel is older than what the programs need.
    #[error("kernel {release} is too old: {what} needs Linux {needed} or later")]
    KernelTooOld {
        /// The running kernel.
        release: String,
        /// The feature.
        what: &'static str,
        /// The first kernel with it.
        needed: &'static str,
    },

    /// The verifier does not accept a program.
    #[error(
        "the kernel's verifier refused program {program}: {source} ({reason}); this is a bug: please report it with the \
         output of `uname -a` and of the same command with `--log-level debug`{log}"
    )]
    Refused {
        /// The program.
        program: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
        /// The last line of the verifier's log.
        reason: String,
        /// The end of the verifier's log after a newline, if it is asked for.
        log: String,
    },

    /// Another reason.
    #[error("cannot load the eBPF object: {0}")]
    Object(String),

    /// The rings cannot be made.
    #[error(transparent)]
    Rings(#[from] RingsError),
}

/// There are no more file descriptors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot {action}: the limit of {limit} open files is too low; raise it (`ulimit -Hn`, or LimitNOFILE=)"
)]
pub struct TooManyFiles {
    /// What needed one.
    pub action: &'static str,
    /// How many there may be.
    pub limit: u64,
}

/// The rings cannot be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot make {count} ring buffer(s) of {} KiB: {source}; a memory limit may be too low (of a cgroup, or \
     `ulimit -v`), and `-B` takes less, such as `-B 2048`",
    size / 1024
)]
pub struct RingsError {
    /// How many.
    pub count: usize,
    /// The size of each in bytes.
    pub size: usize,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// The counters cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the counters: {0}")]
pub struct CountersError(pub String);

/// The kernel does not say when the last program has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot wait for the last program to end: {0}; the last packets may be missing")]
pub struct SettleError(pub String);

//! What the command asks of a source, whatever packets come from.

use std::process::ExitCode;

use super::{error::RunError, frames::Frames};
use crate::config::Config;

/// A source as it is asked for. It drives the [`Engine`](crate::engine::Engine) in its own way: a file is read until its end
/// and waits for the outputs, the rings are drained when packets come and do not wait.
pub(super) trait Source {
    /// Hands its packets to the outputs, until one of them or the command line ends that, and says on standard error what went
    /// wrong.
    fn run(&self, config: &Config) -> ExitCode;

    /// Which frames a filter decides about, where no packet is read.
    ///
    /// # Errors
    ///
    /// When what it names cannot be found or read.
    fn frames(&self, config: &Config) -> Result<Frames, RunError>;
}

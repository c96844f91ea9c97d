//! Outputs that failed, and what was said of it.

use super::error::{RunError, complaint, without_number};
use crate::engine::Engine;

/// What became of outputs.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// What went wrong with the last outputs, and is still to be said.
    unsaid: Vec<RunError>,
    /// Whether an output has failed while others went on.
    lost_an_output: bool,
}

impl Failures {
    /// Takes in which outputs have failed, and says so where others go on. False if none is left.
    pub(super) fn take(&mut self, engine: &mut Engine, say: impl Fn(&str)) -> bool {
        let errors = engine.take_errors();
        let goes_on = engine.has_output();
        for (output, source) in errors {
            let error = RunError::Output { output, source };
            if goes_on {
                self.lost_an_output |= error.is_failure();
                let error = without_number(&error.to_string());
                say(&format!("capture: {error}; the other outputs go on\n"));
            } else {
                self.unsaid.push(error);
            }
        }
        goes_on
    }

    /// Whether an output has failed while others went on. That has been said.
    pub(super) fn lost_an_output(&self) -> bool {
        self.lost_an_output
    }

    /// What is still to be said, when the outputs have ended. That a reader has gone is said at once where others have
    /// not: then the packets that it lacks are.
    pub(super) fn at_the_end(&mut self, engine: &mut Engine, say: impl Fn(&str)) -> Vec<RunError> {
        for (output, source) in engine.take_errors() {
            let error = RunError::Output { output, source };
            if engine.has_output() && !error.is_failure() {
                say(&format!("capture: {}\n", without_number(&error.to_string())));
            }
            self.unsaid.push(error);
        }
        std::mem::take(&mut self.unsaid)
    }

    /// How a run ends that had these failures: with the first that is one, after the others have been said.
    pub(super) fn conclude(&self, failures: Vec<RunError>, say: impl Fn(&str)) -> Result<(), RunError> {
        let mut failures = failures.into_iter();
        let first = failures.next();
        for complaint in failures.filter_map(|failure| complaint(&failure)) {
            say(&complaint);
        }
        match first {
            Some(first) if first.is_failure() || !self.lost_an_output => Err(first),
            _ if self.lost_an_output => Err(RunError::LostOutput),
            _ => Ok(()),
        }
    }
}

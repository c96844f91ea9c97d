//! A destination: memory.

use std::{
    io,
    sync::{Arc, Mutex},
};

use capture::output::destination::{Destination, Progress};

/// Keeps what it gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    /// What it got.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Destination for Memory {
    fn write(&mut self, block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()> {
        self.0.lock().unwrap().extend_from_slice(block);
        progress.wrote(ends.len());
        Ok(())
    }
}

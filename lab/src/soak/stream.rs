//! What is written to a pipe: a thread reads and counts it, as fast as it is to.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::ChildStdout,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{sys::stat::Mode, unistd::mkfifo};

use super::{
    PATIENCE,
    counter::{Counter, Format, Tally},
};
use test_support::wait::within;

/// What is read at a time, in bytes: at full speed, and by a slow reader, which waits in between.
const PIECE: usize = 256 * 1024;
const SMALL_PIECE: usize = 4096;
const SLOW: Duration = Duration::from_millis(5);

/// How a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Fast,
    Slow,
    /// Not at all, for now.
    Paused,
    /// Its reader has gone.
    Gone,
}

/// A stream that is read.
pub(super) struct Stream {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Of a named pipe.
    path: Option<PathBuf>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    counter: Counter,
    reading: Reading,
    /// Whether it has been read to its end, or its reader has gone.
    has_ended: bool,
    /// Why it could not be read.
    error: Option<io::Error>,
}

impl Stream {
    /// Of a child's standard output.
    pub(super) fn of_child(stdout: ChildStdout, format: Format) -> Result<Self> {
        Self::start(format, None, move || Ok(File::from(OwnedFd::from(stdout))))
    }

    /// Makes a named pipe, and reads it when it is written to.
    pub(super) fn of_pipe(path: &Path, format: Format) -> Result<Self> {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let own = path.to_owned();
        Self::start(format, Some(path.to_owned()), move || File::open(own))
    }

    fn start(
        format: Format,
        path: Option<PathBuf>,
        open: impl FnOnce() -> io::Result<File> + Send + 'static,
    ) -> Result<Self> {
        let counter = Counter::new(format, true);
        let state = State { counter, reading: Reading::Fast, has_ended: false, error: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("reader".to_owned()).spawn(move || {
            let read = open().and_then(|file| own.read(file));
            let mut state = own.lock();
            (state.error, state.has_ended) = (read.err(), true);
        })?;
        Ok(Self { shared, thread: Some(thread), path })
    }

    /// Reads differently from now on.
    pub(super) fn set(&self, reading: Reading) {
        self.shared.lock().reading = reading;
        self.shared.changed.notify_all();
    }

    /// What has been counted so far.
    pub(super) fn tally(&self) -> Result<Tally> {
        self.shared.lock().counter.tally()
    }

    /// What was written, once its writer has ended.
    pub(super) fn end(&self) -> Result<Tally> {
        let ended = || Ok(self.shared.lock().has_ended.then_some(()));
        within(PATIENCE, "the end of a stream whose writer has ended", ended)?;
        if let Some(error) = &self.shared.lock().error {
            return Err(io::Error::from(error.kind())).context("cannot read a stream");
        }
        self.tally()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.set(Reading::Gone);
        // One that no one has opened is waited for.
        let _writer = self
            .path
            .as_ref()
            .map(|path| OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path));
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads to the end, or until the reader is to go.
    fn read(&self, mut file: File) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        loop {
            let is_paused = |state: &mut State| state.reading == Reading::Paused;
            let waited = self.changed.wait_while(self.lock(), is_paused);
            let reading = waited.unwrap_or_else(PoisonError::into_inner).reading;
            let most = match reading {
                Reading::Gone => return Ok(()),
                Reading::Slow => SMALL_PIECE,
                Reading::Fast | Reading::Paused => PIECE,
            };
            let length = file.read(&mut buffer[..most])?;
            if length == 0 {
                return Ok(());
            }
            self.lock().counter.take(&buffer[..length]);
            if reading == Reading::Slow {
                thread::sleep(SLOW);
            }
        }
    }
}

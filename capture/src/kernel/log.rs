//! Diagnostics of the programs in the kernel, which aya-log brings through a ring of its own.

use std::{
    fmt::Write as _,
    io::{self, PipeReader, PipeWriter, Write as _},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{KernelError, error::chain};

/// What the programs log: those levels of aya-log that they use, of which each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[repr(u8)]
pub enum LogLevel {
    /// Nothing; the programs then hold no code for it.
    #[default]
    Off = 0,
    /// Packets that are lost or too short for the filter.
    Debug = 4,
    /// Every packet that matches, as far as standard error keeps up: slow.
    Trace = 5,
}

/// Writes each message as a line to standard error, until it is muted.
#[derive(Debug)]
struct Stderr {
    muted: Arc<AtomicBool>,
}

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        !self.muted.load(Ordering::Relaxed)
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = String::new();
        let level = record.level().as_str().to_ascii_lowercase();
        let written = writeln!(line, "capture: kernel: {level}: {}", record.args());
        if written.is_ok() {
            // Where standard error is gone there is nobody to tell.
            let _gone = io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// The thread that writes the programs' log. Standard error may be slow; that must not keep anybody from the packets.
#[derive(Debug)]
pub(super) struct KernelLog {
    /// Set when standard error is needed for something else.
    muted: Arc<AtomicBool>,
    /// Dropped to make the thread end.
    stop: PipeWriter,
    /// Closed by the thread's end.
    ended: Receiver<()>,
}

impl KernelLog {
    /// Takes the log's map, and starts the thread; `None` where nothing is to be logged.
    ///
    /// # Errors
    ///
    /// [`KernelError::Log`] when there is no way to read it.
    pub(super) fn start(ebpf: &mut Ebpf, level: LogLevel) -> Result<Option<Self>, KernelError> {
        if level == LogLevel::Off {
            return Ok(None);
        }
        let failed = |error: &dyn std::error::Error| KernelError::Log(chain(error));
        let muted = Arc::new(AtomicBool::new(false));
        let stderr = Stderr { muted: Arc::clone(&muted) };
        let mut logger = EbpfLogger::init_with_logger(ebpf, stderr).map_err(|error| failed(&error))?;
        let (stopped, stop) = io::pipe().map_err(|error| failed(&error))?;
        let (end, ended) = mpsc::channel();
        let run = move || {
            // Dropped when the thread ends.
            let _end: Sender<()> = end;
            while wait(&logger, &stopped) {
                logger.flush();
            }
            logger.flush();
        };
        thread::Builder::new().name("log".to_owned()).spawn(run).map_err(|error| failed(&error))?;
        Ok(Some(Self { muted, stop, ended }))
    }

    /// Lets the messages there are be written, as far as standard error takes them soon.
    pub(super) fn finish(self) {
        const PATIENCE: Duration = Duration::from_secs(1);

        let Self { muted, stop, ended } = self;
        drop(stop);
        let _ended_or_not = ended.recv_timeout(PATIENCE);
        muted.store(true, Ordering::Relaxed);
    }
}

/// Waits for messages. False if no more come.
fn wait(log: &impl AsFd, stopped: &PipeReader) -> bool {
    let mut ready = [log.as_fd(), stopped.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut ready, PollTimeout::NONE) {
        Ok(_) => ready[1].any() == Some(false),
        Err(errno) => errno == Errno::EINTR,
    }
}

//! Diagnostics of the programs in the kernel, which aya-log brings through a ring of its own.

use std::{
    fmt,
    io::{self, PipeReader, PipeWriter},
    os::fd::AsFd,
    thread::{self, JoinHandle},
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::error::causes;
use crate::messages::Messages;

/// What the programs log: those levels of aya-log that they use, of which each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogLevel {
    /// Nothing; the programs then hold no code for it.
    Off = 0,
    /// Packets that are lost or too short for the filter.
    Debug = 4,
    /// Every packet that matches, as far as standard error keeps up: slow.
    Trace = 5,
}

/// The log of the programs cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the log of the eBPF programs: {0}; leave out `--log-level`")]
pub struct LogError(pub String);

/// Makes each message a line on standard error.
#[derive(Debug)]
struct Lines(Messages);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = record.level().as_str().to_ascii_lowercase();
        self.0.log(&format!("capture: kernel: {level}: {}\n", record.args()));
    }

    fn flush(&self) {}
}

/// The thread that reads the programs' log: making lines of it must not hold up the packets.
#[derive(Debug)]
pub(super) struct KernelLog {
    /// Dropped to make the thread end.
    stop: PipeWriter,
    thread: JoinHandle<()>,
}

/// What the programs log into, before the thread reads it.
pub(super) struct Logger(EbpfLogger<Lines>);

impl fmt::Debug for Logger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Logger")
    }
}

impl Logger {
    /// Takes the log's map; `None` where nothing is to be logged.
    ///
    /// # Errors
    ///
    /// [`LogError`] when there is no way to read it.
    pub(super) fn new(
        ebpf: &mut Ebpf,
        level: LogLevel,
        messages: &Messages,
    ) -> Result<Option<Self>, LogError> {
        if level == LogLevel::Off {
            return Ok(None);
        }
        let logger = EbpfLogger::init_with_logger(ebpf, Lines(messages.clone()));
        logger.map(|logger| Some(Self(logger))).map_err(|error| LogError(causes(&error)))
    }

    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the system has no more threads or descriptors.
    pub(super) fn start(self) -> Result<KernelLog, LogError> {
        let failed = |error: io::Error| LogError(causes(&error));
        let Self(mut logger) = self;
        let (stopped, stop) = io::pipe().map_err(failed)?;
        let run = move || {
            while wait(&logger, &stopped) {
                logger.flush();
            }
            logger.flush();
        };
        let thread = thread::Builder::new().name("log".to_owned()).spawn(run).map_err(failed)?;
        Ok(KernelLog { stop, thread })
    }
}

impl KernelLog {
    /// Reads the messages there are, once the programs have ended.
    pub(super) fn finish(self) {
        let Self { stop, thread } = self;
        drop(stop);
        let _panicked = thread.join();
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

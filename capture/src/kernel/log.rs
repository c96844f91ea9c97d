//! Diagnostics of the programs in the kernel, which aya-log brings through a ring of its own.

use std::{fmt::Write as _, io::Write as _};

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

/// What the programs log: the levels of aya-log, of which each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[repr(u8)]
pub enum LogLevel {
    /// Nothing; the programs then hold no code for it.
    #[default]
    Off = 0,
    /// Errors.
    Error = 1,
    /// Warnings.
    Warn = 2,
    /// Information.
    Info = 3,
    /// Packets that are lost or too short for the filter.
    Debug = 4,
    /// Every packet that matches: slow.
    Trace = 5,
}

/// Writes each message as a line to standard error.
#[derive(Debug)]
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut line = String::new();
        let level = record.level().as_str().to_ascii_lowercase();
        let written = writeln!(line, "capture: kernel: {level}: {}", record.args());
        if written.is_ok() {
            // Where standard error is gone there is nobody to tell.
            let _gone = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// The reader of the programs' log.
pub(super) struct KernelLog {
    logger: AsyncFd<EbpfLogger<Stderr>>,
}

impl std::fmt::Debug for KernelLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KernelLog").finish_non_exhaustive()
    }
}

impl KernelLog {
    /// Takes the log's map; `None` where there is nothing to be logged or no way to.
    pub(super) fn new(ebpf: &mut Ebpf, level: LogLevel) -> Option<Self> {
        if level == LogLevel::Off {
            return None;
        }
        let logger = EbpfLogger::init_with_logger(ebpf, Stderr).ok()?;
        #[expect(unsafe_code, reason = "tokio's registration of a file descriptor")]
        // SAFETY: the logger owns its map's descriptor, and flushing neither closes nor replaces it.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }.ok()?;
        Some(Self { logger })
    }

    /// Waits for messages and writes them. Does not return unless waiting fails.
    pub(super) async fn run(&mut self) {
        while let Ok(mut guard) = self.logger.readable_mut().await {
            guard.clear_ready();
            guard.get_inner_mut().flush();
        }
    }

    /// Writes the messages there are.
    pub(super) fn flush(&mut self) {
        self.logger.get_mut().flush();
    }
}

//! Files that other tools read.
//!
//! Each file begins with the encoder's header, which is in it as soon as it exists, and holds whole packets. A file that
//! is finished is not touched again, unless a ring replaces or deletes it. Errors are those of the system, with the
//! file's name; also what only closing a file shows is one.

mod claims;
mod clock;
mod command;
mod current;
mod error;
pub mod helper;
mod keeper;
mod keeping;
mod limits;
pub mod message;
mod names;
mod open;
mod options;
mod schedule;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque, fs::File, io, ops::Range, path::PathBuf, sync::PoisonError, time::Duration,
};

use bytes::{Bytes, BytesMut};

pub use self::{
    claims::{Claims, Identity, identity_of},
    clock::Clock,
    error::{Cause, FilesError},
    keeping::Asked,
    names::Why,
    open::{is_descriptor, open_descriptor},
    options::{Autostop, FilesOptions, Ring, Rotation, Tcpdump},
};
use self::{
    clock::SystemClock,
    current::Current,
    error::next_step,
    keeper::{Keeper, deletes},
    keeping::{Keeping, Opening},
    names::Names,
    schedule::Schedule,
};
use super::destination::{Destination, Progress};

/// Writes to files.
#[derive(Debug)]
pub struct Files {
    options: FilesOptions,
    /// What each file begins with.
    header: BytesMut,
    /// Where in the next block is what comes to it.
    additions: Vec<Range<usize>>,
    /// What a file ends with that is followed by another one.
    trailer: Bytes,
    schedule: Schedule,
    keeping: Keeping,
    /// `None` when the output is finished, or a file could not be opened.
    current: Option<Current>,
    /// Whether it is a pipe that no one reads yet. It is waited for where writing may wait.
    waits: bool,
    /// The sizes of files that are complete, if some of them may have to be deleted.
    finished: VecDeque<u64>,
    /// How many there have been.
    begun: u64,
    /// Packets in all files.
    packets: u64,
    /// Whether the output has enough.
    has_enough: bool,
    /// Whether it has been said that the program of `-z` does not start.
    has_reported_command: bool,
    /// Whether it has been said that an old file is not deleted.
    has_reported_deletion: bool,
}

impl Files {
    /// Opens the first file and writes the encoder's `header`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or written.
    pub fn create(options: FilesOptions, header: Bytes) -> Result<Self, FilesError> {
        Self::with_clock(options, header, Box::new(SystemClock::new()))
    }

    /// As [`create`](Self::create), but the helper opens the files, which has the same options.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or written.
    pub fn asking(asked: Asked, options: FilesOptions, header: Bytes) -> Result<Self, FilesError> {
        let clock = Box::new(SystemClock::new());
        Self::unopened(options, Keeping::There(asked), header, clock).opened()
    }

    /// Writes to the open `file`, which messages call by the path in the options, and which is the only one. That it is
    /// [held](Claims::hold) is the caller's.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or the options ask for several.
    pub fn onto(file: File, options: FilesOptions, header: Bytes) -> Result<Self, FilesError> {
        if options.rotation != Rotation::None {
            return Err(FilesError::new(&options.path, Cause::NotRegular));
        }
        let keeping = Keeping::Here(Box::new(Keeper::new(options.clone())));
        let mut files = Self::unopened(options, keeping, header, Box::new(SystemClock::new()));
        files.take(None, file, false)?;
        Ok(files)
    }

    /// As [`create`](Self::create), by another clock than the system's.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or written.
    pub fn with_clock(
        options: FilesOptions,
        header: Bytes,
        clock: Box<dyn Clock>,
    ) -> Result<Self, FilesError> {
        let keeping = Keeping::Here(Box::new(Keeper::new(options.clone())));
        Self::unopened(options, keeping, header, clock).opened()
    }

    fn unopened(options: FilesOptions, keeping: Keeping, header: Bytes, clock: Box<dyn Clock>) -> Self {
        Self {
            schedule: Schedule::new(&options, clock),
            options,
            header: header.into(),
            additions: Vec::new(),
            trailer: Bytes::new(),
            keeping,
            current: None,
            waits: false,
            finished: VecDeque::new(),
            begun: 0,
            packets: 0,
            has_enough: false,
            has_reported_command: false,
            has_reported_deletion: false,
        }
    }

    fn opened(mut self) -> Result<Self, FilesError> {
        self.begin(None)?;
        Ok(self)
    }

    /// What there is to say before the first packet.
    pub fn warning(&self) -> Option<String> {
        let Rotation::Tcpdump(Tcpdump { period: Some(period), .. }) = self.options.rotation else {
            return None;
        };
        let now = self.schedule.now().to_zoned_datetime(self.options.time_zone.clone());
        let have_time = Names::new(&self.options, &now).have_time(&now, period);
        (!have_time).then(|| {
            format!(
                "-G {period}: the name {} stays the same from one file to the next, so the files get numbers (add a time \
                 to it that changes as often, such as %H%M%S)",
                self.options.path.display()
            )
        })
    }

    /// Begins a file: the first one, unless there is a reason for another.
    fn begin(&mut self, why: Option<Why>) -> Result<(), FilesError> {
        match self.keeping.open(self.schedule.now(), why, &self.options)? {
            Opening::File { name, file, is_own } => self.take(name, file, is_own)?,
            Opening::Waits => self.waits = true,
        }
        Ok(())
    }

    /// Goes on with a file, which gets the header.
    fn take(&mut self, name: Option<String>, file: File, is_own: bool) -> Result<(), FilesError> {
        let path = name.as_ref().map_or_else(|| self.options.path.clone(), PathBuf::from);
        let begun = Current::begin(name, file, is_own, &self.header);
        self.current = Some(begun.map_err(|error| FilesError::new(&path, Cause::System(error)))?);
        self.schedule.file_begins();
        self.begun += 1;
        Ok(())
    }

    /// Waits until the pipe has a reader, if it has none yet.
    fn wait_for_reader(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.waits) {
            return Ok(());
        }
        let opened = self.keeping.wait_for_reader(&self.options);
        let begun = opened.and_then(|opening| match opening {
            Opening::File { name, file, is_own } => self.take(name, file, is_own),
            Opening::Waits => Ok(()),
        });
        begun.map_err(|error| io::Error::new(error.kind(), error.cause.to_string()))
    }

    /// Ends the file, and begins the next one unless there have been enough.
    fn next_file(&mut self, why: Why, progress: &Progress) -> io::Result<()> {
        let enough = [self.options.rotation.enough_files(), self.options.autostop.files];
        if let Some(most) = enough.into_iter().flatten().min().filter(|most| self.begun >= *most) {
            progress.note(format!("Maximum file limit reached: {most}"));
            self.set_enough(progress);
            return Ok(());
        }
        if let Some(current) = &mut self.current
            && let Err(error) = current.append(&self.trailer)
        {
            let name = current.name.clone();
            return Err(self.named(name, error));
        }
        self.end_file(progress)?;
        self.delete_oldest(1, progress)?;
        self.begin(Some(why)).map_err(|error| {
            let (path, kind, cause) = (error.path.display(), error.kind(), &error.cause);
            io::Error::new(kind, format!("the next file, {path}: {cause}"))
        })
    }

    /// Closes the file, and passes it to the program of `-z`.
    fn end_file(&mut self, progress: &Progress) -> io::Result<()> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let (name, size) = (current.name.clone(), current.size);
        current.close().map_err(|error| self.named(name, error))?;
        if let Some(note) = self.keeping.finish()?
            && !std::mem::replace(&mut self.has_reported_command, true)
        {
            progress.note(note);
        }
        if deletes(&self.options.rotation) {
            self.finished.push_back(size);
        }
        Ok(())
    }

    /// Deletes the oldest files, as many as are too many with `open` others.
    fn delete_oldest(&mut self, open: u64, progress: &Progress) -> io::Result<()> {
        let Rotation::Ring(Ring { files, total, .. }) = self.options.rotation else { return Ok(()) };
        let size = |files: &Self| {
            let current = files.current.as_ref().map_or(0, |current| current.size);
            files.finished.iter().sum::<u64>() + current
        };
        while files.is_some_and(|most| self.finished.len() as u64 + open > most)
            || total.is_some_and(|most| size(self) > most)
        {
            if self.finished.pop_front().is_none() {
                break;
            }
            if let Some(note) = self.keeping.delete_oldest()?
                && !std::mem::replace(&mut self.has_reported_deletion, true)
            {
                progress.note(note);
            }
        }
        Ok(())
    }

    /// The output has enough.
    fn set_enough(&mut self, progress: &Progress) {
        self.has_enough = true;
        progress.set_enough();
    }

    /// Writes a part of a block to the present file. False if the output has been stopped.
    fn write_part(
        &mut self,
        block: &[u8],
        ends: &[usize],
        part: Range<usize>,
        progress: &Progress,
    ) -> io::Result<bool> {
        let Some(current) = &mut self.current else { return Ok(false) };
        let before = current.packets;
        for addition in self.additions.extract_if(.., |addition| part.contains(&addition.start)) {
            self.header.extend_from_slice(block.get(addition).unwrap_or_default());
        }
        let result = current.write(block, ends, part, progress);
        self.packets += current.packets - before;
        match result {
            Err(error) => {
                let name = current.name.clone();
                Err(self.named(name, error))
            }
            Ok(is_whole) => {
                self.delete_oldest(1, progress)?;
                Ok(is_whole)
            }
        }
    }

    /// The system's answer, with what to do. Messages call the output by the name in the options; where the file has
    /// another `name`, the error has it.
    fn named(&self, name: Option<String>, error: io::Error) -> io::Error {
        let before = name.map_or_else(String::new, |name| format!("{name}: "));
        io::Error::new(error.kind(), format!("{before}{error}{}", next_step(&error)))
    }
}

impl Destination for Files {
    fn write(&mut self, block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()> {
        self.tick(progress)?;
        if block.is_empty() {
            return self.keeping.check();
        }
        let (mut start, mut packet) = (0, 0);
        while start < block.len() {
            if self.has_enough {
                // What follows the last packet may be about all of them.
                progress.leave_out(ends.len() - packet);
                start = ends.last().map_or(start, |last| start.max(*last));
                return self.write_part(block, ends, start..block.len(), progress).map(drop);
            }
            let Some(current) = &self.current else { return Ok(()) };
            let room = limits::room(&self.options, current, self.packets, &ends[packet..], start);
            if room == 0 && packet < ends.len() {
                let stopped = progress.stopped.lock().unwrap_or_else(PoisonError::into_inner);
                if *stopped {
                    return Ok(());
                }
                self.next_file(Why::Full, progress)?;
                continue;
            }
            packet += room;
            let end = if packet == ends.len() { block.len() } else { ends[packet - 1] };
            if !self.write_part(block, ends, start..end, progress)? {
                return Ok(());
            }
            start = end;
            let size = self.current.as_ref().map_or(0, |current| current.size);
            if limits::is_enough(&self.options, size, self.packets) {
                self.set_enough(progress);
            }
        }
        Ok(())
    }

    fn prepare(&mut self, header: &[Range<usize>], trailer: Bytes) {
        self.additions.clear();
        self.additions.extend_from_slice(header);
        self.trailer = trailer;
    }

    fn has_header(&self) -> bool {
        true
    }

    fn wait(&self) -> Option<Duration> {
        match self.waits {
            true => Some(Duration::ZERO),
            false if self.has_enough => None,
            false => self.schedule.wait(),
        }
    }

    fn tick(&mut self, progress: &Progress) -> io::Result<()> {
        self.wait_for_reader()?;
        if self.has_enough || self.current.is_none() {
            return Ok(());
        }
        if self.schedule.is_over() {
            self.set_enough(progress);
        } else if self.schedule.is_due() {
            let stopped = progress.stopped.lock().unwrap_or_else(PoisonError::into_inner);
            if !*stopped {
                self.next_file(Why::Time, progress)?;
            }
        }
        Ok(())
    }

    fn close(&mut self, progress: &Progress) -> io::Result<()> {
        self.wait_for_reader()?;
        self.end_file(progress)
    }
}

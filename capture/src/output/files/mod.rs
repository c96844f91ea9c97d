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
mod limits;
mod names;
mod open;
mod options;
mod schedule;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::PoisonError,
    time::Duration,
};

use bytes::Bytes;

pub use self::{
    claims::{Claims, Identity, identity_of},
    clock::Clock,
    error::{Cause, FilesError},
    options::{Autostop, FilesOptions, Ring, Rotation, Tcpdump},
};
use self::{
    clock::SystemClock,
    current::{Current, Finished},
    error::next_step,
    names::{Names, Why},
    open::{Existing, Folder, clear, is_descriptor, open_descriptor},
    schedule::Schedule,
};
use super::destination::{Destination, Progress};

/// Writes to files.
#[derive(Debug)]
pub struct Files {
    options: FilesOptions,
    header: Bytes,
    names: Names,
    schedule: Schedule,
    /// The path of the directory and the directory, unless the file is a descriptor.
    folder: Option<(PathBuf, Folder)>,
    /// `None` when the output is finished, or a file could not be opened.
    current: Option<Current>,
    /// A pipe that no one reads yet. It is waited for where writing may wait.
    waiting: Option<PathBuf>,
    /// Files that are complete, if some of them may have to be deleted.
    finished: VecDeque<Finished>,
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
        let current = Current::begin(&options.path, file, false, None, &header)?;
        let mut files = Self::unopened(options, header, Box::new(SystemClock::new()));
        files.take(current);
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
        let mut files = Self::unopened(options, header, clock);
        files.begin()?;
        Ok(files)
    }

    fn unopened(options: FilesOptions, header: Bytes, clock: Box<dyn Clock>) -> Self {
        let schedule = Schedule::new(&options, clock);
        let names = Names::new(&options, &schedule.now());
        Self {
            options,
            header,
            names,
            schedule,
            folder: None,
            current: None,
            waiting: None,
            finished: VecDeque::new(),
            begun: 0,
            packets: 0,
            has_enough: false,
            has_reported_command: false,
            has_reported_deletion: false,
        }
    }

    /// What there is to say before the first packet.
    pub fn warning(&self) -> Option<String> {
        let Rotation::Tcpdump(Tcpdump { period: Some(period), .. }) = self.options.rotation else {
            return None;
        };
        let have_time = self.names.have_time(&self.schedule.now(), period);
        (!have_time).then(|| {
            format!(
                "-G {period}: the name {} is not another one each time; files of the same name get numbers (give \
                 it a time that is fine enough, such as %H%M%S)",
                self.options.path.display()
            )
        })
    }

    /// Begins a file.
    fn begin(&mut self) -> Result<(), FilesError> {
        let now = self.schedule.now();
        let rotates = self.options.rotation != Rotation::None;
        let mut path = self.names.current(&now);
        let current = if is_descriptor(&path) {
            let file = open_descriptor(&path)?;
            let claim = self.options.claims.take(&file, &path)?;
            Current::begin(&path, file, false, Some(claim), &self.header)?
        } else {
            let file = loop {
                let existing = if self.names.is_doubtful() { Existing::Keep } else { Existing::Replace };
                match self.folder(&path)?.open(&path, existing) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.names.another();
                        path = self.names.current(&now);
                    }
                    opened => break opened?,
                }
            };
            match file {
                Some(file) => self.fill(&path, file)?,
                None if rotates => return Err(FilesError::new(&path, Cause::NotRegular)),
                None => {
                    self.waiting = Some(path);
                    return Ok(());
                }
            }
        };
        if rotates && !current.is_regular {
            return Err(FilesError::new(&path, Cause::NotRegular));
        }
        self.take(current);
        Ok(())
    }

    /// Clears a file unless it is in use, and writes the header.
    fn fill(&self, path: &Path, file: File) -> Result<Current, FilesError> {
        let claim = self.options.claims.take(&file, path)?;
        clear(&file).map_err(|error| FilesError::new(path, Cause::System(error)))?;
        Current::begin(path, file, true, Some(claim), &self.header)
    }

    /// Goes on with a file.
    fn take(&mut self, current: Current) {
        self.current = Some(current);
        self.schedule.file_begins();
        self.begun += 1;
    }

    /// Waits until the pipe has a reader, if it has none yet.
    fn wait_for_reader(&mut self) -> io::Result<()> {
        let Some(path) = self.waiting.take() else { return Ok(()) };
        let opened = self.folder(&path).and_then(|folder| folder.open_pipe(&path));
        let begun = opened.and_then(|file| self.fill(&path, file));
        self.take(begun.map_err(|error| io::Error::new(error.kind(), error.cause.to_string()))?);
        Ok(())
    }

    /// The directory of `path`. It is opened again only where the times in names lead to another one.
    fn folder(&mut self, path: &Path) -> Result<&Folder, FilesError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let folder = match self.folder.take().filter(|(path, _)| path == parent) {
            Some(folder) => folder,
            None => (parent.to_owned(), Folder::of(path)?),
        };
        Ok(&self.folder.insert(folder).1)
    }

    /// Ends the file, and begins the next one unless there have been enough.
    fn next_file(&mut self, why: Why, progress: &Progress) -> io::Result<()> {
        let enough = [self.options.rotation.enough_files(), self.options.autostop.files];
        if let Some(most) = enough.into_iter().flatten().min().filter(|most| self.begun >= *most) {
            progress.note(format!("Maximum file limit reached: {most}"));
            self.end(progress);
            return Ok(());
        }
        self.end_file(progress)?;
        self.delete_oldest(1, progress);
        let now = self.schedule.now();
        self.names.advance(&now, why);
        self.begin().map_err(|error| {
            let (path, kind, cause) = (error.path.display(), error.kind(), &error.cause);
            io::Error::new(kind, format!("the next file, {path}: {cause}"))
        })
    }

    /// Closes the file, and passes it to the program of `-z`.
    fn end_file(&mut self, progress: &Progress) -> io::Result<()> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let (path, is_regular) = (current.path.clone(), current.is_regular);
        let finished = current.close().map_err(|error| self.named(&path, error))?;
        if let Some(command) = self.options.command.as_ref().filter(|_| is_regular)
            && let Err(error) = command::start(command, &path, &self.options.blocked)
            && !std::mem::replace(&mut self.has_reported_command, true)
        {
            let (command, file) = (command.display(), path.display());
            progress.note(format!(
                "cannot start {command} for {file}: {error}; name a program that can be executed with -z"
            ));
        }
        if let Rotation::Ring(Ring { files, total, .. }) = self.options.rotation
            && (files.is_some() || total.is_some())
        {
            self.finished.push_back(finished);
        }
        Ok(())
    }

    /// Deletes the oldest files, as many as are too many with `open` others.
    fn delete_oldest(&mut self, open: u64, progress: &Progress) {
        let Rotation::Ring(Ring { files, total, .. }) = self.options.rotation else { return };
        let size = |files: &Self| {
            let finished: u64 = files.finished.iter().map(|finished| finished.size).sum();
            finished + files.current.as_ref().map_or(0, |current| current.size)
        };
        while files.is_some_and(|most| self.finished.len() as u64 + open > most)
            || total.is_some_and(|most| size(self) > most)
        {
            let Some(oldest) = self.finished.pop_front() else { return };
            let deleted = match self.folder(&oldest.path) {
                Ok(folder) => folder.delete(&oldest),
                Err(error) => Err(error),
            };
            if let Err(error) = deleted
                && !std::mem::replace(&mut self.has_reported_deletion, true)
            {
                progress.note(format!("an old file is not deleted: {error}"));
            }
        }
    }

    /// The output has enough.
    fn end(&mut self, progress: &Progress) {
        self.has_enough = true;
        progress.end();
    }

    /// Writes a part of a block to the present file. False if the output has been stopped.
    fn write_part(
        &mut self,
        block: &[u8],
        ends: &[usize],
        part: std::ops::Range<usize>,
        progress: &Progress,
    ) -> io::Result<bool> {
        let Some(current) = &mut self.current else { return Ok(false) };
        let before = current.packets;
        let result = current.write(block, ends, part, progress);
        self.packets += current.packets - before;
        match result {
            Err(error) => {
                let path = current.path.clone();
                Err(self.named(&path, error))
            }
            Ok(is_whole) => {
                self.delete_oldest(1, progress);
                Ok(is_whole)
            }
        }
    }

    /// The system's answer for the file `path`, with what to do. Messages call the output by the name in the options; where
    /// the file has another one, the error names it.
    fn named(&self, path: &Path, error: io::Error) -> io::Error {
        let step = next_step(&error);
        let text = if path == self.options.path {
            format!("{error}{step}")
        } else {
            format!("{}: {error}{step}", path.display())
        };
        io::Error::new(error.kind(), text)
    }
}

impl Destination for Files {
    fn write(&mut self, block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()> {
        self.tick(progress)?;
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
                self.end(progress);
            }
        }
        Ok(())
    }

    fn has_header(&self) -> bool {
        true
    }

    fn wait(&self) -> Option<Duration> {
        match &self.waiting {
            Some(_) => Some(Duration::ZERO),
            None if self.has_enough => None,
            None => self.schedule.wait(),
        }
    }

    fn tick(&mut self, progress: &Progress) -> io::Result<()> {
        self.wait_for_reader()?;
        if self.has_enough || self.current.is_none() {
            return Ok(());
        }
        if self.schedule.is_over() {
            self.end(progress);
        } else if self.schedule.is_due() {
            let stopped = progress.stopped.lock().unwrap_or_else(PoisonError::into_inner);
            if !*stopped {
                self.next_file(Why::Time, progress)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, progress: &Progress) -> io::Result<()> {
        self.wait_for_reader()?;
        self.end_file(progress)
    }
}

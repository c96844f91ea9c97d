//! What names the files of an output, opens and deletes them, and starts the program of `-z`. It does not write them.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    claims::{Claim, Identity, identity_of},
    command,
    error::{Cause, FilesError},
    names::{Names, Why},
    open::{Existing, Finished, Folder, clear, is_descriptor, open_descriptor},
    options::{FilesOptions, Ring, Rotation},
};

/// Names, opens and deletes files.
#[derive(Debug)]
pub(super) struct Keeper {
    options: FilesOptions,
    /// From the first file on.
    names: Option<Names>,
    folders: Folders,
    /// The file that is being written.
    current: Option<Current>,
    /// A pipe that no one reads yet.
    waiting: Option<(PathBuf, Option<Claim>)>,
    /// Files that are complete, if some of them may have to be deleted.
    finished: VecDeque<Finished>,
}

/// The path of the directory and the directory. It is opened again only where the times in names lead to another one.
#[derive(Debug, Default)]
struct Folders(Option<(PathBuf, Folder)>);

/// A file that is being written.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    /// No other output writes to it meanwhile.
    _claim: Claim,
    /// Which file it is, if it is a regular one that holds nothing else.
    own: Option<Identity>,
}

/// What became of opening a file.
#[derive(Debug)]
pub(super) enum Opened {
    /// It is open, and empty if it `is_own`: if it holds nothing else.
    File { path: PathBuf, file: File, is_own: bool },
    /// It is a pipe that no one reads.
    Waits,
}

impl Keeper {
    pub(super) fn new(options: FilesOptions) -> Self {
        Self {
            options,
            names: None,
            folders: Folders::default(),
            current: None,
            waiting: None,
            finished: VecDeque::new(),
        }
    }

    /// Opens the file that begins `now`: the first one, unless there is a reason for another.
    pub(super) fn open(&mut self, now: Timestamp, why: Option<Why>) -> Result<Opened, FilesError> {
        // Whatever was open is not written to any more.
        self.current = None;
        let now = now.to_zoned_datetime(self.options.time_zone.clone());
        let names = self.names.get_or_insert_with(|| Names::new(&self.options, &now));
        if let Some(why) = why {
            names.advance(&now, why);
        }
        let mut path = names.current(&now);
        if is_descriptor(&path) {
            let file = open_descriptor(&path)?;
            let claim = self.options.claims.take(&file, &path)?;
            return self.begin(path, file, claim, false);
        }
        let file = loop {
            let existing = if names.is_doubtful() { Existing::Keep } else { Existing::Replace };
            match self.folders.of(&path)?.open(&path, existing) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    names.another();
                    path = names.current(&now);
                }
                opened => break opened?,
            }
        };
        match file {
            Some(file) => {
                let claim = self.options.claims.take(&file, &path)?;
                self.begin(path, file, claim, true)
            }
            None if self.rotates() => Err(FilesError::new(&path, Cause::NotRegular)),
            None => {
                let pipe = self.folders.of(&path)?.pipe(&path);
                let claim = pipe.map(|pipe| self.options.claims.take_pipe(pipe, &path)).transpose()?;
                self.waiting = Some((path, claim));
                Ok(Opened::Waits)
            }
        }
    }

    /// Waits until the pipe has a reader that has none yet.
    pub(super) fn wait_for_reader(&mut self) -> Result<Opened, FilesError> {
        let Some((path, claim)) = self.waiting.take() else {
            return Err(FilesError::new(&self.options.path, Cause::NotRegular));
        };
        let file = self.folders.of(&path)?.open_pipe(&path)?;
        // It may be another one by now.
        let claim = claim.map_or_else(|| self.options.claims.take(&file, &path), Ok)?;
        self.begin(path, file, claim, true)
    }

    /// Clears a file, which is claimed, if it `is_own`: if it was opened by its name.
    fn begin(&mut self, path: PathBuf, file: File, claim: Claim, is_own: bool) -> Result<Opened, FilesError> {
        let failed = |error| FilesError::new(&path, Cause::System(error));
        let is_regular = file.metadata().map_err(failed)?.is_file();
        if self.rotates() && !(is_own && is_regular) {
            return Err(FilesError::new(&path, Cause::NotRegular));
        }
        if is_own {
            clear(&file).map_err(failed)?;
        }
        let own = if is_own && is_regular { identity_of(&file).map_err(failed)? } else { None };
        self.current = Some(Current { path: path.clone(), _claim: claim, own });
        Ok(Opened::File { path, file, is_own })
    }

    /// The file is closed: passes it to the program of `-z`. What there is to say.
    pub(super) fn finish(&mut self) -> Option<String> {
        let Current { path, own: Some(identity), .. } = self.current.take()? else { return None };
        let mut note = None;
        if let Some(command) = &self.options.command
            && let Err(error) = command::start(command, &path, &self.options.blocked)
        {
            let (command, file) = (command.display(), path.display());
            note = Some(format!(
                "cannot start {command} for {file}: {error}; name a program that can be executed with -z"
            ));
        }
        if deletes(&self.options.rotation) {
            self.finished.push_back(Finished { path, identity });
        }
        note
    }

    /// Deletes the oldest of the files that are complete. What there is to say.
    pub(super) fn delete_oldest(&mut self) -> Option<String> {
        let oldest = self.finished.pop_front()?;
        let deleted = self.folders.of(&oldest.path).and_then(|folder| folder.delete(&oldest));
        deleted.err().map(|error| format!("an old file is not deleted: {error}"))
    }

    /// What messages call the file, where that is not what the options do.
    pub(super) fn name(&self, path: &Path) -> Option<String> {
        (path != self.options.path).then(|| path.display().to_string())
    }

    fn rotates(&self) -> bool {
        self.options.rotation != Rotation::None
    }
}

/// Whether the oldest files of such a rotation may have to be deleted.
pub(super) fn deletes(rotation: &Rotation) -> bool {
    matches!(rotation, Rotation::Ring(Ring { files, total, .. }) if files.is_some() || total.is_some())
}

impl Folders {
    /// The directory of `path`.
    fn of(&mut self, path: &Path) -> Result<&Folder, FilesError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let folder = match self.0.take().filter(|(path, _)| path == parent) {
            Some(folder) => folder,
            None => (parent.to_owned(), Folder::of(path)?),
        };
        Ok(&self.0.insert(folder).1)
    }
}

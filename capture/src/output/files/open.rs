//! Opening files: what may be written to, and what is refused.

use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, FcntlArg, OFlag, fcntl, open, openat},
    libc,
    sys::stat::{FileStat, Mode, SFlag, fstatat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};

use super::{
    claims::Identity,
    error::{Cause, FilesError},
};

/// For the owner alone: packets hold passwords.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// A file that is complete.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) path: PathBuf,
    /// Which file it is, whatever has its name now.
    pub(super) identity: Identity,
}

/// What may be at the place of a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// An existing file is [cleared](clear), as tcpdump does.
    Replace,
    /// An existing file is left alone; opening fails.
    Keep,
}

/// The directory of the files. It is opened once: the files stay in it when it gets another name.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// The directory that `path` is in.
    pub(super) fn of(path: &Path) -> Result<Self, FilesError> {
        file_name(path)?;
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = open(folder, flags, Mode::empty());
        opened.map(Self).map_err(|errno| FilesError::new(path, Cause::Folder(errno.into())))
    }

    /// Opens the file that `path` names, in this directory whatever it is called now. `None`: it is a pipe that no one
    /// reads.
    pub(super) fn open(&self, path: &Path, existing: Existing) -> Result<Option<File>, FilesError> {
        let how = match existing {
            Existing::Replace => OFlag::empty(),
            Existing::Keep => OFlag::O_EXCL,
        };
        let opened = self.open_with(path, how | OFlag::O_CREAT | OFlag::O_NONBLOCK);
        match opened {
            Ok(file) => {
                // Opening does not wait; writing does.
                let waiting = fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()));
                waiting.map_err(|errno| FilesError::new(path, errno.into()))?;
                Ok(Some(file))
            }
            // fifo(7)
            Err(Errno::ENXIO) if self.pipe(path).is_some() => Ok(None),
            Err(errno) => Err(FilesError::new(path, errno.into())),
        }
    }

    /// Which pipe `path` names, if it names one.
    pub(super) fn pipe(&self, path: &Path) -> Option<Identity> {
        let name = path.file_name().unwrap_or_default();
        let there = fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        let is_pipe = SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO;
        is_pipe.then(|| identity(&there))
    }

    /// Opens a pipe, and waits until someone reads it.
    pub(super) fn open_pipe(&self, path: &Path) -> Result<File, FilesError> {
        loop {
            match self.open_with(path, OFlag::empty()) {
                Err(Errno::EINTR) => {}
                opened => return opened.map_err(|errno| FilesError::new(path, errno.into())),
            }
        }
    }

    fn open_with(&self, path: &Path, flags: OFlag) -> Result<File, Errno> {
        let flags = flags | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        openat(&self.0, path.file_name().unwrap_or_default(), flags, MODE).map(File::from)
    }

    /// Deletes a file, if it is still there under its name: another one of this name stays.
    pub(super) fn delete(&self, file: &Finished) -> Result<(), FilesError> {
        let name = file_name(&file.path)?;
        let there = fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if there.ok().as_ref().map(identity) != Some(file.identity) {
            return Ok(());
        }
        let deleted = unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir);
        deleted.map_err(|errno| FilesError::new(&file.path, errno.into()))
    }
}

/// Empties a regular file that may have been there before. If it belongs to the user of this process, it is for the
/// owner alone from then on, as a new one is.
pub(super) fn clear(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(());
    }
    if metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o7777 != MODE.bits() {
        // Not all file systems have modes.
        let _without = file.set_permissions(Permissions::from_mode(MODE.bits()));
    }
    file.set_len(0)
}

/// The device and the inode.
fn identity(stat: &FileStat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn file_name(path: &Path) -> Result<&OsStr, FilesError> {
    // `Path::file_name` takes `d/` and `d/.` for `d`.
    let is_whole = !matches!(path.as_os_str().as_bytes(), [.., b'/'] | [.., b'/', b'.'] | b".");
    path.file_name().filter(|_| is_whole).ok_or_else(|| {
        let cause = if path.is_dir() { Cause::Directory } else { Cause::NoName };
        FilesError::new(path, cause)
    })
}

/// Whether `path` stands for a descriptor of this process: a symbolic link that is followed.
pub fn is_descriptor(path: &Path) -> bool {
    let number = |folder| path.strip_prefix(folder).ok().and_then(Path::to_str);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    [Path::new("/dev/stdout"), Path::new("/dev/stderr")].contains(&path)
        || number("/dev/fd").or_else(|| number("/proc/self/fd")).is_some_and(is_number)
}

/// Opens what a descriptor of this process leads to. A file that the shell opened with `>>` is not truncated.
///
/// # Errors
///
/// The system's.
pub fn open_descriptor(path: &Path) -> Result<File, FilesError> {
    let opened = File::options().append(true).custom_flags(libc::O_NOCTTY).open(path);
    opened.map_err(|error| FilesError::new(path, Cause::System(error)))
}

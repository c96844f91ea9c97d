//! Which regular files and pipes are in use: no two of them are one.

use std::{
    fs::{File, FileType},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::error::{Cause, FilesError};

/// Which file it is, whatever its name: the device and the inode.
pub type Identity = (u64, u64);

/// The regular files and pipes that a run reads and writes, by whichever name. Clones are about the same files.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    identity: Identity,
    name: PathBuf,
    is_input: bool,
}

/// That a file is being written, until this is dropped. Empty for a device or a socket.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Claims,
    identity: Option<Identity>,
}

/// Which regular file or pipe it is; nothing where it is neither.
///
/// # Errors
///
/// The system's.
pub fn identity_of(file: &File) -> io::Result<Option<Identity>> {
    let metadata = file.metadata()?;
    let is_one = |kind: FileType| kind.is_file() || kind.is_fifo();
    Ok(is_one(metadata.file_type()).then(|| (metadata.dev(), metadata.ino())))
}

impl Claims {
    /// With the file that is read, which messages call `name`.
    pub fn with_input(identity: Identity, name: &Path) -> Self {
        Self(Arc::new(Mutex::new(vec![Entry { identity, name: name.to_owned(), is_input: true }])))
    }

    /// Claims a file that is open and written to as long as the process runs.
    ///
    /// # Errors
    ///
    /// When it is in use.
    pub fn hold(&self, file: &File, name: &Path) -> Result<(), FilesError> {
        self.add(file, name).map(drop).map_err(|cause| FilesError::new(name, cause))
    }

    /// Claims a file, which must not have been changed yet.
    pub(super) fn take(&self, file: &File, name: &Path) -> Result<Claim, FilesError> {
        let added = self.add(file, name).map_err(|cause| FilesError::new(name, cause));
        added.map(|identity| Claim { claims: self.clone(), identity })
    }

    /// Claims a pipe that is not open yet.
    pub(super) fn take_pipe(&self, identity: Identity, name: &Path) -> Result<Claim, FilesError> {
        let added = self.add_identity(identity, name).map_err(|cause| FilesError::new(name, cause));
        added.map(|()| Claim { claims: self.clone(), identity: Some(identity) })
    }

    fn add(&self, file: &File, name: &Path) -> Result<Option<Identity>, Cause> {
        let identity = identity_of(file).map_err(Cause::System)?;
        identity.map(|identity| self.add_identity(identity, name).map(|()| identity)).transpose()
    }

    fn add_identity(&self, identity: Identity, name: &Path) -> Result<(), Cause> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.iter().find(|entry| entry.identity == identity) {
            Some(Entry { name, is_input: true, .. }) => Err(Cause::Input(name.clone())),
            Some(Entry { name, .. }) => Err(Cause::Output(name.clone())),
            None => {
                entries.push(Entry { identity, name: name.to_owned(), is_input: false });
                Ok(())
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut entries = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| Some(entry.identity) != self.identity);
    }
}

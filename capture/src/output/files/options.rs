//! What is to be written where.

use std::path::PathBuf;

/// What [`Files`](super::Files) writes.
#[derive(Clone, Debug, Default)]
pub struct FilesOptions {
    /// The file, or what the names of files are made from.
    pub path: PathBuf,
}

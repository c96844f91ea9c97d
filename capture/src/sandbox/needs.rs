//! What a process needs for its work.

use std::path::PathBuf;

/// What the work from now on needs, besides the descriptors that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Directories in which files are opened for writing and deleted.
    pub folders: Vec<PathBuf>,
    /// Whether that is done for another process, by threads of this one.
    pub serves: bool,
    /// Whether another process, which is a child, does so for this one, or asks for names.
    pub asks: bool,
    /// Whether names of hosts are asked for.
    pub names: bool,
    /// Whether packets come from rings, and from another process what there is to be known of them.
    pub live: bool,
    /// Whether other programs are started: what this process may not do, they may not do either.
    pub programs: bool,
    /// Whether files are opened only when the outputs are: they belong to the user that started the process, as those that
    /// are opened before anything is given up.
    pub opens_once: bool,
}

impl Needs {
    pub(super) fn opens_files(&self) -> bool {
        !self.folders.is_empty()
    }
}

//! `--cleanup`: what captures have left that were killed.

use std::io;

use super::{
    attach::removal,
    interface::{Interface, InterfaceError},
    life::remove_dead,
    privileges::NotPermitted,
};

/// Something is not removed.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// The interfaces cannot be listed.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The process may not remove filters.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The kernel refuses.
    #[error("cannot remove the filters of a capture that was killed from {interface}: {source}")]
    Refused {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// Removes the clsact filters of dead captures from all interfaces of this network namespace, and returns a sentence for each
/// interface that had some.
///
/// # Errors
///
/// When one is not removed.
pub fn clean_up() -> Result<Vec<String>, CleanupError> {
    let mut done = Vec::new();
    for interface in Interface::list()? {
        let removed = remove_dead(interface.index).map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM) => NotPermitted::to("remove filters").into(),
            _ => CleanupError::Refused { interface: interface.to_string(), source },
        })?;
        if removed > 0 {
            done.push(removal(removed, &interface));
        }
    }
    Ok(done)
}

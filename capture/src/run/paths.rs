//! What the name of an output says.

use std::path::Path;

use crate::output::files::is_descriptor;

/// What messages call it.
pub(super) const STANDARD_OUTPUT: &str = "standard output";

/// Whether it is standard output.
pub(super) fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether it is a file that is opened by its name.
pub(super) fn is_named(path: &Path) -> bool {
    !is_dash(path) && !is_descriptor(path)
}

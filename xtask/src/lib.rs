//! What the tasks of the project share, those of `lab` too.

pub mod workspace;

//! `-z`: a program for each finished file.

use std::{
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

/// Starts `command` with the file's name as its only argument, without a shell. No one waits for it but a thread, so
/// that it does not become a zombie. It gets no signal of the terminal: Ctrl-C ends the capture, and not what still works
/// on a finished file.
pub(super) fn start(command: &OsStr, file: &Path) -> io::Result<()> {
    let mut command = Command::new(command);
    let mut child = command.arg(argument(file)).stdin(Stdio::null()).process_group(0).spawn()?;
    thread::Builder::new().name("reaper".to_owned()).spawn(move || child.wait()).map(drop)
}

/// The name, so that no program takes it for an option.
fn argument(file: &Path) -> PathBuf {
    if file.as_os_str().as_bytes().starts_with(b"-") { Path::new(".").join(file) } else { file.to_owned() }
}

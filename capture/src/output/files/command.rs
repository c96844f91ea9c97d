//! `-z`: a program for each finished file.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp},
    sys::{
        signal::{SigSet, Signal},
        stat::Mode,
        wait::waitpid,
    },
    unistd::Pid,
};

/// Starts `command` with the file's name as its only argument, without a shell. No one waits for it but a thread, so
/// that it does not become a zombie.
pub(super) fn start(command: &OsStr, file: &Path, blocked: &SigSet) -> io::Result<()> {
    let child = spawn(command, file, blocked)?;
    let wait = move || while waitpid(child, None) == Err(Errno::EINTR) {};
    // Without the thread the program runs all the same, and is a zombie until the capture ends.
    let _zombie = thread::Builder::new().name("reaper".to_owned()).spawn(wait);
    Ok(())
}

/// It gets no signal of the terminal: Ctrl-C ends the capture, and not what still works on a finished file. Only the
/// signals in `blocked` are blocked in it, whatever this thread blocks: `std::process::Command` passes on the mask of the
/// thread, and a thread that unblocked signals for a moment would get those that the capture waits for.
fn spawn(command: &OsStr, file: &Path, blocked: &SigSet) -> io::Result<Pid> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigmask(blocked)?;
    // Rust's runtime ignores it.
    attributes.set_sigdefault(&Signal::SIGPIPE.into())?;
    let mut descriptors = PosixSpawnFileActions::init()?;
    descriptors.add_open(0, c"/dev/null", OFlag::O_RDONLY, Mode::empty())?;
    let command = CString::new(command.as_bytes())?;
    let argument = CString::new(argument(file).into_os_string().into_vec())?;
    let environment: Result<Vec<CString>, _> = env::vars_os().map(variable).collect();
    Ok(posix_spawnp(&command, &descriptors, &attributes, &[&command, &argument], &environment?)?)
}

fn variable((mut name, value): (OsString, OsString)) -> io::Result<CString> {
    name.push("=");
    name.push(value);
    Ok(CString::new(name.into_vec())?)
}

/// The name, so that no program takes it for an option.
fn argument(file: &Path) -> PathBuf {
    if file.as_os_str().as_bytes().starts_with(b"-") { Path::new(".").join(file) } else { file.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc};

    use nix::{sys::signal::kill, unistd::mkfifo};

    use super::*;

    /// The mask is per thread, and this one is the test's own.
    #[test]
    fn signals_that_the_capture_blocks_reach_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let (started, child) = mpsc::channel();
        thread::spawn(move || {
            SigSet::all().thread_block().unwrap();
            started.send(spawn(OsStr::new("cat"), &path, &Signal::SIGUSR1.into()).unwrap()).unwrap();
        });
        let child = child.recv().unwrap();
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
        kill(child, Signal::SIGKILL).unwrap();
        waitpid(child, None).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim();
        assert_eq!(u64::from_str_radix(blocked, 16).unwrap(), 1 << (Signal::SIGUSR1 as i32 - 1));
    }
}

//! `-z`: a program for each finished file.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    sync::mpsc,
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
use rustix::process::setpriority_process;

/// How nice the program is to others: as nice as can be (nice(2)), like tcpdump's.
const NICENESS: i32 = 19;

/// Starts `command` with the file's name as its only argument, without a shell. No one waits for it but a thread, so
/// that it does not become a zombie.
pub(super) fn start(command: &OsStr, file: &Path, blocked: &SigSet) -> io::Result<()> {
    let (command, file, blocked) = (command.to_owned(), file.to_owned(), *blocked);
    let (started, child) = mpsc::sync_channel(1);
    thread::Builder::new().name("reaper".to_owned()).spawn(move || {
        // Of this thread alone (setpriority(2), "C library/kernel differences"); the program inherits it.
        let _as_it_is = setpriority_process(None, NICENESS);
        let spawned = spawn(&command, &file, &blocked);
        let child = spawned.as_ref().ok().copied();
        let _received = started.send(spawned);
        if let Some(child) = child {
            while waitpid(child, None) == Err(Errno::EINTR) {}
        }
    })?;
    child.recv().map_err(io::Error::other)?.map(drop)
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
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use nix::{sys::signal::kill, unistd::mkfifo};

    use super::*;

    /// Like tcpdump's; and what starts it is no nicer than before.
    #[test]
    fn the_program_is_nice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh\nnice > \"$1\"\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        start(script.as_os_str(), &path, &SigSet::empty()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{NICENESS}\n"));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), 0);
    }

    #[test]
    fn what_does_not_start_says_why() {
        let error = start(OsStr::new("/nowhere/at/all"), Path::new("x"), &SigSet::empty()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

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

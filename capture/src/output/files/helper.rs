//! The helper that opens files: a process with what opening and deleting files and starting the programs of `-z` takes. It
//! never sees a packet. Who writes asks it ([`message`](super::message)) and gets open files.
//!
//! It has a thread for each output, because one may wait for the reader of a pipe, and one that sees the end of the process
//! that asks.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    thread,
    time::Duration,
};

use nix::{
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};

use super::{
    error::FilesError,
    keeper::{Keeper, Opened},
    keeping::Asked,
    message::{Answer, Beginning, End as Over, Request},
    options::FilesOptions,
};
use crate::process::{
    Side,
    channel::{Broken, End, pair},
    close_others, disown, fork,
};

/// How often its end is looked for, and after which time each time.
const LOOKS: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(1);

/// The helper, as the process sees it that asks. It ends with this.
#[derive(Debug)]
pub struct Helper {
    life: End<Over, Beginning>,
    process: Pid,
    /// What it may still do, in words.
    holds: String,
}

/// Why there is no helper.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The system's answer.
    #[error("cannot start the helper process, which opens the files: {0}")]
    Start(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Refused(String),
    /// It ended at once.
    #[error("lost the helper process that opens the files: {0}; start capture again")]
    Broken(#[from] Broken),
}

impl Helper {
    /// Splits the process: the child is the helper for these `outputs`. To be called while the process has one thread. The
    /// child gives up what it does not need: first all but system calls with `confine`, and then these with what that
    /// returns, which also says what is left, in words.
    ///
    /// # Errors
    ///
    /// When the system has no more processes, threads or descriptors, or does not let the child give something up.
    pub fn split<S>(
        outputs: Vec<FilesOptions>,
        confine: impl FnOnce() -> Result<S, String>,
    ) -> Result<(Self, Vec<Asked>), HelperError>
    where
        S: FnOnce() -> Result<String, String>,
    {
        let (life, end) = pair()?;
        let mut asked = Vec::new();
        let mut served = Vec::new();
        for options in outputs {
            let (one, other) = pair()?;
            asked.push(Asked(one));
            served.push((options, other));
        }
        let process = match fork()? {
            Side::Parent(process) => process,
            Side::Child(child) => child.live(c"capture-files", move || {
                drop((life, asked));
                live(served, &end, confine);
            }),
        };
        drop((end, served));
        let holds = match life.hear()? {
            Beginning::Begun(holds) => holds,
            Beginning::Refused(why) => return Err(HelperError::Refused(why)),
        };
        Ok((Self { life, process, holds }, asked))
    }

    /// What it may still do, in words; empty where that is everything.
    pub fn holds(&self) -> &str {
        &self.holds
    }

    /// For a process that is to have nothing of this: the child of the one that has it.
    pub fn disown(&self) {
        disown(&self.life);
    }

    /// What can be read when the helper has ended, or says something that it should not: in either case it is of no use.
    ///
    /// # Errors
    ///
    /// When the system has no more descriptors.
    pub fn end(&self) -> io::Result<OwnedFd> {
        self.life.as_fd().try_clone_to_owned()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _gone = self.life.say(&Over);
        // Directories that it has open are free when the run has ended. One that does not end holds up nothing.
        for _ in 0..LOOKS {
            if !matches!(waitpid(self.process, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive)) {
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// The life of the helper.
fn live<S>(
    served: Vec<(FilesOptions, End<Answer, Request>)>,
    end: &End<Beginning, Over>,
    confine: impl FnOnce() -> Result<S, String>,
) where
    S: FnOnce() -> Result<String, String>,
{
    let kept = std::iter::once(end.as_fd()).chain(served.iter().map(|(_, channel)| channel.as_fd()));
    close_others(kept);
    let begin = || {
        let seal = confine()?;
        for (options, channel) in served {
            let serve = move || serve(&mut Keeper::new(options), &channel);
            let started = thread::Builder::new().name("output".to_owned()).spawn(serve);
            started.map_err(|error| HelperError::Start(error).to_string())?;
        }
        seal()
    };
    let beginning = begin().map_or_else(Beginning::Refused, Beginning::Begun);
    // Whatever comes, or that nothing can come any more, is the end, also of what the threads wait for.
    let _ended = end.say(&beginning).and_then(|()| end.hear());
}

/// Does what it is asked to, until nothing can come any more.
fn serve(keeper: &mut Keeper, channel: &End<Answer, Request>) -> Result<(), Broken> {
    loop {
        match channel.hear()? {
            Request::Open { now, why } => answer(keeper.open(now, why), keeper, channel)?,
            Request::Wait => answer(keeper.wait_for_reader(), keeper, channel)?,
            Request::Finish => channel.say(&done(keeper.finish()))?,
            Request::Delete => channel.say(&done(keeper.delete_oldest()))?,
        }
    }
}

/// Says what became of a file, and hands it over. This process keeps none: a file system may show only when the last one
/// closes it that what was written is not there.
fn answer(
    opened: Result<Opened, FilesError>,
    keeper: &Keeper,
    channel: &End<Answer, Request>,
) -> Result<(), Broken> {
    match opened {
        Ok(Opened::File { path, file, .. }) => {
            channel.hand(&Answer::Opened { name: keeper.name(&path) }, &file)
        }
        Ok(Opened::Waits) => channel.say(&Answer::Waits),
        Err(error) => channel.say(&Answer::Failed {
            name: keeper.name(&error.path),
            why: error.cause.to_string(),
            errno: error.errno(),
        }),
    }
}

fn done(note: Option<String>) -> Answer {
    note.map_or(Answer::Done, Answer::Noted)
}

//! What is written to files: a thread opens each as soon as it is there, and reads it as it grows, so that files which are
//! deleted meanwhile are counted, too.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::counter::{Counter, Format, Tally};

/// Between two looks at the folder.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
const PIECE: usize = 256 * 1024;

/// What becomes of files after they are finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// There is one only.
    Only,
    /// They stay.
    Stay,
    /// They are deleted. Their names have numbers, by which is known whether one was missed.
    Deleted,
    /// They are written over: what is in them is known at the end only.
    Replaced,
}

/// The files of an output, alone in a folder.
pub(super) struct Files {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    folder: PathBuf,
    format: Format,
    fate: Fate,
    state: Mutex<State>,
    is_over: AtomicBool,
}

#[derive(Default)]
struct State {
    files: BTreeMap<OsString, Reader>,
    /// Of files that are gone: how many, and their packets.
    deleted: usize,
    packets: u64,
    /// What went wrong.
    error: Option<anyhow::Error>,
}

struct Reader {
    file: File,
    position: u64,
    counter: Counter,
}

impl Files {
    /// Counts what comes into a folder, which is there already.
    pub(super) fn new(folder: &Path, format: Format, fate: Fate) -> Result<Self> {
        let is_over = AtomicBool::new(false);
        let shared = Shared { folder: folder.to_owned(), format, fate, state: Mutex::default(), is_over };
        let shared = Arc::new(shared);
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("files".to_owned()).spawn(move || {
            while !own.is_over.load(Ordering::Relaxed) && own.fate != Fate::Replaced {
                drop(own.look());
                thread::sleep(BETWEEN_LOOKS);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What has been counted so far. The accounts are those of a file that is the only one.
    pub(super) fn tally(&self) -> Result<Tally> {
        if self.shared.fate == Fate::Replaced { Ok(Tally::default()) } else { self.end() }
    }

    /// What there is when nothing more is written.
    pub(super) fn end(&self) -> Result<Tally> {
        let state = self.shared.look();
        if let Some(error) = &state.error {
            anyhow::bail!("{error:#}");
        }
        let mut tally = Tally { packets: state.packets, ..Tally::default() };
        for (name, reader) in &state.files {
            let of_file = reader.counter.tally().with_context(|| format!("{} is wrong", name.display()))?;
            tally.packets += of_file.packets;
            tally.is_cut |= of_file.is_cut;
            tally.statistics = of_file.statistics.filter(|_| self.shared.fate == Fate::Only);
            tally.interfaces = of_file.interfaces;
            tally.objects = of_file.objects.filter(|_| self.shared.fate == Fate::Only);
        }
        Ok(tally)
    }

    /// Whether files were not seen before they were deleted or replaced.
    pub(super) fn are_partial(&self) -> bool {
        let state = self.shared.lock();
        match self.shared.fate {
            Fate::Only | Fate::Stay => false,
            Fate::Replaced => true,
            Fate::Deleted => {
                let last = state.files.keys().filter_map(|name| number(name.to_str()?)).max();
                last.unwrap_or_default() != state.deleted + state.files.len()
            }
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// The number in a name such as `x_00012_20261126120000.pcapng`.
fn number(name: &str) -> Option<usize> {
    name.split('_').nth(1)?.parse().ok()
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what is new, and reads what has been written since the last look.
    fn look(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if state.error.is_none() {
            state.error = self.try_look(&mut state).err();
        }
        state
    }

    fn try_look(&self, state: &mut State) -> Result<()> {
        let names =
            fs::read_dir(&self.folder).with_context(|| format!("cannot list {}", self.folder.display()))?;
        let names: Vec<OsString> = names.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
        for name in &names {
            if !state.files.contains_key(name) {
                let file = match File::open(self.folder.join(name)) {
                    // Deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    file => file.with_context(|| format!("cannot open {}", name.display()))?,
                };
                let counter = Counter::new(self.format, self.fate == Fate::Only);
                state.files.insert(name.clone(), Reader { file, position: 0, counter });
            }
        }
        let mut buffer = vec![0; PIECE];
        for reader in state.files.values_mut() {
            loop {
                let length = reader.file.read_at(&mut buffer, reader.position)?;
                if length == 0 {
                    break;
                }
                reader.position += length as u64;
                reader.counter.take(&buffer[..length]);
            }
        }
        if self.fate != Fate::Deleted {
            return Ok(());
        }
        // A file that is not there any more has been read to its end: nothing is written to it after it was deleted.
        let gone: Vec<OsString> = state.files.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            let reader = state.files.remove(&name).context("it was there")?;
            let tally = reader.counter.tally().with_context(|| format!("{} was wrong", name.display()))?;
            anyhow::ensure!(!tally.is_cut, "{} ended in the middle of a packet", name.display());
            state.packets += tally.packets;
            state.deleted += 1;
        }
        Ok(())
    }
}

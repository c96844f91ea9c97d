//! `cargo lab soak`.

mod accounts;
mod counter;
mod crowds;
mod cycles;
mod deck;
mod ended;
mod files;
mod load;
mod phases;
mod report;
mod residents;
mod stream;
mod subject;
mod traffic;
mod usage;
mod visitors;
mod world;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use test_support::{namespace::own_mounts, process::end_with_us};

use self::usage::Orphans;
use crate::workspace::{Metadata, build_release, cargo, is_root};

/// Run capture for a while under what happens to a server, and check its accounts and what it takes
///
/// Three captures run all the time, on interfaces that go down, come, go, move and get other names, while the load changes,
/// their outputs are not read and they are stopped. Short captures with random filters and outputs come and go next to them;
/// their disks are full, their readers and interfaces go away, they are killed. All numbers that capture reports are added up
/// again and again, what is in the outputs is counted, and memory, descriptors and programs have to return to where they
/// were. docs/soak.md has the details.
///
/// It needs root and tcpdump. Everything happens in namespaces of its own, which are gone when it ends, however it ends.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,

    /// Only attach and detach, so many times, instead
    #[arg(long, value_name = "N", conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(1..))]
    cycles: Option<u64>,

    /// Only have so many interfaces come and go, a hundred at a time, instead
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["minutes", "cycles"],
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    interfaces: Option<u64>,

    /// Where the choices come from: the same seed makes the same ones [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// The binary to run, instead of the one built from this workspace
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,

    /// Set by soak itself, for the process in which everything happens: the folder for files
    #[arg(long, hide = true, requires_all = ["seed", "capture"])]
    folder: Option<PathBuf>,
}

/// A condition that has not come true after this long never will, also on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// How much memory the files may take, and how large the disk is that is full now and then.
const DISK: &str = "size=512m";
const SMALL_DISK: &str = "size=1m";

/// What all captures share.
struct Soak {
    /// The binary.
    capture: PathBuf,
    /// Where packets are written, in memory. No other process sees it, and it is gone with this one.
    data: PathBuf,
    /// What captures say: it stays when something is wrong.
    logs: PathBuf,
}

impl Soak {
    /// To be called before there is another thread, in a process that is the first of its PID namespace.
    fn new(capture: &Path, folder: &Path) -> Result<Self> {
        own_mounts();
        let mounted = mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>);
        mounted.context("cannot mount /proc")?;
        let (data, logs) = (folder.join(DATA), folder.join(LOGS));
        mount_memory(&data, DISK)?;
        let small = data.join("tiny");
        fs::create_dir(&small)?;
        mount_memory(&small, SMALL_DISK)?;
        Ok(Self { capture: capture.to_owned(), data, logs })
    }
}

/// The folders in that of a run.
const DATA: &str = "data";
const LOGS: &str = "logs";

fn mount_memory(folder: &Path, size: &str) -> Result<()> {
    let mounted = mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(size));
    mounted.with_context(|| format!("cannot mount a file system in memory on {}", folder.display()))
}

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    if !is_root() {
        bail!("soak needs root: it makes namespaces, raw sockets and BPF programs");
    }
    match arguments {
        Arguments { folder: Some(folder), seed: Some(seed), capture: Some(capture), .. } => {
            inside(arguments, folder, *seed, capture)
        }
        _ => outside(arguments),
    }
}

/// Has everything happen in a PID namespace of its own: when its first process ends, the kernel kills the others. It ends
/// with this one, however that ends. A capture itself would not: the kernel forgets whom a process is to end with when its
/// user changes.
fn outside(arguments: &Arguments) -> Result<()> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
    // Short, so that it can be typed.
    let seed = arguments.seed.unwrap_or_else(|| now() % 1_000_000);
    let capture = match &arguments.capture {
        Some(path) => path.canonicalize().with_context(|| format!("no {}", path.display()))?,
        None => build_release()?,
    };
    let folder = Metadata::read(Path::new(cargo().get_program()))?.target.join("soak").join(seed.to_string());
    // Of an earlier run.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for name in [DATA, LOGS] {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    println!("seed {seed}");
    let orphans = Orphans::new()?;
    // capture leaves alone a signal that was ignored when it started, and here signals end captures: under nohup, or in a
    // script's background, some are ignored.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(env::current_exe()?);
    command.args(["soak", "--seed", &seed.to_string()]).arg("--capture").arg(&capture);
    command.arg("--folder").arg(&folder);
    match (arguments.cycles, arguments.interfaces) {
        (Some(cycles), _) => command.args(["--cycles", &cycles.to_string()]),
        (_, Some(interfaces)) => command.args(["--interfaces", &interfaces.to_string()]),
        _ => command.args(["--minutes", &arguments.minutes.to_string()]),
    };
    end_with_us(&mut command);
    unshare(CloneFlags::CLONE_NEWPID).context("cannot make a PID namespace")?;
    let status = command.status().context("cannot run lab again")?;
    let checked = orphans.check();
    if status.success() && checked.is_ok() {
        return fs::remove_dir_all(&folder).context("cannot remove the logs");
    }
    let logs = folder.join(LOGS);
    let words = format!(
        "seed {seed}: not everything is as it should be; what captures said is in {}",
        logs.display()
    );
    checked.context(words.clone())?;
    bail!(words)
}

/// What happens there.
fn inside(arguments: &Arguments, folder: &Path, seed: u64, capture: &Path) -> Result<()> {
    let soak = Soak::new(capture, folder)?;
    match (arguments.cycles, arguments.interfaces) {
        (Some(cycles), _) => cycles::perform(&soak, cycles, seed)?,
        (_, Some(interfaces)) => crowds::perform(&soak, interfaces)?,
        _ => phases::perform(&soak, Duration::from_secs(60 * arguments.minutes), seed)?,
    }
    usage::wait_until_alone()
}

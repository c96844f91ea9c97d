//! The long captures: what they are, and what stays the same each time that they have nothing to do.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use test_support::wait::within;

use super::{
    PATIENCE, Soak,
    counter::Format,
    ended::{Expected, Summary},
    files::Fate,
    stream::Reading,
    subject::{Sink, Subject},
    usage::Usage,
    world::World,
};
use crate::{memory::Memory, random::Random};

/// Expressions that select some of what is sent to the interfaces of the long captures.
pub(super) const FILTERS: &[&str] = &[
    "tcp",
    "port 8888",
    "tcp[tcpflags] & tcp-ack != 0",
    "src portrange 20000-20003 or dst port 8888",
    "tcp[4:4] & 1 = 0",
    "ip[2:2] > 40 and not host 192.0.2.1",
    "src net 10.0.0.0/8 and (dst port 8888 or src port 8888)",
    "not port 22",
    "ip proto 6 and ip[8] >= 64",
    "host 10.0.0.2 or host 10.1.0.1",
];

/// Besides the rings, each process of a capture may have so much memory that is resident. README.md says 9 MiB, 2 MiB for the
/// blocks of each slow output, and 24 MiB for the connections of `--json`; the flows are few.
const MOST_RESIDENT: u64 = 16 << 20;
const MOST_RESIDENT_WITH_JSON: u64 = 40 << 20;
/// Rests after which a capture has had everything once.
const FIRST_RESTS: usize = 10;
/// The least memory of so many rests is compared with that of so many after the first ones.
const RESTS: usize = 6;
/// It may be more by so much: an output that was slow keeps four blocks of 256 KiB to fill them again, and the allocator keeps
/// its others, up to 2 MiB, for a while.
const MOST_GROWTH: u64 = 4 << 20;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `-i any`, text.
    Any,
    /// Several `-i`, files and JSON.
    Several,
    /// One `-i` with `--wait`, pcapng.
    One,
}

/// All of them.
const KINDS: [Kind; 3] = [Kind::Any, Kind::Several, Kind::One];

/// What is done to a long capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Nothing,
    /// An output is not read.
    Unread(usize, usize),
    /// An output is read slowly.
    SlowlyRead(usize, usize),
    /// It is stopped.
    Stopped(usize),
}

/// All of it.
pub(super) const TROUBLES: &[Trouble] = &[
    Trouble::Nothing,
    Trouble::Nothing,
    Trouble::Unread(0, 0),
    Trouble::Unread(1, 1),
    Trouble::Unread(2, 0),
    Trouble::SlowlyRead(0, 0),
    Trouble::SlowlyRead(1, 1),
    Trouble::Stopped(0),
    Trouble::Stopped(1),
    Trouble::Stopped(2),
];

/// A long capture.
pub(super) struct Resident {
    kind: Kind,
    pub(super) subject: Subject,
    /// What it had when it rested first, in words.
    stable: Option<String>,
    /// Its memory each time that it rested.
    rests: Vec<Memory>,
    /// How often it has been started.
    starts: usize,
}

/// What a long capture had.
pub(super) struct Life {
    pub(super) name: String,
    pub(super) rests: usize,
    pub(super) samples: u64,
    pub(super) first: Memory,
    pub(super) last: Memory,
    pub(super) most: Memory,
    pub(super) stable: String,
}

impl Trouble {
    /// In words.
    pub(super) fn words(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Unread(number, output) => format!("{} not read", KINDS[number].output(output)),
            Self::SlowlyRead(number, output) => format!("{} read slowly", KINDS[number].output(output)),
            Self::Stopped(number) => format!("{} stopped", KINDS[number].name()),
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Several => "several",
            Self::One => "one",
        }
    }

    /// What one of its outputs is.
    fn output(self, number: usize) -> String {
        let what = match (self, number) {
            (Self::Any, _) => "text",
            (Self::Several, 0) => "files",
            (Self::Several, _) => "JSON",
            (Self::One, _) => "pcapng",
        };
        format!("{what} of `{}`", self.name())
    }
}

/// What a long capture is called that was started so often; its folder, too.
fn name(kind: Kind, starts: usize) -> String {
    format!("{}-{starts}", kind.name())
}

impl Resident {
    /// Starts all of them.
    pub(super) fn start_all(soak: &Soak, world: &World, random: &mut Random) -> Result<Vec<Self>> {
        KINDS.into_iter().map(|kind| Self::start(soak, world, kind, 1, random)).collect()
    }

    fn start(soak: &Soak, world: &World, kind: Kind, starts: usize, random: &mut Random) -> Result<Self> {
        let name = name(kind, starts);
        let folder = soak.data.join(&name);
        fs::create_dir_all(&folder)?;
        let (arguments, sinks) = match kind {
            Kind::Any => ("-i any -B 4096".to_owned(), vec![Sink::Standard(Format::Text)]),
            Kind::Several => {
                let (files, pipe) = (folder.join("x.pcapng"), folder.with_extension("json"));
                let arguments = format!(
                    "-i eth0 -i eth1 -i eth2 --wait --headers -w {} --ring-buffer filesize:8000 --ring-buffer files:4 \
                     --json={}",
                    files.display(),
                    pipe.display()
                );
                let sinks =
                    [Sink::Files(files, Format::Pcapng, Fate::Deleted), Sink::Pipe(pipe, Format::Json)];
                (arguments, sinks.to_vec())
            }
            Kind::One => {
                let interface = random.pick(&["eth1", "eth2"]);
                let arguments = format!("-i {interface} --wait -w - --format pcapng -s 100 -B 1024");
                (arguments, vec![Sink::Standard(Format::Pcapng)])
            }
        };
        let mut arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        // The first has everything.
        let filter = if starts == 1 { FILTERS[0] } else { random.pick(FILTERS) };
        arguments.extend(["--".to_owned(), filter.to_owned()]);
        let subject = Subject::start(soak, &world.server, &name, &arguments, &sinks, "listening on ")?;
        Ok(Self { kind, subject, stable: None, rests: Vec::new(), starts })
    }

    /// Ends it, and starts it again with another filter.
    pub(super) fn again(
        self,
        soak: &Soak,
        world: &World,
        random: &mut Random,
    ) -> Result<(Self, Summary, Life)> {
        let (kind, starts) = (self.kind, self.starts);
        let (summary, life) = self.end()?;
        // In time the disk would be full.
        fs::remove_dir_all(soak.data.join(name(kind, starts)))?;
        Ok((Self::start(soak, world, kind, starts + 1, random)?, summary, life))
    }

    /// Ends it, and checks all that it says.
    pub(super) fn end(self) -> Result<(Summary, Life)> {
        let life = self.life();
        let summary = self.subject.end(Some(Signal::SIGINT))?.check(Expected::Order)?;
        Ok((summary, life))
    }

    /// Waits until everything has arrived and it has what it had when it rested first; then looks at its memory. Nothing may
    /// be sent, and all interfaces have to be there.
    pub(super) fn rest(&mut self) -> Result<()> {
        self.subject.settle()?;
        let stable = self.stable.get_or_insert_with(|| self.subject.usage.stable()).clone();
        let subject = &mut self.subject;
        // It may still be attaching, or detaching.
        let returned = within(PATIENCE, &format!("that it has {stable} again"), || {
            subject.sample()?;
            Ok((subject.usage.stable() == stable).then_some(()))
        });
        let returned = returned.with_context(|| format!("it has {} now", self.subject.usage.stable()));
        self.subject.explain(returned)?;
        self.rests.push(self.subject.usage.memory);
        self.subject.explain(self.check_memory())
    }

    fn check_memory(&self) -> Result<()> {
        let limit = if self.kind == Kind::Several { MOST_RESIDENT_WITH_JSON } else { MOST_RESIDENT };
        let Usage { memory, processes, .. } = &self.subject.usage;
        let limit = limit * processes.len() as u64;
        ensure!(
            memory.resident <= limit,
            "{} bytes are resident besides the rings: more than {limit}",
            memory.resident
        );
        let least = |rests: &[Memory]| rests.iter().map(|memory| memory.anonymous).min().unwrap_or_default();
        let after_the_first = self.rests.get(FIRST_RESTS..).unwrap_or_default();
        let count = after_the_first.len();
        if count < 2 * RESTS {
            return Ok(());
        }
        let (first, last) = (least(&after_the_first[..RESTS]), least(&after_the_first[count - RESTS..]));
        ensure!(
            last <= first + MOST_GROWTH,
            "its memory grows: the least of {RESTS} rests was {first} bytes, and is {last} after {count} further ones"
        );
        Ok(())
    }

    fn life(&self) -> Life {
        let most = |of: fn(&Memory) -> u64| self.rests.iter().map(of).max().unwrap_or_default();
        Life {
            name: self.subject.name.clone(),
            rests: self.rests.len(),
            samples: self.subject.samples,
            first: self.rests.first().copied().unwrap_or_default(),
            last: self.rests.last().copied().unwrap_or_default(),
            most: Memory {
                resident: most(|memory| memory.resident),
                anonymous: most(|memory| memory.anonymous),
            },
            stable: self.stable.clone().unwrap_or_default(),
        }
    }
}

/// Begins a trouble, or ends it.
pub(super) fn trouble(residents: &mut [Resident], trouble: Trouble, begins: bool) -> Result<()> {
    let (number, reading) = match trouble {
        Trouble::Nothing => return Ok(()),
        Trouble::Unread(number, output) => (number, Some((output, Reading::Paused))),
        Trouble::SlowlyRead(number, output) => (number, Some((output, Reading::Slow))),
        Trouble::Stopped(number) => (number, None),
    };
    let subject = &mut residents.get_mut(number).context("no such capture")?.subject;
    match reading {
        Some((output, reading)) => subject.read(output, if begins { reading } else { Reading::Fast }),
        None => subject.stop(begins)?,
    }
    Ok(())
}

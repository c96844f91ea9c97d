//! One short capture, from its start to the check of its accounts.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use test_support::{namespace::Namespace, wait::within};

use super::{
    super::{
        PATIENCE, Soak,
        accounts::Answer,
        ended::{Ended, Expected, Summary},
        residents,
        stream::Reading,
        subject::{Sink, Subject},
        traffic::{Traffic, Wire},
        usage::Usage,
        world::{World, silence},
    },
    Incident,
    shape::Shape,
};
use crate::{bpf::Object, random::Random};

/// The signals that end a capture.
const ENDS: &[Signal] = &[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGALRM];
/// What a disk has room for that is full soon.
const ROOM: usize = 64 * 1024;
/// How often all frames are sent, at the least and at the most.
const ROUNDS: [usize; 2] = [20, 500];

/// A short capture.
pub(crate) struct Visit<'a> {
    pub(crate) soak: &'a Soak,
    pub(crate) traffic: &'a Traffic,
    pub(crate) name: String,
    pub(crate) incident: Incident,
    pub(crate) shape: Shape,
}

impl Visit<'_> {
    /// Runs it.
    pub(crate) fn run(&self, world: &World, random: &mut Random) -> Result<Summary> {
        let name = if self.incident == Incident::FullDisk { "tiny" } else { "short" };
        let folder = self.soak.data.join(name).join("files");
        fs::create_dir_all(&folder)?;
        let (mut arguments, sinks) = self.shape.outputs(&folder, random);
        if random.one_in(2) {
            arguments.extend(["-B".to_owned(), random.pick(&["4", "64", "1024"]).to_owned()]);
        }
        let ended = match self.incident {
            Incident::Any | Incident::Several => self.with_the_others(world, &arguments, &sinks, random),
            Incident::Late => self.late(arguments, &sinks, random),
            Incident::Namespaces => self.in_namespaces(arguments, &sinks, random),
            _ => self.alone(arguments, &sinks, &folder, random),
        };
        let summary = ended?;
        fs::remove_dir_all(&folder)?;
        for sink in sinks {
            if let Sink::Pipe(path, _) = sink {
                fs::remove_file(path)?;
            }
        }
        Ok(summary)
    }

    fn start(&self, wire: &Wire, arguments: &[String], sinks: &[Sink], greeting: &str) -> Result<Subject> {
        Subject::start(self.soak, &wire.there, &self.name, arguments, sinks, greeting)
    }

    /// On interfaces of its own.
    fn alone(
        &self,
        mut arguments: Vec<String>,
        sinks: &[Sink],
        folder: &Path,
        random: &mut Random,
    ) -> Result<Summary> {
        let mut wire = Wire::new()?;
        let selection = match self.incident {
            // What fails has to have enough to fail with.
            Incident::FullDisk | Incident::ReaderGoes => self.traffic.everything()?,
            _ => self.traffic.expression(random)?,
        };
        let rounds = random.between(ROUNDS[0], ROUNDS[1]);
        let enough = 1 + random.below(rounds * selection.selected);
        match self.incident {
            Incident::Count => arguments.extend(["-c".to_owned(), enough.to_string()]),
            Incident::Autostop => arguments.extend(["--autostop".to_owned(), format!("packets:{enough}")]),
            Incident::Xdp => {
                let hook = random.pick(&["xdp-generic", "xdp-native"]);
                arguments.extend(["--hook".to_owned(), hook.to_owned()]);
            }
            _ => {}
        }
        arguments.extend([
            "-i".to_owned(),
            wire.far.to_owned(),
            "--".to_owned(),
            selection.expression.clone(),
        ]);
        let mut subject = self.start(&wire, &arguments, sinks, "listening on ")?;
        let end = random.pick(ENDS);
        match self.incident {
            Incident::Unread | Incident::UnreadAtEnd | Incident::SlowlyRead => {
                let output = sinks.iter().position(|sink| matches!(sink, Sink::Standard(_)));
                let output = output.context("it has no pipe")?;
                let reading =
                    if self.incident == Incident::SlowlyRead { Reading::Slow } else { Reading::Paused };
                subject.read(output, reading);
                wire.send(self.traffic, rounds)?;
                wire.arrives(&mut subject, &selection)?;
                if self.incident != Incident::UnreadAtEnd {
                    subject.read(output, Reading::Fast);
                    subject.settle()?;
                }
            }
            Incident::ReaderGoes => self.reader_goes(&mut subject, &mut wire, sinks)?,
            Incident::FullDisk => self.full_disk(&mut subject, &mut wire, folder, sinks)?,
            Incident::Stopped => {
                wire.send(self.traffic, rounds)?;
                subject.stop(true)?;
                wire.send(self.traffic, rounds)?;
                subject.stop(false)?;
                wire.arrives(&mut subject, &selection)?;
                subject.settle()?;
            }
            Incident::Count | Incident::Autostop => {
                // What the rings had no room for does not count.
                let has_enough = within(PATIENCE, "that it has enough", || {
                    wire.send(self.traffic, rounds)?;
                    Ok(subject.has_ended().then_some(()))
                });
                subject.explain(has_enough)?;
            }
            _ => {
                wire.send(self.traffic, rounds)?;
                wire.arrives(&mut subject, &selection)?;
                if self.incident == Incident::Nothing {
                    subject.settle()?;
                }
            }
        }
        let ended = match self.incident {
            Incident::InterfaceDeleted => {
                wire.here.try_output(&format!("ip link del {}", wire.near))?;
                return self.gone(subject.end(None)?);
            }
            Incident::Killed => {
                let before = subject.settle()?;
                wire.send(self.traffic, rounds)?;
                return killed(&subject.end(Some(Signal::SIGKILL))?, &before, wire.expected(&selection));
            }
            Incident::HelperKilled => {
                subject.kill_child("capture-helper")?;
                subject.end(None)?
            }
            Incident::Count | Incident::Autostop => subject.end(None)?,
            _ if subject.has_ended() => subject.end(None)?,
            _ => subject.end(Some(end))?,
        };
        let summary = ended.check(match self.incident {
            Incident::Count => Expected::Count,
            Incident::UnreadAtEnd => Expected::Unread,
            Incident::FullDisk | Incident::HelperKilled => Expected::Failure,
            _ => Expected::Order,
        })?;
        if matches!(self.incident, Incident::Count | Incident::Autostop) {
            let captured = summary.captured;
            ensure!(captured == enough as u64, "{}: {captured} packets, and not {enough}", ended.line);
        }
        Ok(summary)
    }

    /// Sends until an output has failed: it is the only one, and the capture ends; or it is not.
    fn send_until_it_fails(&self, subject: &Subject, wire: &mut Wire, is_only: bool) -> Result<()> {
        let failed = within(PATIENCE, "that the output fails", || {
            wire.send(self.traffic, ROUNDS[0])?;
            let has_failed =
                if is_only { subject.has_ended() } else { subject.said()?.contains("cannot write to ") };
            Ok(has_failed.then_some(()))
        });
        subject.explain(failed)
    }

    /// The reader of its standard output goes.
    fn reader_goes(&self, subject: &mut Subject, wire: &mut Wire, sinks: &[Sink]) -> Result<()> {
        let is_only = sinks.len() == 1;
        let output = sinks.iter().position(|sink| matches!(sink, Sink::Standard(_)));
        subject.read(output.context("it has no pipe")?, Reading::Gone);
        self.send_until_it_fails(subject, wire, is_only)?;
        if !is_only {
            subject.settle()?;
        }
        Ok(())
    }

    /// The disk of its file is full; then there is room again, which the output has no use for any more.
    fn full_disk(&self, subject: &mut Subject, wire: &mut Wire, folder: &Path, sinks: &[Sink]) -> Result<()> {
        let is_only = sinks.len() == 1;
        let filler = folder.with_file_name("filler");
        fill(&filler, ROOM)?;
        self.send_until_it_fails(subject, wire, is_only)?;
        subject.set_failed(0);
        fs::remove_file(&filler)?;
        if !is_only {
            wire.send(self.traffic, ROUNDS[0])?;
            subject.settle()?;
        }
        Ok(())
    }

    /// The interface has gone, and the capture with it.
    fn gone(&self, ended: Ended) -> Result<Summary> {
        let summary = ended.check(Expected::Failure)?;
        ensure!(ended.said.contains(" disappeared"), "{}: it does not say why it ended", ended.line);
        Ok(summary)
    }

    /// On an interface that is not there when it starts, and that goes and comes again.
    fn late(&self, mut arguments: Vec<String>, sinks: &[Sink], random: &mut Random) -> Result<Summary> {
        let mut wire = Wire::new()?;
        let selection = self.traffic.expression(random)?;
        for namespace in [&wire.here, &wire.there] {
            silence(namespace)?;
        }
        let make = |wire: &Wire| -> Result<()> {
            let there = wire.there.thread();
            wire.here.try_output(&format!("ip link add name near type veth peer name late netns {there}"))?;
            wire.here.try_output("ip link set near up")?;
            wire.there.try_output("ip link set late up").map(drop)
        };
        arguments.extend(["--wait", "-i", "late", "--", &selection.expression].map(str::to_owned));
        let mut subject = self.start(&wire, &arguments, sinks, "waiting for late")?;
        make(&wire)?;
        subject.expect("listening on ")?;
        wire.set_ends("near", "late")?;
        let rounds = random.between(ROUNDS[0], ROUNDS[1]);
        wire.send(self.traffic, rounds)?;
        wire.arrives(&mut subject, &selection)?;
        wire.here.try_output("ip link del near")?;
        subject.expect("late disappeared")?;
        make(&wire)?;
        subject.expect("late is back")?;
        wire.set_ends("near", "late")?;
        wire.send(self.traffic, rounds)?;
        wire.arrives(&mut subject, &selection)?;
        subject.settle()?;
        subject.end(Some(random.pick(ENDS)))?.check(Expected::Order)
    }

    /// On all interfaces of two namespaces, from a third one. An interface comes and goes in the second, which has nothing but
    /// the capture then: it is gone when the capture has ended.
    fn in_namespaces(
        &self,
        mut arguments: Vec<String>,
        sinks: &[Sink],
        random: &mut Random,
    ) -> Result<Summary> {
        let mut wire = Wire::new()?;
        let (outside, other) = (Namespace::make()?, Namespace::make()?);
        silence(&other)?;
        let ip = |namespace: &Namespace, arguments: &str| {
            namespace.try_output(&format!("ip {arguments}")).map(drop)
        };
        let selection = self.traffic.everything()?;
        for namespace in [&wire.there, &other] {
            arguments.extend(["--netns".to_owned(), namespace.thread()]);
        }
        arguments.extend(["-i", "any", "--", &selection.expression].map(str::to_owned));
        let mut subject =
            Subject::start(self.soak, &outside, &self.name, &arguments, sinks, "listening on ")?;
        let rounds = random.between(ROUNDS[0], ROUNDS[1]);
        wire.send(self.traffic, rounds)?;
        wire.arrives(&mut subject, &selection)?;
        subject.settle()?;
        let (links, before) = (subject.usage.count(Object::Link), subject.usage.clone());
        let mut wait = |what: &str, condition: &dyn Fn(&Usage) -> bool| {
            let waited = within(PATIENCE, what, || {
                subject.measure()?;
                Ok(condition(&subject.usage).then_some(()))
            });
            let waited = waited.with_context(|| format!("it has {} now", subject.usage.stable()));
            subject.explain(waited)
        };
        let pair = format!("link add name joint type veth peer name inside netns {}", other.thread());
        ip(&wire.here, &pair)?;
        ip(&wire.here, "link set joint up")?;
        ip(&other, "link set inside up")?;
        wait("that it is attached", &|usage| usage.count(Object::Link) == links + 2)?;
        ip(&other, "link del inside")?;
        // A program of `-z` may have run before.
        let what = format!("that it has no more than {} again", before.stable());
        wait(&what, &|usage| usage.is_no_more_than(&before))?;
        ip(&wire.here, &pair)?;
        drop(other);
        wire.send(self.traffic, rounds)?;
        wire.arrives(&mut subject, &selection)?;
        subject.settle()?;
        let summary = subject.end(Some(random.pick(ENDS)))?.check(Expected::Order)?;
        // Its end of the pair goes with the namespace, and the other end with that.
        within(PATIENCE, "the end of a namespace that only the capture had", || {
            Ok((!wire.here.try_output("ip link show")?.contains("joint")).then_some(()))
        })?;
        Ok(summary)
    }

    /// On the interfaces of the long captures, while something happens to these.
    fn with_the_others(
        &self,
        world: &World,
        arguments: &[String],
        sinks: &[Sink],
        random: &mut Random,
    ) -> Result<Summary> {
        const PACKETS: usize = 2000;
        let interfaces = match self.incident {
            Incident::Any => "-i any",
            _ => random.pick(&["--wait -i eth0 -i eth1", "--wait -i eth0 -i eth2 -i eth1 -i lo"]),
        };
        let mut arguments = arguments.to_vec();
        arguments.extend(interfaces.split_whitespace().map(str::to_owned));
        arguments.extend(["--".to_owned(), random.pick(residents::FILTERS).to_owned()]);
        let mut subject =
            Subject::start(self.soak, &world.server, &self.name, &arguments, sinks, "listening on ")?;
        world.send(PACKETS)?;
        let come = within(PATIENCE, "packets", || {
            Ok(subject.look()?.filter(|answer| answer.received > 0).map(drop))
        });
        subject.explain(come)?;
        subject.end(Some(random.pick(ENDS)))?.check(Expected::Order)
    }
}

/// Fills a disk, but for so many bytes.
fn fill(path: &Path, room: usize) -> Result<()> {
    let size = nix::sys::statvfs::statvfs(path.parent().context("no folder")?)?;
    let free = (size.blocks_available() * size.fragment_size()) as usize;
    fs::write(path, vec![0; free.saturating_sub(room)]).context("cannot fill the small disk")
}

/// What had arrived before is there, and not more than was sent.
fn killed(ended: &Ended, before: &Answer, sent: u64) -> Result<Summary> {
    ended.check_words()?;
    for output in &ended.outputs {
        let (packets, least) = (output.tally.packets, before.read - before.dropped_by(&output.name));
        ensure!(
            output.is_partial || (least..=sent).contains(&packets),
            "{}: {} has {packets} packets; it had {least} before, and {sent} were sent",
            ended.line,
            output.name
        );
    }
    let &Answer { read, received, dropped, .. } = before;
    Ok(Summary { captured: read, received, dropped, ..Summary::default() })
}

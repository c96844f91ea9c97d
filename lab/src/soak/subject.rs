//! A capture that is watched: how it is started, asked and ended, and where its outputs go.

use std::{
    collections::BTreeSet,
    fs::File,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use test_support::{
    namespace::Namespace,
    process::{Process, end_with_us},
    wait::within,
};

use super::{
    PATIENCE, Soak,
    accounts::Answer,
    counter::{Format, Tally},
    ended::{Content, Ended},
    files::{Fate, Files},
    stream::{Reading, Stream},
    usage::{self, Usage},
};
use crate::bpf::Object;

/// What capture calls it in its messages.
pub(super) const STANDARD_OUTPUT: &str = "standard output";

/// Where an output goes.
#[derive(Clone, Debug)]
pub(super) enum Sink {
    /// To its standard output.
    Standard(Format),
    /// To a named pipe, which is made.
    Pipe(PathBuf, Format),
    /// To files of this name, alone in their folder.
    Files(PathBuf, Format, Fate),
}

/// An output.
struct Output {
    name: String,
    content: Written,
    state: State,
}

/// What has been done to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Takes,
    /// It has no room: there may be packets that are not in it.
    Failed,
    /// Its reader has gone: there may be packets that were written and not read.
    Gone,
}

enum Written {
    Stream(Stream),
    Files(Files),
}

/// A capture that runs.
pub(super) struct Subject {
    pub(super) name: String,
    line: String,
    process: Process,
    log: PathBuf,
    said: File,
    outputs: Vec<Output>,
    before: Answer,
    /// What it has had in the kernel, and which processes there were.
    held: BTreeSet<(Object, u32)>,
    processes: BTreeSet<usage::Process>,
    pub(super) usage: Usage,
    /// Whether it has been stopped by a signal.
    is_stopped: bool,
    /// How often it has been looked at.
    pub(super) samples: u64,
}

impl Subject {
    /// Starts a capture in a namespace, and waits until it says `greeting`.
    pub(super) fn start(
        soak: &Soak,
        namespace: &Namespace,
        name: &str,
        arguments: &[String],
        sinks: &[Sink],
        greeting: &str,
    ) -> Result<Self> {
        let mut command = Command::new(&soak.capture);
        command.arg("-n").args(arguments);
        end_with_us(&mut command);
        let line = format!("capture -n {}", arguments.join(" "));
        let log = soak.logs.join(format!("{name}.log"));
        let said = File::options().create(true).truncate(true).read(true).write(true).open(&log)?;
        let stderr = File::options().append(true).open(&log)?;
        let mut outputs = Vec::new();
        let mut standard = None;
        for sink in sinks {
            let (name, content) = match sink {
                Sink::Standard(format) => {
                    standard = Some((outputs.len(), *format));
                    continue;
                }
                Sink::Pipe(path, format) => {
                    (path.display().to_string(), Written::Stream(Stream::of_pipe(path, *format)?))
                }
                Sink::Files(path, format, fate) => {
                    let folder = path.parent().context("a file without a folder")?;
                    (path.display().to_string(), Written::Files(Files::new(folder, *format, *fate)?))
                }
            };
            outputs.push(Output { name, content, state: State::Takes });
        }
        let stdout = if standard.is_some() { Stdio::piped() } else { Stdio::null() };
        let streams = [None, Some(stdout), Some(stderr.into())];
        let mut process = Process::start(namespace, &soak.data, command, streams, Command::spawn)
            .with_context(|| line.clone())?;
        if let Some((place, format)) = standard {
            let stdout = process.take_stdout().context("a child without its pipe")?;
            let content = Written::Stream(Stream::of_child(stdout, format)?);
            outputs.insert(place, Output { name: STANDARD_OUTPUT.to_owned(), content, state: State::Takes });
        }
        let (held, processes) = (BTreeSet::new(), BTreeSet::new());
        let mut subject = Self {
            name: name.to_owned(),
            line,
            process,
            log,
            said,
            outputs,
            before: Answer::default(),
            held,
            processes,
            usage: Usage::default(),
            is_stopped: false,
            samples: 0,
        };
        subject.expect(greeting)?;
        subject.measure()?;
        Ok(subject)
    }

    /// What it has said so far, from a byte on.
    fn said_from(&self, offset: u64) -> Result<String> {
        let length = self.said.metadata()?.len().saturating_sub(offset);
        let mut text = vec![0; length as usize];
        self.said.read_exact_at(&mut text, offset)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> Result<String> {
        self.said_from(0)
    }

    /// A result with the command line, and where what it said is, once.
    pub(super) fn explain<T>(&self, result: Result<T>) -> Result<T> {
        let words = format!("`{}` (it said {})", self.line, self.log.display());
        result
            .map_err(|error| if format!("{error:#}").contains(&words) { error } else { error.context(words) })
    }

    /// Waits until it has said something.
    pub(super) fn expect(&self, words: &str) -> Result<()> {
        let look = || {
            // Whether it has ended is looked at first: what it said in the end is there then.
            let has_ended = self.process.has_ended();
            let said = self.said()?;
            if said.contains(words) {
                return Ok(Some(()));
            }
            ensure!(!has_ended, "it has ended: {}", said.trim());
            Ok(None)
        };
        self.explain(within(PATIENCE, &format!("`{words}` on standard error"), look))
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        self.explain(self.process.signal(signal))
    }

    /// Stops it, or lets it go on.
    pub(super) fn stop(&mut self, is_stopped: bool) -> Result<()> {
        self.is_stopped = is_stopped;
        self.signal(if is_stopped { Signal::SIGSTOP } else { Signal::SIGCONT })
    }

    /// Kills a process that it has started, by its name.
    pub(super) fn kill_child(&self, name: &str) -> Result<()> {
        let child = self.usage.processes.iter().find(|process| process.is_called(name));
        self.explain(child.with_context(|| format!("it has no {name}")).and_then(usage::Process::kill))
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.process.has_ended()
    }

    /// Reads the streams among its outputs differently from now on. One whose reader goes is not complete.
    pub(super) fn read(&mut self, output: usize, reading: Reading) {
        let Some(output) = self.outputs.get_mut(output) else { return };
        if reading == Reading::Gone {
            output.state = State::Gone;
        }
        if let Written::Stream(stream) = &output.content {
            stream.set(reading);
        }
    }

    /// That an output has no room was meant to be.
    pub(super) fn set_failed(&mut self, output: usize) {
        if let Some(output) = self.outputs.get_mut(output) {
            output.state = State::Failed;
        }
    }

    /// Looks at what it takes of the machine.
    pub(super) fn measure(&mut self) -> Result<()> {
        let pid = self.process.pid().as_raw().cast_unsigned();
        self.usage = self.explain(Usage::of(pid))?;
        self.held.extend(self.usage.held.iter().copied());
        self.processes.extend(&self.usage.processes);
        Ok(())
    }

    /// Asks for the numbers so far (SIGUSR1).
    fn ask(&self) -> Result<Answer> {
        let offset = self.said.metadata()?.len();
        self.signal(Signal::SIGUSR1)?;
        let answer = within(PATIENCE, "the answer to SIGUSR1", || {
            ensure!(!self.has_ended(), "it has ended");
            let answer = Answer::last_in(&self.said_from(offset)?);
            Ok(answer.filter(|answer| answer.is_whole(&self.before)))
        });
        self.explain(answer)
    }

    /// Its numbers when it was looked at last.
    pub(super) fn numbers(&self) -> &Answer {
        &self.before
    }

    /// Looks at all of it.
    pub(super) fn sample(&mut self) -> Result<()> {
        if self.look()?.is_some() {
            self.measure()?;
        }
        Ok(())
    }

    /// Looks at its numbers and its outputs. `None` while it is stopped.
    pub(super) fn look(&mut self) -> Result<Option<Answer>> {
        if self.is_stopped {
            return Ok(None);
        }
        let counted: Vec<u64> =
            self.outputs.iter().map(|output| Ok(output.tally()?.packets)).collect::<Result<_>>()?;
        let answer = self.ask()?;
        let check = || {
            answer.check(&self.before)?;
            self.outputs
                .iter()
                .zip(&counted)
                .try_for_each(|(output, packets)| answer.check_output(&output.name, *packets))
        };
        self.explain(check())?;
        self.before = answer.clone();
        self.samples += 1;
        Ok(Some(answer))
    }

    /// Waits until all that it received has been read and has arrived: nothing may come meanwhile. SIGUSR2 has it write
    /// what it keeps.
    pub(super) fn settle(&mut self) -> Result<Answer> {
        let mut last = Answer::default();
        let waited = within(PATIENCE, "that what was received arrives", || {
            self.signal(Signal::SIGUSR2)?;
            let Some(answer) = self.look()? else { return Ok(None) };
            last = answer;
            let mut has_settled = last.waiting == 0;
            for output in
                self.outputs.iter().filter(|output| output.state == State::Takes && !output.is_partial())
            {
                let packets = output.tally()?.packets;
                has_settled &= packets + last.dropped_by(&output.name) == last.read;
            }
            Ok(has_settled.then_some(()))
        });
        let waited = waited.with_context(|| {
            let of = |output: &Output| {
                let packets = output.tally().map_or(0, |tally| tally.packets);
                format!("{packets} are in {}, which dropped {}", output.name, last.dropped_by(&output.name))
            };
            let outputs: Vec<String> = self.outputs.iter().map(of).collect();
            format!(
                "{} packets were read, {} wait in the rings; {}",
                last.read,
                last.waiting,
                outputs.join("; ")
            )
        });
        self.explain(waited)?;
        self.measure()?;
        Ok(last)
    }

    /// Waits until it has ended, after a signal if there is to be one, and until nothing is left of it.
    pub(super) fn end(mut self, signal: Option<Signal>) -> Result<Ended> {
        if let Some(signal) = signal {
            self.signal(signal)?;
        }
        let ended = self.process.end(PATIENCE);
        let status = self.explain(ended)?;
        self.explain(usage::wait_until_gone(&self.held, &self.processes))?;
        let outputs: Result<Vec<Content>> = self.outputs.iter().map(Output::end).collect();
        let outputs = self.explain(outputs)?;
        Ok(Ended { status, said: self.said()?, outputs, line: self.line, log: self.log })
    }
}

impl Output {
    fn tally(&self) -> Result<Tally> {
        let tally = match &self.content {
            Written::Stream(stream) => stream.tally(),
            Written::Files(files) => files.tally(),
        };
        tally.with_context(|| format!("{} is wrong", self.name))
    }

    /// What it has when its capture has ended.
    fn end(&self) -> Result<Content> {
        let tally = match &self.content {
            Written::Stream(stream) => {
                // One that is not being read holds the rest.
                if self.state != State::Gone {
                    stream.set(Reading::Fast);
                }
                stream.end()
            }
            Written::Files(files) => files.end(),
        };
        Ok(Content {
            name: self.name.clone(),
            tally: tally.with_context(|| format!("{} is wrong", self.name))?,
            has_reader: self.state != State::Gone,
            is_partial: self.state == State::Gone || self.is_partial(),
        })
    }

    /// Whether packets that were written cannot be counted.
    fn is_partial(&self) -> bool {
        match &self.content {
            Written::Stream(_) => false,
            Written::Files(files) => files.are_partial(),
        }
    }
}

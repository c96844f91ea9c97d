//! What is printed: a line for each phase, and tables at the end.

use std::{collections::BTreeMap, time::Instant};

use super::{
    ended::Summary,
    residents::{Life, Resident},
    usage::Usage,
    visitors::{Incident, Shape},
};
use crate::bpf::Object;

/// Packets of captures, added up.
#[derive(Clone, Copy, Debug, Default)]
struct Packets {
    received: u64,
    /// In the rings, and by outputs that were too slow or had failed.
    dropped: u64,
    dropped_by_outputs: u64,
    not_written: u64,
}

/// What is added up.
pub(super) struct Report {
    start: Instant,
    samples: u64,
    incidents: BTreeMap<Incident, u64>,
    shapes: BTreeMap<Shape, u64>,
    lives: Vec<Life>,
    /// Of captures that have ended.
    ended: u64,
    packets: Packets,
}

/// What a phase was.
pub(super) struct Line {
    text: String,
    packets: Packets,
    usage: Usage,
}

impl Packets {
    fn add(&mut self, summary: &Summary) {
        let [dropped, not_written] = summary.lost_by_outputs();
        self.received += summary.received;
        self.dropped += summary.dropped;
        self.dropped_by_outputs += dropped;
        self.not_written += not_written;
    }
}

impl Line {
    pub(super) fn new(number: usize, happens: &[String], residents: &[Resident]) -> Self {
        let mut line = Self {
            text: format!("phase {number}: {}", happens.join("; ")),
            packets: Packets::default(),
            usage: Usage::default(),
        };
        for Resident { subject, .. } in residents {
            line.packets.received += subject.numbers().received;
            line.packets.dropped += subject.numbers().dropped;
            line.packets.dropped_by_outputs += subject.numbers().dropped_by_outputs();
            let usage = &subject.usage;
            line.usage.memory += usage.memory;
            line.usage.descriptors += usage.descriptors;
            line.usage.held.extend(usage.held.iter().copied());
        }
        line
    }
}

impl Report {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            samples: 0,
            incidents: BTreeMap::new(),
            shapes: BTreeMap::new(),
            lives: Vec::new(),
            ended: 0,
            packets: Packets::default(),
        }
    }

    /// A short capture has ended.
    pub(super) fn short(&mut self, incident: Incident, shape: Shape, summary: &Summary) {
        self.ended += 1;
        self.packets.add(summary);
        *self.incidents.entry(incident).or_default() += 1;
        *self.shapes.entry(shape).or_default() += 1;
    }

    /// A long capture has ended.
    pub(super) fn long(&mut self, summary: &Summary, life: Life) {
        self.ended += 1;
        self.packets.add(summary);
        self.samples += life.samples;
        self.lives.push(life);
    }

    /// Prints a phase, with the sums of all captures so far, and what the long ones take together.
    pub(super) fn print(&self, line: &Line) {
        let Packets { received, dropped, dropped_by_outputs, not_written } = self.packets;
        let now = &line.packets;
        let count = |object| line.usage.count(object);
        println!(
            "{:4} s  {} | {} packets, lost {} in the rings, {} by slow outputs, {not_written} by failed ones | {}, {} \
             descriptors, {} programs, {} maps, {} links",
            self.start.elapsed().as_secs(),
            line.text,
            received + now.received,
            dropped + now.dropped,
            dropped_by_outputs + now.dropped_by_outputs,
            mib(line.usage.memory.resident),
            line.usage.descriptors,
            count(Object::Program),
            count(Object::Map),
            count(Object::Link),
        );
    }

    /// Prints the tables.
    pub(super) fn end(&self, [sent, connections]: [u64; 2]) {
        let Packets { received, dropped, dropped_by_outputs, not_written } = self.packets;
        println!(
            "\n{} captures in {} s, {} samples; {received} packets received by filter, {dropped} lost in the rings, \
             {dropped_by_outputs} by slow outputs, {not_written} by failed ones; to the long captures {sent} packets and \
             {connections} connections were sent. All accounts add up.\n",
            self.ended,
            self.start.elapsed().as_secs(),
            self.samples,
        );
        println!(
            "| long capture | rests | memory besides the rings, first / last / most | of it anonymous | at each rest |"
        );
        println!("|---|---|---|---|---|");
        for Life { name, rests, first, last, most, stable, .. } in &self.lives {
            let three = |of: fn(&crate::memory::Memory) -> u64| {
                [first, last, most].map(|memory| mib(of(memory))).join(" / ")
            };
            println!(
                "| {name} | {rests} | {} | {} | {stable} |",
                three(|memory| memory.resident),
                three(|memory| memory.anonymous)
            );
        }
        println!("\n| what happened to short captures | times | their outputs | times |\n|---|---|---|---|");
        let incidents: Vec<_> =
            self.incidents.iter().map(|(incident, times)| (incident.words(), times)).collect();
        let shapes: Vec<_> = self.shapes.iter().map(|(shape, times)| (shape.words(), times)).collect();
        for row in 0..incidents.len().max(shapes.len()) {
            let cells = [incidents.get(row), shapes.get(row)].map(|cell| match cell {
                Some((words, times)) => format!(" {words} | {times} |"),
                None => " | |".to_owned(),
            });
            println!("|{}", cells.concat());
        }
    }
}

/// Bytes as people read them.
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

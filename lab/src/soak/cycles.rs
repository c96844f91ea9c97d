//! Attaching and detaching, and little else.

use std::time::Instant;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::{
    Soak,
    counter::Format,
    ended::Expected,
    subject::{Sink, Subject},
    traffic::{Traffic, Wire},
};
use crate::random::Random;

/// How often all packets are sent in each cycle.
const ROUNDS: usize = 2;
/// Cycles between two lines.
const LINE: u64 = 10;

/// How a capture is attached.
const MANNERS: &[&str] = &[
    "-i veth1",
    "-i veth1",
    "-i veth1 -p",
    "-i any",
    "-i veth1 -i lo",
    "-i veth1 --hook xdp-generic",
    "-i veth1 --hook xdp-native",
];

/// Attaches and detaches so many times, each time with another filter.
pub(super) fn perform(soak: &Soak, cycles: u64, seed: u64) -> Result<()> {
    let start = Instant::now();
    let mut random = Random::new(seed);
    let traffic = Traffic::new(soak, &mut random)?;
    let mut packets = 0;
    let mut wire = Wire::new()?;
    for number in 1..=cycles {
        let manner = random.pick(MANNERS);
        // On any, an expression can ask for no more than cooked frames have.
        let selection = match manner {
            "-i any" | "-i veth1 -i lo" => traffic.everything()?,
            _ => traffic.expression(&mut random)?,
        };
        let arguments = manner.split_whitespace().chain(["--", &selection.expression]);
        let arguments: Vec<String> = arguments.map(str::to_owned).collect();
        let name = format!("cycle-{number}");
        let mut cycle = || -> Result<u64> {
            wire.forget()?;
            let sinks = [Sink::Standard(Format::Text)];
            let mut subject = Subject::start(soak, &wire.there, &name, &arguments, &sinks, "listening on ")?;
            wire.send(&traffic, ROUNDS)?;
            wire.arrives(&mut subject, &selection)?;
            let summary = subject.end(Some(Signal::SIGINT))?.check(Expected::Order)?;
            Ok(summary.received)
        };
        packets += cycle().with_context(|| format!("cycle {number}"))?;
        if number.is_multiple_of(LINE) || number == cycles {
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{seconds:6.1} s  {number} cycles, {packets} packets, {:.0} ms each",
                seconds * 1e3 / number as f64
            );
        }
    }
    Ok(())
}

//! Interfaces that come and go, and little else.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use test_support::{namespace::Namespace, wait::within};

use super::{
    PATIENCE, Soak,
    counter::Format,
    ended::Expected,
    subject::{Sink, Subject},
    world::silence,
};
use crate::bpf::Object;

/// How many pairs come and go at once.
const PAIRS: u64 = 50;
/// So much more memory of its own may a capture have after a crowd than after the first one.
const MOST_GROWTH: u64 = 1 << 20;

/// Has so many interfaces come and go, in crowds, under a capture on all.
pub(super) fn perform(soak: &Soak, interfaces: u64) -> Result<()> {
    let start = Instant::now();
    let server = Namespace::make()?;
    silence(&server)?;
    let file = soak.data.join("batch");
    let batch = |line: &dyn Fn(u64) -> String| -> Result<()> {
        fs::write(&file, (0..PAIRS).map(line).collect::<String>())?;
        server.try_output(&format!("ip -batch {}", file.display())).map(drop)
    };
    let arguments = ["-i", "any", "-B", "1024", "--", "tcp"].map(str::to_owned);
    let sinks = [Sink::Standard(Format::Text)];
    let mut subject = Subject::start(soak, &server, "crowds", &arguments, &sinks, "listening on ")?;
    subject.settle()?;
    let stable = subject.usage.stable();
    println!("it has {stable}");
    let links = subject.usage.count(Object::Link);
    let mut first = None;
    let mut gone = 0;
    while gone < interfaces {
        let crowd = gone;
        let mut come_and_go = || -> Result<()> {
            batch(&|number| format!("link add r{crowd}a{number} type veth peer name r{crowd}b{number}\n"))?;
            batch(&|number| format!("link set r{crowd}a{number} up\nlink set r{crowd}b{number} up\n"))?;
            let waited = within(PATIENCE, "that all are attached to", || {
                subject.measure()?;
                // Each has a link for each way.
                let expected = links + 2 * 2 * PAIRS as usize;
                Ok((subject.usage.count(Object::Link) == expected).then_some(()))
            });
            subject.explain(waited)?;
            batch(&|number| format!("link del r{crowd}a{number}\n"))?;
            let waited = within(PATIENCE, &format!("that it has {stable} again"), || {
                subject.measure()?;
                Ok((subject.usage.stable() == stable).then_some(()))
            });
            let waited = waited.with_context(|| format!("it has {} now", subject.usage.stable()));
            subject.explain(waited)?;
            subject.settle()?;
            let now = subject.usage.memory.anonymous;
            let before = *first.get_or_insert(now);
            let grown = || {
                ensure!(
                    now <= before + MOST_GROWTH,
                    "its memory grows: {before} bytes after the first crowd, and {now} now"
                );
                Ok(())
            };
            subject.explain(grown())
        };
        come_and_go().with_context(|| format!("after {gone} interfaces"))?;
        gone += 2 * PAIRS;
        println!(
            "{:6.1} s  {gone} interfaces have come and gone, {} KiB of its own",
            start.elapsed().as_secs_f64(),
            subject.usage.memory.anonymous >> 10
        );
    }
    let ended = subject.end(Some(Signal::SIGINT))?;
    let remark = format!("\n{gone} interfaces disappeared during the capture\n");
    ensure!(ended.said.contains(&remark), "{}: it does not say how many disappeared", ended.line);
    ended.check(Expected::Order).map(drop)
}

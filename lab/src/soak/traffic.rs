//! Packets that random expressions select, and how many of them the real tcpdump selects.
//!
//! Of an expression that reads beyond the end of a packet, or divides by a zero in it, the verdict depends on what the optimiser
//! leaves out (docs/filters.md). Therefore none divides by what is in a packet, the packets are long enough for most, and only
//! those are taken of which `capture -r` selects as many: they are right, and the programs in the kernel have to select as many.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use test_support::{
    expressions::{self, ADDRESSES, ADDRESSES_V6, PORTS, STATIONS},
    namespace::Namespace,
    wait::within,
};

use super::{PATIENCE, Soak, accounts::Answer, subject::Subject};
use crate::{
    packet_socket::{self, BATCH, PacketSocket},
    packets::{
        Packet,
        file::CaptureFile,
        ip::{Addresses, Ipv4},
        link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, ethernet},
        tcp::SegmentFields,
    },
    random::Random,
};

/// How many different ones there are.
pub(super) const FRAMES: usize = 64;
/// How often an expression is thrown away that tcpdump refuses, or that selects too little.
const ATTEMPTS: usize = 1000;
const UDP: u8 = 17;

/// An expression, and how many of the frames it selects.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) expression: String,
    pub(super) selected: usize,
}

/// The frames, and a file with them for tcpdump.
pub(super) struct Traffic {
    capture: PathBuf,
    frames: Vec<Vec<u8>>,
    file: PathBuf,
}

impl Traffic {
    /// Frames between the addresses and ports that expressions name.
    pub(super) fn new(soak: &Soak, random: &mut Random) -> Result<Self> {
        let frames: Vec<Vec<u8>> = (0..FRAMES).map(|number| frame(number, random)).collect::<Result<_>>()?;
        let packets = frames.iter().map(|frame| Packet::whole(1, 0, frame.clone())).collect();
        let file = soak.data.join("frames.pcap");
        fs::write(&file, CaptureFile::pcap(Link::Ethernet, packets).encode())?;
        Ok(Self { capture: soak.capture.clone(), frames, file })
    }

    /// All TCP packets.
    pub(super) fn everything(&self) -> Result<Selection> {
        let expression = "tcp".to_owned();
        let selected = self.count(&expression)?.context("tcpdump does not know tcp")?;
        Ok(Selection { expression, selected })
    }

    /// A random expression that selects some.
    pub(super) fn expression(&self, random: &mut Random) -> Result<Selection> {
        for _ in 0..ATTEMPTS {
            let mut expression = expressions::valid(random, false);
            // What comes after it is looked for behind a tag in a file, and live only where there is one: a file does not say
            // what is selected.
            if expression.contains("vlan") || divides(&expression) {
                continue;
            }
            if random.one_in(2) {
                expression = format!("not ({expression})");
            }
            if let Some(selected) = self.count(&expression)?
                && selected > 0
            {
                return Ok(Selection { expression, selected });
            }
        }
        bail!("none of {ATTEMPTS} random expressions selects a packet");
    }

    /// How many TCP packets tcpdump selects; `None` if it refuses the expression, or the two differ.
    fn count(&self, expression: &str) -> Result<Option<usize>> {
        let by_tcpdump = self.count_with(Path::new("tcpdump"), &format!("tcp and ({expression})"))?;
        let by_capture = self.count_with(&self.capture, expression)?;
        Ok(by_tcpdump.filter(|_| by_tcpdump == by_capture))
    }

    fn count_with(&self, program: &Path, expression: &str) -> Result<Option<usize>> {
        let mut command = Command::new(program);
        command.args(["-n", "--count", "-r"]).arg(&self.file).args(["--", expression]);
        let output = command.stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        if !output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let count = text.split_whitespace().next().and_then(|count| count.parse().ok());
        count.with_context(|| format!("{} counts no packets: {text}", program.display())).map(Some)
    }
}

/// Whether an expression may divide by what is in a packet. A `/` is also in prefixes.
fn divides(expression: &str) -> bool {
    expression.contains('%') || expression.contains('/') && expression.contains('[')
}

/// A TCP packet, or another one now and then. No station has its address, so that no one answers.
fn frame(number: usize, random: &mut Random) -> Result<Vec<u8>> {
    let (addresses, ethertype) = if random.one_in(4) {
        let mut address = || random.pick(&ADDRESSES_V6).parse();
        (Addresses::between(address()?, address()?), ETHERTYPE_IPV6)
    } else {
        let mut address = || random.pick(&ADDRESSES).parse();
        (Addresses::between(address()?, address()?), ETHERTYPE_IPV4)
    };
    let segment = SegmentFields {
        source: random.pick(&PORTS),
        destination: random.pick(&PORTS),
        sequence: number as u32,
        acknowledgment: random.u32(),
        flags: random.u8(),
        window: random.u16(),
        payload: vec![b'x'; random.pick(&[60, 60, 61, 700])],
        ..SegmentFields::default()
    };
    let packet = match addresses {
        Addresses::V4(source, destination) if random.one_in(8) => {
            let ip = Ipv4 { protocol: UDP, ..Ipv4::default() };
            ip.encode(source, destination, &segment.encode(&addresses))
        }
        _ => segment.packet(&addresses),
    };
    let mut station = || -> Result<[u8; 6]> {
        let mut bytes = [0; 6];
        for (byte, digits) in bytes.iter_mut().zip(random.pick(&STATIONS).split(':')) {
            *byte = u8::from_str_radix(digits, 16)?;
        }
        Ok(bytes)
    };
    let (destination, source) = (station()?, station()?);
    Ok([ethernet(destination, source, &[], ethertype), packet].concat())
}

/// Two namespaces joined by a pair of interfaces, on which nothing is sent but this.
pub(super) struct Wire {
    pub(super) here: Namespace,
    /// Where the capture runs.
    pub(super) there: Namespace,
    /// The ends.
    pub(super) near: &'static str,
    pub(super) far: &'static str,
    /// How often all frames were sent, and how many packets were lost before a program saw them.
    rounds: u64,
    lost: u64,
    /// Packets that the ends had had no room for when that was looked at last.
    drops_before: u64,
}

impl Wire {
    /// Makes one.
    pub(super) fn new() -> Result<Self> {
        let (here, there) = Namespace::silent_pair()?;
        let mut wire = Self { here, there, near: "veth0", far: "veth1", rounds: 0, lost: 0, drops_before: 0 };
        wire.drops_before = wire.drops()?;
        Ok(wire)
    }

    /// It has other ends now, which are new.
    pub(super) fn set_ends(&mut self, near: &'static str, far: &'static str) -> Result<()> {
        (self.near, self.far) = (near, far);
        self.drops_before = self.drops()?;
        Ok(())
    }

    /// Counts from the beginning.
    pub(super) fn forget(&mut self) -> Result<()> {
        (self.rounds, self.lost, self.drops_before) = (0, 0, self.drops()?);
        Ok(())
    }

    /// Packets that were lost so far before a program saw them.
    fn lost(&mut self) -> Result<u64> {
        let drops = self.drops()?;
        self.lost += drops - std::mem::replace(&mut self.drops_before, drops);
        Ok(self.lost)
    }

    /// Packets that an end had no room for (/proc/net/dev).
    fn drops(&self) -> Result<u64> {
        let mut drops = 0;
        for (namespace, name) in [(&self.here, self.near), (&self.there, self.far)] {
            let table = namespace.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
            let counters = table.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
            let counters = counters.with_context(|| format!("/proc/net/dev has no {name}"))?;
            // Of what is received and of what is sent, the fourth of eight numbers.
            let numbers: Vec<u64> = counters.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            drops += [3, 11].iter().filter_map(|place| numbers.get(*place)).sum::<u64>();
        }
        Ok(drops)
    }

    /// Sends all frames so many times, as fast as it can.
    pub(super) fn send(&mut self, traffic: &Traffic, rounds: usize) -> Result<()> {
        let near = self.near;
        let frames = traffic.frames.clone();
        let taken = self.here.run(move || -> Result<u64> {
            let mut socket = PacketSocket::new(packet_socket::open(near)?);
            let mut taken = 0;
            let mut next = frames.iter().cycle();
            let mut left = frames.len() * rounds;
            while left > 0 {
                let count = left.min(BATCH);
                taken += socket
                    .send(count, |buffer| next.next().into_iter().for_each(|frame| buffer.extend(frame)))?;
                left -= count;
            }
            Ok(taken)
        })?;
        let offered = (FRAMES * rounds) as u64;
        self.rounds += rounds as u64;
        self.lost += offered - taken;
        Ok(())
    }

    /// How many packets of a selection have been sent.
    pub(super) fn expected(&self, selection: &Selection) -> u64 {
        self.rounds * selection.selected as u64
    }

    /// Waits until the programs of a capture have seen what was sent, all that the wire did not lose. That is what tcpdump
    /// selects, and no more.
    pub(super) fn arrives(&mut self, subject: &mut Subject, selection: &Selection) -> Result<Answer> {
        let mut last = Answer::default();
        let expected = self.expected(selection);
        let arrived = within(PATIENCE, "that what was sent is received", || {
            let lost = self.lost()?;
            let Some(answer) = subject.look()? else { return Ok(None) };
            last = answer;
            ensure!(
                last.received <= expected,
                "{} packets are received by filter, and `{}` selects {expected} of those that were sent",
                last.received,
                selection.expression
            );
            Ok((last.received >= expected.saturating_sub(lost)).then_some(()))
        });
        let arrived = arrived.with_context(|| {
            format!(
                "of {expected} packets that `{}` selects, {} are received by filter",
                selection.expression, last.received
            )
        });
        subject.explain(arrived)?;
        subject.measure()?;
        Ok(last)
    }
}

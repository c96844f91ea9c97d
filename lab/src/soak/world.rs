//! The server that the long captures run on, and what becomes of its interfaces.

use std::{fs, io, net::Ipv4Addr};

use anyhow::{Context as _, Result};
use test_support::{namespace::Namespace, wait::within};

use super::{PATIENCE, load::Load};
use crate::{
    frames::{Frames, PORT},
    packet_socket::{self, BATCH, PacketSocket},
    random::Random,
};

/// What becomes of interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// One goes down, and comes up again.
    Down,
    /// One gets another name, and its own again.
    Name,
    /// One is deleted, and made again.
    Deleted,
    /// One moves to another namespace, and back.
    Moved,
    /// One comes, and goes.
    Comes,
    /// Many come, and go.
    Many,
    /// A namespace comes, with an interface that is joined to one of the server's, and goes.
    Namespace,
}

/// All of them.
pub(super) const CHANGES: &[Change] = &[
    Change::Nothing,
    Change::Down,
    Change::Name,
    Change::Deleted,
    Change::Moved,
    Change::Comes,
    Change::Many,
    Change::Namespace,
];

/// The interfaces that are always there, unless something happens to them, and their other ends.
pub(super) const INTERFACES: [&str; 3] = ["eth0", "eth1", "eth2"];
const ENDS: [&str; 3] = ["end0", "end1", "end2"];
/// The kinds of those that come and go. Not every kernel has all of them; the first is always there.
const KINDS: [&str; 4] =
    ["type veth peer name peer", "type bridge", "type dummy", "link eth0 type vlan id 5"];
/// How many come at once.
const MANY: usize = 10;

/// The server, and the machine that sends to it.
pub(super) struct World {
    pub(super) server: Namespace,
    peer: Namespace,
    pub(super) load: Load,
    /// What is going on.
    current: Current,
}

/// A change that has begun.
enum Current {
    Nothing,
    Down(&'static str),
    Named(&'static str),
    Deleted(usize),
    Moved(usize, Namespace),
    Come(Vec<String>),
    Joined(Namespace),
}

impl World {
    /// Makes it.
    pub(super) fn new() -> Result<Self> {
        let (server, peer) = (Namespace::make()?, Namespace::make()?);
        for namespace in [&server, &peer] {
            silence(namespace)?;
        }
        (0..INTERFACES.len()).try_for_each(|number| join(&server, &peer, number))?;
        let load = Load::new(&peer, &ENDS, &server, Ipv4Addr::new(10, 1, 0, 1))?;
        Ok(Self { server, peer, load, current: Current::Nothing })
    }

    /// Sends so many packets to the first interface, as fast as it can.
    pub(super) fn send(&self, packets: usize) -> Result<()> {
        send_from(&self.peer, ENDS[0], packets)
    }

    /// Begins a change. Says what it is.
    pub(super) fn begin(&mut self, change: Change, random: &mut Random) -> Result<String> {
        let server = &self.server;
        let number = random.between(1, 2);
        let name = INTERFACES[number];
        let said;
        (self.current, said) = match change {
            Change::Nothing => (Current::Nothing, String::new()),
            Change::Down => {
                ip(server, &format!("link set {name} down"))?;
                (Current::Down(name), format!("{name} is down"))
            }
            Change::Name => {
                rename(server, name, "other")?;
                (Current::Named(name), format!("{name} has another name"))
            }
            Change::Deleted => {
                ip(server, &format!("link del {name}"))?;
                (Current::Deleted(number), format!("{name} is deleted"))
            }
            Change::Moved => {
                let elsewhere = Namespace::make()?;
                ip(server, &format!("link set {name} netns {}", elsewhere.thread()))?;
                ip(&elsewhere, &format!("link set {name} up"))?;
                (Current::Moved(number, elsewhere), format!("{name} is in another namespace"))
            }
            Change::Comes => {
                let mut kind = random.pick(&KINDS);
                if ip(server, &format!("link add name new {kind}")).is_err() {
                    kind = KINDS[0];
                    ip(server, &format!("link add name new {kind}"))?;
                }
                ip(server, "link set new up")?;
                (Current::Come(vec!["new".to_owned()]), format!("a new interface ({kind})"))
            }
            Change::Many => {
                let names: Vec<String> = (0..MANY).map(|number| format!("many{number}")).collect();
                for name in &names {
                    ip(server, &format!("link add name {name} up type bridge"))?;
                }
                (Current::Come(names), format!("{MANY} new interfaces"))
            }
            Change::Namespace => {
                let other = Namespace::make()?;
                silence(&other)?;
                ip(
                    server,
                    &format!("link add name joined type veth peer name far netns {}", other.thread()),
                )?;
                ip(server, "link set joined up")?;
                ip(&other, "link set far up")?;
                send_from(&other, "far", 500)?;
                (Current::Joined(other), "a new namespace".to_owned())
            }
        };
        Ok(said)
    }

    /// Makes it as it was.
    pub(super) fn end(&mut self) -> Result<()> {
        let server = &self.server;
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::Nothing => {}
            Current::Down(name) => ip(server, &format!("link set {name} up"))?,
            Current::Named(name) => rename(server, "other", name)?,
            Current::Deleted(number) => join(server, &self.peer, number)?,
            Current::Moved(number, elsewhere) => {
                let name = INTERFACES[number];
                ip(&elsewhere, &format!("link set {name} netns {}", server.thread()))?;
                ip(server, &format!("addr add {}/24 dev {name}", address(number, 1)))?;
                ip(server, &format!("link set {name} up"))?;
            }
            Current::Come(names) => {
                names.iter().try_for_each(|name| ip(server, &format!("link del {name}")))?;
            }
            Current::Joined(other) => {
                drop(other);
                // The kernel removes a namespace when it has time.
                within(PATIENCE, "the end of a namespace", || {
                    Ok((!server.try_output("ip link show")?.contains("joined")).then_some(()))
                })?;
            }
        }
        INTERFACES.iter().try_for_each(|name| {
            within(PATIENCE, &format!("a link of {name}"), || {
                Ok(server.try_output(&format!("ip link show {name}"))?.contains("state UP").then_some(()))
            })
        })
    }
}

/// Runs `ip`.
fn ip(namespace: &Namespace, arguments: &str) -> Result<()> {
    namespace.try_output(&format!("ip {arguments}")).map(drop)
}

fn address(number: usize, end: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, number as u8, end)
}

/// Without IPv6 nothing is sent on its own.
pub(super) fn silence(namespace: &Namespace) -> Result<()> {
    namespace.run(|| {
        for which in ["all", "default"] {
            match fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).context("cannot turn off IPv6");
                }
                _ => {}
            }
        }
        Ok(())
    })
}

/// Makes one of the interfaces that are always there.
fn join(server: &Namespace, peer: &Namespace, number: usize) -> Result<()> {
    let (here, there) = (INTERFACES[number], ENDS[number]);
    ip(server, &format!("link add name {here} type veth peer name {there} netns {}", peer.thread()))?;
    for (namespace, name, end) in [(server, here, 1), (peer, there, 2)] {
        ip(namespace, &format!("addr add {}/24 dev {name}", address(number, end)))?;
        ip(namespace, &format!("link set {name} up"))?;
    }
    Ok(())
}

fn rename(namespace: &Namespace, from: &str, to: &str) -> Result<()> {
    // Below Linux 6.2 an interface has to be down for it.
    ip(namespace, &format!("link set {from} down"))?;
    ip(namespace, &format!("link set {from} name {to}"))?;
    ip(namespace, &format!("link set {to} up"))
}

/// Sends so many packets out of an interface, as fast as it can.
fn send_from(namespace: &Namespace, interface: &'static str, packets: usize) -> Result<()> {
    namespace.run(move || {
        let mut socket = PacketSocket::new(packet_socket::open(interface)?);
        let mut frames = Frames::new(9, 8, PORT, 0);
        for _ in 0..packets.div_ceil(BATCH) {
            socket.send(BATCH, |buffer| buffer.extend_from_slice(frames.next()))?;
        }
        Ok(())
    })
}

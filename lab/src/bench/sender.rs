//! The raw sender: whole frames through a packet socket that goes around the queueing discipline, as fast as a core
//! can.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    errno::Errno,
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::{
        AddressFamily, ControlMessage, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg,
        setsockopt, socket, sockopt,
    },
};
use test_support::namespace::Namespace;

use super::{cpu, frames::Frames, namespace::SENDER, results::Samples};

/// Frames per system call.
const BATCH: usize = 64;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flood {
    /// Frames, of all senders together.
    pub(super) packets: u64,
    /// Flows of each sender.
    pub(super) flows: u32,
    /// Destination port.
    pub(super) port: u16,
    /// How many CPUs send, from number 0 on.
    pub(super) senders: usize,
    /// Bytes of data in each.
    pub(super) data: usize,
    /// Frames per second and sender; as fast as possible if `None`.
    pub(super) rate: Option<u64>,
}

/// What sending cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Frames that the interface took.
    pub(super) packets: u64,
    /// From the first to the last.
    pub(super) wall: Duration,
    /// CPU time of the sending threads. All that the kernel does for a packet up to the receiving stack is in it, the
    /// taps and programs there too, except what a `ksoftirqd` took over.
    pub(super) cpu: Duration,
    /// Nanoseconds per frame in the system call that took the median time: what a frame costs its sender while no
    /// other thread is given the CPU. Not known of live XDP frames, which are one call.
    pub(super) typical: Option<f64>,
}

/// Sends from as many threads as there are senders, each on a CPU of its own.
pub(super) fn flood(namespace: &Namespace, flood: Flood) -> Result<Sent> {
    let Flood { packets, flows, port, senders, data, rate } = flood;
    let mut threads = Vec::new();
    for number in 0..senders {
        let socket = namespace.run(open)?;
        let share = packets / senders as u64;
        threads.push(thread::Builder::new().name("sender".to_owned()).spawn(move || {
            cpu::pin(number)?;
            send(PacketSocket::new(socket), &mut Frames::new(number as u8, flows, port, data), share, rate)
        })?);
    }
    let mut total = Sent::default();
    let mut typical = Vec::new();
    for thread in threads {
        let sent: Sent = thread.join().map_err(|_| anyhow!("a sender panicked"))??;
        total.packets += sent.packets;
        total.wall = total.wall.max(sent.wall);
        total.cpu += sent.cpu;
        typical.extend(sent.typical);
    }
    total.typical = Samples(typical).median();
    Ok(total)
}

/// Sends `packets` frames.
fn send(mut socket: PacketSocket, frames: &mut Frames, packets: u64, rate: Option<u64>) -> Result<Sent> {
    let (start, cpu_start) = (Instant::now(), cpu::of_thread()?);
    let (mut sent, mut offered) = (0, 0);
    let mut batches = Vec::with_capacity(packets.div_ceil(BATCH as u64) as usize);
    while offered < packets {
        let batch = BATCH.min((packets - offered) as usize);
        let batch_start = Instant::now();
        sent += socket.send(frames, batch)?;
        batches.push(batch_start.elapsed().as_nanos() as f64 / batch as f64);
        offered += batch as u64;
        if let Some(rate) = rate {
            let due = start + Duration::from_nanos(offered * 1_000_000_000 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    let (wall, cpu) = (start.elapsed(), cpu::of_thread()? - cpu_start);
    Ok(Sent { packets: sent, wall, cpu, typical: Samples(batches).median() })
}

/// Opens a socket for whole frames out of [`SENDER`], in the namespace it is called in.
pub(super) fn open() -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .context("cannot make a packet socket (CAP_NET_RAW)")?;
    setsockopt(&socket, QdiscBypass, &1).context("PACKET_QDISC_BYPASS")?;
    let address = address_of(SENDER)?;
    bind(socket.as_raw_fd(), &address).with_context(|| format!("cannot bind to {SENDER}"))?;
    Ok(socket)
}

/// Such a socket, with what it takes to send many frames in one system call.
pub(super) struct PacketSocket {
    socket: OwnedFd,
    headers: MultiHeaders<LinkAddr>,
    buffers: [Vec<u8>; BATCH],
}

impl PacketSocket {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: [const { Vec::new() }; BATCH],
        }
    }

    /// Sends the next `count` frames, at most [`BATCH`], and says how many the interface took.
    pub(super) fn send(&mut self, frames: &mut Frames, count: usize) -> Result<u64> {
        let Self { socket, headers, buffers } = self;
        for buffer in &mut buffers[..count] {
            buffer.clear();
            buffer.extend_from_slice(frames.next());
        }
        let slices = buffers.each_ref().map(|buffer| [IoSlice::new(buffer)]);
        let bound = [None; BATCH];
        let no_messages: [ControlMessage<'_>; 0] = [];
        let (mut next, mut sent) = (0, 0);
        while next < count {
            let range = next..count;
            let flags = MsgFlags::empty();
            match sendmmsg(
                socket.as_raw_fd(),
                headers,
                &slices[range.clone()],
                &bound[range],
                no_messages,
                flags,
            ) {
                Ok(taken) => {
                    let taken = taken.count();
                    sent += taken as u64;
                    next += taken;
                }
                // It did not take the first of them.
                Err(Errno::ENOBUFS) => next += 1,
                Err(errno) => bail!("cannot send: {errno}"),
            }
        }
        Ok(sent)
    }
}

/// packet(7): frames go straight to the driver.
#[derive(Clone, Copy)]
struct QdiscBypass;

nix::setsockopt_impl!(QdiscBypass, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, i32, sockopt::SetStruct<i32>);

fn address_of(interface: &str) -> Result<LinkAddr> {
    let link_address = |entry: InterfaceAddress| entry.address?.as_link_addr().copied();
    let mut entries = getifaddrs()?.filter(|entry| entry.interface_name == interface);
    entries.find_map(link_address).with_context(|| format!("no interface {interface}"))
}

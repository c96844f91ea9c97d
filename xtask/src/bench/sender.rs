//! The raw sender: whole frames through a packet socket that goes around the queueing discipline, as fast as a core can.

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
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{
        AddressFamily, ControlMessage, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg,
        setsockopt, socket, sockopt,
    },
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use super::{
    frames::{Frames, LENGTH},
    namespace::{Namespace, SENDER},
};

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
}

/// Sends from as many threads as there are senders, each on a CPU of its own.
pub(super) fn flood(namespace: &Namespace, flood: Flood) -> Result<Sent> {
    let Flood { packets, flows, port, senders, rate } = flood;
    let mut threads = Vec::new();
    for number in 0..senders {
        let socket = namespace.run(packet_socket)?;
        let share = packets / senders as u64;
        threads.push(thread::Builder::new().name("sender".to_owned()).spawn(move || {
            pin(number)?;
            send(&socket, &mut Frames::new(number as u8, flows, port), share, rate)
        })?);
    }
    let mut total = Sent::default();
    for thread in threads {
        let Sent { packets, wall, cpu } = thread.join().map_err(|_| anyhow!("a sender panicked"))??;
        total.packets += packets;
        total.wall = total.wall.max(wall);
        total.cpu += cpu;
    }
    Ok(total)
}

/// Keeps the calling thread on one CPU.
pub(super) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// A socket for whole frames out of [`SENDER`], in the namespace it is called in.
fn packet_socket() -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .context("cannot make a packet socket (CAP_NET_RAW)")?;
    setsockopt(&socket, QdiscBypass, &1).context("PACKET_QDISC_BYPASS")?;
    setsockopt(&socket, sockopt::SndBuf, &(16 << 20)).context("SO_SNDBUF")?;
    let address = address_of(SENDER)?;
    bind(socket.as_raw_fd(), &address).with_context(|| format!("cannot bind to {SENDER}"))?;
    Ok(socket)
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

fn send(socket: &OwnedFd, frames: &mut Frames, packets: u64, rate: Option<u64>) -> Result<Sent> {
    let mut buffers = [[0; LENGTH]; BATCH];
    let nowhere = [None::<LinkAddr>; BATCH];
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let (start, cpu_start) = (Instant::now(), cpu_time()?);
    let (mut sent, mut offered) = (0, 0);
    while offered < packets {
        let batch = BATCH.min((packets - offered) as usize);
        for buffer in &mut buffers[..batch] {
            *buffer = *frames.next();
        }
        let slices = buffers.each_ref().map(|buffer| [IoSlice::new(buffer)]);
        let mut next = 0;
        while next < batch {
            // No control messages.
            let none: [ControlMessage<'_>; 0] = [];
            let flags = MsgFlags::empty();
            match sendmmsg(socket.as_raw_fd(), &mut headers, &slices[next..batch], &nowhere[next..batch], none, flags) {
                Ok(taken) => {
                    let taken = taken.count();
                    sent += taken as u64;
                    next += taken;
                }
                // The interface did not take the first of them.
                Err(Errno::ENOBUFS) => next += 1,
                Err(errno) => bail!("cannot send: {errno}"),
            }
        }
        offered += batch as u64;
        if let Some(rate) = rate {
            let due = start + Duration::from_nanos(offered * 1_000_000_000 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(Sent { packets: sent, wall: start.elapsed(), cpu: cpu_time()? - cpu_start })
}

/// CPU time of the calling thread.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

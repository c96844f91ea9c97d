//! Packet sockets: whole frames that go around the queueing discipline, as fast as a core can send them.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::{
        AddressFamily, ControlMessage, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg,
        setsockopt, socket, sockopt,
    },
};

/// Frames per system call.
pub(crate) const BATCH: usize = 64;

/// Opens a socket for whole frames out of an interface of the namespace it is called in.
pub(crate) fn open(interface: &str) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .context("cannot make a packet socket (CAP_NET_RAW)")?;
    setsockopt(&socket, QdiscBypass, &1).context("PACKET_QDISC_BYPASS")?;
    let address = address_of(interface)?;
    bind(socket.as_raw_fd(), &address).with_context(|| format!("cannot bind to {interface}"))?;
    Ok(socket)
}

/// Such a socket, with what it takes to send many frames in one system call.
pub(crate) struct PacketSocket {
    socket: OwnedFd,
    headers: MultiHeaders<LinkAddr>,
    buffers: [Vec<u8>; BATCH],
}

impl PacketSocket {
    /// Around an [open] socket.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: [const { Vec::new() }; BATCH],
        }
    }

    /// Sends `count` frames, at most [`BATCH`], which `fill` appends each to a buffer, and says how many the interface took.
    pub(crate) fn send(&mut self, count: usize, mut fill: impl FnMut(&mut Vec<u8>)) -> Result<u64> {
        let Self { socket, headers, buffers } = self;
        for buffer in &mut buffers[..count] {
            buffer.clear();
            fill(buffer);
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

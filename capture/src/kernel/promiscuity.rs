//! Promiscuous mode, as libpcap asks for it: without it an interface keeps from the hooks what is not addressed to this
//! machine, such as what the ports of a bridge say to each other.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::interface::printable;

/// The interface cannot be made promiscuous.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is not in promiscuous mode, which needs a packet socket and the capability cap_net_raw ({source}): packets \
     between other machines may be missing; grant the capability, or give -p",
    printable(.interface)
)]
pub(super) struct NotPromiscuous {
    /// The interface.
    pub(super) interface: String,
    /// The kernel's answer.
    #[source]
    pub(super) source: io::Error,
}

/// Keeps an interface in promiscuous mode. The kernel counts the sockets that ask for it, and a socket is closed however
/// its process ends (packet(7), `PACKET_ADD_MEMBERSHIP`); the flag `IFF_PROMISC` would stay.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop, which closes it")]
pub(super) struct Promiscuity(OwnedFd);

impl Promiscuity {
    /// Of the interface with this index. It needs CAP_NET_RAW.
    ///
    /// # Errors
    ///
    /// The kernel's answer.
    pub(super) fn new(index: u32) -> io::Result<Self> {
        // Without a protocol the socket receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        let request = libc::packet_mreq {
            mr_ifindex: i32::try_from(index).map_err(io::Error::other)?,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        #[expect(unsafe_code, reason = "no crate has this option")]
        // SAFETY: the option's value is a `struct packet_mreq` of the length given, which the kernel only reads.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                size_of_val(&request) as libc::socklen_t,
            )
        };
        if result == 0 { Ok(Self(socket)) } else { Err(io::Error::last_os_error()) }
    }
}

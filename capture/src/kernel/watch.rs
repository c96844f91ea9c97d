//! Notices that the interface goes down or away, which the programs attached to it never tell.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    net::if_::InterfaceFlags,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{KernelError, interface::Interface};

/// linux/rtnetlink.h.
const RTMGRP_LINK: u32 = 1;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
/// Offsets in a link message: `struct nlmsghdr`, then `struct ifinfomsg`.
const MESSAGE_TYPE: usize = 4;
const INDEX: usize = 20;
const FLAGS: usize = 24;
/// More than a link's description ever needs.
const MESSAGE_SIZE: usize = 64 * 1024;

/// Listens to the kernel's announcements of changed links.
#[derive(Debug)]
pub(super) struct Watch {
    socket: AsyncFd<OwnedFd>,
    interface: Interface,
}

/// What became of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Down,
    Gone,
}

impl Watch {
    /// To be called within a tokio runtime.
    pub(super) fn new(interface: &Interface) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_LINK))?;
        #[expect(unsafe_code, reason = "tokio's registration of a file descriptor")]
        // SAFETY: the descriptor is owned by the registration, and neither closed nor replaced while it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket, interface: interface.clone() })
    }

    /// Waits until the interface is down or gone, and says so.
    pub(super) async fn lost(&self) -> KernelError {
        let name = self.interface.name.clone();
        loop {
            let changed = match self.socket.readable().await {
                Ok(mut ready) => {
                    let changed = self.read();
                    if changed == Err(Errno::EAGAIN) {
                        ready.clear_ready();
                    }
                    changed
                }
                Err(error) => return KernelError::Wait(error),
            };
            match changed {
                Ok(Some(Change::Down)) => return KernelError::WentDown { name },
                Ok(Some(Change::Gone)) => return KernelError::Disappeared { name },
                Ok(None) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                // Announcements were lost: look.
                Err(Errno::ENOBUFS) => match Interface::list() {
                    Ok(interfaces) => {
                        match interfaces.iter().find(|found| found.index == self.interface.index) {
                            Some(found) if found.is_up() => {}
                            Some(_) => return KernelError::WentDown { name },
                            None => return KernelError::Disappeared { name },
                        }
                    }
                    Err(error) => return error,
                },
                Err(errno) => return KernelError::Wait(errno.into()),
            }
        }
    }

    fn read(&self) -> nix::Result<Option<Change>> {
        let mut message = vec![0; MESSAGE_SIZE];
        let length = recv(self.socket.as_raw_fd(), &mut message, MsgFlags::empty())?;
        Ok(change(message.get(..length).unwrap_or_default(), self.interface.index))
    }
}

/// What an announcement says of the interface with this index. The kernel sends one message at a time.
fn change(message: &[u8], index: u32) -> Option<Change> {
    let number = |offset: usize| Some(u32::from_ne_bytes(*message.get(offset..)?.first_chunk()?));
    let message_type = u16::from_ne_bytes(*message.get(MESSAGE_TYPE..)?.first_chunk()?);
    if number(INDEX)? != index {
        return None;
    }
    let up = number(FLAGS)? & InterfaceFlags::IFF_UP.bits() as u32 != 0;
    match message_type {
        RTM_DELLINK => Some(Change::Gone),
        RTM_NEWLINK if !up => Some(Change::Down),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, index: u32, flags: u32) -> Vec<u8> {
        let mut message = vec![0; 32];
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[20..24].copy_from_slice(&index.to_ne_bytes());
        message[24..28].copy_from_slice(&flags.to_ne_bytes());
        message
    }

    #[test]
    fn only_the_own_interface_and_only_its_loss_counts() {
        assert_eq!(change(&message(RTM_NEWLINK, 3, 0x1003), 3), None);
        assert_eq!(change(&message(RTM_NEWLINK, 3, 0x1002), 3), Some(Change::Down));
        assert_eq!(change(&message(RTM_NEWLINK, 4, 0x1002), 3), None);
        assert_eq!(change(&message(RTM_DELLINK, 3, 0x1003), 3), Some(Change::Gone));
        assert_eq!(change(&message(RTM_DELLINK, 4, 0), 3), None);
        assert_eq!(change(&[0; 10], 3), None);
    }
}

//! Notices that the interface goes away, which the programs attached to it never tell. One that goes down may come up
//! again: the programs stay attached meanwhile.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::errno::Errno;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    KernelError,
    interface::Interface,
    link::{Link, gone, link_at},
    netlink::{Received, announcements, messages, receive},
};

/// The multicast group that announces changed links (linux/rtnetlink.h).
const RTMGRP_LINK: u32 = 1;
/// As long as most announcements are. Those of links with many other names are longer.
const ANNOUNCEMENT: usize = 8 * 1024;

/// Listens to the kernel's announcements of changed links.
#[derive(Debug)]
pub(super) struct Watch {
    socket: AsyncFd<OwnedFd>,
    name: String,
    index: u32,
}

impl Watch {
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the interface is down or gone already, or the kernel does not announce changes.
    pub(super) fn new(interface: &Interface) -> Result<Self, KernelError> {
        let failed = |source| KernelError::Watch { interface: interface.name.clone(), source };
        let socket = announcements(RTMGRP_LINK).map_err(failed)?;
        #[expect(unsafe_code, reason = "tokio's registration of a file descriptor")]
        // SAFETY: the descriptor is owned by the registration, and neither closed nor replaced while it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        let socket = socket.map_err(|error| failed(error.into()))?;
        let watch = Self { socket, name: interface.name.clone(), index: interface.index };
        match watch.look().map_err(KernelError::Interfaces)? {
            Some(link) if link.flags & libc::IFF_UP as u32 != 0 => Ok(watch),
            Some(_) => Err(KernelError::InterfaceDown { name: watch.name }),
            None => Err(watch.disappeared()),
        }
    }

    /// The interface as it is now, unless it is gone.
    fn look(&self) -> io::Result<Option<Link>> {
        link_at(self.index)
    }

    fn disappeared(&self) -> KernelError {
        KernelError::Disappeared { name: self.name.clone() }
    }

    /// Waits until the interface is gone, or nothing can be learned of it any more, and says so.
    pub(super) async fn lost(&self) -> KernelError {
        let failed = |source| KernelError::Watch { interface: self.name.clone(), source };
        let mut buffer = [0; ANNOUNCEMENT];
        loop {
            let mut ready = match self.socket.readable().await {
                Ok(ready) => ready,
                Err(error) => return failed(error),
            };
            let lost = match receive(self.socket.get_ref().as_fd(), &mut buffer) {
                Ok(Received::Messages(bytes)) => {
                    if messages(bytes).any(|message| gone(message) == Some(self.index)) {
                        return self.disappeared();
                    }
                    false
                }
                Ok(Received::Foreign) | Err(Errno::EINTR) => false,
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    false
                }
                Ok(Received::Cut) | Err(Errno::ENOBUFS) => true,
                Err(errno) => return failed(errno.into()),
            };
            // What was not announced, or not read whole, has to be looked at.
            if lost {
                match self.look() {
                    Ok(Some(_)) => {}
                    Ok(None) => return self.disappeared(),
                    Err(error) => return KernelError::Interfaces(error),
                }
            }
        }
    }
}

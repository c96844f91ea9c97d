//! Notices that the interface goes down or away, which the programs attached to it never tell.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    KernelError,
    interface::Interface,
    netlink::{Message, announcements, links, messages},
};

/// More than an announcement ever is (net/core/rtnetlink.c, `if_nlmsg_size`, without virtual functions).
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
        let socket = announcements().map_err(failed)?;
        #[expect(unsafe_code, reason = "tokio's registration of a file descriptor")]
        // SAFETY: the descriptor is owned by the registration, and neither closed nor replaced while it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        let socket = socket.map_err(|error| failed(error.into()))?;
        let watch = Self { socket, name: interface.name.clone(), index: interface.index };
        match watch.look() {
            None => Ok(watch),
            Some(KernelError::WentDown { name }) => Err(KernelError::InterfaceDown { name }),
            Some(error) => Err(error),
        }
    }

    /// Asks how the interface is, and says so if it is down or gone.
    fn look(&self) -> Option<KernelError> {
        match links() {
            Ok(links) => match links.into_iter().find(|link| link.index == self.index) {
                Some(link) => self.judge(&Message::Link(link)),
                None => self.judge(&Message::Gone(self.index)),
            },
            Err(error) => Some(KernelError::Interfaces(error)),
        }
    }

    /// Waits until the interface is down or gone, and says so.
    pub(super) async fn lost(&self) -> KernelError {
        let failed = |source| KernelError::Watch { interface: self.name.clone(), source };
        let mut buffer = [0; ANNOUNCEMENT];
        loop {
            let mut ready = match self.socket.readable().await {
                Ok(ready) => ready,
                Err(error) => return failed(error),
            };
            let lost = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    messages(buffer.get(..length).unwrap_or_default()).find_map(|change| self.judge(&change))
                }
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    None
                }
                // Announcements were lost: look.
                Err(Errno::ENOBUFS) => self.look(),
                Err(Errno::EINTR) => None,
                Err(errno) => Some(failed(errno.into())),
            };
            if let Some(error) = lost {
                return error;
            }
        }
    }

    /// What an announcement says of the interface, if it says that it is down or gone.
    fn judge(&self, message: &Message) -> Option<KernelError> {
        let name = || self.name.clone();
        match message {
            Message::Link(link) if link.index == self.index && link.flags & libc::IFF_UP as u32 == 0 => {
                Some(KernelError::WentDown { name: name() })
            }
            Message::Gone(index) if *index == self.index => Some(KernelError::Disappeared { name: name() }),
            _ => None,
        }
    }
}

//! What the kernel announces of links. The programs attached to an interface do not say that it goes away, and one that
//! goes down may come up again: the programs stay attached meanwhile.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::errno::Errno;

use super::{
    interface::{Disappeared, Interface, InterfaceError, printable},
    link::{Link, gone, link},
    netlink::{Received, announcements, messages, receive},
};

/// The multicast group that announces changed links (linux/rtnetlink.h).
const RTMGRP_LINK: u32 = 1;
/// As long as most announcements are. Those of links with many other names are longer.
const ANNOUNCEMENT: usize = 8 * 1024;
/// Announcements that are taken in before packets have their turn.
const AT_ONCE: usize = 64;

/// Why an interface is not watched, or what was noticed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The kernel does not tell of changes of the interface.
    #[error("cannot watch whether {} is still there: {source}", printable(.interface))]
    Refused {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },

    /// The interface is down.
    #[error(
        "cannot capture on {name}: the interface is down (bring it up with `ip link set {name} up`)",
        name = printable(.name)
    )]
    Down {
        /// The interface.
        name: String,
    },

    /// The interface is gone.
    #[error(transparent)]
    Disappeared(#[from] Disappeared),

    /// The interface cannot be looked at.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

impl From<io::Error> for WatchError {
    /// The links cannot be listed.
    fn from(error: io::Error) -> Self {
        InterfaceError::List(error).into()
    }
}

/// What was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    /// A link as it is now: it is new, or something about it has changed.
    Link(Link),
    /// The link with this index is gone: deleted, or in another network namespace.
    Gone(u32),
    /// Something was announced that was not read: all links have to be looked at.
    Missed,
}

/// Waits for an interface of a name to be there and up.
#[derive(Debug)]
pub struct Appearance {
    name: OsString,
    watch: Watch,
}

impl Appearance {
    /// Of an interface that goes by this name.
    ///
    /// # Errors
    ///
    /// When the kernel does not announce links.
    pub fn new(name: &OsStr) -> Result<Self, WatchError> {
        let watch = Watch::new().map_err(|source| refused(name, source))?;
        Ok(Self { name: name.to_owned(), watch })
    }

    /// Looks whether it is there and up: to be called until it is, each time after this has become readable.
    ///
    /// # Errors
    ///
    /// When the kernel does not list links, or does not announce them.
    pub fn look(&self) -> Result<Option<Interface>, WatchError> {
        // First, so that nothing that comes after the look goes unnoticed.
        self.watch.read().map_err(|source| refused(&self.name, source))?;
        match Interface::find(&self.name) {
            Ok(interface) => Ok(Some(interface).filter(Interface::is_up)),
            Err(InterfaceError::NoSuchInterface { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Appearance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

fn refused(name: &OsStr, source: io::Error) -> WatchError {
    WatchError::Refused { interface: name.to_string_lossy().into_owned(), source }
}

/// Listens to the kernel's announcements of links.
#[derive(Debug)]
pub(super) struct Watch {
    socket: OwnedFd,
}

impl Watch {
    /// To be called before the links are looked at, so that no change goes unnoticed.
    ///
    /// # Errors
    ///
    /// When the kernel does not announce changes.
    pub(super) fn new() -> io::Result<Self> {
        announcements(RTMGRP_LINK).map(|socket| Self { socket })
    }

    /// Reads what has been announced, without waiting: not more of it at once than takes a moment. After a loss everything:
    /// until its socket is empty the kernel loses further announcements without saying so (net/netlink/af_netlink.c,
    /// `netlink_overrun`).
    ///
    /// # Errors
    ///
    /// When the kernel announces nothing any more.
    pub(super) fn read(&self) -> io::Result<Vec<Announcement>> {
        let mut announced = Vec::new();
        let mut buffer = [0; ANNOUNCEMENT];
        let (mut empty, mut missed) = (false, false);
        while !empty && (missed || announced.len() < AT_ONCE) {
            match receive(self.socket.as_fd(), &mut buffer) {
                Ok(Received::Messages(bytes)) => announced.extend(messages(bytes).filter_map(|message| {
                    gone(message).map(Announcement::Gone).or_else(|| link(message).map(Announcement::Link))
                })),
                Ok(Received::Foreign) => {}
                Ok(Received::Cut) => missed = true,
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => missed = true,
                Err(Errno::EAGAIN) => empty = true,
                Err(errno) => return Err(errno.into()),
            }
        }
        if missed {
            announced.push(Announcement::Missed);
        }
        Ok(announced)
    }
}

/// Readable when something has been announced.
impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

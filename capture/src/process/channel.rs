//! The two ends between the processes: a pair of sockets that keeps messages apart (unix(7), `SOCK_SEQPACKET`). An end
//! whose process is gone, however it ended, is closed, and the other one sees it.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    marker::PhantomData,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair},
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::message::{Malformed, Message, SIZE};

/// Why nothing comes any more.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The other process is gone.
    #[error("it has ended")]
    Closed,
    /// It sent something else.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The socket fails.
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// The end of a process that says `S` and hears `R`.
#[derive(Debug)]
pub struct End<S, R> {
    socket: OwnedFd,
    says: PhantomData<fn(S) -> R>,
}

/// Both ends: of the process that says `A`, and of the one that says `B`.
///
/// # Errors
///
/// When the system has no more descriptors.
pub fn pair<A: Message, B: Message>() -> io::Result<(End<A, B>, End<B, A>)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    Ok((End { socket: one, says: PhantomData }, End { socket: other, says: PhantomData }))
}

impl<S: Message, R: Message> End<S, R> {
    /// Says something. Waits while the other process does not listen.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn say(&self, message: &S) -> Result<(), Broken> {
        send_all(&self.socket, &message.encode())
    }

    /// Says something, unless the other process has not listened for long. False if it was not said.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn offer(&self, message: &S) -> Result<bool, Broken> {
        match send(self.socket.as_raw_fd(), &message.encode(), MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(Broken::Closed),
            Err(errno) => Err(Broken::Socket(errno.into())),
        }
    }

    /// The next thing that the other process has said, if there is one.
    ///
    /// # Errors
    ///
    /// When it is gone, and all that it said has been heard, or when that is no message.
    pub fn next(&self) -> Result<Option<R>, Broken> {
        receive(&self.socket, R::decode)
    }

    /// Says something, and hands an open file over with it. Waits as [`say`](Self::say) does.
    ///
    /// # Errors
    ///
    /// When the other process is gone.
    pub fn hand(&self, message: &S, file: &File) -> Result<(), Broken> {
        let message = message.encode();
        let descriptors = [file.as_fd()];
        send_with(&self.socket, || {
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut room);
            // There is room for it.
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            let sent = sendmsg(&self.socket, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL);
            sent.map_err(|errno| Errno::from_raw(errno.raw_os_error()))
        })
    }

    /// Waits for the next thing that the other process says.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn hear(&self) -> Result<R, Broken> {
        loop {
            self.wait(PollTimeout::NONE)?;
            if let Some(message) = self.next()? {
                return Ok(message);
            }
        }
    }

    /// Waits for the next thing that the other process says, and takes the open file that comes with it, if one does. Where
    /// none is expected, [`hear`](Self::hear) takes none: the system closes it.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn take(&self) -> Result<(R, Option<File>), Broken> {
        loop {
            self.wait(PollTimeout::NONE)?;
            let mut buffer = [0; SIZE];
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut room);
            let received = recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            );
            let files = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            });
            // There is room for one.
            let file = files.flatten().next().map(File::from);
            let length = received
                .map(|received| received.bytes)
                .map_err(|errno| Errno::from_raw(errno.raw_os_error()));
            if let Some(message) = heard(length, &buffer, R::decode)? {
                return Ok((message, file));
            }
        }
    }

    /// Waits for something to be said, for `patience` at most. False if nothing was.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn wait(&self, patience: PollTimeout) -> Result<bool, Broken> {
        wait(&self.socket, PollFlags::POLLIN, patience)
    }
}

impl<S, R> AsFd for End<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S, R> AsRawFd for End<S, R> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn send_all(socket: &OwnedFd, message: &[u8]) -> Result<(), Broken> {
    send_with(socket, || send(socket.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL))
}

fn send_with(socket: &OwnedFd, send: impl Fn() -> Result<usize, Errno>) -> Result<(), Broken> {
    loop {
        match send() {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => drop(wait(socket, PollFlags::POLLOUT, PollTimeout::NONE)?),
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(Broken::Closed),
            Err(errno) => return Err(Broken::Socket(errno.into())),
        }
    }
}

fn receive<M>(socket: &OwnedFd, decode: impl Fn(&[u8]) -> Result<M, Malformed>) -> Result<Option<M>, Broken> {
    let mut buffer = [0; SIZE];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            length => return heard(length, &buffer, decode),
        }
    }
}

/// What has been received, if anything has.
fn heard<M>(
    length: Result<usize, Errno>,
    buffer: &[u8],
    decode: impl Fn(&[u8]) -> Result<M, Malformed>,
) -> Result<Option<M>, Broken> {
    match length {
        // No message is empty.
        Ok(0) | Err(Errno::ECONNRESET) => Err(Broken::Closed),
        Ok(length) => Ok(Some(decode(buffer.get(..length).unwrap_or_default())?)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(errno) => Err(Broken::Socket(errno.into())),
    }
}

fn wait(socket: &OwnedFd, events: PollFlags, patience: PollTimeout) -> Result<bool, Broken> {
    loop {
        match poll(&mut [PollFd::new(socket.as_fd(), events)], patience) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Broken::Socket(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// A message of one byte, which is below 10.
    #[derive(Debug, PartialEq)]
    struct Digit(u8);

    impl Message for Digit {
        fn encode(&self) -> Vec<u8> {
            vec![self.0]
        }

        fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
            match bytes {
                [digit @ 0..10] => Ok(Self(*digit)),
                _ => Err(Malformed),
            }
        }
    }

    fn ends() -> (End<Digit, Digit>, End<Digit, Digit>) {
        pair().unwrap()
    }

    #[test]
    fn messages_go_both_ways_and_keep_apart() {
        let (one, other) = ends();
        assert!(one.next().unwrap().is_none() && other.next().unwrap().is_none());
        one.say(&Digit(1)).unwrap();
        one.say(&Digit(2)).unwrap();
        assert_eq!(other.next().unwrap(), Some(Digit(1)));
        assert_eq!(other.next().unwrap(), Some(Digit(2)));
        other.say(&Digit(3)).unwrap();
        assert!(one.wait(PollTimeout::NONE).unwrap());
        assert_eq!(one.next().unwrap(), Some(Digit(3)));
    }

    #[test]
    fn open_files_are_handed_over() {
        let (one, other) = ends();
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = File::from(OwnedFd::from(writer));
        one.hand(&Digit(1), &writer).unwrap();
        drop(writer);
        one.say(&Digit(2)).unwrap();
        let (said, file) = other.take().unwrap();
        assert_eq!(said, Digit(1));
        file.unwrap().write_all(b"x").unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "x");
        let (said, file) = other.take().unwrap();
        assert_eq!((said, file.is_some()), (Digit(2), false));
        // Who waits for none gets none.
        let (mut reader, writer) = io::pipe().unwrap();
        one.hand(&Digit(3), &File::from(OwnedFd::from(writer))).unwrap();
        assert_eq!(other.next().unwrap(), Some(Digit(3)));
        assert_eq!(reader.read_to_string(&mut read).unwrap(), 0);
        drop(one);
        assert!(matches!(other.take(), Err(Broken::Closed)));
    }

    #[test]
    fn the_end_of_one_is_seen_by_the_other() {
        let (one, other) = ends();
        other.say(&Digit(1)).unwrap();
        drop(other);
        // What was said before arrives.
        assert_eq!(one.next().unwrap(), Some(Digit(1)));
        assert!(matches!(one.next(), Err(Broken::Closed)));
        assert!(matches!(one.say(&Digit(2)), Err(Broken::Closed)));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (one, other) = ends();
        send_all(&other.socket, &[u8::MAX]).unwrap();
        assert!(matches!(one.next(), Err(Broken::Malformed(_))));
        // One that is too long is cut off by the system.
        send_all(&other.socket, &[3; SIZE + 1]).unwrap();
        assert!(matches!(one.next(), Err(Broken::Malformed(_))));
    }
}

//! Requests to rtnetlink (rtnetlink(7)) over a small synchronous socket. The crates netlink-packet-core and
//! netlink-packet-route know what messages look like; what is here decides which of them count.
//!
//! * Only the kernel's messages count: their sender has the port id 0. Any process with CAP_NET_ADMIN in the network
//!   namespace, a container's root included, can send to our port or to a multicast group.
//! * Only answers to the request count: they carry its sequence number.
//! * A dump during which the list changed (`NLM_F_DUMP_INTR`) is no list, and is repeated.
//! * An answer takes a bounded amount of memory.
//!
//! Attributes are decoded one by one, and only those that are wanted: the crate refuses a whole message when one
//! attribute is not as it expects (a name that is not UTF-8, a structure that a newer kernel made longer), and one such
//! interface must not hide all others.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NlaBuffer, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect, recvmsg, send,
        socket,
    },
};

/// The port id of the kernel (netlink(7), `nl_pid`).
const KERNEL: u32 = 0;
/// The sequence number of each request: a socket makes another one only when it has read the answer to its end.
const SEQUENCE: u32 = 1;
/// How often a dump is begun that does not come to its end undisturbed. While interfaces were made and removed without a
/// pause, one in ten dumps of 800 was undisturbed.
const TRIES: usize = 128;
/// More objects than this are no answer.
const MOST_OBJECTS: usize = 1 << 16;
/// For one read of a socket, in bytes. A dump comes in pieces of 32 KiB (net/netlink/af_netlink.c, `netlink_dump`) or
/// as large as one object needs, whose alternative names can take 64 KiB. What is not written to takes no memory.
const PIECE: usize = 128 * 1024;

/// One message from the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// `RTM_` type.
    pub(super) kind: u16,
    /// What follows `struct nlmsghdr`: the type's own header, then attributes.
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes after a header of `header` bytes, up to one that is malformed.
    pub(super) fn attributes(&self, header: usize) -> impl Iterator<Item = NlaBuffer<&'a [u8]>> {
        attributes(self.body.get(header..).unwrap_or_default())
    }
}

/// The attributes in `bytes`, up to one that is malformed.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

/// The text of an attribute (`NLA_NUL_STRING`); bytes that are not UTF-8 become U+FFFD.
pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
}

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { is_wanted: false, socket: None }) };
}

/// The socket that a thread keeps for its next request.
struct Kept {
    is_wanted: bool,
    socket: Option<OwnedFd>,
}

/// From now on this thread uses one socket for all its requests. To close a socket begins a grace period of the kernel (RCU), and
/// what attaches a program next waits for the rest of that and for one of its own.
pub(super) fn keep_socket() {
    KEPT.with_borrow_mut(|kept| kept.is_wanted = true);
    renew_socket();
}

/// Has a thread that [keeps](keep_socket) a socket get another: to be called in another network namespace, to which the one
/// before does not belong.
pub(super) fn renew_socket() {
    KEPT.with_borrow_mut(|kept| {
        // Where there can be none now, the next request says why.
        kept.socket = kept.is_wanted.then(|| open(0, SockFlag::empty()).ok()).flatten();
    });
}

/// Asks for all objects of a kind, and returns what `read` makes of the answer's messages.
///
/// # Errors
///
/// The kernel's refusal, or that the list changes faster than it can be read.
pub(super) fn dump<T>(
    request: RouteNetlinkMessage,
    mut read: impl FnMut(Message<'_>) -> Option<T>,
) -> io::Result<Vec<T>> {
    let request = serialized(request, NLM_F_DUMP);
    undisturbed(|| ask(&request, &mut read))
}

/// What the first attempt gives that is consistent.
fn undisturbed<T>(mut attempt: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..TRIES {
        if let Some(whole) = attempt()? {
            return Ok(whole);
        }
    }
    Err(io::Error::other(format!("the list changed each of {TRIES} times while it was read")))
}

/// Makes a request of one object with the flags `flags` (`NLM_F_`), waits for the kernel's acknowledgement, and returns
/// what `read` makes of the messages before it.
///
/// # Errors
///
/// The kernel's refusal.
pub(super) fn request<T>(
    request: RouteNetlinkMessage,
    flags: u16,
    read: impl FnMut(Message<'_>) -> Option<T>,
) -> io::Result<Vec<T>> {
    ask(&serialized(request, NLM_F_ACK | flags), read)?
        .ok_or_else(|| io::Error::other("the kernel's answer was lost"))
}

/// A socket that receives the announcements of these multicast groups (`RTMGRP_`) without blocking.
pub(super) fn announcements(groups: u32) -> io::Result<OwnedFd> {
    open(groups, SockFlag::SOCK_NONBLOCK)
}

fn open(groups: u32, flags: SockFlag) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    // Of a connected socket the kernel keeps away what other ports send to it alone
    // (net/netlink/af_netlink.c, `netlink_getsockbyportid`).
    connect(socket.as_raw_fd(), &NetlinkAddr::new(KERNEL, 0))?;
    Ok(socket)
}

fn serialized(request: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = SEQUENCE;
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Sends a request and reads its answer to the end. `None` if that is not consistent.
fn ask<T>(request: &[u8], read: impl FnMut(Message<'_>) -> Option<T>) -> io::Result<Option<Vec<T>>> {
    let kept = KEPT.with_borrow_mut(|kept| kept.socket.take());
    let socket = kept.map_or_else(|| open(0, SockFlag::empty()), Ok)?;
    let answer = exchange(&socket, request, read);
    if matches!(answer, Ok(Some(_))) {
        KEPT.with_borrow_mut(|kept| kept.socket = kept.is_wanted.then_some(socket));
    } else {
        // Of an answer that was not read to its end, the rest would be taken for the next one.
        drop(socket);
        renew_socket();
    }
    answer
}

/// As [`ask`], with this socket.
fn exchange<T>(
    socket: &OwnedFd,
    request: &[u8],
    mut read: impl FnMut(Message<'_>) -> Option<T>,
) -> io::Result<Option<Vec<T>>> {
    send(socket.as_raw_fd(), request, MsgFlags::empty())?;
    let mut answer = Answer { objects: Vec::new(), intact: true };
    let mut buffer = vec![0; PIECE];
    loop {
        match receive(socket.as_fd(), &mut buffer) {
            Ok(Received::Messages(bytes)) => {
                if answer.take(bytes, &mut read)? {
                    return Ok(answer.intact.then_some(answer.objects));
                }
            }
            Ok(Received::Foreign) | Err(Errno::EINTR) => {}
            Ok(Received::Cut) => return Err(Errno::EMSGSIZE.into()),
            Err(Errno::ENOBUFS) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// What has come of an answer.
struct Answer<T> {
    objects: Vec<T>,
    /// Whether nothing has changed meanwhile.
    intact: bool,
}

impl<T> Answer<T> {
    /// Takes in what one read of the socket gave. Whether that was the end.
    fn take(&mut self, bytes: &[u8], mut read: impl FnMut(Message<'_>) -> Option<T>) -> io::Result<bool> {
        for buffer in buffers(bytes).filter(|buffer| buffer.sequence_number() == SEQUENCE) {
            self.intact &= buffer.flags() & NLM_F_DUMP_INTR == 0;
            let body = buffer.payload();
            match buffer.message_type() {
                NLMSG_DONE => {
                    let code = DoneBuffer::new_checked(body).map_or(0, |done| done.code());
                    return refusal(code).map(|()| true);
                }
                NLMSG_ERROR => {
                    let error = ErrorBuffer::new_checked(body).map_err(io::Error::other)?;
                    return refusal(error.code().map_or(0, i32::from)).map(|()| true);
                }
                NLMSG_OVERRUN => self.intact = false,
                kind => self.objects.extend(read(Message { kind, body })),
            }
            if self.objects.len() > MOST_OBJECTS {
                return Err(io::Error::other(format!("there are more than {MOST_OBJECTS}")));
            }
        }
        Ok(false)
    }
}

/// The kernel's verdict: a negative number of errno(3), or none.
fn refusal(code: i32) -> io::Result<()> {
    match code {
        ..0 => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Ok(()),
    }
}

/// What a read of a socket gave.
#[derive(Debug)]
pub(super) enum Received<'a> {
    /// Messages from the kernel; [`messages`] takes them apart.
    Messages(&'a [u8]),
    /// Messages from the kernel that the buffer had no room for.
    Cut,
    /// Something from another process.
    Foreign,
}

/// Reads from a socket once.
pub(super) fn receive<'a>(socket: BorrowedFd<'_>, buffer: &'a mut [u8]) -> Result<Received<'a>, Errno> {
    let mut pieces = [IoSliceMut::new(buffer)];
    let received = recvmsg::<NetlinkAddr>(socket.as_raw_fd(), &mut pieces, None, MsgFlags::empty())?;
    let (length, flags, sender) = (received.bytes, received.flags, received.address);
    if sender.is_none_or(|sender| sender.pid() != KERNEL) {
        return Ok(Received::Foreign);
    }
    if flags.contains(MsgFlags::MSG_TRUNC) {
        return Ok(Received::Cut);
    }
    Ok(Received::Messages(buffer.get(..length).unwrap_or_default()))
}

/// Takes apart what one read of a socket gave, up to a message that is malformed.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    buffers(bytes).map(|buffer| Message { kind: buffer.message_type(), body: buffer.payload() })
}

fn buffers(mut bytes: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(bytes).ok()?;
        let length = buffer.length() as usize;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(buffer)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use netlink_packet_route::link::LinkMessage;

    use super::*;

    pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(body);
        message
    }

    /// One attribute (linux/netlink.h, `struct nlattr`).
    pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn taken(pieces: &[Vec<u8>]) -> (io::Result<bool>, Vec<u16>, bool) {
        let mut answer = Answer { objects: Vec::new(), intact: true };
        let ended = answer.take(&pieces.concat(), |message| Some(message.kind));
        (ended, answer.objects, answer.intact)
    }

    const OBJECT: u16 = libc::RTM_NEWLINK;

    #[test]
    fn an_answer_ends_with_done_or_with_an_acknowledgement() {
        for last in [NLMSG_DONE, NLMSG_ERROR] {
            let pieces = [message(OBJECT, 0, SEQUENCE, &[]), message(last, 0, SEQUENCE, &[0; 4])];
            let (ended, objects, intact) = taken(&pieces);
            assert!(ended.unwrap());
            assert_eq!((objects, intact), (vec![OBJECT], true));
        }
        let (ended, objects, _) = taken(&[message(OBJECT, 0, SEQUENCE, &[])]);
        assert!(!ended.unwrap());
        assert_eq!(objects, [OBJECT]);
    }

    #[test]
    fn a_refusal_has_the_kernels_number() {
        for last in [NLMSG_DONE, NLMSG_ERROR] {
            let (ended, ..) = taken(&[message(last, 0, SEQUENCE, &(-libc::ENODEV).to_ne_bytes())]);
            assert_eq!(ended.unwrap_err().raw_os_error(), Some(libc::ENODEV));
        }
        let (ended, ..) = taken(&[message(NLMSG_ERROR, 0, SEQUENCE, &[])]);
        ended.unwrap_err();
    }

    #[test]
    fn answers_to_other_requests_do_not_count() {
        let pieces = [message(OBJECT, 0, SEQUENCE + 1, &[]), message(NLMSG_DONE, 0, SEQUENCE + 1, &[0; 4])];
        let (ended, objects, _) = taken(&pieces);
        assert!(!ended.unwrap());
        assert_eq!(objects, [0; 0]);
    }

    #[test]
    fn a_list_that_changed_is_not_intact() {
        let whole = [message(OBJECT, 0, SEQUENCE, &[]), message(NLMSG_DONE, 0, SEQUENCE, &[0; 4])];
        assert!(taken(&whole).2);
        for changed in 0..whole.len() {
            let mut pieces = whole.clone();
            pieces[changed][6..8].copy_from_slice(&NLM_F_DUMP_INTR.to_ne_bytes());
            let (ended, _, intact) = taken(&pieces);
            assert!(ended.unwrap() && !intact);
        }
        assert!(!taken(&[message(NLMSG_OVERRUN, 0, SEQUENCE, &[])]).2);
    }

    #[test]
    fn what_was_disturbed_is_repeated_but_not_for_ever() {
        let mut tries = 0;
        let third = undisturbed(|| {
            tries += 1;
            Ok((tries == 3).then_some(tries))
        });
        assert_eq!(third.unwrap(), 3);
        let mut tries = 0;
        let never: io::Result<()> = undisturbed(|| {
            tries += 1;
            Ok(None)
        });
        assert_eq!((never.unwrap_err().kind(), tries), (io::ErrorKind::Other, TRIES));
        undisturbed::<()>(|| Err(Errno::EPERM.into())).unwrap_err();
    }

    /// A socket that has been used answers the next request, too, and so does what comes after a refusal.
    #[test]
    fn one_socket_serves_many_requests() {
        let kept = || KEPT.with_borrow(|kept| kept.socket.as_ref().map(|socket| socket.as_raw_fd()));
        let all = || {
            let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
            dump(all, |message| Some(message.kind)).unwrap().len()
        };
        let links = all();
        assert!(links > 0 && kept().is_none());
        keep_socket();
        assert_eq!(all(), links);
        let socket = kept();
        assert!(socket.is_some());
        assert_eq!((all(), kept()), (links, socket));
        let mut missing = LinkMessage::default();
        missing.header.index = u32::from(u16::MAX) << 8;
        request(RouteNetlinkMessage::GetLink(missing), 0, |_| None::<()>).unwrap_err();
        assert!(kept().is_some());
        assert_eq!(all(), links);
        renew_socket();
        assert!(kept().is_some());
        assert_eq!(all(), links);
    }

    #[test]
    fn an_answer_has_an_end() {
        let mut answer = Answer { objects: Vec::new(), intact: true };
        let one = message(OBJECT, 0, SEQUENCE, &[]);
        for _ in 0..MOST_OBJECTS {
            answer.take(&one, |_| Some(())).unwrap();
        }
        answer.take(&one, |_| Some(())).unwrap_err();
    }

    #[test]
    fn broken_messages_end_the_reading() {
        let whole = message(OBJECT, 0, SEQUENCE, &[1, 2, 3, 4]);
        for length in 0..whole.len() {
            assert_eq!(messages(&whole[..length]).count(), 0, "{length} bytes");
        }
        for length in 0..16 {
            let mut endless = whole.clone();
            endless[0] = length;
            assert_eq!(messages(&endless).count(), 0, "{length} bytes");
        }
        let two = [message(OBJECT, 0, SEQUENCE, &[1, 2, 3]), vec![0], whole].concat();
        let bodies: Vec<_> = messages(&two).map(|message| message.body).collect();
        assert_eq!(bodies, [&[1, 2, 3][..], &[1, 2, 3, 4]]);
    }
}

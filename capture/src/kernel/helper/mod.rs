//! The helper: the process that keeps what the reader of packets gives up. It attaches and detaches, and looks at the
//! programs of others; it never sees a packet.
//!
//! A capture starts as one process. When the programs are attached it [splits](split): the child is the helper, and the
//! parent, which the user knows, goes on without what it needed for that. They talk over a pair of sockets
//! ([`channel`](crate::process::channel), [`message`]). Each ends with the other, however that ended.

pub mod message;

use std::{io, os::fd::AsFd as _};

use aya::maps::MapData;
use nix::poll::{PollFd, PollFlags, poll};

use self::message::{Event, Request};
use super::{attacher::Attacher, netlink::keep_socket};
use crate::process::{
    Side,
    channel::{End, pair},
    fork,
};

pub(super) use crate::process::channel::Broken;

/// The end of the process that reads packets.
pub(super) type ReaderEnd = End<Request, Event>;
/// The end of the helper.
type HelperEnd = End<Event, Request>;

/// Splits the process. To be called while it has one thread: what other threads hold stays locked in the child for ever.
/// The child calls `confine` first, and ends when the parent does. Returns the parent's end, and the rings, of which the
/// child keeps one: with it, it waits for programs to end.
///
/// # Errors
///
/// When the system has no more processes or descriptors. Nothing is left attached.
pub(super) fn split(
    attacher: Attacher,
    mut rings: Vec<MapData>,
    confine: impl FnOnce() -> Result<(), String>,
) -> io::Result<(ReaderEnd, Vec<MapData>)> {
    let (reader, helper) = pair()?;
    match fork()? {
        Side::Parent(_) => {
            attacher.disown();
            Ok((reader, rings))
        }
        Side::Child(child) => child.live(c"capture-helper", move || {
            drop(reader);
            rings.truncate(1);
            live(attacher, &helper, rings.first(), confine);
        }),
    }
}

/// The life of the helper.
fn live(
    mut attacher: Attacher,
    channel: &HelperEnd,
    ring: Option<&MapData>,
    confine: impl FnOnce() -> Result<(), String>,
) {
    if let Err(why) = confine() {
        let _gone = channel.say(&Event::Lost(why));
    }
    keep_socket();
    // The parent is gone, or sends nonsense. What is attached is detached on the way out.
    let _broken = serve(&mut attacher, channel, ring);
}

/// Does what there is to do, until it is asked to end the capture.
fn serve(attacher: &mut Attacher, channel: &HelperEnd, ring: Option<&MapData>) -> Result<(), Broken> {
    loop {
        let descriptors = std::iter::once(channel.as_fd()).chain(attacher.announcements());
        let mut ready: Vec<_> = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // An interruption is none of its concern.
        let _interrupted = poll(&mut ready, attacher.patience());
        while let Some(request) = channel.next()? {
            match request {
                Request::Losses => {
                    let mut broken = Ok(());
                    attacher.count_losses(&mut |event| tell(channel, &event, &mut broken));
                    broken?;
                    channel.say(&Event::AllCounted)?;
                }
                Request::Detach => {
                    let mut broken = Ok(());
                    let last = attacher.end(ring, &mut |event| tell(channel, &event, &mut broken));
                    broken?;
                    return channel.say(&last);
                }
            }
        }
        let mut broken = Ok(());
        attacher.work(&mut |event| tell(channel, &event, &mut broken));
        broken?;
    }
}

fn tell(channel: &HelperEnd, event: &Event, broken: &mut Result<(), Broken>) {
    if broken.is_ok() {
        *broken = channel.say(event);
    }
}

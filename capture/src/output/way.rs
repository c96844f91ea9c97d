//! How blocks reach a destination: through a queue, to a thread, or at once.

use std::{io, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{
    block::Block,
    destination::{Destination, Progress},
    queue::{Queue, Writer},
};

/// How blocks reach the destination.
#[derive(Debug)]
pub(super) enum Way {
    /// A thread writes them.
    Queue(Queue),
    /// They are written at once. What went wrong is kept until it is asked for.
    Here { destination: Box<dyn Destination>, error: Option<io::Error> },
}

impl Way {
    /// Through a queue, and what takes blocks from it when it is started. It notifies `failures` when the destination takes
    /// no more.
    pub(super) fn queue(
        destination: Box<dyn Destination>,
        progress: &Arc<Progress>,
        failures: &Arc<Notify>,
    ) -> (Self, Writer) {
        let (queue, writer) = Queue::new(destination, Arc::clone(progress), Arc::clone(failures));
        (Self::Queue(queue), writer)
    }

    /// At once.
    pub(super) fn here(destination: Box<dyn Destination>) -> Self {
        Self::Here { destination, error: None }
    }

    /// After how long [`tick`](Self::tick) is to be called when nothing is written before: without a queue, whose thread does
    /// it.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Here { destination, error: None } => destination.wait(),
            _ => None,
        }
    }

    /// Does what the time asks for.
    pub(super) fn tick(&mut self, progress: &Progress) {
        if let Self::Here { destination, error: error @ None } = self {
            *error = destination.tick(progress).err();
        }
    }

    /// Has the destination look whether it can go on, by `block`, which is empty. One that has no room for that is at work,
    /// and finds out.
    pub(super) fn look(&mut self, block: Block, progress: &Progress) {
        match self {
            Self::Queue(queue) => {
                if let Some(place) = queue.place() {
                    place.send(block);
                }
            }
            Self::Here { destination, error: error @ None } => {
                destination.prepare(&[], block.trailer);
                *error = destination.write(&[], &[], progress).err();
            }
            Self::Here { .. } => {}
        }
    }

    /// Waits until there is room for one more block. False if the output has ended.
    pub(super) async fn room(&self) -> bool {
        match self {
            Self::Queue(queue) => queue.room().await,
            Self::Here { error, .. } => error.is_none(),
        }
    }

    /// Says that no more blocks come. Where it `has_failed`, what is not closed by a thread is left as it is.
    pub(super) fn close(&mut self, has_failed: bool, progress: &Progress) {
        match self {
            Self::Queue(queue) => queue.close(),
            Self::Here { destination, error } => {
                if error.is_none() && !has_failed {
                    *error = destination.close(progress).err();
                }
            }
        }
    }

    /// Waits until the output has failed or, once it is [closed](Self::close), everything has been written.
    pub(super) async fn closed(&mut self) {
        if let Self::Queue(queue) = self {
            queue.closed().await;
        }
    }

    /// Whether it is known that everything was written and closed, or that it has failed.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::Queue(queue) => queue.has_ended(),
            Self::Here { .. } => true,
        }
    }

    /// What went wrong, once.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        match self {
            Self::Queue(queue) => queue.take_error(),
            Self::Here { error, .. } => error.take(),
        }
    }

    /// Whether the destination takes no more, also where the [error](Self::take_error) has not been taken.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Queue(queue) => queue.is_closed(),
            Self::Here { error, .. } => error.is_some(),
        }
    }

    /// Whether there is an error that has not been taken: without a queue.
    pub(super) fn is_stuck(&self) -> bool {
        matches!(self, Self::Here { error: Some(_), .. })
    }
}

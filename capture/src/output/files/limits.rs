//! What a file takes, and what is enough.

use super::{
    current::Current,
    options::{Autostop, FilesOptions},
};

/// How many of the packets that end at `ends` the file takes, of which the first begins at `start`, after `packets` in
/// all files.
pub(super) fn room(
    options: &FilesOptions,
    file: &Current,
    packets: u64,
    ends: &[usize],
    start: usize,
) -> usize {
    let left = |most: u64, there: u64| usize::try_from(most.saturating_sub(there)).unwrap_or(usize::MAX);
    let enough = options.autostop.size.map(|size| size.saturating_sub(1));
    let largest = [options.rotation.largest(), enough].into_iter().flatten().min();
    let mut room = ends.len();
    if let Some(largest) = largest {
        // A packet is taken when the file is no larger before it.
        let others = ends.partition_point(|end| file.size + (end - start) as u64 <= largest);
        room = if file.size > largest { 0 } else { others + 1 };
    }
    if let Some(most) = options.rotation.packets() {
        room = room.min(left(most, file.packets));
    }
    if file.packets == 0 {
        // Also a header may be larger than a file is to be.
        room = room.max(1);
    }
    if let Some(most) = options.autostop.packets {
        room = room.min(left(most, packets));
    }
    room.min(ends.len())
}

/// Whether a file of `size` bytes, or `packets` in all files, are what the output is to have.
pub(super) fn is_enough(options: &FilesOptions, size: u64, packets: u64) -> bool {
    let Autostop { size: most_bytes, packets: most_packets, .. } = options.autostop;
    most_packets.is_some_and(|most| packets >= most) || most_bytes.is_some_and(|most| size >= most)
}

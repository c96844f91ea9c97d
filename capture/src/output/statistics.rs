//! How a capture stands, for the outputs that record it.

use capture_packet::Timestamp;

/// Packets of one interface that were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceLosses {
    /// Packets that the filter selected, and that the kernel had no room for or whose bytes it did not give out.
    pub dropped: u64,
    /// Packets that the interface had no room for, of all kinds: no program has seen them.
    pub dropped_by_interface: u64,
}

/// What was counted at one hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookAccount {
    /// Packets that the filter selected.
    pub received: u64,
    /// Of these, packets that the kernel had no room for or whose bytes it did not give out.
    pub dropped: u64,
}

/// The accounts of a live capture at one moment. All numbers grow from the start of the capture on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics<'a> {
    /// When.
    pub time: Timestamp,
    /// When the capture began.
    pub start: Timestamp,
    /// Packets that the filter selected.
    pub received: u64,
    /// Of these, packets that the kernel had no room for or whose bytes it did not give out.
    pub dropped: u64,
    /// The same at the incoming hook, which is tc ingress or XDP, and at tc egress. A file has none.
    pub hooks: Option<[HookAccount; 2]>,
    /// Packets that the interfaces had no room for, of all kinds: no program has seen them.
    pub dropped_by_interface: u64,
    /// What was lost of each interface; of those that are not there, nothing.
    pub interfaces: &'a [InterfaceLosses],
    /// Packets that were read.
    pub read: u64,
    /// Of these, packets that this output had no room for.
    pub dropped_by_output: u64,
    /// Whether it is known what was dropped. Of a file it is not.
    pub losses_are_known: bool,
    /// Whether it is the end of the capture.
    pub is_last: bool,
}

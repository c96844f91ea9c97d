//! The network of the measurements: two namespaces joined by a veth pair, which leave nothing behind.

use anyhow::{Context as _, Result};
use test_support::namespace::Namespace;

/// The sending end of the pair, in [`NamespacePair::sender`].
pub(super) const SENDER: &str = "veth0";
/// The receiving end, in [`NamespacePair::receiver`], which is where both programs listen.
pub(super) const RECEIVER: &str = "veth1";

/// Packets that an interface has received and handed to the stack (/proc/net/dev).
pub(super) fn received(namespace: &Namespace, interface: &'static str) -> Result<u64> {
    let table = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
    // `veth1: bytes packets errs drop ...`
    let counters = table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    let packets = counters.and_then(|counters| counters.split_whitespace().nth(1)?.parse().ok());
    packets.with_context(|| format!("/proc/net/dev has no count for {interface}"))
}

/// The two namespaces.
pub(super) struct NamespacePair {
    pub(super) sender: Namespace,
    pub(super) receiver: Namespace,
}

impl NamespacePair {
    /// Makes the pair. The ends have addresses and no IPv6, so that the wire is silent until somebody sends.
    pub(super) fn new() -> Result<Self> {
        let (sender, receiver) = Namespace::silent_pair()?;
        Ok(Self { sender, receiver })
    }
}

//! What can go wrong between the daemon and the kernel, in words that say what to do next.

use std::io;

use super::{
    hook::{Hook, Side},
    interface::printable,
    privileges::Denial,
};

/// The result of a failed request to the kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The process may not do what it has to.
    #[error("not permitted to {action}: {denial}")]
    NotPermitted {
        /// What was refused.
        action: &'static str,
        /// Why.
        denial: Denial,
    },

    /// There are no more file descriptors.
    #[error(
        "cannot {action}: the limit of {limit} open files is too low; raise it (`ulimit -Hn`, or LimitNOFILE=)"
    )]
    TooManyFiles {
        /// What needed one.
        action: &'static str,
        /// How many there may be.
        limit: u64,
    },

    /// The verifier was interrupted by one signal after the other.
    #[error("cannot load program {program}: signals interrupted the kernel's verifier each time; try again")]
    Interrupted {
        /// The program.
        program: &'static str,
    },

    /// The kernel has no memory for a program.
    #[error(
        "cannot load program {program}: the kernel has no memory for it; raise the memory limit of the cgroup"
    )]
    NoMemory {
        /// The program.
        program: &'static str,
    },

    /// The kernel is older than what the programs need.
    #[error("kernel {release} is too old: {what} needs Linux {needed} or later")]
    KernelTooOld {
        /// The running kernel.
        release: String,
        /// The feature.
        what: &'static str,
        /// The first kernel with it.
        needed: &'static str,
    },

    /// The interfaces cannot be listed.
    #[error("cannot list the network interfaces: {0}")]
    Interfaces(#[source] io::Error),

    /// There is no interface of that name.
    #[error("cannot attach to {}: no such interface (have: {})", printable(.name), printable(.have))]
    NoSuchInterface {
        /// The name asked for.
        name: String,
        /// The names that exist.
        have: String,
    },

    /// tcpdump's name for all interfaces together.
    #[error(
        "cannot attach to any: all interfaces at once are not supported; start a capture for each that matters (have: {})",
        printable(.have)
    )]
    Any {
        /// The names that exist.
        have: String,
    },

    /// The interface is down.
    #[error(
        "cannot capture on {name}: the interface is down (bring it up with `ip link set {name} up`)",
        name = printable(.name)
    )]
    InterfaceDown {
        /// The interface.
        name: String,
    },

    /// The interface cannot be made promiscuous.
    #[error(
        "{} is not in promiscuous mode, which needs a packet socket and the capability cap_net_raw ({source}): packets \
         between other machines may be missing; grant the capability, or give -p",
        printable(.interface)
    )]
    NotPromiscuous {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },

    /// The interface was removed, or moved to another network namespace, during the capture.
    #[error("{} disappeared: the capture has ended", printable(.name))]
    Disappeared {
        /// The interface.
        name: String,
    },

    /// Another process has detached a program of this capture.
    #[error(
        "capture was detached from {side} of {} by another process (`tc qdisc del` does that, `bpftool`, too): the \
         capture has ended; start it again",
        printable(.interface)
    )]
    Detached {
        /// The interface.
        interface: String,
        /// The side.
        side: Side,
    },

    /// Frames on the interface begin with something that is not understood.
    #[error(
        "cannot capture on {}: its hardware type {hardware_type} (ARPHRD_ in linux/if_arp.h) is neither Ethernet nor \
         plain IP",
        printable(.interface)
    )]
    LinkType {
        /// The interface.
        interface: String,
        /// The hardware type.
        hardware_type: u32,
    },

    /// The kernel lacks the qdisc that programs are attached to below Linux 6.6.
    #[error(
        "cannot attach tc to {}: the kernel has no clsact qdisc; load it with `modprobe -a sch_ingress cls_bpf`, or \
         use `--hook xdp`",
        printable(.interface)
    )]
    NoClsact {
        /// The interface.
        interface: String,
    },

    /// The interface has a qdisc in the place of clsact that is for incoming packets alone.
    #[error(
        "cannot capture outgoing packets on {name}: its qdisc `ingress` is for incoming ones, and stands where clsact \
         would; use `-Q in` or `--hook xdp`, or make room for clsact (`tc qdisc del dev {name} ingress`, which removes its \
         filters)",
        name = printable(.interface)
    )]
    IngressOnly {
        /// The interface.
        interface: String,
    },

    /// The filters of the interface are those of others, too.
    #[error(
        "cannot attach tc to {}: it shares the filters of its {side} with other interfaces (a block: tc(8)); use \
         `--hook xdp`, or give it a clsact qdisc of its own",
        printable(.interface)
    )]
    SharedBlock {
        /// The interface.
        interface: String,
        /// The side that is shared.
        side: Side,
    },

    /// On loopback, packets are captured where they come in.
    #[error(
        "cannot capture outgoing packets on {}: each of its packets comes in again, and is captured there; leave out -Q",
        printable(.interface)
    )]
    OutgoingOnLoopback {
        /// The interface.
        interface: String,
    },

    /// TCX takes so many programs and no more.
    #[error(
        "cannot attach tc to {}: {count} programs are attached to its {side} already, as many as there can be, the first \
         is {first}; detach one (`bpftool net show dev {0}` lists them)",
        printable(.interface)
    )]
    HookFull {
        /// The interface.
        interface: String,
        /// The side that is full.
        side: Side,
        /// How many there are.
        count: usize,
        /// The first of them.
        first: String,
    },

    /// XDP has one program per interface and mode, and there is one already.
    #[error(
        "cannot attach XDP to {}: {holder} is attached there; detach it, or use `--hook tc`, which shares the interface \
         with any number of programs",
        printable(.interface)
    )]
    XdpTaken {
        /// The interface.
        interface: String,
        /// The program that is attached.
        holder: String,
    },

    /// The driver has no native XDP, or refuses it in this configuration.
    #[error(
        "cannot attach {hook} to {}: {source}; `--hook xdp-generic` works with every driver, `--hook tc` also",
        printable(.interface)
    )]
    XdpRefused {
        /// The interface.
        interface: String,
        /// What was to be attached.
        hook: Hook,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },

    /// Attaching failed for another reason.
    #[error("cannot attach {hook} to {}: {}", printable(.interface), printable(.reason))]
    Attach {
        /// The interface.
        interface: String,
        /// What was to be attached.
        hook: Hook,
        /// The chain of causes.
        reason: String,
    },

    /// The verifier does not accept a program.
    #[error(
        "the kernel's verifier refused program {program}: {source} ({reason}); this is a bug: please report it with the \
         output of `uname -a` and of the same command with `--log-level debug`{log}"
    )]
    Refused {
        /// The program.
        program: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
        /// The last line of the verifier's log.
        reason: String,
        /// The end of the verifier's log after a newline, if it is asked for.
        log: String,
    },

    /// The object cannot be loaded.
    #[error("cannot load the eBPF object: {0}")]
    Load(String),

    /// The rings cannot be made.
    #[error(
        "cannot make {count} ring buffer(s) of {} KiB: {source}; a memory limit may be too low (of a cgroup, or \
         `ulimit -v`), and `-B` takes less, such as `-B 2048`",
        size / 1024
    )]
    Rings {
        /// How many.
        count: usize,
        /// The size of each in bytes.
        size: usize,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },

    /// Waiting for the rings failed.
    #[error("cannot wait for the ring buffers: {0}")]
    Wait(#[source] io::Error),

    /// The kernel does not tell of changes of the interface.
    #[error("cannot watch whether {} is still there: {source}", printable(.interface))]
    Watch {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },

    /// The log of the programs cannot be read.
    #[error("cannot read the log of the eBPF programs: {0}; leave out `--log-level`")]
    Log(String),

    /// The counters cannot be read.
    #[error("cannot read the counters: {0}")]
    Counters(String),

    /// The kernel does not say when the last program has ended.
    #[error("cannot wait for the last program to end: {0}; the last packets may be missing")]
    Settle(String),
}

/// An error and its causes in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The operating system's error number at the bottom of a chain of errors.
pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        next = error.source();
    }
    None
}

/// That `action` was refused because the process lacks privileges.
pub(super) fn not_permitted(action: &'static str) -> KernelError {
    KernelError::NotPermitted { action, denial: Denial::of_this_process() }
}

//! Why a program is not attached.

use std::io;

use super::super::{
    hook::{Hook, Side},
    interface::{Disappeared, printable},
    object::LoadError,
    privileges::NotPermitted,
};

/// Why a program is not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The program is not loaded.
    #[error(transparent)]
    Load(#[from] LoadError),

    /// The process may not do what it has to.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),

    /// The interface was removed meanwhile.
    #[error(transparent)]
    Disappeared(#[from] Disappeared),

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

    /// Another reason.
    #[error("cannot attach {hook} to {}: {}", printable(.interface), printable(.reason))]
    Other {
        /// The interface.
        interface: String,
        /// What was to be attached.
        hook: Hook,
        /// The chain of causes.
        reason: String,
    },
}

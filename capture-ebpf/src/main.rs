//! The programs in the kernel. A packet's way: the filter, which the daemon places in front of these programs when it loads
//! them → entry point (here) → [`frame`] (where its bytes are) → `capture_common::parse` (is it TCP, and where are its
//! headers) → [`mod@emit`] (reserve, stamp, copy, submit). What is selected, and what of it is lost, is counted in
//! [`maps`].
//!
//! The programs are passive: each verdict hands the packet on as if they were not there.

#![no_std]
#![no_main]
// Inline assembly for BPF; the eBPF toolchain is made to allow it (see `cargo xtask build-ebpf`).
#![feature(asm_experimental_arch)]

mod config;
mod emit;
mod frame;
mod maps;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use aya_log_ebpf::{debug, trace};
use capture_common::parse::{Frame, Location, locate_ethernet, locate_raw};

use crate::{
    emit::{Outcome, emit},
    frame::{FrameContext, TcFrame, XdpFrame},
    maps::{Side, count_loss, counters, cpu},
};

/// What the kernel is to do after a TC program: go on with the next program or filter, and with the packet's fate as
/// they decide it. `TCX_NEXT` and `TC_ACT_UNSPEC` are the same number; `TC_ACT_OK` would hide the packet from the
/// programs after it.
const NEXT: i32 = TC_ACT_UNSPEC;

/// TC, on the way in.
#[classifier]
fn tc_ingress(context: TcContext) -> i32 {
    let frame = TcFrame::incoming(context.skb.skb);
    let packet = trace_packet(&frame, Side::Ingress);
    log(&context, packet);
    NEXT
}

/// TC, on the way out.
#[classifier]
fn tc_egress(context: TcContext) -> i32 {
    let frame = TcFrame::outgoing(context.skb.skb);
    let packet = trace_packet(&frame, Side::Egress);
    log(&context, packet);
    NEXT
}

/// XDP, native or generic. `frags` accepts packets in several buffers (kernel 5.18), which drivers hand over with a
/// large MTU.
#[xdp(frags)]
fn xdp(context: XdpContext) -> u32 {
    let frame = XdpFrame::new(context.ctx);
    let packet = trace_packet(&frame, Side::Ingress);
    log(&context, packet);
    XDP_PASS
}

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Other,
    TooShort,
    RingFull,
    Unreadable,
    Submitted,
}

#[inline(always)]
fn trace_packet<F: Frame + FrameContext>(frame: &F, side: Side) -> Fate {
    let location = if config::link_header() { locate_ethernet(frame) } else { locate_raw(frame) };
    // Not before here: what is not selected touches no map.
    match location {
        Location::Other => Fate::Other,
        _ if config::is_off() => Fate::Other,
        Location::TooShort => {
            if let Some(counters) = counters(cpu(), side) {
                counters.too_short();
            }
            Fate::TooShort
        }
        Location::Tcp { layers, headers_end } => {
            let cpu = cpu();
            let Some(counters) = counters(cpu, side) else { return Fate::Other };
            counters.matched();
            match emit(frame, &layers, headers_end, cpu) {
                Outcome::Submitted => Fate::Submitted,
                Outcome::RingFull => {
                    counters.ring_full();
                    count_loss(frame.ifindex());
                    Fate::RingFull
                }
                Outcome::Unreadable => {
                    counters.unreadable();
                    count_loss(frame.ifindex());
                    Fate::Unreadable
                }
            }
        }
    }
}

/// Diagnostics. The level is a constant by the time the verifier sees it, so with logging off this is no code at all.
#[inline(always)]
fn log<C: aya_ebpf::EbpfContext>(context: &C, fate: Fate) {
    match fate {
        Fate::Other => {}
        Fate::TooShort => debug!(context, "a frame ends before a field the parser has to read: not matched"),
        Fate::RingFull => debug!(context, "the ring is full: a matched packet is lost and counted"),
        Fate::Unreadable => {
            debug!(context, "the kernel did not give out a matched packet's bytes: lost and counted")
        }
        Fate::Submitted => trace!(context, "a packet matched"),
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers that read packets are open to GPL-compatible programs only; the daemon's sources are under
/// `MIT OR Apache-2.0`.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

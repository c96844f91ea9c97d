//! What the eBPF programs and the daemon agree on.
//!
//! * [`headers`]: where the fields of Ethernet, IPv4, IPv6 and TCP headers are;
//! * [`parse`]: the parser, generic over where a frame's bytes come from, so that the kernel and the daemon run the same
//!   code;
//! * [`record`]: the layout of what crosses the ring;
//! * [`counters`]: the per-CPU numbers that account for every packet.
//!
//! The crate has no dependencies and no `unsafe`; it is compiled for `bpfel-unknown-none` and for the host.

#![no_std]
#![forbid(unsafe_code)]

// The object in the kernel is compiled for little-endian machines, and what both sides share is laid out in 64-bit words.
#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("capture runs on 64-bit little-endian machines only: build it for x86_64, aarch64 or riscv64");

pub mod counters;
pub mod headers;
pub mod parse;
pub mod record;

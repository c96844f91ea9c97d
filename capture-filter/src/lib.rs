//! The filter language of pcap-filter(7), as tcpdump 4.99.3 accepts it: from an expression's text to what decides about
//! packets, in the kernel and in files.
//!
//! ```text
//! text ─▶ parse ─▶ Expression ─▶ lower (for one kind of frame) ─▶ Program ─▶ optimise ─┬▶ eBPF instructions
//!                                                                                        ├▶ interpreter, for files
//!                                                                                        └▶ classic BPF, to be shown
//! ```
//!
//! * [`parse`]: from text to an expression; [`names`] are resolved on the way, and an [`error`] points at its word;
//! * [`expression`]: what an expression says, names resolved and qualifiers inherited, without a link type;
//! * [`explain`]: what an expression selects, in plain English, and the mistakes that are no errors;
//! * [`program`]: the one intermediate form, a graph of tests that lead forward to a verdict;
//! * [`lower`]: from the one to the other, for a [`target`]: a link type and a place;
//! * [`optimise`]: shorter programs that say the same;
//! * [`interpret`]: what a program says of a frame;
//! * [`classic`]: the same as classic BPF, as `tcpdump -d` shows it.
//!
//! The crate has no I/O: names are resolved through a trait. It is `no_std` and needs an allocator.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod classic;
pub mod ebpf;
pub mod error;
pub mod explain;
pub mod expression;
pub mod interpret;
mod lexer;
pub mod lower;
pub mod names;
pub mod optimise;
mod parser;
pub mod program;
pub mod target;

pub use parser::parse;

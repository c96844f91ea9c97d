//! Live tests: `capture` and the real tcpdump side by side, in network namespaces that the tests make.
//!
//! Each test makes its namespaces with [`namespace::Namespace`]; they vanish with it. Nothing waits for a time: a test
//! ends its traffic with a marker ([`traffic::marker`]) and waits until both programs have printed it.

#![expect(clippy::panic, reason = "the helpers of a test fail as tests do")]

mod oracle;
mod others;
mod process;
mod traffic;

mod accounting;
mod any;
mod chain;
mod crowds;
mod ending;
mod environment;
mod errors;
mod explain;
mod expressions;
mod files;
mod filters;
mod interfaces;
mod json;
mod killed;
mod modes;
mod names;
mod namespaces;
mod neighbours;
mod parity;
mod power;
mod terminal;
mod verdicts;

use test_support::namespace;

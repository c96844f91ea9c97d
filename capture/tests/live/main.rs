//! Live tests: `capture` and the real tcpdump side by side, in network namespaces that the tests make.
//!
//! Each test makes its namespaces with [`namespace::Namespace`]; they vanish with it. Nothing waits for a time: a test
//! ends its traffic with a marker ([`traffic::marker`]) and waits until both programs have printed it.

mod namespace;
mod process;
mod traffic;

mod accounting;
mod errors;
mod neighbours;
mod parity;
mod terminal;

#[path = "../../src/test_support.rs"]
mod test_support;

use test_support::needs_root;

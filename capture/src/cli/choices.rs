//! Options that have one of a few values: the values with their help, and what each is for the
//! [`kernel`](crate::kernel).

use clap::ValueEnum;

use crate::kernel::{DirectionFilter, Hook, LogLevel};

/// What `--hook` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HookChoice {
    /// tc, which prints the same lines as tcpdump
    #[default]
    Auto,
    /// Traffic control: ingress and egress; on loopback ingress alone, where each packet passes once
    Tc,
    /// XDP, native if the driver can, else generic; ingress only, before GRO
    Xdp,
    /// XDP in the driver
    XdpNative,
    /// XDP in the network stack, for every driver
    XdpGeneric,
}

impl From<HookChoice> for Hook {
    fn from(choice: HookChoice) -> Self {
        match choice {
            HookChoice::Auto | HookChoice::Tc => Self::Tc,
            HookChoice::Xdp => Self::Xdp,
            HookChoice::XdpNative => Self::XdpNative,
            HookChoice::XdpGeneric => Self::XdpGeneric,
        }
    }
}

/// What `-Q` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DirectionChoice {
    /// Those that come in
    In,
    /// Those that go out
    Out,
    /// All
    #[default]
    #[value(name = "inout")]
    Both,
}

impl From<DirectionChoice> for DirectionFilter {
    fn from(choice: DirectionChoice) -> Self {
        match choice {
            DirectionChoice::In => Self::In,
            DirectionChoice::Out => Self::Out,
            DirectionChoice::Both => Self::Both,
        }
    }
}

/// What `--log-level` takes; each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevelChoice {
    /// Nothing; the programs then hold no code for it.
    #[default]
    Off,
    /// What the sandbox consists of and, at the end, what was counted at each hook; the programs report nothing.
    Info,
    /// Packets that are lost or too short for the filter.
    Debug,
    /// Every packet that matches, as far as standard error keeps up: slow.
    Trace,
}

impl From<LogLevelChoice> for LogLevel {
    fn from(choice: LogLevelChoice) -> Self {
        match choice {
            // What is said at that level is not the programs'.
            LogLevelChoice::Off | LogLevelChoice::Info => Self::Off,
            LogLevelChoice::Debug => Self::Debug,
            LogLevelChoice::Trace => Self::Trace,
        }
    }
}

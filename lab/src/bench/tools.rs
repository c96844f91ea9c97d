//! The programs that are compared, and how they are called.

use std::{path::Path, time::Duration};

use crate::frames::PORT;

/// A column of a table.
///
/// Where its heading does not say otherwise, a program runs with [`ZONE`] in its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tool {
    /// Its heading.
    pub(super) name: &'static str,
    program: Program,
    /// What it is given besides interface and filter.
    arguments: &'static str,
    zone: Zone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    None,
    Tcpdump,
    Capture,
}

/// Whether the environment has a time zone.
///
/// The C library's localtime(3) looks whether /etc/localtime has changed each time it is called, unless TZ is set
/// (glibc, time/tzset.c: `tzset_internal`). tcpdump calls it for each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    Set,
    Unset,
}

/// The zone that is in force without TZ, too.
const ZONE: &str = "TZ=:/etc/localtime";

impl Tool {
    /// No program listens: what the others' cost is measured from.
    pub(super) const NONE: Self = Self::new("no listener", Program::None, "");
    /// As people call it who know what TZ is to it.
    pub(super) const TCPDUMP: Self = Self::new("tcpdump, TZ set", Program::Tcpdump, "");
    /// As people call it on servers, where TZ is usually not set.
    pub(super) const UNSET: Self =
        Self { zone: Zone::Unset, ..Self::new("tcpdump, TZ unset", Program::Tcpdump, "") };
    /// As people call it who know it well: 64 MiB of buffer, and no more of each packet than its headers.
    pub(super) const TUNED: Self = Self::new("tcpdump -B 65536 -s 128", Program::Tcpdump, "-B 65536 -s 128");
    /// With so large a buffer that it loses nothing of a few million packets.
    pub(super) const LOSSLESS: Self =
        Self::new("tcpdump -B 1048576 -s 128", Program::Tcpdump, "-B 1048576 -s 128");
    /// The same with whole packets, as `-w` has them.
    pub(super) const LARGE_BUFFER: Self = Self::new("tcpdump -B 1048576", Program::Tcpdump, "-B 1048576");
    /// Without waiting for a block to fill.
    pub(super) const IMMEDIATE: Self =
        Self::new("tcpdump --immediate-mode", Program::Tcpdump, "--immediate-mode");
    /// At its hook of choice, TC.
    pub(super) const CAPTURE: Self = Self::new("capture", Program::Capture, "");
    /// Half of all ports besides, but none of those that the senders send from.
    pub(super) const MANY_PORTS: Self =
        Self::new("capture, 33 537 ports", Program::Capture, "--port 1-8000,40000-65535");
    /// Headers in pcapng.
    pub(super) const PCAPNG_HEADERS: Self =
        Self::new("capture --format pcapng --headers", Program::Capture, "--format pcapng --headers");
    pub(super) const NATIVE: Self =
        Self::new("capture --hook xdp-native", Program::Capture, "--hook xdp-native");
    pub(super) const GENERIC: Self =
        Self::new("capture --hook xdp-generic", Program::Capture, "--hook xdp-generic");

    const fn new(name: &'static str, program: Program, arguments: &'static str) -> Self {
        Self { name, program, arguments, zone: Zone::Set }
    }

    /// Whether a program is started at all.
    pub(super) fn listens(self) -> bool {
        self.program != Program::None
    }

    pub(super) fn is_capture(self) -> bool {
        self.program == Program::Capture
    }

    /// The command line that listens on an interface, with more arguments.
    pub(super) fn listen(self, capture: &Path, interface: &str, more: &str) -> Vec<String> {
        self.command(capture, &format!("-i {interface} {} {more}", self.arguments))
    }

    /// The command line that reads a file from standard input.
    pub(super) fn read(self, capture: &Path) -> Vec<String> {
        self.command(capture, "-r -")
    }

    /// A command line with the filter at its end. env(1) replaces itself by the program.
    fn command(self, capture: &Path, arguments: &str) -> Vec<String> {
        let zone = match self.zone {
            Zone::Set => ZONE,
            Zone::Unset => "--unset=TZ",
        };
        let (program, filter) = match self.program {
            Program::Capture => {
                (vec![capture.display().to_string(), "-n".to_owned()], format!("--port {PORT}"))
            }
            // Stays root: the kernel forgets whom a process is to end with when its user changes.
            _ => (["tcpdump", "-Z", "root", "-n"].map(str::to_owned).to_vec(), format!("tcp port {PORT}")),
        };
        let arguments = arguments.split_whitespace().chain(filter.split_whitespace());
        let begin = ["env", zone].into_iter().map(str::to_owned).chain(program);
        begin.chain(arguments.map(str::to_owned)).collect()
    }

    /// How long it has to have done nothing before it has nothing left to do. tcpdump waits up to a second for a
    /// block of its ring to fill (tcpdump.c, `timeout`); `capture` for a drain interval.
    pub(super) fn quiet(self) -> Duration {
        Duration::from_millis(if self.is_capture() { 200 } else { 1200 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let line = |tool: Tool| tool.listen(Path::new("./capture"), "lo", "-l").join(" ");
        assert_eq!(line(Tool::UNSET), "env --unset=TZ tcpdump -Z root -n -i lo -l tcp port 8888");
        assert_eq!(
            line(Tool::TUNED),
            "env TZ=:/etc/localtime tcpdump -Z root -n -i lo -B 65536 -s 128 -l tcp port 8888"
        );
        assert_eq!(
            line(Tool::NATIVE),
            "env TZ=:/etc/localtime ./capture -n -i lo --hook xdp-native -l --port 8888"
        );
        assert_eq!(
            Tool::CAPTURE.read(Path::new("./capture")).join(" "),
            "env TZ=:/etc/localtime ./capture -n -r - --port 8888"
        );
    }
}

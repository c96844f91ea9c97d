//! The programs that are compared, and how they are called.

use std::{path::Path, time::Duration};

use super::frames::PORT;

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tool {
    /// Its heading.
    pub(super) name: &'static str,
    program: Program,
    /// What it is given besides interface and filter.
    arguments: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Nobody,
    Tcpdump,
    Capture,
}

impl Tool {
    /// Nobody listens: what the others' cost is measured from.
    pub(super) const NOBODY: Self = Self { name: "nobody", program: Program::Nobody, arguments: "" };
    /// As people call it.
    pub(super) const TCPDUMP: Self = Self { name: "tcpdump", program: Program::Tcpdump, arguments: "" };
    /// As people call it who know it well: 64 MiB of buffer, and no more of each packet than its headers.
    pub(super) const TUNED: Self =
        Self { name: "tcpdump -B 65536 -s 128", program: Program::Tcpdump, arguments: "-B 65536 -s 128" };
    /// With so large a buffer that it loses nothing of a few million packets.
    pub(super) const LOSSLESS: Self =
        Self { name: "tcpdump -B 1048576 -s 128", program: Program::Tcpdump, arguments: "-B 1048576 -s 128" };
    /// Without waiting for a block to fill.
    pub(super) const IMMEDIATE: Self =
        Self { name: "tcpdump --immediate-mode", program: Program::Tcpdump, arguments: "--immediate-mode" };
    /// At its hook of choice, TC.
    pub(super) const CAPTURE: Self = Self { name: "capture", program: Program::Capture, arguments: "" };
    /// Half of all ports besides, but none of those that the senders send from.
    pub(super) const MANY_PORTS: Self = Self {
        name: "capture, 33 537 ports",
        program: Program::Capture,
        arguments: "--port 1-8000,40000-65535",
    };
    pub(super) const NATIVE: Self =
        Self { name: "capture --hook xdp-native", program: Program::Capture, arguments: "--hook xdp-native" };
    pub(super) const GENERIC: Self = Self {
        name: "capture --hook xdp-generic",
        program: Program::Capture,
        arguments: "--hook xdp-generic",
    };

    /// Whether a program is started at all.
    pub(super) fn listens(self) -> bool {
        self.program != Program::Nobody
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

    /// A command line with the filter at its end.
    fn command(self, capture: &Path, arguments: &str) -> Vec<String> {
        let (begin, filter) = match self.program {
            Program::Capture => {
                (vec![capture.display().to_string(), "-n".to_owned()], format!("--port {PORT}"))
            }
            // Stays root: the kernel forgets whom a process is to end with when its user changes.
            _ => (["tcpdump", "-Z", "root", "-n"].map(str::to_owned).to_vec(), format!("tcp port {PORT}")),
        };
        let arguments = arguments.split_whitespace().chain(filter.split_whitespace());
        begin.into_iter().chain(arguments.map(str::to_owned)).collect()
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
        assert_eq!(line(Tool::TUNED), "tcpdump -Z root -n -i lo -B 65536 -s 128 -l tcp port 8888");
        assert_eq!(line(Tool::NATIVE), "./capture -n -i lo --hook xdp-native -l --port 8888");
        assert_eq!(Tool::CAPTURE.read(Path::new("./capture")).join(" "), "./capture -n -r - --port 8888");
    }
}

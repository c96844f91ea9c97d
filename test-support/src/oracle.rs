//! The real tcpdump, which has the last word, and `capture`, with the same file and the same flags.

use std::{
    ffi::OsStr,
    fmt,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    str::FromStr,
};

use anyhow::{Context as _, Result, bail};

use crate::packets::link::Link;

/// The version whose text is the standard.
const VERSION: &str = "tcpdump version 4.99.3";

/// The zone that local times are printed in where nothing else is asked for.
const DEFAULT_ZONE: &str = "GMT0";

/// Says what is missing if the tcpdump on this machine is not the one.
pub fn check() -> Result<()> {
    let output = Command::new("tcpdump").arg("--version").output();
    let output = output.context("cannot run tcpdump; on Debian 12: apt-get install tcpdump")?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !said.contains(VERSION) {
        bail!("this needs {VERSION} (Debian 12's), and found:\n{said}");
    }
    Ok(())
}

/// One way to run the programs, as it stands in a list: flags that mean the same to both, before them perhaps
/// `TZ=...`, and among them perhaps `--port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The time zone.
    pub zone: Option<String>,
    /// What means the same to both.
    pub flags: Vec<String>,
    /// The value of capture's `--port`, which is an expression for tcpdump.
    pub port: Option<String>,
}

impl FromStr for Invocation {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut invocation = Self { zone: None, flags: Vec::new(), port: None };
        let mut words = text.split_ascii_whitespace();
        while let Some(word) = words.next() {
            if let Some(zone) = word.strip_prefix("TZ=") {
                invocation.zone = Some(zone.into());
            } else if word == "--port" {
                invocation.port = Some(words.next().context("--port has no value")?.into());
            } else {
                invocation.flags.push(word.into());
            }
        }
        Ok(invocation)
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.iter().map(|zone| format!("TZ={zone}"));
        let port = self.port.iter().map(|port| format!("--port {port}"));
        let words: Vec<_> = zone.chain(self.flags.iter().cloned()).chain(port).collect();
        f.write_str(&words.join(" "))
    }
}

impl Invocation {
    /// A program with the flags that mean the same to both, reading a file.
    pub fn command(&self, program: impl AsRef<OsStr>, file: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("TZ", self.zone.as_deref().unwrap_or(DEFAULT_ZONE)).env("LC_ALL", "C");
        command.arg("-r").arg(file).args(&self.flags).stdin(Stdio::null());
        command
    }

    /// `capture`, reading a file.
    pub fn capture(&self, program: impl AsRef<OsStr>, file: &Path) -> Command {
        let mut command = self.command(program, file);
        if let Some(port) = &self.port {
            command.args(["--port", port]);
        }
        command
    }

    /// tcpdump, reading a file of a link type.
    pub fn tcpdump(&self, file: &Path, link: Option<Link>) -> Command {
        let mut command = self.command("tcpdump", file);
        command.arg(self.expression(link));
        command
    }

    /// What `capture` selects of a file, as a filter of tcpdump's: on Ethernet up to two VLAN tags are skipped.
    fn expression(&self, link: Option<Link>) -> String {
        let one = |port: &str| {
            if port.contains('-') { format!("tcp portrange {port}") } else { format!("tcp port {port}") }
        };
        let tcp = match &self.port {
            None => "tcp".to_owned(),
            Some(ports) => ports.split(',').map(one).collect::<Vec<_>>().join(" or "),
        };
        if link == Some(Link::Ethernet) {
            format!("{tcp} or (vlan and ({tcp} or (vlan and ({tcp}))))")
        } else {
            tcp
        }
    }

    /// Runs both programs and compares what they print, without keeping it, and whether it went well. Gives the
    /// number of lines if there is no difference.
    pub fn agree(&self, capture: &Path, file: &Path, link: Link) -> Result<Option<u64>> {
        let mut children = Vec::new();
        for mut command in [self.tcpdump(file, Some(link)), self.capture(capture, file)] {
            let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
            children.push(child.with_context(|| format!("cannot run {}", command.get_program().display()))?);
        }
        let mut pipes = Vec::new();
        for child in &mut children {
            let pipe = child.stdout.take().context("a child without its pipe")?;
            pipes.push(BufReader::with_capacity(256 * 1024, pipe));
        }
        let mut lines = 0;
        let mut same = loop {
            let [tcpdump, capture] = &mut pipes[..] else { bail!("two pipes were made") };
            let (expected, got) = (tcpdump.fill_buf()?, capture.fill_buf()?);
            let length = expected.len().min(got.len());
            if expected[..length] != got[..length] {
                break false;
            }
            if length == 0 {
                break expected.len() == got.len();
            }
            lines += expected[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
            tcpdump.consume(length);
            capture.consume(length);
        };
        // What is not read ends the child.
        drop(pipes);
        let mut well = Vec::new();
        for mut child in children {
            well.push(child.wait()?.success());
        }
        same &= well[0] == well[1];
        Ok(same.then_some(lines))
    }

    /// Runs both programs and keeps what they print: tcpdump's first.
    pub fn outputs(&self, capture: &Path, file: &Path, link: Link) -> Result<[Output; 2]> {
        let run = |mut command: Command| {
            command.output().with_context(|| format!("cannot run {}", command.get_program().display()))
        };
        Ok([run(self.tcpdump(file, Some(link)))?, run(self.capture(capture, file))?])
    }
}

/// What a command prints, which has to go well.
pub fn printed(mut command: Command) -> String {
    let output = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", command.get_program().display());
    String::from_utf8(output.stdout).expect("text")
}

/// What tcpdump complains of, without what it puts before it. Empty if it does not.
pub fn complaint(output: &Output) -> String {
    if output.status.success() {
        return String::new();
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    let last = last.strip_prefix("tcpdump: ").unwrap_or(last);
    last.strip_prefix("pcap_loop: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_reads_as_it_was_written() {
        let text = "TZ=CET-1CEST,M3.5.0,M10.5.0/3 -n -tttt -e --port 8000-9000";
        let invocation: Invocation = text.parse().unwrap();
        assert_eq!(invocation.to_string(), text);
        assert_eq!(invocation.expression(Some(Link::Raw)), "tcp portrange 8000-9000");
    }

    #[test]
    fn tags_are_looked_behind_in_ethernet_only() {
        let invocation: Invocation = "-n --port 8888".parse().unwrap();
        assert_eq!(invocation.expression(Some(Link::Sll)), "tcp port 8888");
        assert_eq!(
            invocation.expression(Some(Link::Ethernet)),
            "tcp port 8888 or (vlan and (tcp port 8888 or (vlan and (tcp port 8888))))"
        );
    }
}

//! What a short capture writes, and where.

use std::path::{Path, PathBuf};

use super::super::{counter::Format, files::Fate, subject::Sink};
use crate::random::Random;

/// The outputs of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    Text,
    /// With other flags.
    OtherText,
    Json,
    PcapStream,
    PcapngStream,
    Pcap,
    Pcapng,
    /// `-C`.
    Sized,
    /// `-G`.
    Timed,
    /// `-C` and `-W`.
    Replaced,
    /// `--ring-buffer`.
    Ring,
    FileAndText,
    FileAndJson,
    FileTextAndJson,
}

/// Flags of text that change how a packet is printed. A packet's first line begins with neither space nor tab.
const FLAGS: &[&str] =
    &["-q", "-e", "-v", "-vv", "-S -tttt", "-tt --nano", "-x", "-XX -s 200", "--explain", "-qe -tt"];

impl Shape {
    /// All of them.
    pub(super) const ALL: &'static [Self] = &[
        Self::Text,
        Self::OtherText,
        Self::Json,
        Self::PcapStream,
        Self::PcapngStream,
        Self::Pcap,
        Self::Pcapng,
        Self::Sized,
        Self::Timed,
        Self::Replaced,
        Self::Ring,
        Self::FileAndText,
        Self::FileAndJson,
        Self::FileTextAndJson,
    ];
    pub(super) const TO_STANDARD_OUTPUT: &'static [Self] = &[
        Self::Text,
        Self::OtherText,
        Self::Json,
        Self::PcapStream,
        Self::PcapngStream,
        Self::FileAndText,
        Self::FileAndJson,
        Self::FileTextAndJson,
    ];
    pub(super) const TO_ONE_FILE: &'static [Self] =
        &[Self::Pcap, Self::Pcapng, Self::FileAndText, Self::FileAndJson, Self::FileTextAndJson];
    pub(super) const TO_FILES: &'static [Self] =
        &[Self::Pcap, Self::Pcapng, Self::Sized, Self::FileAndText, Self::FileAndJson];

    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::OtherText => "text with flags",
            Self::Json => "JSON",
            Self::PcapStream => "pcap to a pipe",
            Self::PcapngStream => "pcapng to a pipe",
            Self::Pcap => "pcap",
            Self::Pcapng => "pcapng",
            Self::Sized => "-C",
            Self::Timed => "-G",
            Self::Replaced => "-C -W",
            Self::Ring => "--ring-buffer",
            Self::FileAndText => "a file and text",
            Self::FileAndJson => "a file and JSON",
            Self::FileTextAndJson => "a file, text and JSON",
        }
    }

    /// The arguments, and where the outputs go, in the order in which capture has them. Files are in `folder`, a named pipe
    /// next to it.
    pub(super) fn outputs(self, folder: &Path, random: &mut Random) -> (Vec<String>, Vec<Sink>) {
        let file = |name: &str, format, fate| {
            let path = folder.join(name);
            (format!("-w {}", path.display()), Sink::Files(path, format, fate))
        };
        let headers = if random.one_in(2) { " --headers" } else { "" };
        let unbuffered = if random.one_in(2) { " -U" } else { "" };
        let only = if random.one_in(2) {
            file("x.pcap", Format::Pcap, Fate::Only)
        } else {
            file("x.pcapng", Format::Pcapng, Fate::Only)
        };
        let [text, json] = [Format::Text, Format::Json].map(Sink::Standard);
        let pipe: PathBuf = folder.with_extension("json");
        let command = if random.one_in(2) { "-z true" } else { "" };
        let of_file = |(argument, sink): (String, Sink), more: &str| {
            (format!("{argument} {more}{headers}{unbuffered}"), vec![sink])
        };
        let (arguments, sinks) = match self {
            Self::Text => (if random.one_in(2) { "-l".to_owned() } else { String::new() }, vec![text]),
            Self::OtherText => (random.pick(FLAGS).to_owned(), vec![text]),
            Self::Json => ("--json".to_owned(), vec![json]),
            Self::PcapStream => (format!("-w -{headers}{unbuffered}"), vec![Sink::Standard(Format::Pcap)]),
            Self::PcapngStream => {
                let arguments = format!("-w - --format pcapng{headers}{unbuffered}");
                (arguments, vec![Sink::Standard(Format::Pcapng)])
            }
            Self::Pcap => of_file(file("x.pcap", Format::Pcap, Fate::Only), ""),
            Self::Pcapng => of_file(file("x.pcapng", Format::Pcapng, Fate::Only), ""),
            Self::Sized => of_file(file("x.pcap", Format::Pcap, Fate::Stay), &format!("-C 1 {command}")),
            Self::Timed => of_file(file("x%H%M%S.pcapng", Format::Pcapng, Fate::Stay), "-G 1"),
            Self::Replaced => of_file(file("x.pcap", Format::Pcap, Fate::Replaced), "-C 1 -W 2"),
            Self::Ring => of_file(
                file("x.pcapng", Format::Pcapng, Fate::Deleted),
                &format!("--ring-buffer packets:2000 --ring-buffer files:6 {command}"),
            ),
            Self::FileAndText => (format!("{} --print{headers}", only.0), vec![only.1, text]),
            Self::FileAndJson => (format!("{} --json{headers}", only.0), vec![only.1, json]),
            Self::FileTextAndJson => (
                format!("{} --print --json={}{headers}", only.0, pipe.display()),
                vec![only.1, text, Sink::Pipe(pipe, Format::Json)],
            ),
        };
        (arguments.split_whitespace().map(str::to_owned).collect(), sinks)
    }
}

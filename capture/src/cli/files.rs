//! Options about the files of `-w`: when the next one begins, and when there are enough.

use std::ffi::OsString;

use clap::Args;

/// The heading of the help.
const FILES: &str = "Several files of -w";

/// tcpdump's rotation, and dumpcap's.
#[derive(Args, Clone, Debug, Default)]
pub struct FileArguments {
    /// Begin a new file when one has more than this many millions of bytes: FILE, FILE1, FILE2 ..
    #[arg(help_heading = FILES, short = 'C', value_name = "MEGABYTES")]
    pub file_size: Option<String>,

    /// Begin a new file after this many seconds; -w takes a pattern for strftime(3), such as %Y%m%d-%H%M%S.pcap
    #[arg(help_heading = FILES, short = 'G', value_name = "SECONDS")]
    pub rotate_seconds: Option<String>,

    /// With -C, write this many files and then replace them in turn; with -G alone, exit after this many
    #[arg(help_heading = FILES, short = 'W', value_name = "COUNT")]
    pub file_count: Option<String>,

    /// Start this program for each finished file, the last one too, with the file's name as its only argument
    #[arg(help_heading = FILES, short = 'z', value_name = "COMMAND")]
    pub postrotate_command: Option<OsString>,

    /// Exit after duration:SECONDS, packets:N, files:N, or when a file has filesize:KB; repeatable
    #[arg(help_heading = FILES, long = "autostop", value_name = "CONDITION")]
    pub autostop: Vec<String>,

    /// Begin a new file at duration:SECONDS, filesize:KB, packets:N, or at interval:SECONDS of the wall clock; keep
    /// files:N, or total:KB of them, and delete the oldest; repeatable
    #[arg(help_heading = FILES, long = "ring-buffer", value_name = "CONDITION")]
    pub ring_buffer: Vec<String>,
}

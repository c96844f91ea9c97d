//! When the next file of `-w` begins, and when there are enough: from tcpdump's letters and dumpcap's words.

use std::{str::FromStr, time::Duration};

use crate::{
    cli::FileArguments,
    output::files::{Autostop, Ring, Rotation, Tcpdump},
};

/// `-C` counts these.
const MEGABYTE: u64 = 1_000_000;
/// dumpcap's words count these.
const KILOBYTE: u64 = 1000;
/// The longest time, in seconds: a century.
const LONGEST: f64 = 100.0 * 365.0 * 86_400.0;

/// What is wrong with an option about files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesConfigError {
    /// `-C` with something else than a number, or 0.
    #[error("invalid file size {0}: -C takes 1 or more, in millions of bytes")]
    Size(String),
    /// `-G` with something else than a number.
    #[error("invalid number of seconds {0}: -G takes 1 or more, or 0 for one file")]
    Seconds(String),
    /// `-W` with something else than a number, or 0.
    #[error("invalid number of output files {0}: -W takes 1 or more")]
    Files(String),
    /// A word for `--autostop` that it does not have.
    #[error(
        "invalid condition {0}: --autostop takes duration:SECONDS, filesize:KB, packets:N or files:N, each 1 or more"
    )]
    Autostop(String),
    /// A word for `--ring-buffer` that it does not have.
    #[error(
        "invalid condition {0}: --ring-buffer takes interval:SECONDS, duration:SECONDS, filesize:KB, packets:N, files:N or \
         total:KB, each 1 or more"
    )]
    RingBuffer(String),
    /// Two kinds of rotation.
    #[error("-C and -G are tcpdump's rotation and --ring-buffer is dumpcap's: use one of them")]
    TwoRotations,
    /// `--ring-buffer` says what is kept, and not when a file ends.
    #[error("--ring-buffer does not say when a file ends: add filesize:, duration:, interval: or packets:")]
    NothingEnds,
    /// `--autostop files:` with one file.
    #[error("--autostop files: counts finished files: say with -C, -G or --ring-buffer when a file ends")]
    NothingToCount,
    /// Rotation of a stream.
    #[error(
        "standard output is no file that another can follow: leave out -C, -G and --ring-buffer, or name a file with -w"
    )]
    Stream,
    /// dumpcap's words, or `--autostop`, without `-w`.
    #[error("--autostop and --ring-buffer are about the files of -w: add -w")]
    NoFile,
}

/// When files end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRules {
    /// When the next one begins.
    pub rotation: Rotation,
    /// When there is enough.
    pub autostop: Autostop,
}

/// Where the packets of `-w` go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// There is no `-w`.
    None,
    /// To standard output.
    Stream,
    /// To files.
    File,
}

/// What the options say. As in tcpdump, its own have no effect without `-w`, and are checked all the same.
pub(super) fn rules(arguments: &FileArguments, target: Target) -> Result<FileRules, FilesConfigError> {
    let tcpdump = tcpdump(arguments)?;
    let is_tcpdumps = tcpdump.size.is_some() || tcpdump.period.is_some();
    let autostop = autostop(&arguments.autostop)?;
    let rotation = match ring(&arguments.ring_buffer)? {
        Some(_) if is_tcpdumps => return Err(FilesConfigError::TwoRotations),
        Some(ring) => Rotation::Ring(ring),
        None if is_tcpdumps => Rotation::Tcpdump(tcpdump),
        None => Rotation::None,
    };
    if autostop.files.is_some() && rotation == Rotation::None {
        return Err(FilesConfigError::NothingToCount);
    }
    match target {
        Target::None if !arguments.autostop.is_empty() || !arguments.ring_buffer.is_empty() => {
            Err(FilesConfigError::NoFile)
        }
        Target::Stream if rotation != Rotation::None => Err(FilesConfigError::Stream),
        _ => Ok(FileRules { rotation, autostop }),
    }
}

fn tcpdump(arguments: &FileArguments) -> Result<Tcpdump, FilesConfigError> {
    let FileArguments { file_size, rotate_seconds, file_count, .. } = arguments;
    let size = checked(file_size.as_ref(), FilesConfigError::Size, |text| {
        positive::<u64>(text)?.checked_mul(MEGABYTE)
    })?;
    let period =
        checked(rotate_seconds.as_ref(), FilesConfigError::Seconds, |text| text.parse::<u32>().ok())?;
    let files = checked(file_count.as_ref(), FilesConfigError::Files, positive)?;
    Ok(Tcpdump { size, period: period.filter(|period| *period > 0), files })
}

fn checked<T>(
    text: Option<&String>,
    error: fn(String) -> FilesConfigError,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, FilesConfigError> {
    text.map(|text| parse(text).ok_or_else(|| error(text.clone()))).transpose()
}

fn positive<N: FromStr + PartialOrd + Default>(text: &str) -> Option<N> {
    text.parse().ok().filter(|number| *number > N::default())
}

fn autostop(words: &[String]) -> Result<Autostop, FilesConfigError> {
    let mut autostop = Autostop::default();
    for word in words {
        let is_known = match word.split_once(':') {
            Some(("duration", text)) => set(&mut autostop.duration, time(text)),
            Some(("filesize", text)) => set(&mut autostop.size, kilobytes(text)),
            Some(("packets", text)) => set(&mut autostop.packets, positive(text)),
            Some(("files", text)) => set(&mut autostop.files, positive(text)),
            _ => false,
        };
        if !is_known {
            return Err(FilesConfigError::Autostop(word.clone()));
        }
    }
    Ok(autostop)
}

fn ring(words: &[String]) -> Result<Option<Ring>, FilesConfigError> {
    let mut ring = Ring::default();
    for word in words {
        let is_known = match word.split_once(':') {
            // dumpcap's are whole seconds, too.
            Some(("interval", text)) => set(&mut ring.interval, positive(text).map(Duration::from_secs)),
            Some(("duration", text)) => set(&mut ring.duration, time(text)),
            Some(("filesize", text)) => set(&mut ring.size, kilobytes(text)),
            Some(("packets", text)) => set(&mut ring.packets, positive(text)),
            Some(("files", text)) => set(&mut ring.files, positive(text)),
            Some(("total", text)) => set(&mut ring.total, kilobytes(text)),
            _ => false,
        };
        if !is_known {
            return Err(FilesConfigError::RingBuffer(word.clone()));
        }
    }
    let Ring { interval, duration, size, packets, .. } = ring;
    if words.is_empty() {
        return Ok(None);
    }
    if interval.or(duration).is_none() && size.or(packets).is_none() {
        return Err(FilesConfigError::NothingEnds);
    }
    Ok(Some(ring))
}

/// Whether there is a value. It replaces an earlier one.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_there = value.is_some();
    *place = value;
    is_there
}

fn kilobytes(text: &str) -> Option<u64> {
    positive::<u64>(text)?.checked_mul(KILOBYTE)
}

/// Seconds, with a fraction if need be; a millisecond at least.
fn time(text: &str) -> Option<Duration> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| is_number)?;
    (0.001..=LONGEST).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str], target: Target) -> Result<FileRules, String> {
        let mut arguments = FileArguments::default();
        for pair in words.chunks(2) {
            let value = pair[1].to_owned();
            match pair[0] {
                "-C" => arguments.file_size = Some(value),
                "-G" => arguments.rotate_seconds = Some(value),
                "-W" => arguments.file_count = Some(value),
                "--autostop" => arguments.autostop.push(value),
                _ => arguments.ring_buffer.push(value),
            }
        }
        rules(&arguments, target).map_err(|error| error.to_string())
    }

    #[test]
    fn tcpdumps_letters() {
        let tcpdump = |size, period, files| Rotation::Tcpdump(Tcpdump { size, period, files });
        for (words, expected) in [
            (&[][..], Rotation::None),
            (&["-W", "3"], Rotation::None),
            (&["-G", "0"], Rotation::None),
            (&["-C", "2"], tcpdump(Some(2_000_000), None, None)),
            (&["-C", "1", "-W", "3"], tcpdump(Some(1_000_000), None, Some(3))),
            (&["-G", "60", "-W", "3"], tcpdump(None, Some(60), Some(3))),
            (&["-G", "60", "-C", "1"], tcpdump(Some(1_000_000), Some(60), None)),
        ] {
            assert_eq!(parsed(words, Target::File).unwrap().rotation, expected, "{words:?}");
            assert!(parsed(words, Target::None).is_ok());
        }
    }

    #[test]
    fn dumpcaps_words() {
        let words = ["interval:60", "duration:0.5", "filesize:100", "packets:7", "files:3", "total:5000"];
        let words: Vec<&str> = words.iter().flat_map(|word| ["--ring-buffer", word]).collect();
        let ring = Ring {
            interval: Some(Duration::from_secs(60)),
            duration: Some(Duration::from_millis(500)),
            size: Some(100_000),
            packets: Some(7),
            files: Some(3),
            total: Some(5_000_000),
        };
        assert_eq!(parsed(&words, Target::File).unwrap().rotation, Rotation::Ring(ring));
        let words = ["--autostop", "duration:10", "--autostop", "packets:5", "--autostop", "packets:6"];
        let autostop =
            Autostop { duration: Some(Duration::from_secs(10)), packets: Some(6), ..Autostop::default() };
        for target in [Target::File, Target::Stream] {
            assert_eq!(parsed(&words, target).unwrap().autostop, autostop);
        }
    }

    /// tcpdump's words first.
    #[test]
    fn wrong_values_are_refused() {
        for (words, expected) in [
            (&["-C", "0"][..], "invalid file size 0: "),
            (&["-C", "1k"], "invalid file size 1k: "),
            (&["-C", "99999999999999"], "invalid file size 99999999999999: "),
            (&["-G", "-1"], "invalid number of seconds -1: "),
            (&["-G", "abc"], "invalid number of seconds abc: "),
            (&["-W", "0"], "invalid number of output files 0: "),
            (&["--autostop", "duration:"], "invalid condition duration:: --autostop takes "),
            (&["--autostop", "duration:-1"], "invalid condition duration:-1: "),
            (&["--autostop", "duration:1e3"], "invalid condition duration:1e3: "),
            (&["--autostop", "packets:0"], "invalid condition packets:0: "),
            (&["--autostop", "5"], "invalid condition 5: "),
            (&["--autostop", "interval:5"], "invalid condition interval:5: "),
            (&["--ring-buffer", "interval:0.5"], "invalid condition interval:0.5: --ring-buffer takes "),
            (&["--ring-buffer", "filesize:x"], "invalid condition filesize:x: "),
            (&["--ring-buffer", "files:3"], "--ring-buffer does not say when a file ends"),
            (&["--ring-buffer", "packets:3", "-C", "1"], "-C and -G are tcpdump's rotation"),
            (&["--autostop", "files:3"], "--autostop files: counts finished files"),
        ] {
            let error = parsed(words, Target::File).unwrap_err();
            assert!(error.starts_with(expected), "{words:?}: {error}");
        }
        let error = |words: &[&str], target| parsed(words, target).unwrap_err();
        assert!(error(&["-C", "1"], Target::Stream).starts_with("standard output is no file"));
        assert!(error(&["--autostop", "packets:1"], Target::None).ends_with("add -w"));
    }
}

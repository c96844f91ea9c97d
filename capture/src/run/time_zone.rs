//! The time zone that times are printed in, found as the C library finds it for tcpdump (tzset(3)), within bounds: `TZ`
//! may name anything.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::Path,
    sync::OnceLock,
};

use jiff::tz::TimeZone;
use nix::libc;

/// The zone where `TZ` is not set.
const LOCAL: &str = "/etc/localtime";
/// Where zones are found by their names, if `TZDIR` does not say.
const ZONES: &str = "/usr/share/zoneinfo";
/// The smallest file that is read, in bytes: the header of a TZif file (RFC 9636, section 3.1).
const SMALLEST: u64 = 44;
/// The largest file that is read, in bytes. Those of the time zone database have up to 4 KiB.
const LARGEST: u64 = 256 * 1024;
/// When daylight saving time begins and ends where `TZ` has it without a rule (glibc, time/tzset.c).
const RULE: &str = ",M3.2.0,M11.1.0";

/// The time zone of the environment; UTC where there is none, or `TZ` says nothing that makes sense. It is read once, and
/// before the file system is out of reach.
pub(super) fn time_zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(of_environment).clone()
}

fn of_environment() -> TimeZone {
    let directory = env::var_os("TZDIR").unwrap_or_else(|| ZONES.into());
    let found = match env::var_os("TZ") {
        Some(value) => named(&value, Path::new(&directory)),
        None => from_file(Path::new(LOCAL)),
    };
    found.unwrap_or(TimeZone::UTC)
}

/// What a value of `TZ` names: a file, or else the zone that it describes.
fn named(value: &OsStr, directory: &Path) -> Option<TimeZone> {
    let value = value.as_bytes();
    let value = OsStr::from_bytes(value.strip_prefix(b":").unwrap_or(value));
    if value.is_empty() {
        return None;
    }
    // An absolute path replaces the directory.
    from_file(&directory.join(value)).or_else(|| described(value.to_str()?))
}

/// Whether a file can be one of the time zone database. Others may never end, take input from elsewhere, or do something
/// when they are opened or read. Those that the kernel makes up as they are read, such as /proc/kmsg, are regular files of
/// length 0.
fn is_suitable(metadata: &fs::Metadata) -> bool {
    metadata.is_file() && (SMALLEST..=LARGEST).contains(&metadata.len())
}

/// The zone in a file of the time zone database. Only [suitable](is_suitable) files are opened, none is waited for, and
/// none is read beyond [`LARGEST`].
fn from_file(path: &Path) -> Option<TimeZone> {
    fs::metadata(path).ok().filter(is_suitable)?;
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
    // It may be another one by now.
    file.metadata().ok().filter(is_suitable)?;
    let mut data = Vec::new();
    file.take(LARGEST).read_to_end(&mut data).ok()?;
    TimeZone::tzif("", &data).ok()
}

/// The zone that a text describes as POSIX has it.
fn described(text: &str) -> Option<TimeZone> {
    let zone = TimeZone::posix(text);
    zone.or_else(|_| TimeZone::posix(&format!("{text}{RULE}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINTER: i64 = 1_547_000_000;
    const SUMMER: i64 = 1_563_000_000;

    /// Hours east of Greenwich, in winter and in summer.
    fn hours(value: &str) -> Option<[i32; 2]> {
        let zone = named(OsStr::new(value), Path::new(ZONES))?;
        Some([WINTER, SUMMER].map(|second| {
            let time = jiff::Timestamp::from_second(second).unwrap();
            zone.to_offset(time).seconds() / 3600
        }))
    }

    #[test]
    fn zones_are_found_by_name_by_path_and_by_description() {
        for (value, expected) in [
            ("Europe/Vienna", Some([1, 2])),
            (":Europe/Vienna", Some([1, 2])),
            ("/usr/share/zoneinfo/Europe/Vienna", Some([1, 2])),
            ("../zoneinfo/Europe/Vienna", Some([1, 2])),
            ("CET-1CEST,M3.5.0,M10.5.0/3", Some([1, 2])),
            ("CET-1CEST", Some([1, 2])),
            ("<+03>-3", Some([3, 3])),
            // File systems know upper case from lower case.
            ("europe/vienna", None),
            ("", None),
            (":", None),
            ("Nowhere", None),
            ("a\0b", None),
        ] {
            assert_eq!(hours(value), expected, "{value}");
        }
    }

    /// A file that is none, or has no end, is no zone.
    #[test]
    fn only_small_regular_files_are_read() {
        let directory = env::temp_dir();
        let zone = fs::read("/usr/share/zoneinfo/Europe/Vienna").unwrap();
        let file = |name: &str| directory.join(format!("zone-{}-{name}", std::process::id()));
        let (small, large, fifo) = (file("small"), file("large"), file("fifo"));
        fs::write(&small, &zone).unwrap();
        fs::write(&large, &zone).unwrap();
        File::options().write(true).open(&large).unwrap().set_len(1 << 40).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(hours(small.to_str().unwrap()), Some([1, 2]));
        for path in [&large, &fifo, &small.join("below"), &directory] {
            assert_eq!(hours(path.to_str().unwrap()), None, "{}", path.display());
        }
        for path in [small, large, fifo] {
            fs::remove_file(path).unwrap();
        }
        for path in ["/dev/zero", "/dev/stdin", "/dev/full", "/proc/version", "/etc/passwd"] {
            assert_eq!(hours(path), None, "{path}");
        }
        // Reading it does no harm; reading others of its kind does.
        assert!(!is_suitable(&fs::metadata("/proc/version").unwrap()));
    }
}

//! The CPUs of this machine: which there can be, and which are online.
//!
//! `/sys` tells it. Where that is not mounted, as in some containers, `/proc` does.

use std::{fs, io};

const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
const STATUS: &str = "/proc/self/status";
const STATISTICS: &str = "/proc/stat";

/// One more than the highest number that a CPU of this machine can have: no program runs on a CPU with a higher one.
/// There may be fewer CPUs than that.
///
/// # Errors
///
/// The file that does not tell, and the reason.
pub(super) fn ids() -> Result<u32, (&'static str, io::Error)> {
    if let Some(highest) = fs::read_to_string(POSSIBLE).ok().and_then(|list| highest(&list)) {
        return Ok(highest + 1);
    }
    let status = fs::read_to_string(STATUS).map_err(|error| (STATUS, error))?;
    mask_width(&status).ok_or((STATUS, io::ErrorKind::InvalidData.into()))
}

/// The CPUs that are online, in ascending order; at least one.
///
/// # Errors
///
/// The file that does not tell, and the reason.
pub(super) fn online() -> Result<Vec<u32>, (&'static str, io::Error)> {
    if let Ok(cpus) = aya::util::online_cpus()
        && !cpus.is_empty()
    {
        return Ok(cpus);
    }
    let statistics = fs::read_to_string(STATISTICS).map_err(|error| (STATISTICS, error))?;
    let cpus = with_statistics(&statistics);
    if cpus.is_empty() { Err((STATISTICS, io::ErrorKind::InvalidData.into())) } else { Ok(cpus) }
}

/// The last number of a list such as `0-3,8-11` (Documentation/admin-guide/cputopology.rst).
fn highest(list: &str) -> Option<u32> {
    list.trim().rsplit(['-', ',']).next()?.parse().ok()
}

/// An upper bound of the number of CPUs, at most three too high: the kernel prints the mask of the CPUs that a process
/// may use with a bit for each CPU that can exist (proc(5), `Cpus_allowed`; lib/vsprintf.c, `bitmap_string`).
fn mask_width(status: &str) -> Option<u32> {
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"))?;
    let digits = mask.chars().filter(char::is_ascii_hexdigit).count();
    u32::try_from(digits * 4).ok().filter(|&bits| bits > 0)
}

/// The CPUs that have a line of their own: online CPUs have one (proc(5), `/proc/stat`).
fn with_statistics(statistics: &str) -> Vec<u32> {
    let number = |line: &str| line.strip_prefix("cpu")?.split(' ').next()?.parse().ok();
    statistics.lines().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_with_the_highest() {
        assert_eq!(highest("0-3,8-11\n"), Some(11));
        assert_eq!(highest("0\n"), Some(0));
        assert_eq!(highest(""), None);
    }

    #[test]
    fn a_mask_is_as_wide_as_there_can_be_cpus() {
        assert_eq!(mask_width("Name:\tx\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\n"), Some(4));
        assert_eq!(mask_width("Cpus_allowed:\tff,ffffffff,00000003\n"), Some(72));
        assert_eq!(mask_width("Cpus_allowed:\t\n"), None);
        assert_eq!(mask_width(""), None);
    }

    #[test]
    fn cpus_that_are_online_have_statistics() {
        let statistics = "cpu  1 2 3\ncpu0 1 2 3\ncpu2 1 2 3\nintr 7\nctxt 1\n";
        assert_eq!(with_statistics(statistics), [0, 2]);
        assert!(with_statistics("").is_empty());
    }

    #[test]
    fn proc_agrees_with_sys() {
        let status = fs::read_to_string(STATUS).unwrap();
        let width = mask_width(&status).unwrap();
        assert!((ids().unwrap()..ids().unwrap() + 4).contains(&width), "{width}");
        assert_eq!(with_statistics(&fs::read_to_string(STATISTICS).unwrap()), online().unwrap());
    }
}

//! Why the kernel does not permit something: which capability is missing, or what else stands in the way.

use std::fmt;

/// The capabilities that a capture needs, with their numbers (linux/capability.h). `CAP_SYS_ADMIN` includes the first
/// two (include/linux/capability.h, `bpf_capable` and `perfmon_capable`).
const NEEDED: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_PERFMON", 38), ("CAP_NET_ADMIN", 12)];
const CAP_SYS_ADMIN: u32 = 21;

/// Why a request was refused with `EPERM` or `EACCES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The process is in a user namespace: what root may do there does not include BPF.
    UserNamespace,
    /// These capabilities are missing.
    Missing {
        /// Their names.
        capabilities: Vec<&'static str>,
        /// Whether the process runs as root nevertheless, as in a container.
        root: bool,
        /// The path of the running executable.
        executable: String,
    },
    /// No capability is missing.
    Policy,
}

impl Denial {
    /// Finds out. Where /proc does not tell, no capability counts as missing.
    pub(super) fn of_this_process() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let uid_map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        if is_user_namespace(&uid_map) {
            return Self::UserNamespace;
        }
        let capabilities = missing(&status);
        if capabilities.is_empty() {
            return Self::Policy;
        }
        let executable = std::env::current_exe();
        let executable = executable.map_or_else(|_| "capture".to_owned(), |path| path.display().to_string());
        Self::Missing { capabilities, root: nix::unistd::geteuid().is_root(), executable }
    }

    /// Whether it was because a capability is missing.
    pub(super) fn is_missing_capability(&self) -> bool {
        matches!(self, Self::UserNamespace | Self::Missing { .. })
    }
}

/// The process may not do what it has to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not permitted to {action}: {denial}")]
pub struct NotPermitted {
    /// What was refused.
    pub action: &'static str,
    /// Why.
    pub denial: Denial,
}

impl NotPermitted {
    /// That `action` was refused because this process lacks privileges.
    pub(super) fn to(action: &'static str) -> Self {
        Self { action, denial: Denial::of_this_process() }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserNamespace => formatter.write_str(
                "this process is in a user namespace, whose root has no CAP_BPF; run capture outside of it",
            ),
            Self::Missing { capabilities, root, executable } => {
                let (last, others) = capabilities.split_last().unwrap_or((&"a capability", &[]));
                if others.is_empty() {
                    write!(formatter, "{last} is missing; ")?;
                } else {
                    write!(formatter, "{} and {last} are missing; ", others.join(", "))?;
                }
                if *root {
                    formatter.write_str("grant what is missing: root is limited here (`--cap-add` of a container, CapabilityBoundingSet= of systemd)")
                } else {
                    write!(
                        formatter,
                        "run as root, or grant the capabilities once with \
                         `setcap cap_bpf,cap_net_admin,cap_net_raw,cap_perfmon+ep {executable}`"
                    )
                }
            }
            Self::Policy => formatter.write_str(
                "no capability is missing, so a security policy forbids it (seccomp, SELinux, AppArmor or kernel lockdown)",
            ),
        }
    }
}

/// The capabilities that the effective set in a process's status lacks (proc(5), `CapEff`).
fn missing(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else {
        return Vec::new();
    };
    let has = |number: u32| effective & 1 << number != 0;
    let lacks = |&(name, number): &(&'static str, u32)| {
        let included = name != "CAP_NET_ADMIN" && has(CAP_SYS_ADMIN);
        (!has(number) && !included).then_some(name)
    };
    NEEDED.iter().filter_map(lacks).collect()
}

/// Whether this is the map of a user namespace other than the initial one, which maps all numbers to themselves
/// (user_namespaces(7)).
fn is_user_namespace(uid_map: &str) -> bool {
    let numbers: Vec<&str> = uid_map.split_whitespace().collect();
    !numbers.is_empty() && numbers != ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        for (effective, expected) in [
            ("000001ffffffffff", &[][..]),
            ("0000000000000000", &["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]),
            // All but CAP_PERFMON and CAP_SYS_ADMIN.
            ("000001bfffdfffff", &["CAP_PERFMON"]),
            // CAP_SYS_ADMIN alone.
            ("0000000000200000", &["CAP_NET_ADMIN"]),
            ("0000000000201000", &[]),
        ] {
            let status = format!("Name:\tcapture\nCapPrm:\t0000000000000000\nCapEff:\t{effective}\n");
            assert_eq!(missing(&status), expected, "{effective}");
        }
        assert!(missing("").is_empty());
    }

    #[test]
    fn the_initial_user_namespace_maps_everything() {
        assert!(!is_user_namespace("         0          0 4294967295\n"));
        assert!(is_user_namespace("         0       1000          1\n"));
        assert!(is_user_namespace("0 0 1000\n1000 1001 64536\n"));
        assert!(!is_user_namespace(""));
    }

    #[test]
    fn a_denial_is_one_sentence() {
        let denial = |root| Denial::Missing {
            capabilities: vec!["CAP_BPF", "CAP_PERFMON"],
            root,
            executable: "/usr/local/bin/capture".to_owned(),
        };
        assert_eq!(
            denial(false).to_string(),
            "CAP_BPF and CAP_PERFMON are missing; run as root, or grant the capabilities once with \
             `setcap cap_bpf,cap_net_admin,cap_net_raw,cap_perfmon+ep /usr/local/bin/capture`"
        );
        assert!(denial(true).to_string().ends_with("CapabilityBoundingSet= of systemd)"));
    }
}

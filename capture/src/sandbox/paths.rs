//! What a process may open: Landlock(7), where the kernel has it.

use std::{fmt, io, path::Path};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::{error::SandboxError, needs::Needs};

/// The rights that are taken away: all of Linux 6.12. Older kernels know some of them.
const KNOWN: ABI = ABI::V6;

/// What the C library reads to ask for names: resolver(5), nsswitch.conf(5), and the modules that this names. Without
/// /etc itself, which has the passwords.
const NAMES: [&str; 22] = [
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/networks",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/gnu/store",
    "/lib",
    "/lib64",
    "/nix/store",
    "/run/avahi-daemon",
    "/run/nscd",
    "/run/systemd/resolve",
    "/usr/lib",
    "/usr/lib64",
    "/var/cache/nscd",
    "/var/lib/sss",
];

/// How much of the file system is out of reach.
#[derive(Debug)]
pub(super) enum Paths {
    /// Programs are started, which need it.
    All,
    /// What Landlock leaves.
    Left(RestrictionStatus),
}

impl fmt::Display for Paths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self {
            Self::All => return formatter.write_str("no Landlock (-z)"),
            Self::Left(status) => status,
        };
        match (&status.ruleset, &status.landlock) {
            (RulesetStatus::NotEnforced, _) => {
                formatter.write_str("no Landlock (this kernel has none, or has it turned off)")
            }
            (ruleset, LandlockStatus::Available { effective_abi, .. }) => {
                let part = if *ruleset == RulesetStatus::FullyEnforced { "" } else { ", in part" };
                write!(formatter, "Landlock (ABI {}{part})", *effective_abi as i32)
            }
            _ => formatter.write_str("Landlock"),
        }
    }
}

/// Gives up the file system, TCP, and signals to others, as far as `needs` allow.
pub(super) fn give_up(needs: &Needs) -> Result<Paths, SandboxError> {
    if needs.programs {
        return Ok(Paths::All);
    }
    let restricted = restrict(needs);
    let refused = |error: RulesetError| SandboxError::refused("the file system")(io::Error::other(error));
    restricted.map(Paths::Left).map_err(refused)
}

fn restrict(needs: &Needs) -> Result<RestrictionStatus, RulesetError> {
    let mut ruleset =
        Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?.scope(Scope::from_all(KNOWN))?;
    // Name servers are asked over TCP, too.
    if !needs.names {
        ruleset = ruleset.handle_access(AccessNet::from_all(KNOWN))?;
    }
    let mut ruleset = ruleset.create()?;
    let to_write = needs.folders.iter().map(|path| (path.as_path(), to_write()));
    let to_read = |path| (Path::new(path), AccessFs::ReadFile | AccessFs::ReadDir);
    let for_names = NAMES.into_iter().filter(|_| needs.names).map(to_read);
    for (path, access) in to_write.chain(for_names) {
        // What is not there needs no right; who needs it finds out.
        let Ok(opened) = PathFd::new(path) else { continue };
        // A file has none of the rights to a directory.
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, access))?;
    }
    ruleset.restrict_self()
}

/// What making, writing and deleting files takes.
fn to_write() -> BitFlags<AccessFs> {
    AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile
}

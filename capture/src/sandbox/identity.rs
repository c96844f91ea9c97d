//! Who a process is: its user, its groups, its capabilities.

use std::fmt;

use nix::{
    errno::Errno,
    unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid},
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
};

use super::{error::SandboxError, needs::Needs};
use crate::etc::{self, User};

/// The user that root becomes where `-Z` names none.
const NOBODY: &str = "nobody";
/// The numbers of [`NOBODY`] where no file has them: those of the kernel (/proc/sys/kernel/overflowuid).
const OVERFLOW: User = User { uid: 65534, gid: 65534 };

/// What opening a file takes in a directory that belongs to another user.
const TO_OPEN: CapabilitySet = CapabilitySet::DAC_OVERRIDE;
/// What becoming another user takes.
const TO_CHANGE: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);
/// What programs of `-z` have that run as root: what concerns files and users.
const TO_RUN_PROGRAMS: CapabilitySet = TO_OPEN
    .union(TO_CHANGE)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL);

/// What the helper needs: to attach and detach, to ask for the chains, and for promiscuous mode; CAP_SYS_ADMIN alone tells
/// the names of programs (kernel/bpf/syscall.c, `bpf_prog_get_fd_by_id`). Below Linux 5.19 bpf(2) asks for CAP_BPF.
const OF_HELPER: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::BPF);

/// Who a process is from now on.
#[derive(Debug)]
pub(super) struct Identity {
    uid: Uid,
    /// What the user is called, if it is not the one that started the process.
    name: Option<String>,
    /// Why root stays root.
    kept: Option<Kept>,
    keeps: CapabilitySet,
}

/// Why root does not become another user.
#[derive(Debug)]
struct Kept {
    /// What the other one is called.
    user: String,
    /// The system's answer.
    errno: Errno,
    /// The capabilities that are missing for it. None are in a user namespace that does not have the other user.
    missing: CapabilitySet,
}

impl fmt::Display for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, errno, missing } = self;
        write!(formatter, "this process cannot become {user}: {}; ", errno.desc())?;
        if missing.is_empty() {
            formatter.write_str("start capture outside of its user namespace, or as another user")
        } else {
            let names: Vec<String> = names(*missing).collect();
            write!(formatter, "give it {}, or start capture as another user", names.join(" and "))
        }
    }
}

fn names(capabilities: CapabilitySet) -> impl Iterator<Item = String> {
    capabilities.iter_names().map(|(name, _)| format!("CAP_{name}"))
}

impl Identity {
    /// Why root stays root, if it was to become another user: one sentence with what there is to do.
    pub(super) fn stays_root(&self) -> Option<String> {
        self.kept.as_ref().map(Kept::to_string)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "user {}", self.uid)?;
        if let Some(name) = &self.name {
            write!(formatter, " ({name})")?;
        }
        if let Some(kept) = &self.kept {
            write!(formatter, " (this process cannot become another: {})", kept.errno.desc())?;
        }
        if self.keeps.is_empty() {
            return formatter.write_str(", no capabilities");
        }
        let names: Vec<String> = names(self.keeps).collect();
        write!(formatter, ", {}", names.join(" "))
    }
}

/// The user that root becomes.
#[derive(Debug)]
pub(super) struct Target {
    /// `None` where this process is not root: then it stays who it is.
    user: Option<(String, User)>,
    /// Whether it is that of `-Z`.
    is_asked: bool,
}

impl Target {
    /// Looks up the user `asked` for, or else [`NOBODY`].
    pub(super) fn find(asked: Option<&str>) -> Result<Self, SandboxError> {
        let is_asked = asked.is_some();
        if !geteuid().is_root() {
            return Ok(Self { user: None, is_asked });
        }
        let Some(name) = asked else {
            // Where passwd(5) does not say, or does not exist, as in a small container.
            let user = etc::user(NOBODY).ok().flatten().unwrap_or(OVERFLOW);
            return Ok(Self { user: Some((NOBODY.to_owned(), user)), is_asked });
        };
        let found = etc::user(name);
        let found = found.map_err(|source| SandboxError::Users { user: name.to_owned(), source })?;
        let user = found.ok_or_else(|| SandboxError::NoSuchUser(name.to_owned()))?;
        Ok(Self { user: Some((name.to_owned(), user)), is_asked })
    }

    /// The user to become now, if any. Files that are opened later belong to the user that started the process, unless
    /// another one is asked for.
    fn now(&self, needs: &Needs) -> Option<&(String, User)> {
        let stays = needs.opens_once || !self.is_asked && (needs.opens_files() || needs.programs);
        // Root needs no change to stay root.
        self.user.as_ref().filter(|(_, user)| !stays && user.uid != 0)
    }
}

/// Gives up the user and the capabilities, as far as `needs` allow.
pub(super) fn give_up(target: &Target, needs: &Needs) -> Result<Identity, SandboxError> {
    let has = capabilities(None).map_err(SandboxError::refused("capabilities"))?;
    let user = target.now(needs);
    let keeps = keeps(needs, user.is_some()) & has.permitted;
    if has.permitted.contains(CapabilitySet::SETPCAP) {
        // It bounds what programs get.
        clear_bounding_set(if needs.programs { keeps } else { CapabilitySet::empty() });
    }
    // Only kernels before 4.3 have none.
    let _none = clear_ambient_capability_set();
    let mut identity = Identity { uid: geteuid(), name: None, kept: None, keeps };
    if let Some((name, user)) = user {
        if !keeps.is_empty() {
            set_keep_capabilities(true).map_err(SandboxError::refused("the user"))?;
        }
        match become_user(*user) {
            Ok(()) => identity.name = Some(name.clone()),
            Err(errno) if target.is_asked => {
                return Err(SandboxError::User { user: name.clone(), source: errno.into() });
            }
            // In a user namespace that maps no other user, or in a container without CAP_SETUID.
            Err(errno @ (Errno::EPERM | Errno::EINVAL)) => {
                let missing = TO_CHANGE - has.permitted;
                identity.kept = Some(Kept { user: name.clone(), errno, missing });
            }
            Err(errno) => return Err(SandboxError::refused("the user")(errno)),
        }
        identity.uid = geteuid();
    }
    let sets = CapabilitySets { effective: keeps, permitted: keeps, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(SandboxError::refused("capabilities"))?;
    set_no_new_privs(true).map_err(SandboxError::refused("new privileges"))?;
    Ok(identity)
}

/// Gives up all capabilities but those of the helper. The user stays: who has no capability for files reads no more with
/// another one, because it opens none. Returns who it is.
pub(super) fn keep_for_helper() -> Result<Identity, SandboxError> {
    let has = capabilities(None).map_err(SandboxError::refused("capabilities"))?;
    let keeps = OF_HELPER & has.permitted;
    if has.permitted.contains(CapabilitySet::SETPCAP) {
        clear_bounding_set(CapabilitySet::empty());
    }
    // Only kernels before 4.3 have none.
    let _none = clear_ambient_capability_set();
    let sets = CapabilitySets { effective: keeps, permitted: keeps, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(SandboxError::refused("capabilities"))?;
    set_no_new_privs(true).map_err(SandboxError::refused("new privileges"))?;
    Ok(Identity { uid: geteuid(), name: None, kept: None, keeps })
}

/// The capabilities that the work takes.
fn keeps(needs: &Needs, is_other_user: bool) -> CapabilitySet {
    match needs {
        Needs { programs: true, .. } if !is_other_user => TO_RUN_PROGRAMS,
        _ if !needs.opens_files() => CapabilitySet::empty(),
        _ => TO_OPEN,
    }
}

fn become_user(User { uid, gid }: User) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// Takes all capabilities but `keeps` out of the bounding set, those that this program does not know too.
fn clear_bounding_set(keeps: CapabilitySet) {
    let all = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    for capability in all.filter(|capability| !keeps.contains(*capability)) {
        // The kernel knows no more.
        if remove_capability_from_bounding_set(capability).is_err() {
            break;
        }
    }
}

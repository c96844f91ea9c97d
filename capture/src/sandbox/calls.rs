//! Which system calls a process may make: seccomp(2).
//!
//! Two filters: one ends the process at what no honest run ever calls, and one answers EPERM to whatever else is not
//! allowed. Where programs are started there is the first list alone, which answers EPERM: they inherit it, and
//! what they call is not known. clone(2) is allowed there, without what makes namespaces; a filter cannot read the arguments
//! of clone3(2), which is missing therefore: C libraries call clone(2) instead.

use std::{collections::BTreeMap, env::consts::ARCH, io};

use nix::{
    libc::{self, c_long},
    unistd::getpid,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

use super::{error::SandboxError, needs::Needs};

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// A condition for an argument, by its position.
#[derive(Clone, Copy)]
enum When {
    /// It is this number.
    Is(u8, u64),
    /// Of these bits, it has those of the second number.
    Bits(u8, u64, u64),
}

/// What no run calls: it takes hold of other processes or of the kernel.
const NEVER: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
];

/// What makes a namespace besides unshare(2): clone(2) with one of these. In a user namespace of its own, a process has all
/// capabilities. CLONE_NEWTIME is none of clone's: its bit is one of the signal there.
const NEW_NAMESPACE: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Starting another program, which ends the process where none is started.
const EXECUTE: &[c_long] = &[libc::SYS_execve, libc::SYS_execveat];

/// What every run calls, whatever the arguments: what is open, memory, time, signals to itself, the end.
const ALWAYS: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// What is asked of a terminal and of a socket: TCGETS, TIOCGWINSZ, FIONREAD (asm-generic/ioctls.h). Their type in `libc`
/// depends on the C library.
const IOCTL: [u64; 3] = [0x5401, 0x5413, 0x541b];

/// Memory with code.
const EXECUTED: u64 = libc::PROT_EXEC as u64;

/// Opening files, within what Landlock leaves, and deleting them.
const FILES: &[c_long] = &[
    libc::SYS_faccessat,
    libc::SYS_fchmod,
    libc::SYS_geteuid,
    libc::SYS_getuid,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// What waits for packets, and for what another process says.
const LIVE: &[c_long] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_timerfd_settime,
    // The beginning of a thread, which may not have come further.
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// What asks another process, which is a child, for open files and for names.
const ASK: &[c_long] = &[libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_sendto, libc::SYS_wait4];

/// What hands them out, by threads of its own.
const SERVE: &[c_long] = &[
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    // The beginning of a thread, which may not have come further.
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
];

/// What attaches to interfaces, and asks what is attached, besides [`OF_BPF`].
const HELPER: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_uname,
];

/// The commands of bpf(2) for that, linux/bpf.h: BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM and BPF_MAP_DELETE_ELEM count what
/// is lost of each interface, and the second waits for programs to end; BPF_PROG_GET_NEXT_ID,
/// BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID and BPF_OBJ_GET_INFO_BY_FD tell what programs are called;
/// BPF_PROG_QUERY asks for chains; BPF_LINK_CREATE attaches.
const OF_BPF: [u64; 9] = [1, 2, 3, 11, 13, 14, 15, 16, 28];

/// What the C library calls to ask for names, besides sockets: it reads files, and loads modules.
const NAMES: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_faccessat,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_getuid,
    libc::SYS_newfstatat,
    libc::SYS_readlinkat,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_statx,
    libc::SYS_uname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
];

/// Gives up the system calls that `needs` do not include, in all threads.
pub(super) fn give_up(needs: &Needs) -> Result<(), SandboxError> {
    install(filters(needs))
}

/// Gives up the system calls that the helper of a live capture does not need, which `enters` network namespaces or not.
pub(super) fn give_up_for_helper(enters: bool) -> Result<(), SandboxError> {
    install(filters_of_helper(enters))
}

fn install(filters: Result<Vec<BpfProgram>, BackendError>) -> Result<(), SandboxError> {
    let refused = SandboxError::refused::<io::Error>("system calls");
    let install =
        |filters: Vec<BpfProgram>| filters.iter().try_for_each(|filter| apply_filter_all_threads(filter));
    let Err(error) = filters.map_err(seccompiler::Error::Backend).and_then(install) else { return Ok(()) };
    Err(refused(match error {
        seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error) => error,
        other => io::Error::other(other),
    }))
}

/// The filters, in the order in which they are installed: the last one may forbid to install another.
fn filters(needs: &Needs) -> Result<Vec<BpfProgram>, BackendError> {
    if needs.programs {
        let refusal = |errno: libc::c_int| SeccompAction::Errno(errno.unsigned_abs());
        let mut never = unconditional(&[NEVER]);
        let namespaces = NEW_NAMESPACE.map(|flag| u64::from(flag.cast_unsigned()));
        add(&mut never, libc::SYS_clone, &namespaces.map(|flag| When::Bits(0, flag, flag)))?;
        let missing = unconditional(&[&[libc::SYS_clone3]]);
        return Ok(vec![
            filter(never, SeccompAction::Allow, refusal(libc::EPERM))?,
            filter(missing, SeccompAction::Allow, refusal(libc::ENOSYS))?,
        ]);
    }
    Ok(vec![deadly(unconditional(&[NEVER, EXECUTE]))?, exclusive(allowed(needs)?)?])
}

fn filters_of_helper(enters: bool) -> Result<Vec<BpfProgram>, BackendError> {
    let mut never = unconditional(&[NEVER, EXECUTE]);
    never.remove(&libc::SYS_bpf);
    let mut rules = unconditional(&[ALWAYS, HELPER]);
    if enters {
        never.remove(&libc::SYS_setns);
        add(&mut rules, libc::SYS_setns, &[When::Is(1, libc::CLONE_NEWNET as u64)])?;
    }
    add(&mut rules, libc::SYS_bpf, &OF_BPF.map(|command| When::Is(0, command)))?;
    let families = [libc::AF_NETLINK, libc::AF_PACKET];
    add(&mut rules, libc::SYS_socket, &families.map(|family| When::Is(0, family.unsigned_abs().into())))?;
    add_for_all(&mut rules, &[When::Bits(2, EXECUTED, 0)])?;
    Ok(vec![deadly(never)?, exclusive(rules)?])
}

/// Ends the process at one of these calls.
fn deadly(rules: Rules) -> Result<BpfProgram, BackendError> {
    filter(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

/// Allows these calls and no others.
fn exclusive(rules: Rules) -> Result<BpfProgram, BackendError> {
    filter(rules, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)
}

fn filter(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> Result<BpfProgram, BackendError> {
    SeccompFilter::new(rules, otherwise, listed, TargetArch::try_from(ARCH)?).and_then(BpfProgram::try_from)
}

fn unconditional(lists: &[&[c_long]]) -> Rules {
    lists.iter().copied().flatten().map(|call| (*call, Vec::new())).collect()
}

fn allowed(needs: &Needs) -> Result<Rules, BackendError> {
    let mut lists = vec![ALWAYS];
    lists.extend(needs.opens_files().then_some(FILES));
    lists.extend(needs.names.then_some(NAMES));
    lists.extend(needs.live.then_some(LIVE));
    lists.extend(needs.asks.then_some(ASK));
    lists.extend(needs.serves.then_some(SERVE));
    let mut rules = unconditional(&lists);
    // Code that is in no file is never run.
    let mut mapped = vec![When::Bits(2, EXECUTED, 0)];
    if needs.names {
        // Modules of the resolver.
        mapped.push(When::Bits(2, libc::PROT_WRITE as u64 | EXECUTED, EXECUTED));
    }
    add_for_all(&mut rules, &mapped)?;
    if needs.live || needs.serves {
        add(&mut rules, libc::SYS_prctl, &[When::Is(0, libc::PR_SET_NAME.unsigned_abs().into())])?;
    }
    if needs.names {
        let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        add(&mut rules, libc::SYS_socket, &families.map(|family| When::Is(0, family.unsigned_abs().into())))?;
        // Files are opened for reading.
        let flags = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
        add(&mut rules, libc::SYS_openat, &[When::Bits(2, flags, 0)])?;
        #[cfg(target_arch = "x86_64")]
        add(&mut rules, libc::SYS_open, &[When::Bits(1, flags, 0)])?;
    }
    Ok(rules)
}

/// Allows what every run calls with some arguments; `mapped` are the conditions for mapping memory.
fn add_for_all(rules: &mut Rules, mapped: &[When]) -> Result<(), BackendError> {
    let fcntl = [libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];
    let own = u64::from(getpid().as_raw().unsigned_abs());
    add(rules, libc::SYS_mmap, mapped)?;
    add(rules, libc::SYS_mprotect, &[When::Bits(2, EXECUTED, 0)])?;
    add(rules, libc::SYS_fcntl, &fcntl.map(|command| When::Is(1, command.unsigned_abs().into())))?;
    add(rules, libc::SYS_ioctl, &IOCTL.map(|request| When::Is(1, request)))?;
    // abort(3) signals its own process.
    add(rules, libc::SYS_tgkill, &[When::Is(0, own)])?;
    // fstat(3), of the libraries that have no other.
    let of_descriptor = libc::AT_EMPTY_PATH as u64;
    add(rules, libc::SYS_newfstatat, &[When::Bits(3, of_descriptor, of_descriptor)])?;
    add(rules, libc::SYS_statx, &[When::Bits(2, of_descriptor, of_descriptor)])
}

/// Allows a call under one of several conditions. One that is allowed already needs none.
fn add(rules: &mut Rules, call: c_long, alternatives: &[When]) -> Result<(), BackendError> {
    if rules.get(&call).is_some_and(Vec::is_empty) {
        return Ok(());
    }
    for when in alternatives {
        let (argument, operator, value) = match *when {
            When::Is(argument, value) => (argument, SeccompCmpOp::Eq, value),
            When::Bits(argument, mask, value) => (argument, SeccompCmpOp::MaskedEq(mask), value),
        };
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
        rules.entry(call).or_default().push(SeccompRule::new(vec![condition])?);
    }
    Ok(())
}

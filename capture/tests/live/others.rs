//! Programs of others: tiny ones, with verdicts of every kind, at every hook.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    path::PathBuf,
};

use capture::kernel::{Attached, DirectionFilter, Hook, Interface, LogLevel, OBJECT, Object, ObjectOptions};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    net::if_::if_nametoindex,
};

use crate::namespace::{Namespace, own_mounts};

/// Frames that are longer than this, in bytes, are treated by the programs; others pass as if there were no program.
pub(crate) const TREATED: i32 = 200;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    TcxIngress,
    TcxEgress,
    XdpNative,
    XdpGeneric,
}

/// Among TCX programs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    First,
    Last,
}

/// What a program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// It goes on to the next program.
    Next,
    /// It is accepted: no program runs after this one.
    Accept,
    /// It is dropped.
    Drop,
    /// It leaves through another interface, by its index.
    Redirect(u32),
    /// The TCP window becomes [`WINDOW`], and the frame goes on.
    Rewrite,
}

/// What [`Treatment::Rewrite`] writes.
pub(crate) const WINDOW: u16 = 258;
/// Where the window is in an Ethernet frame with a plain IPv4 header.
const WINDOW_OFFSET: i32 = 14 + 20 + 14;

/// One instruction (linux/bpf.h, `struct bpf_insn`).
fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> [u8; 8] {
    let ([o0, o1], [i0, i1, i2, i3]) = (offset.to_le_bytes(), immediate.to_le_bytes());
    [code, destination | source << 4, o0, o1, i0, i1, i2, i3]
}

const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;
const R10: u8 = 10;

fn set(register: u8, value: i32) -> [u8; 8] {
    const BPF_ALU64_MOV_K: u8 = 0xb7;
    instruction(BPF_ALU64_MOV_K, register, 0, 0, value)
}

fn copy(to: u8, from: u8) -> [u8; 8] {
    const BPF_ALU64_MOV_X: u8 = 0xbf;
    instruction(BPF_ALU64_MOV_X, to, from, 0, 0)
}

fn add(register: u8, value: i32) -> [u8; 8] {
    const BPF_ALU64_ADD_K: u8 = 0x07;
    instruction(BPF_ALU64_ADD_K, register, 0, 0, value)
}

fn load_word(to: u8, from: u8, offset: i16) -> [u8; 8] {
    const BPF_LDX_MEM_W: u8 = 0x61;
    instruction(BPF_LDX_MEM_W, to, from, offset, 0)
}

fn store_half(to: u8, offset: i16, value: u16) -> [u8; 8] {
    const BPF_ST_MEM_H: u8 = 0x6a;
    instruction(BPF_ST_MEM_H, to, 0, offset, i32::from(value.to_be()))
}

fn call(helper: i32) -> [u8; 8] {
    const BPF_JMP_CALL: u8 = 0x85;
    instruction(BPF_JMP_CALL, 0, 0, 0, helper)
}

fn exit() -> [u8; 8] {
    const BPF_JMP_EXIT: u8 = 0x95;
    instruction(BPF_JMP_EXIT, 0, 0, 0, 0)
}

const BPF_FUNC_SKB_STORE_BYTES: i32 = 9;
const BPF_FUNC_REDIRECT: i32 = 23;

/// For frames that are to be redirected; the helper's result is the verdict.
fn redirect(index: u32) -> Vec<[u8; 8]> {
    vec![set(R1, index as i32), set(R2, 0), call(BPF_FUNC_REDIRECT)]
}

/// A program for TC (`struct __sk_buff`).
fn tc(treatment: Treatment) -> Vec<[u8; 8]> {
    const NEXT: i32 = -1;
    const ACCEPT: i32 = 0;
    const DROP: i32 = 2;
    const BPF_JLE_K: u8 = 0xb5;

    let treat = match treatment {
        Treatment::Next => vec![set(R0, NEXT)],
        Treatment::Accept => vec![set(R0, ACCEPT)],
        Treatment::Drop => vec![set(R0, DROP)],
        Treatment::Redirect(index) => redirect(index),
        Treatment::Rewrite => vec![
            store_half(R10, -8, WINDOW),
            set(R2, WINDOW_OFFSET),
            copy(R3, R10),
            add(R3, -8),
            set(R4, 2),
            set(R5, 0),
            call(BPF_FUNC_SKB_STORE_BYTES),
            set(R0, NEXT),
        ],
    };
    let skip = treat.len() as i16;
    let select = [load_word(R2, R1, 0), set(R0, NEXT), instruction(BPF_JLE_K, R2, 0, skip, TREATED)];
    [&select[..], &treat, &[exit()]].concat()
}

/// A program for XDP (`struct xdp_md`).
fn xdp(treatment: Treatment) -> Vec<[u8; 8]> {
    const DROP: i32 = 1;
    const PASS: i32 = 2;
    const BPF_JGT_X: u8 = 0x2d;

    let treat = match treatment {
        Treatment::Next | Treatment::Accept => vec![set(R0, PASS)],
        Treatment::Drop => vec![set(R0, DROP)],
        Treatment::Redirect(index) => redirect(index),
        Treatment::Rewrite => vec![store_half(R2, WINDOW_OFFSET as i16, WINDOW), set(R0, PASS)],
    };
    let skip = treat.len() as i16;
    let select = [
        load_word(R2, R1, 0),
        load_word(R3, R1, 4),
        set(R0, PASS),
        copy(R4, R2),
        add(R4, TREATED),
        instruction(BPF_JGT_X, R4, R3, skip, 0),
    ];
    [&select[..], &treat, &[exit()]].concat()
}

/// One call of bpf(2), with `attributes` as `union bpf_attr` has them for `command`.
fn bpf<const N: usize>(command: libc::c_long, mut attributes: [u64; N]) -> io::Result<RawFd> {
    bpf_mut(command, &mut attributes)
}

/// The same for a command that writes into its attributes.
fn bpf_mut(command: libc::c_long, attributes: &mut [u64]) -> io::Result<RawFd> {
    // SAFETY: the attributes are as long as is said; what they point to is alive, and written to by no command used here.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(attributes)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}

/// Two fields of 32 bits.
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

fn load(kind: u32, name: &str, instructions: &[[u8; 8]]) -> OwnedFd {
    const BPF_PROG_LOAD: libc::c_long = 5;
    const ATTEMPTS: usize = 16;

    assert!(name.len() <= 15, "{name}");
    let mut name_field = [0; 16];
    name_field[..name.len()].copy_from_slice(name.as_bytes());
    let [low, high] = [0, 8].map(|at| u64::from_le_bytes(*name_field[at..].first_chunk().expect("8 bytes")));
    let attributes = [
        pair(kind, instructions.len() as u32),
        instructions.as_ptr().addr() as u64,
        c"GPL".as_ptr().addr() as u64,
        0,
        0,
        0,
        low,
        high,
    ];
    // The verifier answers EAGAIN when a signal is pending (kernel/bpf/verifier.c, `do_check`).
    let program = (0..ATTEMPTS)
        .map(|_| bpf(BPF_PROG_LOAD, attributes))
        .find(|loaded| !matches!(loaded, Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32)));
    let program = program.expect("not interrupted each time").expect("it loads");
    // SAFETY: a new descriptor.
    unsafe { OwnedFd::from_raw_fd(program) }
}

/// How a TC program of capture's is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Tcx,
    Clsact,
}

/// Attaches capture's own programs at TC, after `prepare` has been called with the interface looked up.
pub(crate) fn attach_own(
    namespace: &Namespace,
    interface: &'static str,
    mechanism: Mechanism,
    prepare: fn(),
) -> (Object, Attached) {
    let attach = move || {
        let options = ObjectOptions {
            filter: None,
            link_header: true,
            instance: 0,
            snaplen: 0,
            ring_size: 1 << 20,
            rings: 1,
            log_level: LogLevel::Off,
        };
        let mut object = Object::load(OBJECT, &options).expect("the object loads");
        let interface = Interface::find(interface).expect("it exists");
        prepare();
        let attached = Attached::new(&mut object, &interface, Hook::Tc, DirectionFilter::Both);
        (object, attached.expect("it attaches"))
    };
    let (object, attached) = namespace.run(move || match mechanism {
        Mechanism::Tcx => attach(),
        Mechanism::Clsact => without_tcx(attach),
    });
    let expected = if mechanism == Mechanism::Tcx { "(tcx)" } else { "(clsact)" };
    assert!(attached.to_string().ends_with(expected), "{attached}");
    (object, attached)
}

/// Writes `bytes` into a ring buffer of a process, as a record that is not capture's.
pub(crate) fn write_to_ring_of(process: nix::unistd::Pid, bytes: [u8; 4]) {
    const BPF_PROG_TEST_RUN: libc::c_long = 10;
    const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;
    const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
    const BPF_FUNC_RINGBUF_OUTPUT: i32 = 130;
    const BPF_MAP_TYPE_RINGBUF: &str = "27";
    const BPF_LD_IMM64: u8 = 0x18;
    const BPF_PSEUDO_MAP_FD: u8 = 1;
    const BPF_ST_MEM_W: u8 = 0x62;
    /// An Ethernet frame with something after its header.
    const FRAME: [u8; 64] = [0; 64];

    // By size: the object's template for the array of rings is one, too, of a page.
    let rings = std::fs::read_dir(format!("/proc/{process}/fdinfo")).expect("it runs").filter_map(|entry| {
        let description = std::fs::read_to_string(entry.ok()?.path()).ok()?;
        let field = |name| Some(description.lines().find_map(|line| line.strip_prefix(name))?.trim());
        let number = |name| field(name)?.parse::<u64>().ok();
        (field("map_type:")? == BPF_MAP_TYPE_RINGBUF)
            .then(|| Some((number("max_entries:")?, number("map_id:")?)))?
    });
    let (_, id) = rings.max().expect("it has rings");
    let map = bpf(BPF_MAP_GET_FD_BY_ID, [id]).expect("the map is there");
    // SAFETY: a new descriptor.
    let map = unsafe { OwnedFd::from_raw_fd(map) };
    let program = [
        instruction(BPF_ST_MEM_W, R10, 0, -8, i32::from_le_bytes(bytes)),
        instruction(BPF_LD_IMM64, R1, BPF_PSEUDO_MAP_FD, 0, map.as_raw_fd()),
        [0; 8],
        copy(R2, R10),
        add(R2, -8),
        set(R3, bytes.len() as i32),
        set(R4, 0),
        call(BPF_FUNC_RINGBUF_OUTPUT),
        exit(),
    ];
    let program = load(BPF_PROG_TYPE_SCHED_CLS, "foreign_record", &program);
    let mut attributes = [
        pair(program.as_raw_fd() as u32, 0),
        pair(FRAME.len() as u32, 0),
        FRAME.as_ptr().addr() as u64,
        0,
        0,
    ];
    // The kernel writes the program's result, which is the helper's, into the second word.
    bpf_mut(BPF_PROG_TEST_RUN, &mut attributes).expect("it runs");
    assert_eq!(attributes[0] >> 32, 0, "the ring has room");
}

/// Loads a program for TC.
pub(crate) fn load_tc(name: &str, treatment: Treatment) -> OwnedFd {
    const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
    load(BPF_PROG_TYPE_SCHED_CLS, name, &tc(treatment))
}

/// Attaches a program of its own kind to an interface, until what is returned is dropped.
pub(crate) fn attach(
    namespace: &Namespace,
    interface: &'static str,
    place: Place,
    order: Order,
    name: &str,
    treatment: Treatment,
) -> OwnedFd {
    const BPF_PROG_TYPE_XDP: u32 = 6;
    const BPF_LINK_CREATE: libc::c_long = 28;
    const BPF_F_BEFORE: u32 = 8;
    const XDP_FLAGS_SKB_MODE: u32 = 2;
    const XDP_FLAGS_DRV_MODE: u32 = 4;

    let program = match place {
        Place::TcxIngress | Place::TcxEgress => load_tc(name, treatment),
        Place::XdpNative | Place::XdpGeneric => load(BPF_PROG_TYPE_XDP, name, &xdp(treatment)),
    };
    let before = if matches!(order, Order::First) { BPF_F_BEFORE } else { 0 };
    let (attach_type, flags) = match place {
        Place::TcxIngress => (46, before),
        Place::TcxEgress => (47, before),
        Place::XdpNative => (37, XDP_FLAGS_DRV_MODE),
        Place::XdpGeneric => (37, XDP_FLAGS_SKB_MODE),
    };
    namespace.run(move || {
        let index = if_nametoindex(interface).expect("it exists");
        let attributes = [pair(program.as_raw_fd() as u32, index), pair(attach_type, flags), 0, 0];
        let link = bpf(BPF_LINK_CREATE, attributes).expect("it attaches");
        // SAFETY: a new descriptor.
        unsafe { OwnedFd::from_raw_fd(link) }
    })
}

/// Lets `tc filter` add a program, with these words after `tc filter add dev INTERFACE`.
pub(crate) fn add_filter(
    namespace: &Namespace,
    interface: &'static str,
    words: &str,
    name: &str,
    treatment: Treatment,
) {
    const BPF_OBJ_PIN: libc::c_long = 6;
    const NOTHING: Option<&str> = None;

    let program = load_tc(name, treatment);
    let path = std::ffi::CString::new(format!("/tmp/{name}")).expect("a name");
    namespace.run(move || {
        // tc takes a program by its path in a file system, which no one else needs to see.
        own_mounts();
        mount(NOTHING, "/tmp", Some("bpf"), MsFlags::empty(), NOTHING).expect("a file system for programs");
        bpf(BPF_OBJ_PIN, [path.as_ptr().addr() as u64, program.as_raw_fd() as u64]).expect("it is pinned");
    });
    namespace.output(&format!("tc filter add dev {interface} {words} bpf da object-pinned /tmp/{name}"));
    namespace.run(|| umount2(&PathBuf::from("/tmp"), MntFlags::MNT_DETACH)).expect("it is mounted");
}

/// Runs `job`, and the processes that it starts, where bpf(2) answers as a kernel without TCX does: that it knows neither
/// links nor queries of such a kind. (It knows no links of any kind; XDP does without.)
pub(crate) fn without_tcx<R: Send>(job: impl FnOnce() -> R + Send) -> R {
    const BPF_PROG_QUERY: u32 = 16;
    const BPF_LINK_CREATE: u32 = 28;
    /// Where `struct seccomp_data` has the call's number and the low half of its first argument.
    const NUMBER: u32 = 0;
    const COMMAND: u32 = 16;

    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let unless = |value, skip| libc::sock_filter {
        jf: skip,
        ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value)
    };
    let verdict = |value| statement(libc::BPF_RET | libc::BPF_K, value);
    let mut filter = [
        load(NUMBER),
        unless(libc::SYS_bpf as u32, 4),
        load(COMMAND),
        libc::sock_filter { jt: 1, ..unless(BPF_PROG_QUERY, 0) },
        unless(BPF_LINK_CREATE, 1),
        verdict(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        verdict(libc::SECCOMP_RET_ALLOW),
    ];
    // A filter is that of a thread and of the processes it starts.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            // SAFETY: the kernel reads the program, whose length is stated.
            let result = unsafe {
                libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0)
            };
            assert_eq!(result, 0, "{}", io::Error::last_os_error());
            job()
        });
        thread.join().expect("privileges")
    })
}

fn statement(code: u32, operand: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k: operand }
}

/// Detaches the programs that a process holds by links, as `bpftool link detach` does.
pub(crate) fn detach_links_of(process: nix::unistd::Pid) {
    const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;
    const BPF_LINK_DETACH: libc::c_long = 34;

    for entry in std::fs::read_dir(format!("/proc/{process}/fdinfo")).expect("it runs") {
        let description = std::fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default();
        let id =
            description.lines().find_map(|line| line.strip_prefix("link_id:")?.trim().parse::<u64>().ok());
        if let Some(id) = id {
            let link = bpf(BPF_LINK_GET_FD_BY_ID, [id]).expect("the link is there");
            bpf(BPF_LINK_DETACH, [link as u64]).expect("it is attached");
            nix::unistd::close(link).expect("it is ours");
        }
    }
}

/// Whether an interface of this network namespace takes TCP segments that are to be cut (ethtool(8), `tso`).
pub(crate) fn segmentation_offload(interface: &str) -> bool {
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    /// linux/ethtool.h.
    const ETHTOOL_GTSO: u32 = 0x1e;

    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let mut value = [ETHTOOL_GTSO, 0];
    // `struct ifreq`: the name, and a pointer in what follows it.
    let mut request = [0_u8; 40];
    request[..interface.len()].copy_from_slice(interface.as_bytes());
    request[16..24].copy_from_slice(&value.as_mut_ptr().expose_provenance().to_ne_bytes());
    // SAFETY: SIOCETHTOOL reads a `struct ifreq`, and ETHTOOL_GTSO writes a `struct ethtool_value`, which is two words.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    value[1] != 0
}

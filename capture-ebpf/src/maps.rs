//! The maps: the rings, the counters, and what is lost of each interface.

use core::arch::asm;

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, ArrayOfMaps, HashMap, RingBuf},
    helpers::generated::bpf_get_smp_processor_id,
    macros::btf_map,
};
use capture_common::counters::{Counters, HookCounters, OTHERS};

use crate::config;

/// A ring of records. The size is a placeholder, a multiple of any page size: the daemon makes the rings, as large as it
/// was told to.
pub(crate) type Ring = RingBuf<u64, 65536>;

/// One ring per CPU, because producers on several CPUs that share one spend their time on its lock. Where the daemon
/// makes fewer rings than there are CPUs, several entries name the same ring. The number of entries is a placeholder:
/// the daemon sets it to the number of CPUs.
#[btf_map]
static RINGS: ArrayOfMaps<Ring, 1> = ArrayOfMaps::new();

/// One entry for each CPU. An array with CPUs for indices, and no per-CPU map: the kernel looks up an entry without a
/// call, and the daemon needs only an upper bound of the CPUs' numbers to read the entries. The number of entries is a
/// placeholder, as that of [`RINGS`]. The daemon maps the array into its memory, and reads it without a system call.
#[btf_map]
static COUNTERS: Array<Counters, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// How many selected packets of an interface were lost, by its index. The daemon makes an entry for each that it attaches
/// to, and one with the key [`OTHERS`] for all packets of interfaces that have none. The number of entries is a placeholder.
#[btf_map]
static LOSSES: HashMap<u32, u64, 1, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// The number of the CPU this runs on. It stays the same while the program runs, also on a preemptible kernel: the
/// kernel disables migration (include/linux/bpf.h, `bpf_prog_run_pin_on_cpu`).
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper takes no arguments and only reads the CPU's number.
    unsafe { bpf_get_smp_processor_id() }
}

/// The ring of a CPU.
#[inline(always)]
pub(crate) fn ring(cpu: u32) -> Option<&'static Ring> {
    RINGS.get(cpu)
}

/// Which of a CPU's counters a program adds to. The numbers are known when it is compiled.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    /// tc ingress, or XDP.
    Ingress,
    /// tc egress.
    Egress,
}

/// The counters of one hook on a CPU.
#[derive(Clone, Copy)]
pub(crate) struct CpuCounters(*mut HookCounters);

/// The counters of `cpu`, which is the one this runs on.
#[inline(always)]
pub(crate) fn counters(cpu: u32, side: Side) -> Option<CpuCounters> {
    let counters = COUNTERS.get_ptr_mut(cpu)?;
    Some(CpuCounters(match side {
        // SAFETY: the pointer is to this CPU's entry, of which the hook's counters are a field.
        Side::Ingress => unsafe { &raw mut (*counters).ingress },
        // SAFETY: as above.
        Side::Egress => unsafe { &raw mut (*counters).egress },
    }))
}

impl CpuCounters {
    #[inline(always)]
    pub(crate) fn matched(self) {
        // SAFETY: the pointer is to this CPU's entry, which is valid while the program runs.
        unsafe { increment(&raw mut (*self.0).matched) }
    }

    #[inline(always)]
    pub(crate) fn ring_full(self) {
        // SAFETY: as in `matched`.
        unsafe { increment(&raw mut (*self.0).ring_full) }
    }

    #[inline(always)]
    pub(crate) fn too_short(self) {
        // SAFETY: as in `matched`.
        unsafe { increment(&raw mut (*self.0).too_short) }
    }

    #[inline(always)]
    pub(crate) fn unreadable(self) {
        // SAFETY: as in `matched`.
        unsafe { increment(&raw mut (*self.0).unreadable) }
    }
}

/// Counts a lost packet for its interface.
#[inline(always)]
pub(crate) fn count_loss(ifindex: u32) {
    let Some(losses) = LOSSES.get_ptr_mut(ifindex).or_else(|| LOSSES.get_ptr_mut(OTHERS)) else { return };
    // SAFETY: the pointer is to an entry of the map, whose memory outlives the program's run.
    unsafe { increment_shared(losses) }
}

/// Adds one to a counter of this CPU.
///
/// On most kernels the plain addition is right: softirqs are off around these programs, so no other run of one
/// interrupts this one on the same CPU. With PREEMPT_RT another task can do so. There the addition is atomic; it is
/// spelled out because what the compiler makes of `fetch_add` needs Linux 5.12 (`BPF_FETCH`).
///
/// # Safety
///
/// `counter` is valid for reads and writes.
#[inline(always)]
unsafe fn increment(counter: *mut u64) {
    if config::preemptible() {
        // SAFETY: the caller guarantees the pointer.
        unsafe { increment_shared(counter) }
    } else {
        // SAFETY: the caller guarantees the pointer.
        unsafe { *counter += 1 }
    }
}

/// Adds one to a counter that others add to at the same time.
///
/// # Safety
///
/// `counter` is valid for reads and writes.
#[inline(always)]
unsafe fn increment_shared(counter: *mut u64) {
    // SAFETY: the caller guarantees the pointer.
    unsafe {
        asm!(
            "lock *(u64 *)({counter} + 0) += {one}",
            counter = in(reg) counter,
            one = in(reg) 1_u64,
            options(nostack),
        );
    }
}

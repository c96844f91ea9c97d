//! The maps: the rings and the counters.

use aya_ebpf::{
    btf_maps::{ArrayOfMaps, PerCpuArray, RingBuf},
    helpers::generated::bpf_get_smp_processor_id,
    macros::btf_map,
};
use capture_common::counters::Counters;

/// A ring of records. The size is a placeholder, a multiple of any page size: the daemon makes the rings, as large as it
/// was told to.
pub(crate) type Ring = RingBuf<u64, 65536>;

/// One ring per CPU, because producers on several CPUs that share one spend their time on its lock. Where the daemon
/// makes fewer rings than there are CPUs, several entries name the same ring. The number of entries is a placeholder:
/// the daemon sets it to the number of CPUs.
#[btf_map]
static RINGS: ArrayOfMaps<Ring, 1> = ArrayOfMaps::new();

#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// The ring of the CPU this runs on.
#[inline(always)]
pub(crate) fn ring() -> Option<&'static Ring> {
    // SAFETY: the helper takes no arguments and only reads the CPU's number.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    RINGS.get(cpu)
}

/// The counters of the CPU this runs on. Nothing else writes them while the program runs: it cannot be migrated, nor
/// interrupted by another run of itself on this CPU.
#[inline(always)]
pub(crate) fn counters() -> Option<&'static mut Counters> {
    let counters = COUNTERS.get_ptr_mut(0)?;
    // SAFETY: the pointer is to this CPU's slot, valid while the program runs, and unaliased as said above.
    Some(unsafe { &mut *counters })
}

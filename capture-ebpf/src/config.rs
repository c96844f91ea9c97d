//! Constants that the daemon sets before it loads the programs. They lie in `.rodata`, which is frozen before the
//! verifier runs, so that branches on them are decided then and cost nothing per packet. And [the switch](is_off), which it
//! sets at the end.

use core::sync::atomic::AtomicU64;

use aya_ebpf::Global;

/// Whether frames on the interface begin with an Ethernet header (1) or with the IP header (0).
#[unsafe(no_mangle)]
static LINK_HEADER: Global<u8> = Global::new(1);

/// Bytes to capture of each frame; 0 for the headers alone. At most `capture_common::record::MAX_SNAPLEN`.
#[unsafe(no_mangle)]
static SNAPLEN: Global<u32> = Global::new(0);

/// 1 where one run of the programs can interrupt another on the same CPU: kernels with PREEMPT_RT.
#[unsafe(no_mangle)]
static PREEMPTIBLE: Global<u8> = Global::new(0);

/// The number of this instance of the programs, which its records carry.
#[unsafe(no_mangle)]
static INSTANCE: Global<u16> = Global::new(0);

/// Not zero where the programs are to do nothing any more. It lies in `.bss`, a map in which the daemon writes it: programs
/// are switched off at once, and detached one by one.
#[unsafe(no_mangle)]
static OFF: AtomicU64 = AtomicU64::new(0);

/// Whether the capture has ended.
#[inline(always)]
pub(crate) fn is_off() -> bool {
    // SAFETY: it is valid and aligned. A plain load of something that no code writes would be taken for a constant.
    unsafe { OFF.as_ptr().read_volatile() != 0 }
}

#[inline(always)]
pub(crate) fn link_header() -> bool {
    LINK_HEADER.load() != 0
}

#[inline(always)]
pub(crate) fn snaplen() -> u32 {
    SNAPLEN.load()
}

#[inline(always)]
pub(crate) fn preemptible() -> bool {
    PREEMPTIBLE.load() != 0
}

#[inline(always)]
pub(crate) fn instance() -> u16 {
    INSTANCE.load()
}

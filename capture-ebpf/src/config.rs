//! Constants that the daemon sets before it loads the programs. They lie in `.rodata`, which is frozen before the
//! verifier runs, so that branches on them are decided then and cost nothing per packet.

use aya_ebpf::Global;
use capture_common::ports::{PortBitmap, WORDS, position};

/// Whether frames on the interface begin with an Ethernet header (1) or with the IP header (0).
#[unsafe(no_mangle)]
static LINK_HEADER: Global<u8> = Global::new(1);

/// Bytes to capture of each frame; 0 for the headers alone. At most `capture_common::record::MAX_SNAPLEN`.
#[unsafe(no_mangle)]
static SNAPLEN: Global<u32> = Global::new(0);

/// 1 where one run of the programs can interrupt another on the same CPU: kernels with PREEMPT_RT.
#[unsafe(no_mangle)]
static PREEMPTIBLE: Global<u8> = Global::new(0);

/// 1 for every TCP packet, 0 for those with a port in [`PORTS`].
#[unsafe(no_mangle)]
static ANY_PORT: Global<u8> = Global::new(1);

/// The selected ports.
#[unsafe(no_mangle)]
static PORTS: Global<PortBitmap> = Global::new([0; WORDS]);

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
pub(crate) fn any_port() -> bool {
    ANY_PORT.load() != 0
}

#[inline(always)]
pub(crate) fn has_port(port: u16) -> bool {
    let (word, mask) = position(port);
    // SAFETY: a `Global<PortBitmap>` holds a `PortBitmap`, and `word`, the high ten bits of a port, is below
    // `WORDS`. The read is volatile because the loader writes what the compiler believes to be constant.
    let word = unsafe { (&raw const PORTS).cast::<u64>().add(word).read_volatile() };
    word & mask != 0
}

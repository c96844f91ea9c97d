//! From a selected frame to a record in the ring.

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use capture_common::{
    headers::ethernet,
    parse::{Layers, Network},
    record::{ABI_VERSION, MAX_SNAPLEN, RecordHeader, captured_len},
};

use crate::{
    config,
    frame::FrameContext,
    maps::{Ring, ring},
};

/// What became of a record.
pub(crate) enum Outcome {
    Submitted,
    RingFull,
    Unreadable,
}

/// A record with room for `CAPACITY` bytes of the frame.
#[repr(C)]
struct Record<const CAPACITY: usize> {
    header: RecordHeader,
    bytes: [u8; CAPACITY],
}

/// Where the kernel puts a tag back into a frame: after the two addresses.
const TAG_OFFSET: usize = ethernet::TYPE;
const TAG_LENGTH: u32 = ethernet::TAG_LENGTH as u32;
/// Where the frame continues after the tag.
const TAGGED: usize = TAG_OFFSET + ethernet::TAG_LENGTH;

/// What the kernel's helper for a ring's wake-up is told: to decide by itself. It wakes the daemon exactly when the
/// daemon has read all there was before this record (kernel/bpf/ringbuf.c, `bpf_ringbuf_commit`); how often that is
/// the case is the daemon's choice, see its ring reader.
const ADAPTIVE_WAKEUP: u64 = 0;

/// Makes the record of a selected frame, whose headers end at `headers_end`, and gives it to the ring of `cpu`, which is
/// the one this runs on.
#[inline(always)]
pub(crate) fn emit<F: FrameContext>(frame: &F, layers: &Layers, headers_end: usize, cpu: u32) -> Outcome {
    let Some(ring) = ring(cpu) else { return Outcome::RingFull };
    let tag = frame.stripped_tag();
    let inserted = if tag.is_some() { TAG_LENGTH } else { 0 };
    let wire_len = frame.len() + inserted;
    let snaplen = config::snaplen();
    let captured_len = captured_len(wire_len, headers_end as u32 + inserted, snaplen).min(F::REACH);
    let header = RecordHeader {
        time: 0,
        wire_len,
        captured_len,
        ifindex: frame.ifindex(),
        instance: config::instance(),
        abi_version: ABI_VERSION,
        l3_offset: layers.l3_offset as u8 + inserted as u8,
        l4_offset: layers.l4_offset.map_or(0, |offset| offset.get() as u8 + inserted as u8),
        ip_version: match layers.network {
            Network::Ipv4 => 4,
            Network::Ipv6 => 6,
        },
        packet_type: frame.packet_type(),
    };
    let record = Pending { frame, ring, header, tag };
    // The verifier wants every reservation to have a constant size, so records come in sizes: the common header
    // stacks in the smallest that hold them, each a multiple of 8 with the 28 bytes of the record's header.
    // 68: IPv4 with timestamps and the byte after them. 100: IPv6 with timestamps and a block of SACK, or a SYN of
    // either family. 148: two tags, 60 bytes of IPv4 and 60 of TCP, and the byte after them.
    match captured_len {
        ..=68 => record.submit::<68>(),
        69..=100 => record.submit::<100>(),
        101..=148 => record.submit::<148>(),
        // Without payload no record is longer, and the verifier drops what follows.
        _ if snaplen == 0 => Outcome::Unreadable,
        149..=256 => record.submit::<256>(),
        257..=512 => record.submit::<512>(),
        513..=1024 => record.submit::<1024>(),
        1025..=1536 => record.submit::<1536>(),
        1537..=4096 => record.submit::<4096>(),
        4097..=9216 => record.submit::<9216>(),
        9217..=32768 => record.submit::<32768>(),
        32769..=66048 => record.submit::<66048>(),
        66049..=MAX_SNAPLEN => record.submit::<{ MAX_SNAPLEN as usize }>(),
        _ => Outcome::Unreadable,
    }
}

/// A record that has everything but its stamp and its place in the ring.
struct Pending<'a, F> {
    frame: &'a F,
    ring: &'a Ring,
    header: RecordHeader,
    tag: Option<[u8; 4]>,
}

impl<F: FrameContext> Pending<'_, F> {
    #[inline(always)]
    fn submit<const CAPACITY: usize>(self) -> Outcome {
        let Self { frame, ring, header, tag } = self;
        let len = u64::from(header.captured_len);
        let Some(mut entry) = ring.reserve_untyped::<Record<CAPACITY>>(0) else { return Outcome::RingFull };
        // Behind the reservation, so that stamps are in the order of places also where CPUs share a ring, but for what
        // lies between the two. And a record that finds no place costs no look at the clock.
        // SAFETY: the helper takes no arguments and only reads the clock.
        let time = unsafe { bpf_ktime_get_boot_ns() };
        let record = MaybeUninit::as_mut_ptr(&mut entry);
        // SAFETY: `record` points to the reserved memory, which begins at a multiple of 8, as `time` does in it.
        let to = unsafe {
            (&raw mut (*record).header).write(header);
            (&raw mut (*record).header.time).write(time);
            (&raw mut (*record).bytes).cast::<u8>()
        };
        let copied = match tag {
            // SAFETY: the record has room for `CAPACITY` bytes.
            None => unsafe { copy::<CAPACITY, F>(frame, to, len) },
            Some(tag) => {
                // SAFETY: every capacity has room for the addresses and a tag.
                let addresses = unsafe {
                    to.add(TAG_OFFSET).cast::<[u8; 4]>().write(tag);
                    frame.copy(0, to, TAG_OFFSET as u32)
                };
                addresses
                    && match bounded(len.wrapping_sub(TAGGED as u64), (CAPACITY - TAGGED) as u64) {
                        // SAFETY: `rest` is within what the capacity has after the tag.
                        Some(rest) => unsafe { frame.copy(TAG_OFFSET as u32, to.add(TAGGED), rest as u32) },
                        None => true,
                    }
            }
        };
        if copied {
            entry.submit(ADAPTIVE_WAKEUP);
            Outcome::Submitted
        } else {
            entry.discard(ADAPTIVE_WAKEUP);
            Outcome::Unreadable
        }
    }
}

/// Copies the first `len` bytes of a frame to `to`: at once, or in pieces where the record has room for more than the
/// frame's helper reads at once. False if `len` is not between 1 and `CAPACITY`, or the frame does not have the bytes.
///
/// # Safety
///
/// `to` is valid for writes of `CAPACITY` bytes.
#[inline(always)]
unsafe fn copy<const CAPACITY: usize, F: FrameContext>(frame: &F, to: *mut u8, len: u64) -> bool {
    if CAPACITY <= F::MOST_AT_ONCE {
        // SAFETY: `len` is within the capacity.
        return bounded(len, CAPACITY as u64).is_some_and(|len| unsafe { frame.copy(0, to, len as u32) });
    }
    let mut start = 0;
    while start < CAPACITY && start <= F::MOST_AT_ONCE {
        let room = (CAPACITY - start).min(F::MOST_AT_ONCE) as u64;
        let rest = len.wrapping_sub(start as u64);
        let Some(length) = bounded(rest.min(room), room) else { return false };
        // SAFETY: from `start` on there is room for `length` bytes.
        if !unsafe { frame.copy(start as u32, to.add(start), length as u32) } {
            return false;
        }
        if rest <= room {
            return true;
        }
        start += F::MOST_AT_ONCE;
    }
    false
}

/// `length` if it is between 1 and `most`.
///
/// The verifier wants to see both comparisons made on the register that the helper is then called with. The compiler,
/// left to itself, folds them into one of a difference, or leaves them out because the caller has compared already.
/// It is `< 1` and not `== 0` because the verifier of Linux 6.1 learns nothing from an inequality. The upper bound comes
/// first because the verifiers of Linux 7.2 and 7.3 forget the lower one when it is followed by another comparison.
#[inline(always)]
fn bounded(length: u64, most: u64) -> Option<u64> {
    let mut length = length;
    let mut within = 0_u64;
    // SAFETY: compares and sets registers, nothing else.
    unsafe {
        asm!(
            "if {length} > {most} goto +2",
            "if {length} < 1 goto +1",
            "{within} = 1",
            length = inout(reg) length,
            most = in(reg) most,
            within = inout(reg) within,
            options(pure, nomem, nostack),
        );
    }
    (within == 1).then_some(length)
}

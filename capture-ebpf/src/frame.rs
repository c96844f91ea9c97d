//! Where a frame's bytes are: an skb at TC, a buffer at XDP.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
};
use capture_common::{parse::Frame, record::packet_type};

/// What a record needs to know of a frame besides the bytes that the parser reads. The context of the program has it: an
/// `__sk_buff` or an `xdp_md`.
pub(crate) trait FrameContext {
    /// How many bytes [`copy`](Self::copy) copies at most, and the highest offset that it takes.
    const MOST_AT_ONCE: usize;

    /// How many bytes of a frame can be read, from its start on.
    const REACH: u32;

    /// Length of the frame in bytes, without a tag that is kept outside of it.
    fn len(&self) -> u32;

    /// Index of the interface.
    fn ifindex(&self) -> u32;

    /// Which of `capture_common::record::packet_type` it is.
    fn packet_type(&self) -> u8;

    /// The four bytes of a VLAN tag that the kernel has taken out of the frame, as they stood there: type and TCI.
    fn stripped_tag(&self) -> Option<[u8; 4]>;

    /// Copies `len` bytes of the frame, from `offset` on, to `to`. False if the frame does not have them.
    ///
    /// # Safety
    ///
    /// `to` is valid for writes of `len` bytes, and `len` is not 0: the verifier has to be able to see both.
    unsafe fn copy(&self, offset: u32, to: *mut u8, len: u32) -> bool;
}

/// Reads `N` bytes between `data` and `data_end`: the comparison that the verifier takes as the packet's range.
#[inline(always)]
fn read_direct<const N: usize>(data: usize, data_end: usize, offset: usize) -> Option<[u8; N]> {
    let start = data + offset;
    if start + N > data_end {
        return None;
    }
    // SAFETY: the N bytes from `start` on lie before `data_end`; a byte array has no alignment.
    Some(unsafe { (start as *const [u8; N]).read() })
}

/// The frame of an skb. What lies in its linear part is read directly; for the rest the helper reads it wherever it
/// is. The skb is never linearised: it is somebody else's packet.
pub(crate) struct TcFrame {
    skb: *mut __sk_buff,
    is_outgoing: bool,
}

impl TcFrame {
    pub(crate) fn incoming(skb: *mut __sk_buff) -> Self {
        Self { skb, is_outgoing: false }
    }

    pub(crate) fn outgoing(skb: *mut __sk_buff) -> Self {
        Self { skb, is_outgoing: true }
    }
}

impl Frame for TcFrame {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: the context is valid while the program runs.
        let (data, data_end) = unsafe { ((*self.skb).data as usize, (*self.skb).data_end as usize) };
        if let Some(bytes) = read_direct(data, data_end, offset) {
            return Some(bytes);
        }
        let mut bytes = [0; N];
        // SAFETY: the buffer is N bytes long.
        unsafe { self.copy(offset as u32, bytes.as_mut_ptr(), N as u32) }.then_some(bytes)
    }

    #[inline(always)]
    fn stripped_tags(&self) -> usize {
        usize::from(self.stripped_tag().is_some())
    }
}

impl FrameContext for TcFrame {
    const MOST_AT_ONCE: usize = i32::MAX as usize;
    const REACH: u32 = u32::MAX;

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.skb).ifindex }
    }

    #[inline(always)]
    fn packet_type(&self) -> u8 {
        if self.is_outgoing {
            return packet_type::OUTGOING;
        }
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.skb).pkt_type as u8 }
    }

    #[inline(always)]
    fn stripped_tag(&self) -> Option<[u8; 4]> {
        // SAFETY: the context is valid while the program runs.
        let skb = unsafe { &*self.skb };
        if skb.vlan_present == 0 {
            return None;
        }
        // `vlan_proto` is in network byte order, `vlan_tci` in the host's.
        let [p1, p0] = (skb.vlan_proto as u16).to_ne_bytes();
        let [t1, t0] = (skb.vlan_tci as u16).to_be_bytes();
        Some([p1, p0, t1, t0])
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, len: u32) -> bool {
        // SAFETY: the caller guarantees `to` and `len`, the context is valid while the program runs.
        unsafe { bpf_skb_load_bytes(self.skb.cast(), offset, to.cast(), len) == 0 }
    }
}

/// The buffer of an XDP program: what the first fragment holds is read directly, the rest by the helper.
pub(crate) struct XdpFrame {
    context: *mut xdp_md,
}

impl XdpFrame {
    pub(crate) fn new(context: *mut xdp_md) -> Self {
        Self { context }
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: the context is valid while the program runs.
        let (data, data_end) = unsafe { ((*self.context).data as usize, (*self.context).data_end as usize) };
        if let Some(bytes) = read_direct(data, data_end, offset) {
            return Some(bytes);
        }
        let mut bytes = [0; N];
        // SAFETY: the buffer is N bytes long.
        unsafe { self.copy(offset as u32, bytes.as_mut_ptr(), N as u32) }.then_some(bytes)
    }
}

impl FrameContext for XdpFrame {
    /// `bpf_xdp_load_bytes` refuses more than 65,535 bytes, and offsets above that (net/core/filter.c,
    /// `bpf_xdp_pointer`). Generic XDP sees larger frames: 64 KiB of IP after an Ethernet header, and more with BIG TCP.
    const MOST_AT_ONCE: usize = 0xffff;
    const REACH: u32 = 2 * 0xffff;

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { bpf_xdp_get_buff_len(self.context) as u32 }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.context).ingress_ifindex }
    }

    #[inline(always)]
    fn packet_type(&self) -> u8 {
        packet_type::UNKNOWN
    }

    /// A tag that the NIC has taken out is not visible to XDP.
    #[inline(always)]
    fn stripped_tag(&self) -> Option<[u8; 4]> {
        None
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, len: u32) -> bool {
        // SAFETY: the caller guarantees `to` and `len`, the context is valid while the program runs.
        unsafe { bpf_xdp_load_bytes(self.context, offset, to.cast(), len) == 0 }
    }
}

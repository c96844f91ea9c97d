//! Memory that is shared with the kernel.

#![expect(unsafe_code, reason = "the kernel writes to the memory")]

use std::{
    io,
    num::NonZeroUsize,
    os::fd::BorrowedFd,
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Reads what the kernel has released, from a page that is read-only here. On such pages only relaxed loads are sure to
/// work, and a fence makes them acquire (std::sync::atomic, "Atomic accesses to read-only memory").
#[inline(always)]
pub(super) fn acquire<A, V>(atomic: &A, load: impl FnOnce(&A, Ordering) -> V) -> V {
    let value = load(atomic, Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// A piece of a map in our memory, unmapped when dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is owned by this value alone, and memory may be accessed and unmapped from any thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `length` bytes from `offset` on, a multiple of the page size, of the map with this descriptor.
    ///
    /// # Errors
    ///
    /// When the kernel does not map it.
    pub(super) fn new(
        fd: BorrowedFd<'_>,
        offset: usize,
        length: usize,
        protection: ProtFlags,
    ) -> io::Result<Self> {
        let size = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        let offset = offset.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: no address is asked for, so nothing that exists is mapped over.
        let start = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, fd, offset) }?;
        Ok(Self { start: start.cast(), length })
    }

    /// Its first byte.
    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the borrows of it have ended with what owns it.
        let unmapped = unsafe { munmap(self.start.cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "munmap of a map");
    }
}

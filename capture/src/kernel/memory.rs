//! Large allocations in large pages, where the kernel has them (Documentation/admin-guide/mm/transhuge.rst).
//!
//! Only the tables of conversations and connections are as large. A million conversations have 33 MiB, which are eight
//! thousand pages of 4 KiB: for each of them, the kernel is called when it is first touched.

#![expect(unsafe_code, reason = "an allocator, and the system call that asks for large pages")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ffi::c_void,
    ptr::NonNull,
};

use nix::sys::mman::{MmapAdvise, madvise};

/// What is large, in bytes. A page is touched as a whole, so that this is several times its size.
const LARGE: usize = 8 << 20;

/// A large page has so many bytes, on x86-64, and on aarch64 with pages of 4 KiB.
const PAGE: usize = 2 << 20;

/// The system's allocator, which asks for large pages where an allocation is large.
#[derive(Debug)]
pub struct LargePages;

/// Returns the start of an allocation of `size` bytes, null where there is none.
#[inline(always)]
fn advised(start: *mut u8, size: usize) -> *mut u8 {
    if size >= LARGE {
        advise(start, size);
    }
    start
}

/// Where the kernel has no large page, it takes the others.
#[cold]
fn advise(start: *mut u8, size: usize) {
    let before = start.align_offset(PAGE);
    let whole = size.saturating_sub(before) / PAGE * PAGE;
    let first = if start.is_null() { start } else { start.wrapping_add(before) };
    if let Some(first) = NonNull::new(first.cast::<c_void>()) {
        // SAFETY: the bytes are within the allocation, and the advice changes neither them nor where they are.
        let _other_pages = unsafe { madvise(first, whole, MmapAdvise::MADV_HUGEPAGE) };
    }
}

// SAFETY: all that it allocates is allocated, moved and freed by the system's allocator, with the caller's arguments.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        advised(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        advised(unsafe { System.realloc(start, layout, size) }, size)
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(start, layout) }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, slice};

    use super::*;

    const LARGE_LAYOUT: Layout = Layout::new::<[u8; 2 * LARGE]>();
    const SMALL_LAYOUT: Layout = Layout::new::<[u8; LARGE / 4]>();

    /// Whether the mapping with this address has been advised to have large pages (proc_pid_smaps(5), `hg`).
    fn is_advised(address: *const u8) -> bool {
        let address = address.addr();
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_within = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let range = range.and_then(|(start, end)| {
                let number = |text| usize::from_str_radix(text, 16).ok();
                Some(number(start)?..number(end)?)
            });
            is_within = range.map_or(is_within, |range| range.contains(&address));
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_within) {
                return flags.split(' ').any(|flag| flag == "hg");
            }
        }
        panic!("{address:x} is not mapped");
    }

    #[test]
    fn large_allocations_are_advised_and_small_ones_are_not() {
        // SAFETY: the layouts are not empty, each allocation is freed with its own, and the middle is within it.
        unsafe {
            for allocate in [LargePages::alloc, LargePages::alloc_zeroed] {
                let large = allocate(&LargePages, LARGE_LAYOUT);
                assert!(is_advised(large.add(LARGE)));
                LargePages.dealloc(large, LARGE_LAYOUT);
                let small = allocate(&LargePages, SMALL_LAYOUT);
                assert!(!is_advised(small.add(SMALL_LAYOUT.size() / 2)));
                LargePages.dealloc(small, SMALL_LAYOUT);
            }
        }
    }

    #[test]
    fn what_becomes_large_keeps_its_bytes() {
        // SAFETY: as above; the slices end where the allocations do, and all bytes have been written.
        unsafe {
            let size = SMALL_LAYOUT.size();
            let small = LargePages.alloc(SMALL_LAYOUT);
            slice::from_raw_parts_mut(small, size).fill(0x5a);
            let large = LargePages.realloc(small, SMALL_LAYOUT, LARGE_LAYOUT.size());
            assert!(is_advised(large.add(LARGE)));
            slice::from_raw_parts_mut(large.add(size), LARGE_LAYOUT.size() - size).fill(0xa5);
            let small = LargePages.realloc(large, LARGE_LAYOUT, size);
            assert!(slice::from_raw_parts(small, size).iter().all(|&byte| byte == 0x5a));
            LargePages.dealloc(small, SMALL_LAYOUT);
        }
    }

    #[test]
    fn no_memory_is_no_memory() {
        let layout = Layout::from_size_align(isize::MAX as usize - PAGE, 8).unwrap();
        // SAFETY: the layout is not empty.
        assert!(unsafe { LargePages.alloc(layout) }.is_null());
    }
}

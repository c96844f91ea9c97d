//! The counters of one object, read from memory that the programs write to: it takes no system call and no privilege.

#![expect(unsafe_code, reason = "the counters are memory shared with the kernel")]

use std::{
    io,
    mem::offset_of,
    os::fd::AsFd as _,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::MapData;
use capture_common::counters::{Counters, HookCounters};
use nix::sys::mman::ProtFlags;

use super::mapping::Mapping;

/// The counters of all CPUs.
#[derive(Debug)]
pub(super) struct CounterPages {
    pages: Mapping,
    cpus: usize,
}

impl CounterPages {
    /// Maps the counters of so many CPUs: an array of [`Counters`] that can be mapped (`BPF_F_MMAPABLE`), in which each
    /// entry follows the one before it (kernel/bpf/arraymap.c, `array_map_alloc`).
    ///
    /// # Errors
    ///
    /// When the kernel does not map it.
    pub(super) fn new(map: &MapData, cpus: u32) -> io::Result<Self> {
        let cpus = cpus as usize;
        let length = (cpus * size_of::<Counters>()).next_multiple_of(super::page_size());
        Ok(Self { pages: Mapping::new(map.fd().as_fd(), 0, length, ProtFlags::PROT_READ)?, cpus })
    }

    /// The sum of all CPUs' counters.
    pub(super) fn sum(&self) -> Counters {
        let mut sum = Counters::default();
        for cpu in 0..self.cpus {
            let of = |hook: usize| {
                let load = |counter| self.load(cpu * size_of::<Counters>() + hook + counter);
                HookCounters {
                    matched: load(offset_of!(HookCounters, matched)),
                    ring_full: load(offset_of!(HookCounters, ring_full)),
                    too_short: load(offset_of!(HookCounters, too_short)),
                    unreadable: load(offset_of!(HookCounters, unreadable)),
                }
            };
            sum.add(&Counters {
                ingress: of(offset_of!(Counters, ingress)),
                egress: of(offset_of!(Counters, egress)),
            });
        }
        sum
    }

    fn load(&self, offset: usize) -> u64 {
        // SAFETY: the offset is that of a counter of one of the CPUs, all of which the mapping has.
        let counter = unsafe { self.pages.start().add(offset) };
        // SAFETY: counters begin at multiples of 8, and the programs write each with one store. On a page that is read-only
        // here, relaxed loads are sure to work (std::sync::atomic, "Atomic accesses to read-only memory").
        unsafe { (*counter.cast::<AtomicU64>()).load(Ordering::Relaxed) }
    }
}

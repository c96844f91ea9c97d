//! The eBPF object: loading it with the constants and maps of one capture.

use std::{io, os::fd::AsFd as _, thread};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{ArrayOfMaps, Map, MapData, MapError, PerCpuArray},
    programs::ProgramError,
    util::KernelVersion,
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use capture_common::{counters::Counters, ports::PortBitmap};

use super::{
    error::{KernelError, chain, errno, not_permitted},
    log::LogLevel,
};

/// The committed object, or the one that was named at build time (see `build.rs`).
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/capture.bpf.o"));

/// Lines of the verifier's log that are shown when it refuses a program.
const LOG_TAIL: usize = 12;

/// Counters of one CPU as aya reads them.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodCounters(Counters);

#[expect(unsafe_code, reason = "aya's marker for types that may be read from a map")]
// SAFETY: `Counters` is a `repr(C)` struct of u64 only: no padding, and every bit pattern is valid.
unsafe impl Pod for PodCounters {}

/// What is fixed when the programs are loaded.
#[derive(Clone, Debug)]
pub struct ObjectOptions<'a> {
    /// The selected ports; `None` for every TCP packet.
    pub ports: Option<&'a PortBitmap>,
    /// Whether frames begin with an Ethernet header; otherwise with the IP header.
    pub link_header: bool,
    /// Bytes to capture of each frame, 0 for the headers alone.
    pub snaplen: u32,
    /// Size of each ring in bytes: a power of two and a multiple of the page size.
    pub ring_size: usize,
    /// Number of rings, at least 1. Where there cannot be so many, there will be fewer.
    pub rings: usize,
    /// What the programs log.
    pub log_level: LogLevel,
}

/// The loaded object with its rings in place, attached to nothing.
#[derive(Debug)]
pub struct Object {
    pub(super) ebpf: Ebpf,
    /// The rings, until the reader takes them.
    pub(super) rings: Vec<MapData>,
}

impl Object {
    /// Loads `bytes`, an ELF object at an 8-byte boundary.
    ///
    /// # Errors
    ///
    /// When the kernel is too old, the process not privileged, or a ring cannot be made.
    pub fn load(bytes: &[u8], options: &ObjectOptions<'_>) -> Result<Self, KernelError> {
        // Ring buffers are from 5.8; a map of rings whose size is not fixed in the object is from 5.10.
        require_kernel(KernelVersion::new(5, 10, 0), "a map of BPF ring buffers", "5.10")?;
        lift_memory_limit();
        let unreadable = |(path, error)| KernelError::Load(format!("{path}: {error}"));
        let online = aya::util::online_cpus().map_err(unreadable)?;
        let cpu_ids = cpu_ids().map_err(unreadable)?;
        let any_port = u8::from(options.ports.is_none());
        let link_header = u8::from(options.link_header);
        let log_level = options.log_level as u8;
        let mut loader = EbpfLoader::new();
        loader
            .override_global("ANY_PORT", &any_port, true)
            .override_global("LINK_HEADER", &link_header, true)
            .override_global("SNAPLEN", &options.snaplen, true)
            .override_global(aya_log::LEVEL, &log_level, true)
            .map_max_entries("RINGS", cpu_ids);
        if let Some(ports) = options.ports {
            loader.override_global("PORTS", ports, true);
        }
        if options.log_level == LogLevel::Off {
            loader.map_max_entries("AYA_LOGS", u32::try_from(super::page_size()).unwrap_or(4096));
        }
        let ebpf = loader.load(bytes).map_err(|error| match errno(&error) {
            Some(libc::EPERM | libc::EACCES) => not_permitted("load eBPF programs"),
            _ => KernelError::Load(chain(&error)),
        })?;

        let rings = make_rings(options.rings, &mut |index| make_ring(index, options.ring_size))
            .map_err(io::Error::other)
            .and_then(|rings| place_rings(&ebpf, &rings, &online, cpu_ids).map(|()| rings))
            .map_err(|error| match errno(&error) {
                Some(libc::EPERM) => not_permitted("create BPF maps"),
                number => KernelError::Rings {
                    count: options.rings,
                    size: options.ring_size,
                    source: number
                        .map_or_else(|| io::Error::other(chain(&error)), io::Error::from_raw_os_error),
                },
            })?;
        Ok(Self { ebpf, rings })
    }

    /// Loads one of the programs into the kernel and returns it.
    ///
    /// # Errors
    ///
    /// When the verifier refuses it.
    pub(super) fn program<'a, P>(&'a mut self, name: &'static str) -> Result<&'a mut P, KernelError>
    where
        P: LoadProgram + 'a,
        &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
    {
        let missing = || KernelError::Load(format!("the object has no program {name}"));
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        let program: &mut P =
            program.try_into().map_err(|error: ProgramError| KernelError::Load(chain(&error)))?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
            Err(ProgramError::LoadError { io_error, .. }) if io_error.raw_os_error() == Some(libc::EPERM) => {
                Err(not_permitted("load eBPF programs"))
            }
            Err(ProgramError::LoadError { io_error, verifier_log }) => Err(KernelError::Refused {
                program: name,
                source: io_error,
                log: tail(&verifier_log.to_string(), LOG_TAIL),
            }),
            Err(error) => Err(KernelError::Load(chain(&error))),
        }
    }

    /// Waits until no program runs any more that began to run before: to be called when it has been detached, with
    /// any of the rings. The kernel waits so when a map within a map is replaced (kernel/bpf/syscall.c,
    /// `maybe_wait_bpf_programs`; since Linux 4.20), here by itself.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(super) fn wait_for_programs(&self, ring: &MapData) -> Result<(), KernelError> {
        place_rings(&self.ebpf, std::slice::from_ref(ring), &[], 1)
            .map_err(|error| KernelError::Settle(chain(&error)))
    }

    /// The sum of all CPUs' counters.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        let failed = |error: MapError| KernelError::Counters(chain(&error));
        let map = self.ebpf.map("COUNTERS").ok_or_else(|| KernelError::Counters("no such map".to_owned()))?;
        let counters = PerCpuArray::<_, PodCounters>::try_from(map).map_err(failed)?;
        let mut sum = Counters::default();
        for PodCounters(cpu) in counters.get(&0, 0).map_err(failed)?.iter() {
            sum.add(cpu);
        }
        Ok(sum)
    }
}

/// A program type that can be loaded by name.
pub(super) trait LoadProgram {
    fn load(&mut self) -> Result<(), ProgramError>;
}

impl LoadProgram for aya::programs::SchedClassifier {
    fn load(&mut self) -> Result<(), ProgramError> {
        Self::load(self)
    }
}

impl LoadProgram for aya::programs::Xdp {
    fn load(&mut self) -> Result<(), ProgramError> {
        Self::load(self)
    }
}

/// Refuses kernels older than `version`.
pub(super) fn require_kernel(
    version: KernelVersion,
    what: &'static str,
    needed: &'static str,
) -> Result<(), KernelError> {
    let too_old_for_it = KernelVersion::current().is_ok_and(|current| current < version);
    if too_old_for_it { Err(too_old(what, needed)) } else { Ok(()) }
}

/// That the running kernel lacks `what`, which came with Linux `needed`.
pub(super) fn too_old(what: &'static str, needed: &'static str) -> KernelError {
    let release = nix::sys::utsname::uname();
    let release =
        release.map_or_else(|_| String::new(), |name| name.release().to_string_lossy().into_owned());
    KernelError::KernelTooOld { release, what, needed }
}

/// Before Linux 5.11 maps count as locked memory, of which a process may have little. Where the limit cannot be
/// lifted and matters, making the maps fails and says so.
fn lift_memory_limit() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _best_effort = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

fn make_ring(index: usize, size: usize) -> Result<MapData, MapError> {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    let ring = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, size, 0);
    MapData::create(ring, &format!("RING_{index}"), None)
}

/// As many rings as are wanted, or half as many, down to one: each takes a file descriptor, and memory in one piece of
/// the kernel's addresses.
fn make_rings<R, E>(count: usize, make: &mut impl FnMut(usize) -> Result<R, E>) -> Result<Vec<R>, E> {
    let rings: Result<Vec<R>, E> = (0..count).map(&mut *make).collect();
    match rings {
        Err(_) if count > 1 => make_rings(count / 2, make),
        rings => rings,
    }
}

/// Gives each CPU a ring. Those that are online come first: each has its own if there are enough. CPUs that come
/// online later share theirs with others.
///
/// For each entry the kernel waits until no program can see the old one (`maybe_wait_bpf_programs`), 14 ms or so, and
/// a machine may have hundreds of CPUs. Those who wait at the same time wait together.
fn place_rings(ebpf: &Ebpf, rings: &[MapData], online: &[u32], cpu_ids: u32) -> io::Result<()> {
    const THREADS: usize = 64;

    let Some(Map::ArrayOfMaps(map)) = ebpf.map("RINGS") else {
        return Err(io::Error::other("the object has no map of maps RINGS"));
    };
    let places: Vec<(u32, &MapData)> = order_of_cpus(online, cpu_ids).zip(rings.iter().cycle()).collect();
    let place = |places: &[(u32, &MapData)]| {
        let map = MapData::from_fd(map.fd().as_fd().try_clone_to_owned()?).map_err(io::Error::other)?;
        let mut map = ArrayOfMaps::<_, MapData>::try_from(Map::ArrayOfMaps(map)).map_err(io::Error::other)?;
        places.iter().try_for_each(|&(cpu, ring)| map.set(cpu, ring, 0)).map_err(io::Error::other)
    };
    thread::scope(|scope| {
        let mut parts = places.chunks(places.len().div_ceil(THREADS).max(1));
        let own = parts.next().unwrap_or_default();
        let start = |part| (part, thread::Builder::new().spawn_scoped(scope, move || place(part)));
        let others: Vec<_> = parts.map(start).collect();
        place(own)?;
        others.into_iter().try_for_each(|(part, thread)| match thread.map(|thread| thread.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // There are as many threads as there may be (RLIMIT_NPROC, pids.max).
            Err(_) => place(part),
        })
    })
}

/// All CPUs: first those that are online.
fn order_of_cpus(online: &[u32], cpu_ids: u32) -> impl Iterator<Item = u32> {
    online.iter().copied().chain((0..cpu_ids).filter(|cpu| !online.contains(cpu)))
}

/// One more than the highest number that a CPU of this machine can have. There may be fewer CPUs than that.
fn cpu_ids() -> Result<u32, (&'static str, io::Error)> {
    const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
    let list = std::fs::read_to_string(POSSIBLE).map_err(|error| (POSSIBLE, error))?;
    highest_cpu(&list).map(|highest| highest + 1).ok_or((POSSIBLE, io::ErrorKind::InvalidData.into()))
}

/// The last number of a list such as `0-3,8-11` (Documentation/admin-guide/cputopology.rst).
fn highest_cpu(list: &str) -> Option<u32> {
    list.trim().rsplit(['-', ',']).next()?.parse().ok()
}

/// The last `lines` lines of a verifier's log: empty ones left out, and the statistics that come behind the reason.
fn tail(text: &str, lines: usize) -> String {
    const STATISTICS: [&str; 3] = ["verification time ", "stack depth ", "processed "];
    let tells =
        |line: &&str| !line.trim().is_empty() && !STATISTICS.iter().any(|word| line.starts_with(word));
    let all: Vec<&str> = text.lines().filter(tells).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_cannot_be_many_rings_there_are_fewer() {
        let at_most = |most: usize| {
            let mut make = |index| if index < most { Ok(index) } else { Err(most) };
            make_rings(9, &mut make).map(|rings| rings.len())
        };
        assert_eq!([9, 8, 3, 1].map(at_most), [Ok(9), Ok(4), Ok(2), Ok(1)]);
        assert_eq!(at_most(0), Err(0));
    }

    #[test]
    fn cpus_that_are_online_have_rings_of_their_own() {
        // Every second thread is switched off.
        let online = [0, 2, 4, 6];
        let cpus: Vec<u32> = order_of_cpus(&online, 8).collect();
        assert_eq!(cpus, [0, 2, 4, 6, 1, 3, 5, 7]);
        assert_eq!(highest_cpu("0-3,8-11\n"), Some(11));
        assert_eq!(highest_cpu("0\n"), Some(0));
        assert_eq!(highest_cpu(""), None);
    }

    #[test]
    fn the_reason_is_the_last_line_of_a_log() {
        let log = "0: (b7) r1 = 0\n1: (85) call x#1\nR3 is wrong\n\nverification time 9 usec\nstack depth 8\nprocessed 2\n";
        assert_eq!(tail(log, 2), "1: (85) call x#1\nR3 is wrong");
        assert_eq!(tail("", 2), "");
    }
}

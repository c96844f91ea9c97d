//! The eBPF object: loading it with the constants and maps of one capture.

use std::{io, os::fd::AsFd as _, thread};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ArrayOfMaps, Map, MapData, MapError},
    programs::ProgramError,
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use capture_common::counters::{Counters, OTHERS};
use capture_filter::ebpf::Instruction;
use nix::sys::{
    resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
    signal::{SigSet, SigmaskHow, pthread_sigmask},
};

use super::{
    counters::CounterPages,
    cpus,
    error::{causes, errno},
    log::LogLevel,
    losses::{INTERFACES, LossMap},
    privileges::{Denial, NotPermitted},
    splice::{Aligned, SpliceError, splice},
};

mod error;

pub use error::{CountersError, LoadError, RingsError, SettleError, TooManyFiles};

/// The committed object, or the one that was named at build time (see `build.rs`).
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/capture.bpf.o"));

/// Lines of the verifier's log that are shown when it refuses a program.
const LOG_TAIL: usize = 12;
/// How often a program is loaded when the verifier is interrupted.
const LOAD_ATTEMPTS: usize = 10;

/// What is fixed when the programs are loaded.
#[derive(Clone, Debug)]
pub struct ObjectOptions<'a> {
    /// What selects packets; `None` for every TCP packet.
    pub filter: Option<&'a FilterCode>,
    /// Whether frames begin with an Ethernet header; otherwise with the IP header.
    pub link_header: bool,
    /// What records carry to tell the instances of the programs apart: one for each network namespace.
    pub instance: u16,
    /// Bytes to capture of each frame, 0 for the headers alone.
    pub snaplen: u32,
    /// Size of each ring in bytes: a power of two and a multiple of the page size.
    pub ring_size: usize,
    /// Number of rings, at least 1. Where there cannot be so many, there will be fewer.
    pub rings: usize,
    /// What the programs log.
    pub log_level: LogLevel,
}

/// The instructions that stand in front of each program, which sees only what they accept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterCode {
    /// At TC, on the way in.
    pub tc_ingress: Vec<Instruction>,
    /// At TC, on the way out.
    pub tc_egress: Vec<Instruction>,
    /// At XDP.
    pub xdp: Vec<Instruction>,
}

/// The loaded object with its rings in place, attached to nothing.
#[derive(Debug)]
pub struct Object {
    pub(super) ebpf: Ebpf,
    /// The rings, until the reader takes them.
    pub(super) rings: Vec<MapData>,
    /// How many CPUs have counters.
    cpu_ids: u32,
    /// Whether the verifier's log is shown when it refuses a program.
    with_log: bool,
    /// What the names of its clsact filters end with.
    pub(super) mark: String,
}

impl Object {
    /// Loads `bytes`, an ELF object at an 8-byte boundary.
    ///
    /// # Errors
    ///
    /// When the kernel has no ring buffers, the process is not privileged, or a ring cannot be made.
    pub fn load(bytes: &[u8], options: &ObjectOptions<'_>) -> Result<Self, LoadError> {
        Self::load_for(is_preemptible(), bytes, options)
    }

    /// Loads `bytes` once more, with other options, for programs that write to the rings of this one, which have not been
    /// taken yet.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub(super) fn load_again(&self, bytes: &[u8], options: &ObjectOptions<'_>) -> Result<Self, LoadError> {
        let (online, cpu_ids) = all_cpus()?;
        let ebpf = load_ebpf(is_preemptible(), bytes, options, cpu_ids)?;
        place_rings(&ebpf, &self.rings, &online, cpu_ids).map_err(|error| no_rings(&error, options))?;
        Ok(Self::new(ebpf, Vec::new(), cpu_ids, options))
    }

    /// As [`load`](Self::load), for a kernel on which one run of the programs can interrupt another, or cannot.
    pub(super) fn load_for(
        preemptible: bool,
        bytes: &[u8],
        options: &ObjectOptions<'_>,
    ) -> Result<Self, LoadError> {
        lift_memory_limit();
        let (online, cpu_ids) = all_cpus()?;
        require_ring_buffers()?;
        let ebpf = load_ebpf(preemptible, bytes, options, cpu_ids)?;
        let rings = make_rings(options.rings, &mut |index| make_ring(index, options.ring_size))
            .map_err(io::Error::other)
            .and_then(|rings| place_rings(&ebpf, &rings, &online, cpu_ids).map(|()| rings))
            .map_err(|error| no_rings(&error, options))?;
        Ok(Self::new(ebpf, rings, cpu_ids, options))
    }

    fn new(mut ebpf: Ebpf, rings: Vec<MapData>, cpu_ids: u32, options: &ObjectOptions<'_>) -> Self {
        LossMap::of(&mut ebpf).begin(OTHERS);
        Self { ebpf, rings, cpu_ids, with_log: options.log_level != LogLevel::Off, mark: String::new() }
    }

    /// Loads one of the programs into the kernel and returns it.
    ///
    /// # Errors
    ///
    /// When the verifier refuses it, or the process is not privileged.
    pub(super) fn program<'a, P>(&'a mut self, name: &'static str) -> Result<&'a mut P, LoadError>
    where
        P: LoadProgram + 'a,
        &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
    {
        let missing = || LoadError::Object(format!("the object has no program {name}"));
        let with_log = self.with_log;
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        let program: &mut P =
            program.try_into().map_err(|error: ProgramError| LoadError::Object(causes(&error)))?;
        match load_blocked(program) {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
            Err(ProgramError::LoadError { io_error, verifier_log }) => {
                Err(refusal(name, io_error, &verifier_log.to_string(), with_log))
            }
            Err(error) => Err(LoadError::Object(causes(&error))),
        }
    }

    /// Switches the programs off: where they are attached, they do nothing any more.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(super) fn switch_off(&mut self) -> Result<(), SettleError> {
        let switch =
            self.ebpf.map_mut(".bss").ok_or_else(|| SettleError("the object has no switch".to_owned()))?;
        let switched = Array::<_, u64>::try_from(switch).and_then(|mut switch| switch.set(0, 1, 0));
        switched.map_err(|error| SettleError(causes(&error)))
    }

    /// Waits until no program runs any more that began to run before: to be called when it has been switched off, with
    /// any of the rings. The kernel waits so when a map within a map is replaced (kernel/bpf/syscall.c,
    /// `maybe_wait_bpf_programs`; since Linux 4.20), here by itself.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(super) fn wait_for_programs(&self, ring: &MapData) -> Result<(), SettleError> {
        place_rings(&self.ebpf, std::slice::from_ref(ring), &[], 1)
            .map_err(|error| SettleError(causes(&error)))
    }

    /// What is lost of each interface.
    pub(super) fn losses(&mut self) -> LossMap<'_> {
        LossMap::of(&mut self.ebpf)
    }

    /// The counters, mapped.
    ///
    /// # Errors
    ///
    /// When the kernel does not map them.
    pub(super) fn counter_pages(&self) -> Result<CounterPages, CountersError> {
        let map = match self.ebpf.map("COUNTERS") {
            Some(Map::Array(map)) => map,
            _ => return Err(CountersError("the object has none".to_owned())),
        };
        CounterPages::new(map, self.cpu_ids).map_err(|error| CountersError(error.to_string()))
    }

    /// The sum of all CPUs' counters.
    ///
    /// # Errors
    ///
    /// When the kernel does not map them.
    pub fn counters(&self) -> Result<Counters, CountersError> {
        self.counter_pages().map(|pages| pages.sum())
    }
}

/// The CPUs that are online, and how many numbers CPUs have.
fn all_cpus() -> Result<(Vec<u32>, u32), LoadError> {
    let unreadable = |(path, error)| LoadError::Object(format!("{path}: {error}"));
    Ok((cpus::online().map_err(unreadable)?, cpus::ids().map_err(unreadable)?))
}

/// Makes the object's maps, and has its programs relocated.
fn load_ebpf(
    preemptible: bool,
    bytes: &[u8],
    options: &ObjectOptions<'_>,
    cpu_ids: u32,
) -> Result<Ebpf, LoadError> {
    let _blocked = SignalsBlocked::new();
    let link_header = u8::from(options.link_header);
    let preemptible = u8::from(preemptible);
    let log_level = options.log_level as u8;
    let mut loader = loader_without_kernel_types();
    loader
        .override_global("LINK_HEADER", &link_header, true)
        .override_global("PREEMPTIBLE", &preemptible, true)
        .override_global("SNAPLEN", &options.snaplen, true)
        .override_global("INSTANCE", &options.instance, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries("RINGS", cpu_ids)
        .map_max_entries("COUNTERS", cpu_ids)
        .map_max_entries("LOSSES", INTERFACES + 1);
    if options.log_level == LogLevel::Off {
        loader.map_max_entries("AYA_LOGS", u32::try_from(super::page_size()).unwrap_or(4096));
    }
    let spliced = options.filter.map(|filter| filter.in_front_of(bytes)).transpose();
    let spliced = spliced.map_err(|error| LoadError::Object(error.to_string()))?;
    let bytes = spliced.as_ref().map_or(bytes, Aligned::bytes);
    loader.load(bytes).map_err(|error| match errno(&error) {
        Some(libc::EPERM | libc::EACCES) => NotPermitted::to("load eBPF programs").into(),
        Some(libc::EMFILE) => too_many_files("load eBPF programs").into(),
        _ => LoadError::Object(causes(&error)),
    })
}

/// Why the rings are not there.
fn no_rings(error: &io::Error, options: &ObjectOptions<'_>) -> LoadError {
    match errno(error) {
        Some(libc::EPERM) => LoadError::from(NotPermitted::to("create BPF maps")),
        Some(libc::EMFILE) => too_many_files("create ring buffers").into(),
        number => RingsError {
            count: options.rings,
            size: options.ring_size,
            source: number.map_or_else(|| io::Error::other(causes(error)), io::Error::from_raw_os_error),
        }
        .into(),
    }
}

impl FilterCode {
    fn in_front_of(&self, object: &[u8]) -> Result<Aligned, SpliceError> {
        let Self { tc_ingress, tc_egress, xdp } = self;
        splice(object, &[("tc_ingress", tc_ingress), ("tc_egress", tc_egress), ("xdp", xdp)])
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

/// Holds back the signals of this thread for as long as it lives. A signal interrupts the verifier, which then gives up
/// with `EAGAIN` (kernel/bpf/verifier.c, `do_check`), also where aya tries what the kernel can do.
struct SignalsBlocked(Option<SigSet>);

impl SignalsBlocked {
    fn new() -> Self {
        let mut before = SigSet::empty();
        let masked = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before));
        Self(masked.is_ok().then_some(before))
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _restored = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(before), None);
        }
    }
}

/// Loads a program. What cannot be held back, such as SIGSTOP, makes it try again.
fn load_blocked(program: &mut impl LoadProgram) -> Result<(), ProgramError> {
    let _blocked = SignalsBlocked::new();
    let mut attempts = 0;
    loop {
        attempts += 1;
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) && attempts < LOAD_ATTEMPTS => {}
            loaded => return loaded,
        }
    }
}

/// Why a program was not loaded. Without a capability that it needs the verifier refuses it in words of its own, so
/// the capabilities are looked at first.
fn refusal(program: &'static str, source: io::Error, log: &str, with_log: bool) -> LoadError {
    let denial = Denial::of_this_process();
    match source.raw_os_error() {
        Some(libc::EPERM) => NotPermitted::to("load eBPF programs").into(),
        Some(libc::EMFILE) => too_many_files("load eBPF programs").into(),
        _ if denial.is_missing_capability() => NotPermitted::to("load eBPF programs").into(),
        // The verifier has nothing to say where it was not asked.
        Some(libc::EAGAIN | libc::EINTR) => LoadError::Interrupted { program },
        Some(libc::ENOMEM) => LoadError::NoMemory { program },
        _ => LoadError::Refused {
            program,
            source,
            reason: tail(log, 1),
            log: if with_log { format!("\n{}", tail(log, LOG_TAIL)) } else { String::new() },
        },
    }
}

/// aya's loader without the types of the running kernel, which no program here needs. `EbpfLoader::new` reads them all
/// the same, and that takes 10 to 70 MiB for a moment: more than all that follows, and too much for a small memory
/// cgroup. It ignores an error there, so for as long as it runs the process opens no files. The other threads that run by
/// now, those for signals and messages, open none; poll(2) fails meanwhile, which [`blocking`](crate::blocking) waits out.
fn loader_without_kernel_types() -> EbpfLoader<'static> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    if let Ok((_, hard)) = limit {
        let _best_effort = setrlimit(Resource::RLIMIT_NOFILE, 0, hard);
    }
    let loader = EbpfLoader::new();
    if let Ok((soft, hard)) = limit {
        let _restored = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    }
    loader
}

/// Refuses kernels without ring buffers, whatever their version says: distributions bring features to older kernels.
/// Ring buffers are from Linux 5.8; that they can be as large as the daemon wants within a map of maps is from 5.10, and
/// a kernel without that refuses to place them.
fn require_ring_buffers() -> Result<(), LoadError> {
    match make_ring(0, super::page_size()) {
        Err(error) if errno(&error) == Some(libc::EINVAL) => Err(too_old("BPF ring buffers", "5.10")),
        // Whatever else is wrong is reported later.
        _ => Ok(()),
    }
}

/// That the running kernel lacks `what`, which Linux has since version `needed`.
pub(super) fn too_old(what: &'static str, needed: &'static str) -> LoadError {
    let release = nix::sys::utsname::uname();
    let release =
        release.map_or_else(|_| String::new(), |name| name.release().to_string_lossy().into_owned());
    LoadError::KernelTooOld { release, what, needed }
}

/// Whether the kernel is one with PREEMPT_RT (its version then says so: scripts/mkcompile_h, init/build-version).
fn is_preemptible() -> bool {
    nix::sys::utsname::uname().is_ok_and(|name| name.version().to_string_lossy().contains("PREEMPT_RT"))
}

/// Before Linux 5.11 maps count as locked memory, of which a process may have little. Where the limit cannot be lifted
/// and matters, making the maps fails and says so.
fn lift_memory_limit() {
    let _best_effort = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Lifts the soft limit of open files, 1024 as a rule, to the hard one: each ring takes a descriptor. To be called
/// before anything else of a live capture.
///
/// # Errors
///
/// [`TooManyFiles`] where no capture could start: not every library that opens files can say so.
pub fn lift_file_limit() -> Result<(), TooManyFiles> {
    /// What a capture with one ring has open, and the standard streams.
    const LEAST: u64 = 32;

    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if hard < LEAST {
        return Err(too_many_files("start a capture"));
    }
    if soft < hard {
        let _best_effort = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    Ok(())
}

fn too_many_files(action: &'static str) -> TooManyFiles {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    TooManyFiles { action, limit }
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

/// The last `lines` lines of a verifier's log: empty ones left out, and the statistics that follow the reason.
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
    }

    #[test]
    fn the_reason_is_the_last_line_of_a_log() {
        let log = "0: (b7) r1 = 0\n1: (85) call x#1\nR3 is wrong\n\nverification time 9 usec\nstack depth 8\nprocessed 2\n";
        assert_eq!(tail(log, 2), "1: (85) call x#1\nR3 is wrong");
        assert_eq!(tail("", 2), "");
    }
}

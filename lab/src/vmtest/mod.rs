//! `cargo lab vmtest`.

mod archive;
mod image;
mod machine;
mod report;
mod series;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use self::{
    archive::{Archive, Kernel},
    image::Image,
    machine::Accelerator,
    report::{Report, Row},
    series::{Choice, Series},
};
use crate::workspace::{self, Metadata, cargo};

/// How often a machine is started until it boots. QEMU's emulation now and then runs an instruction that the kernel has
/// replaced meanwhile, and the kernel panics (`Oops: int3`): seen in 2 of 5 boots on a busy host, before anything of
/// capture's ran.
const MAX_BOOTS: u32 = 4;

/// Run capture on Debian's kernels, in virtual machines, next to the real tcpdump
///
/// Looks up the current version of each kernel in Debian's archive, through apt and the mirror that it is set up with,
/// unpacks it below the target folder (nothing is installed), and boots it with the static build of capture. There it
/// performs the checks in lab/src/vmtest/guest. What they find is printed as a table; a check that fails, a machine that
/// does not end in time, and a check that was not performed are failures.
///
/// It needs no root. On Debian 12:
/// apt-get install qemu-system-x86 busybox-static cpio kmod xz-utils tcpdump iproute2 bpftool
/// and, for some kinds of interfaces, wireguard-tools socat libteam-utils
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Kernels, such as 6.12, or 6.12-rt with PREEMPT_RT [default: 5.10 6.1 6.12 7.2 7.3, or the nearest that the
    /// archive has, and the newest with PREEMPT_RT]
    #[arg(value_name = "KERNEL", conflicts_with = "ends")]
    kernels: Vec<Series>,

    /// Only the oldest and the newest kernel without PREEMPT_RT that the archive has, which is what CI runs
    #[arg(long)]
    ends: bool,

    /// List the kernels that the archive has, and end
    #[arg(long)]
    list: bool,

    /// Perform only this check; repeatable
    #[arg(
        long = "check",
        value_name = "NAME",
        value_parser = clap::builder::PossibleValuesParser::new(report::names())
    )]
    checks: Vec<String>,

    /// Put the table into docs/kernels.md
    #[arg(long, conflicts_with_all = ["checks", "kernels", "ends"])]
    write: bool,

    /// How many machines run at a time
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,

    /// Run the machines on /dev/kvm instead of emulating them
    // No default: where virtual machines are nested, it opens and then fails in the middle of a boot.
    #[arg(long)]
    kvm: bool,

    /// How long a machine may run, in seconds
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    limit: u64,
}

/// What `--write` changes lies between these two lines of docs/kernels.md.
const TABLE_BEGINS: &str = "<!-- the table of cargo lab vmtest --write -->\n";
const TABLE_ENDS: &str = "<!-- its end -->\n";

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    let folder = Metadata::read(Path::new(cargo().get_program()))?.target.join("vmtest");
    fs::create_dir_all(&folder)?;
    if arguments.list {
        for kernel in Archive::read(&folder.join("apt"))?.kernels() {
            println!("{kernel}");
        }
        return Ok(());
    }
    machine::check()?;
    // The archive is waited for while the compiler works.
    let (capture, kernels) = thread::scope(|scope| {
        let kernels = scope.spawn(|| kernels(arguments, &folder));
        let capture = build_static(&folder);
        (capture, kernels.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let kernels = kernels?;
    let image = Image::new(&folder, &capture?)?;

    let queue = Mutex::new(kernels.iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut rows: Vec<Row<'_>> = thread::scope(|scope| {
        let work = || {
            let mut rows = Vec::new();
            while let Some((kernel, unpacked)) = next() {
                rows.push(Row { kernel, report: boot(arguments, &folder, &image, kernel, unpacked) });
            }
            rows
        };
        let workers: Vec<_> = (0..arguments.jobs).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.flat_map(|rows| rows.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    rows.sort_by_key(|row| row.kernel.series);

    let table = report::table(&rows);
    println!("\n{table}");
    let mut failed = 0;
    for row in &rows {
        failed += row.complain(&arguments.checks);
    }
    if failed > 0 {
        bail!("{failed} check(s) failed");
    }
    if arguments.write { write(&table) } else { Ok(()) }
}

/// The kernels to run, downloaded and unpacked.
fn kernels(arguments: &Arguments, folder: &Path) -> Result<Vec<(Kernel, PathBuf)>> {
    let archive = Archive::read(&folder.join("apt"))?;
    let offered = archive.kernels();
    let have: Vec<Series> = offered.iter().map(|kernel| kernel.series).collect();
    let choice = if arguments.ends {
        Choice::ends(&have)?
    } else if arguments.kernels.is_empty() {
        Choice::ladder(&have)?
    } else {
        Choice::exactly(&arguments.kernels, &have)?
    };
    for remark in &choice.remarks {
        println!("vmtest: {remark}");
    }
    let chosen = offered.into_iter().filter(|kernel| choice.series.contains(&kernel.series));
    chosen
        .map(|kernel| {
            println!("vmtest: {kernel}");
            let unpacked = archive.unpack(&kernel, &folder.join("kernels"))?;
            Ok((kernel, unpacked))
        })
        .collect()
}

/// Builds the daemon as it is shipped, but with everything linked in: one file, `capture` in `folder`, that needs nothing
/// of the machine that it runs on.
///
/// Only the program itself is built, and linked. What it depends on is what `cargo build --release` has built, or will
/// use: how the C library is linked is decided last. For a target of its own, everything would be built again.
fn build_static(folder: &Path) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["rustc", "--release", "--locked", "--package=capture", "--bin=capture"]);
    workspace::run(command.args(["--", "-C", "target-feature=+crt-static"]))?;
    // The next `cargo build --release` puts the program that is shipped into this place again.
    let built = Metadata::read(Path::new(cargo().get_program()))?.target.join("release/capture");
    let copy = folder.join("capture");
    fs::copy(&built, &copy)
        .with_context(|| format!("cannot copy {} to {}", built.display(), copy.display()))?;
    Ok(copy)
}

fn boot(
    arguments: &Arguments,
    folder: &Path,
    image: &Image,
    kernel: &Kernel,
    unpacked: &Path,
) -> Result<Report> {
    let start = Instant::now();
    let logs = folder.join("logs").join(kernel.series.to_string());
    let machine = image.machine(unpacked, kernel, &logs)?;
    let accelerator = if arguments.kvm { Accelerator::Kvm } else { Accelerator::Emulation };
    let limit = Duration::from_secs(arguments.limit);
    let mut boots = 0;
    loop {
        boots += 1;
        let ended = machine.run(accelerator, limit, &arguments.checks)?;
        println!("vmtest: {}: {ended} after {} s", kernel.release, start.elapsed().as_secs());
        let report = Report::read(&machine, ended)?;
        if !report.is_of_a_failed_boot() || boots == MAX_BOOTS {
            return Ok(report);
        }
        println!("vmtest: {}: it had not booted, so it is started again", kernel.release);
    }
}

fn write(table: &str) -> Result<()> {
    let path = workspace::root().join("docs/kernels.md");
    let text = fs::read_to_string(&path)?;
    let marks = text
        .split_once(TABLE_BEGINS)
        .and_then(|(before, rest)| Some((before, rest.split_once(TABLE_ENDS)?.1)));
    let (before, after) = marks.with_context(|| format!("{} has no place for the table", path.display()))?;
    fs::write(&path, format!("{before}{TABLE_BEGINS}\n{table}\n{TABLE_ENDS}{after}"))?;
    println!("vmtest: wrote {}", path.display());
    Ok(())
}

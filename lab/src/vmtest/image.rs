//! What a virtual machine boots from: an archive of files that is its whole disk, in memory (the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{archive::Kernel, machine::Machine};
use crate::workspace::{self, output};

/// Programs of this machine that the checks use, with the libraries that they need.
const TOOLS: [&str; 5] = ["tcpdump", "ip", "tc", "chrt", "bpftool"];
const PATH: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// The kernel's modules that the checks need; what these need is found by itself.
const MODULES: [&str; 4] = ["veth", "ipip", "sch_ingress", "cls_bpf"];

/// Programs that make some kinds of interfaces; a machine without them does not check these kinds.
const MAKERS: [&str; 3] = ["wg", "socat", "teamnl"];

/// Modules of the kinds of interfaces, and what these need without saying so. A kernel may have them built in, or lack
/// some.
const KINDS: [&str; 36] = [
    "8021q",
    "bonding",
    "team",
    "team_mode_roundrobin",
    "bridge",
    "dummy",
    "macvlan",
    "macvtap",
    "ipvlan",
    "macsec",
    "vrf",
    "ifb",
    "act_mirred",
    "cls_matchall",
    "vxlan",
    "geneve",
    "l2tp_eth",
    "l2tp_netlink",
    "tun",
    "ipip",
    "sit",
    "ip6_tunnel",
    "ip_gre",
    "ip6_gre",
    "ip_vti",
    "ip6_vti",
    "xfrm_interface",
    "xfrm_user",
    "esp4",
    "esp6",
    "wireguard",
    "gcm",
    "ctr",
    "ghash-generic",
    "seqiv",
    "drbg",
];

/// What runs in the machine; see there.
const SCRIPTS: [(&str, &str); 8] = [
    ("init", include_str!("guest/init")),
    ("tools.sh", include_str!("guest/tools.sh")),
    ("checks.sh", include_str!("guest/checks.sh")),
    ("counters.sh", include_str!("guest/counters.sh")),
    ("filters.sh", include_str!("guest/filters.sh")),
    ("power.sh", include_str!("guest/power.sh")),
    ("kinds.sh", include_str!("guest/kinds.sh")),
    ("filters.txt", include_str!("../../../capture-filter/tests/acceptance.txt")),
];

/// What all machines have in common.
pub(super) struct Image {
    archive: PathBuf,
}

impl Image {
    /// Packs the programs and the scripts.
    ///
    /// # Errors
    ///
    /// When one of the programs is missing.
    pub(super) fn new(folder: &Path, capture: &Path) -> Result<Self> {
        let root = tempfile::tempdir_in(folder)?;
        let bin = root.path().join("usr/bin");
        fs::create_dir_all(&bin)?;
        fs::create_dir_all(root.path().join("bin"))?;
        for (name, text) in SCRIPTS {
            fs::write(root.path().join(name), text)?;
        }
        fs::set_permissions(root.path().join("init"), fs::Permissions::from_mode(0o755))?;
        fs::copy(find("busybox")?, root.path().join("bin/busybox"))?;
        fs::copy(capture, bin.join("capture"))?;
        let makers = MAKERS.into_iter().filter_map(|maker| find(maker).ok());
        for path in TOOLS.into_iter().map(find).chain(makers.map(Ok)) {
            let path = path?;
            let tool = path.file_name().unwrap_or_default();
            fs::copy(&path, bin.join(tool))?;
            for library in libraries(&output(Command::new("ldd").arg(&path))?) {
                let to = root.path().join(library.trim_start_matches('/'));
                fs::create_dir_all(to.parent().unwrap_or(root.path()))?;
                fs::copy(library, &to).with_context(|| format!("cannot copy {library}"))?;
            }
        }
        let archive = folder.join("common.cpio");
        pack(root.path(), &archive)?;
        Ok(Self { archive })
    }

    /// The machine for an unpacked kernel; what it says goes to files in `logs`.
    ///
    /// # Errors
    ///
    /// When the kernel's package has another form than those of today.
    pub(super) fn machine(&self, unpacked: &Path, kernel: &Kernel, logs: &Path) -> Result<Machine> {
        let release = &kernel.release;
        fs::create_dir_all(logs)?;
        let root = tempfile::tempdir_in(logs)?;
        let base = modules_base(unpacked, release)?;
        let needed = modules(&base, release, &MODULES)?;
        let dependencies = fs::read_to_string(base.join("lib/modules").join(release).join("modules.dep"))?;
        let offered = KINDS.into_iter().filter(|kind| dependencies.contains(&format!("/{kind}.ko")));
        let mut kinds = modules(&base, release, &offered.collect::<Vec<_>>())?;
        kinds.retain(|module| !needed.contains(module));
        put(&needed, &root.path().join("modules"))?;
        put(&kinds, &root.path().join("kinds"))?;
        let disk = logs.join("disk.cpio");
        pack(root.path(), &disk)?;
        // Archives may follow each other.
        io::copy(&mut File::open(&self.archive)?, &mut File::options().append(true).open(&disk)?)?;
        let kernel = [format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")];
        let kernel = kernel.iter().map(|path| unpacked.join(path)).find(|path| path.exists());
        let kernel = kernel.with_context(|| format!("{} has no kernel", unpacked.display()))?;
        Ok(Machine { kernel, disk, console: logs.join("console"), report: logs.join("report") })
    }
}

/// Where a program is.
fn find(program: &str) -> Result<PathBuf> {
    let found = PATH.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
    let packages = "apt-get install busybox-static tcpdump iproute2 bpftool";
    found.with_context(|| format!("there is no {program}; on Debian 12: {packages}"))
}

/// The paths in what ldd(1) prints, of the libraries and of what loads them.
fn libraries(printed: &str) -> impl Iterator<Item = &str> {
    printed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}

/// The folder of an unpacked kernel that has its modules, in `lib/modules`.
fn modules_base(unpacked: &Path, release: &str) -> Result<PathBuf> {
    let base =
        if unpacked.join("usr/lib/modules").exists() { unpacked.join("usr") } else { unpacked.to_owned() };
    if !base.join("lib/modules").join(release).join("modules.dep").exists() {
        let mut depmod = Command::new("/sbin/depmod");
        // Some of the files that it would like to read are in no package.
        let output = depmod.arg("-b").arg(&base).arg(release).output();
        let output = output.context("cannot run depmod; on Debian: apt-get install kmod")?;
        if !output.status.success() {
            bail!("`{}` failed: {}", workspace::shown(&depmod), String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(base)
}

/// The files of modules, each after those that it needs.
fn modules(base: &Path, release: &str, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut modprobe = Command::new("/sbin/modprobe");
    modprobe.arg("-d").arg(base).args(["-S", release, "--show-depends", "-a"]).args(names);
    let mut files = Vec::new();
    for line in output(&mut modprobe)?.lines() {
        // `insmod PATH`, with the options that this machine has for the module, or `builtin NAME`.
        if let Some(path) = line.strip_prefix("insmod ").and_then(|rest| rest.split_whitespace().next()) {
            let path = PathBuf::from(path);
            if !files.contains(&path) {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Copies modules into a folder, with names that have their order.
fn put(modules: &[PathBuf], to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for (number, module) in modules.iter().enumerate() {
        let name = module.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.trim_end_matches(".ko");
        let mut file = File::create(to.join(format!("{number:02}-{name}")))?;
        if module.extension().is_some_and(|extension| extension == "xz") {
            workspace::run(Command::new("xz").arg("-dc").arg(module).stdout(file))?;
        } else {
            io::copy(&mut File::open(module)?, &mut file)?;
        }
    }
    Ok(())
}

/// Packs a folder into an archive as the kernel reads it.
fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let mut find = Command::new("find").arg(".").current_dir(folder).stdout(Stdio::piped()).spawn()?;
    let list = find.stdout.take().context("a child without its pipe")?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--owner=0:0", "--quiet"]).current_dir(folder);
    let packed = workspace::run(cpio.stdin(list).stdout(File::create(archive)?));
    find.wait()?;
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_are_those_that_ldd_names() {
        let printed = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<&str> = libraries(printed).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }
}

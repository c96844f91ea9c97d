//! The kernels in Debian's archive. apt reads the archive's indexes, into folders below target: it uses apt's
//! configured sources, and verifies what it downloads against the archive's keys.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::series::Series;
use crate::workspace::{self, output};

/// Which parts of the archive have kernels.
const SUITES: [&str; 5] = ["bullseye", "bookworm", "trixie", "trixie-backports", "sid"];
const SECURITY_SUITES: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];
/// Where they are if apt is not set up with a mirror of Debian.
const MIRROR: &str = "http://deb.debian.org/debian/";
const SECURITY_MIRROR: &str = "http://deb.debian.org/debian-security/";

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// apt's own tool for single files.
const HELPER: &str = "/usr/lib/apt/apt-helper";

/// How the packages of the kernels for virtual machines end: fewer modules, half the size.
const CLOUD: &str = "-cloud-amd64";
/// How those of the kernels with PREEMPT_RT end.
const REAL_TIME: &str = "-rt-amd64";

/// A package of the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    depends: String,
    url: String,
    sha256: String,
    suite: String,
}

/// A kernel of the archive.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub(super) series: Series,
    /// As `uname -r` says it.
    pub(super) release: String,
    /// Debian's version of the package.
    pub(super) version: String,
    /// The part of the archive that it was found in.
    pub(super) suite: String,
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { series, release, version, suite } = self;
        write!(formatter, "{series}: {release}, version {version}, from {suite}")
    }
}

/// What the archive has.
pub(super) struct Archive {
    packages: Vec<Package>,
}

impl Archive {
    /// Brings the indexes in `folder` up to date and reads them.
    ///
    /// # Errors
    ///
    /// When apt is missing, or the archive does not answer.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        if !Path::new(HELPER).exists() {
            bail!("this needs Debian's apt, which finds and verifies the kernels");
        }
        fs::create_dir_all(folder.join("lists/partial"))?;
        fs::create_dir_all(folder.join("cache"))?;
        fs::write(folder.join("debian.sources"), sources(&output(&mut configured())?))?;
        for suite in update(folder)? {
            println!("vmtest: {suite} has left the archive");
        }
        let mut targets = apt_get(folder);
        targets.args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(FILENAME)",
            "Identifier: Packages",
        ]);
        let mut packages = Vec::new();
        for target in output(&mut targets)?.lines() {
            let mut words = target.splitn(3, ' ');
            let (Some(base), Some(suite), Some(file)) = (words.next(), words.next(), words.next()) else {
                bail!("apt names an index as `{target}`");
            };
            packages.extend(packages_in(
                &output(Command::new(HELPER).args(["cat-file", file]))?,
                base,
                suite,
            ));
        }
        Ok(Self { packages })
    }

    /// The current version of each series, in ascending order.
    pub(super) fn kernels(&self) -> Vec<Kernel> {
        let mut kernels = BTreeMap::<Series, Kernel>::new();
        for package in &self.packages {
            let Some((series, release)) = kernel(&package.name) else { continue };
            let (version, suite) = (package.version.clone(), package.suite.clone());
            let newer = |other: &Kernel| is_newer(&version, &other.version);
            if kernels.get(&series).is_none_or(newer) {
                kernels.insert(series, Kernel { series, release: release.to_owned(), version, suite });
            }
        }
        kernels.into_values().collect()
    }

    /// Downloads a kernel and unpacks it below `folder`, if it is not there yet. Gives its folder.
    ///
    /// # Errors
    ///
    /// When a download fails or is not what the index says.
    pub(super) fn unpack(&self, kernel: &Kernel, folder: &Path) -> Result<PathBuf> {
        let unpacked = folder.join(format!("{}_{}", kernel.release, kernel.version));
        if unpacked.exists() {
            return Ok(unpacked);
        }
        fs::create_dir_all(folder)?;
        // It gets its name when it is complete.
        let work = tempfile::tempdir_in(folder)?;
        let contents = work.path().join("contents");
        for package in self.parts(kernel)? {
            let file = work.path().join(format!("{}.deb", package.name));
            let sum = format!("SHA256:{}", package.sha256);
            let mut download = Command::new(HELPER);
            download.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download-file"]);
            download.arg(&package.url).arg(&file).arg(&sum).stdout(Stdio::null());
            workspace::run(&mut download)?;
            workspace::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&contents))?;
        }
        fs::rename(&contents, &unpacked)?;
        Ok(unpacked)
    }

    /// The package of a kernel, and those that hold the rest of it: since Linux 7.2 Debian has it in several.
    fn parts(&self, kernel: &Kernel) -> Result<Vec<&Package>> {
        let find = |name: &str| {
            let mut named = self.packages.iter();
            named
                .find(|package| package.name == name && package.version == kernel.version)
                .with_context(|| format!("the index has no package {name} {}", kernel.version))
        };
        let mut parts = vec![find(&format!("linux-image-{}", kernel.release))?];
        let mut next = 0;
        while let Some(package) = parts.get(next) {
            for name in parts_named(&package.depends, &kernel.release) {
                if !parts.iter().any(|part| part.name == name) {
                    parts.push(find(name)?);
                }
            }
            next += 1;
        }
        Ok(parts)
    }
}

/// apt-get with the sources and the folders of this task.
fn apt_get(folder: &Path) -> Command {
    let mut command = Command::new("apt-get");
    for (option, path) in [
        ("Dir::Etc::SourceList", folder.join("debian.sources")),
        ("Dir::Etc::SourceParts", PathBuf::from("/dev/null")),
        ("Dir::State::Lists", folder.join("lists")),
        ("Dir::Cache", folder.join("cache")),
    ] {
        command.arg("-o").arg(format!("{option}={}", path.display()));
    }
    for option in ["APT::Sandbox::User=root", "Acquire::Languages=none", "Acquire::Retries=3"] {
        command.args(["-o", option]);
    }
    command.env("LC_ALL", "C");
    command
}

/// What apt is set up with on this machine.
fn configured() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(RELEASE)"]);
    command
}

/// The sources of the kernels: from the mirror that apt is `configured` with.
fn sources(configured: &str) -> String {
    let of_debian = configured.lines().filter_map(|line| {
        let (uri, release) = line.strip_prefix("Debian ")?.split_once(' ')?;
        Some((uri, release.ends_with("-security")))
    });
    let mirror = |security, default| {
        let mut uris = of_debian.clone().filter(|(_, is_security)| *is_security == security);
        uris.next().map_or(default, |(uri, _)| uri)
    };
    let mut sources = String::new();
    for (uri, suites) in [
        (mirror(false, MIRROR), SUITES.join(" ")),
        (mirror(true, SECURITY_MIRROR), SECURITY_SUITES.join(" ")),
    ] {
        let _infallible = write!(
            sources,
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nArchitectures: amd64\nTargets: Packages\n"
        );
        if Path::new(KEYRING).exists() {
            let _infallible = writeln!(sources, "Signed-By: {KEYRING}");
        }
        sources.push('\n');
    }
    sources
}

/// Downloads the indexes. Gives the suites that the archive does not have any more.
fn update(folder: &Path) -> Result<Vec<String>> {
    let output = apt_get(folder)
        .args(["-o", "pkgCacheFile::Generate=false", "update"])
        .output()
        .context("cannot run apt-get")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("E:")).collect();
    let gone: Vec<String> = errors.iter().filter_map(|error| suite_gone(error)).collect();
    if output.status.success() || (!errors.is_empty() && gone.len() == errors.len()) {
        return Ok(gone);
    }
    bail!("`apt-get update` failed: {}\n{said}", output.status)
}

/// The suite that apt says has gone: `E: The repository 'http://.. buster Release' does not have a Release file.`
fn suite_gone(error: &str) -> Option<String> {
    let (repository, rest) = error.split_once("' ")?;
    if !rest.ends_with("a Release file.") {
        return None;
    }
    repository.strip_suffix(" Release")?.rsplit(' ').next().map(str::to_owned)
}

/// The packages of kernels in an index (deb-control(5)).
fn packages_in(index: &str, base: &str, suite: &str) -> Vec<Package> {
    let kernels = index.split("\n\n").filter(|paragraph| {
        let name =
            paragraph.trim_start().strip_prefix("Package: linux-").and_then(|rest| rest.lines().next());
        name.is_some_and(|name| name.ends_with(CLOUD) || name.ends_with(REAL_TIME))
    });
    let packages = kernels.map(|paragraph| {
        let field = |name: &str| {
            let mut lines = paragraph.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_default().to_owned()
        };
        Package {
            name: field("Package"),
            version: field("Version"),
            depends: field("Depends"),
            url: format!("{base}{}", field("Filename")),
            sha256: field("SHA256"),
            suite: suite.to_owned(),
        }
    });
    packages.collect()
}

/// The series and release of the kernel that a package installs; `None` for packages that only depend on one.
fn kernel(package: &str) -> Option<(Series, &str)> {
    let release = package.strip_prefix("linux-image-")?;
    let upstream = release.split(['-', '+']).next()?;
    let mut numbers = upstream.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(_))) =
        (numbers.next(), numbers.next(), numbers.next().map(|patch| patch as Result<u32, _>))
    else {
        return None;
    };
    Some((Series { major, minor, real_time: release.ends_with(REAL_TIME) }, release))
}

/// The packages in a list of dependencies that hold parts of the kernel `release`.
fn parts_named<'a>(depends: &'a str, release: &'a str) -> impl Iterator<Item = &'a str> {
    let names = depends.split(", ").filter_map(|dependency| dependency.split_whitespace().next());
    names.filter(move |name| name.strip_suffix(release).is_some_and(|rest| rest.starts_with("linux-")))
}

/// Whether a version is newer than another, by Debian's rules.
fn is_newer(version: &str, other: &str) -> bool {
    Command::new("dpkg")
        .args(["--compare-versions", version, "gt", other])
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "Package: linux-image-6.1.0-56-cloud-amd64
Version: 6.1.192-2
Depends: kmod, linux-base (>= 4.3~)
Description: Linux 6.1
Filename: pool/a.deb
SHA256: 00ff

Package: linux-image-6.1.0-56-amd64
Version: 6.1.192-2

Package: zsh
Version: 5
";

    #[test]
    fn an_index_is_read() {
        let packages = packages_in(INDEX, "http://mirror/debian/", "bookworm");
        assert_eq!(packages.len(), 1);
        let expected = Package {
            name: "linux-image-6.1.0-56-cloud-amd64".to_owned(),
            version: "6.1.192-2".to_owned(),
            depends: "kmod, linux-base (>= 4.3~)".to_owned(),
            url: "http://mirror/debian/pool/a.deb".to_owned(),
            sha256: "00ff".to_owned(),
            suite: "bookworm".to_owned(),
        };
        assert_eq!(packages[0], expected);
    }

    #[test]
    fn packages_that_install_a_kernel_are_told_from_those_that_depend_on_one() {
        let series = |package| kernel(package).map(|(series, release)| (series.to_string(), release));
        assert_eq!(
            series("linux-image-7.3.4+deb13-cloud-amd64"),
            Some(("7.3".to_owned(), "7.3.4+deb13-cloud-amd64"))
        );
        assert_eq!(
            series("linux-image-6.1.0-0.deb11.52-cloud-amd64"),
            Some(("6.1".to_owned(), "6.1.0-0.deb11.52-cloud-amd64"))
        );
        assert_eq!(
            series("linux-image-7.3.4+deb13-rt-amd64"),
            Some(("7.3-rt".to_owned(), "7.3.4+deb13-rt-amd64"))
        );
        for other in [
            "linux-image-cloud-amd64",
            "linux-image-6.12-cloud-amd64",
            "linux-image-6.12-rt-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
        ] {
            assert_eq!(series(other), None, "{other}");
        }
    }

    #[test]
    fn the_parts_of_a_kernel_are_its_dependencies_of_the_same_release() {
        let release = "7.3.4+deb13-cloud-amd64";
        let depends = format!(
            "dracut | x, linux-binary-{release} (= 7.3.4-1), linux-base, linux-modules-{release} (= 7.3.4-1)"
        );
        let parts: Vec<&str> = parts_named(&depends, release).collect();
        assert_eq!(parts, [format!("linux-binary-{release}"), format!("linux-modules-{release}")]);
    }

    #[test]
    fn the_mirror_is_the_one_that_apt_is_set_up_with() {
        let ours = sources("Other http://other/ x\nDebian http://mirror/debian/ bookworm\n");
        assert!(ours.contains("URIs: http://mirror/debian/\nSuites: bullseye "), "{ours}");
        assert!(ours.contains(&format!("URIs: {SECURITY_MIRROR}\nSuites: bullseye-security ")), "{ours}");
        assert!(sources("").contains(&format!("URIs: {MIRROR}\n")));
    }

    #[test]
    fn a_suite_that_has_gone_is_told_from_another_failure() {
        let gone = "E: The repository 'http://mirror/debian bullseye Release' does not have a Release file.";
        assert_eq!(suite_gone(gone).as_deref(), Some("bullseye"));
        let gone = "E: The repository 'http://mirror/debian bullseye Release' no longer has a Release file.";
        assert_eq!(suite_gone(gone).as_deref(), Some("bullseye"));
        assert_eq!(suite_gone("E: Failed to fetch http://mirror/debian/x  503"), None);
    }

    #[test]
    fn versions_compare_as_debian_has_it() {
        assert!(is_newer("6.12.118-1", "6.12.95-1~bpo12+1"));
        assert!(!is_newer("6.1.9-1", "6.1.10-1"));
    }
}

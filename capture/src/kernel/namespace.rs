//! Network namespaces other than the one that capture was started in: namespaces(7), setns(2).
//!
//! A namespace is held by a descriptor: what it was found by, a name or a process, may go away. Everything that names an
//! interface by its index or asks for interfaces is done by a thread that has entered the namespace.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::statfs::{NSFS_MAGIC, fstatfs},
};

use super::{interface::printable, netlink::renew_socket};

/// Where ip-netns(8) keeps the namespaces that have names.
const NAMED: &str = "/run/netns";
/// The namespace of this thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// Letters of a container's id that identify it. Tools show 12 of 64.
const LEAST_ID: usize = 12;
/// Letters of a whole one.
const WHOLE_ID: usize = 64;
/// The program that podman and CRI-O run for each container, in the network namespace of the machine.
const MONITOR: &str = "conmon";
/// Names that an error lists at most.
const LISTED: usize = 20;

/// A network namespace.
#[derive(Debug)]
pub struct NetworkNamespace {
    /// What output calls it.
    name: String,
    /// What it was found by.
    path: PathBuf,
    file: File,
}

/// A network namespace as it is asked for: a name, a path, a process, or the id of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceArgument {
    text: OsString,
    /// What output is to call it: `None` if another one is called so, and this one needs a longer name.
    short: Option<String>,
}

impl NamespaceArgument {
    /// For [`NetworkNamespace::find`].
    pub fn of_name(text: OsString) -> Self {
        let short = Some(called(&text.to_string_lossy()));
        Self { text, short }
    }

    /// For [`NetworkNamespace::of_container`].
    pub fn of_container(text: OsString) -> Self {
        let short = Some(short_id(&text.to_string_lossy()).to_owned());
        Self { text, short }
    }

    /// Leaves each short name to the first that has it.
    pub fn tell_apart<'a>(all: impl Iterator<Item = &'a mut Self>) {
        let mut taken = BTreeSet::new();
        for argument in all {
            argument.short.take_if(|short| !taken.insert(short.clone()));
        }
    }

    /// What output calls it, which is found by this path.
    fn name(&self, path: &Path) -> String {
        self.short.clone().unwrap_or_else(|| printable(&path.to_string_lossy()))
    }
}

/// There is no such namespace, or this process may not enter it.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// A name, path or process that leads to none.
    #[error(
        "no network namespace {}: {source} (have: {have}; a path such as /proc/PID/ns/net or a PID will do, too)",
        printable(.name)
    )]
    NotFound {
        /// What was asked for.
        name: String,
        /// The system's answer.
        #[source]
        source: io::Error,
        /// The names that there are.
        have: String,
    },
    /// A file that is something else.
    #[error(
        "{} is not a network namespace; name one (have: {have}), or give a path such as /proc/PID/ns/net or a PID",
        printable(&.path.to_string_lossy())
    )]
    Another {
        /// The file.
        path: PathBuf,
        /// The names that there are.
        have: String,
    },
    /// No process belongs to a container of this id.
    #[error(
        "no container {}: no process is in a cgroup of that id (`docker ps`, `crictl ps` and `podman ps` show ids; 12 letters \
         of one are enough); name a process of it with --netns PID",
        printable(.id)
    )]
    NoContainer {
        /// The id.
        id: String,
    },
    /// The processes of a container are in several.
    #[error(
        "container {}: its processes {first} and {second} are in different network namespaces; name the one that is \
         meant with --netns PID",
        printable(.id)
    )]
    Several {
        /// The id.
        id: String,
        /// A process.
        first: u32,
        /// Another one.
        second: u32,
    },
    /// Too few letters of an id.
    #[error("--container {}: give 12 letters of the id, or more", printable(.id))]
    ShortId {
        /// The id.
        id: String,
    },
    /// The namespace of this process cannot be held.
    #[error("cannot open {OWN}: {0}; is /proc mounted?")]
    Own(#[source] io::Error),
    /// It cannot be entered.
    #[error(
        "cannot enter network namespace {name}: {source}; it takes CAP_SYS_ADMIN: run capture as root (sudo)"
    )]
    Refused {
        /// What it is called.
        name: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl NetworkNamespace {
    /// The one that this thread is in.
    ///
    /// # Errors
    ///
    /// When the system does not open it.
    pub fn own() -> Result<Self, NamespaceError> {
        let file = File::open(OWN).map_err(NamespaceError::Own)?;
        Ok(Self { name: "the one that capture was started in".to_owned(), path: OWN.into(), file })
    }

    /// The one that is called so by ip-netns(8), or else has this path, or else belongs to the process with this number.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn find(argument: &NamespaceArgument) -> Result<Self, NamespaceError> {
        let text = argument.text.to_string_lossy();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let path = if text.contains('/') {
            PathBuf::from(&argument.text)
        } else {
            let named = Path::new(NAMED).join(&argument.text);
            if is_number && !named.exists() { of_process(&text) } else { named }
        };
        let file = open(&path).map_err(|source| NamespaceError::NotFound {
            name: text.clone().into_owned(),
            source,
            have: named(),
        })?;
        if !is_namespace(&file) {
            return Err(NamespaceError::Another { path, have: named() });
        }
        Ok(Self { name: argument.name(&path), path, file })
    }

    /// That of the container with this id, by the names of its processes' cgroups: `docker-ID.scope`, `/docker/ID`,
    /// `cri-containerd-ID.scope`, `libpod-ID.scope` ..
    ///
    /// The namespace of this thread is meant only if no process is in another one: programs that run containers may put
    /// processes of their own there.
    ///
    /// # Errors
    ///
    /// When no process is in such a cgroup, they are in several namespaces, or the id is too short.
    pub fn of_container(argument: &NamespaceArgument) -> Result<Self, NamespaceError> {
        let id = argument.text.to_string_lossy();
        let is_id = id.len() >= LEAST_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(NamespaceError::ShortId { id: id.into_owned() });
        }
        let mut members = members(&id);
        members.sort_unstable();
        let mut found: Vec<(u32, Self)> = Vec::new();
        for process in members {
            // One that has just ended has no namespace.
            let path = of_process(&process.to_string());
            let Ok(file) = File::open(&path) else { continue };
            let namespace = Self { name: argument.name(&path), path, file };
            if !found.iter().any(|(_, other)| other.is_same(&namespace)) {
                found.push((process, namespace));
            }
        }
        if found.len() > 1 {
            let own = Self::own()?;
            found.retain(|(_, namespace)| !namespace.is_same(&own));
        }
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (None, _) => Err(NamespaceError::NoContainer { id: id.into_owned() }),
            (Some((_, namespace)), None) => Ok(namespace),
            (Some((first, _)), Some((second, _))) => {
                Err(NamespaceError::Several { id: id.into_owned(), first, second })
            }
        }
    }

    /// Whether both are the same.
    pub fn is_same(&self, other: &Self) -> bool {
        let identity = |namespace: &Self| namespace.file.metadata().map(|file| (file.dev(), file.ino())).ok();
        identity(self).is_some_and(|own| identity(other) == Some(own))
    }

    /// What output calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has this thread enter it.
    ///
    /// # Errors
    ///
    /// When the process may not.
    pub fn enter(&self) -> Result<(), NamespaceError> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
            // A namespace of another kind.
            Errno::EINVAL => NamespaceError::Another { path: self.path.clone(), have: named() },
            _ => NamespaceError::Refused { name: self.name.clone(), source: errno.into() },
        })?;
        renew_socket();
        Ok(())
    }
}

/// Opens what may be any file: a named pipe would wait for a writer, and capture hears no signal meanwhile.
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Whether this is a namespace, of whatever kind (ioctl_ns(2)).
fn is_namespace(file: &File) -> bool {
    fstatfs(file).is_ok_and(|system| system.filesystem_type() == NSFS_MAGIC)
}

fn of_process(number: &str) -> PathBuf {
    Path::new("/proc").join(number).join("ns/net")
}

/// What output calls the namespace of an argument: the process of a path in /proc, and of another one the last part.
fn called(argument: &str) -> String {
    let process = argument.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/ns/net"));
    let last = argument.rsplit('/').next().unwrap_or(argument);
    printable(process.unwrap_or(last))
}

/// What output calls the namespace of a container.
fn short_id(id: &str) -> &str {
    id.get(..LEAST_ID).unwrap_or(id)
}

/// The names that there are.
fn named() -> String {
    let mut names: Vec<String> = fs::read_dir(NAMED)
        .map(|entries| entries.flatten().map(|entry| name(&entry.file_name())).collect())
        .unwrap_or_default();
    names.sort_unstable();
    let count = names.len();
    names.truncate(LISTED);
    match count {
        0 => format!("none in {NAMED}"),
        1..=LISTED => names.join(", "),
        _ => format!("{} and {} more", names.join(", "), count - LISTED),
    }
}

fn name(name: &OsString) -> String {
    printable(&name.to_string_lossy())
}

/// The processes in cgroups that have this id in their names.
fn members(id: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let processes = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_member = |process: &u32| {
        fs::read_to_string(format!("/proc/{process}/cgroup")).is_ok_and(|cgroups| is_of(&cgroups, id))
    };
    processes.filter(is_member).collect()
}

/// Whether one of a process's cgroups (cgroups(7), `/proc/pid/cgroup`) is that of a container: a part of its path begins
/// with the id, or has it after a hyphen or colon. Not those of conmon, which podman and CRI-O run outside of each container
/// to wait for its end (`libpod-conmon-ID.scope`), and not those of containers inside of it.
fn is_of(cgroups: &str, id: &str) -> bool {
    let mut paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let is_another = |word: &str| is_whole_id(word) && !word.starts_with(id);
    paths.any(|path| {
        let mut parts = path.split('/').skip_while(|part| !names(part, id));
        parts.next().is_some() && !parts.any(|part| words(part).any(is_another))
    })
}

/// Whether a part of a cgroup's path names the container itself.
fn names(part: &str, id: &str) -> bool {
    words(part).take_while(|word| *word != MONITOR).any(|word| word.starts_with(id))
}

fn words(part: &str) -> impl Iterator<Item = &str> {
    part.split(['-', ':', '.'])
}

fn is_whole_id(word: &str) -> bool {
    word.len() == WHOLE_ID && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(argument: impl Into<OsString>) -> Result<NetworkNamespace, NamespaceError> {
        NetworkNamespace::find(&NamespaceArgument::of_name(argument.into()))
    }

    fn of_container(id: &str) -> Result<NetworkNamespace, NamespaceError> {
        NetworkNamespace::of_container(&NamespaceArgument::of_container(id.into()))
    }

    #[test]
    fn the_cgroups_of_container_runtimes_are_known() {
        const ID: &str = "0123456789ab";
        for path in [
            "0::/system.slice/docker-0123456789abcdef.scope",
            "12:pids:/docker/0123456789abcdef",
            "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-0123456789abcdef.scope",
            "0::/machine.slice/libpod-0123456789abcdef.scope/container",
            "0::/kubepods/burstable/podx/0123456789abcdef",
            "0::/system.slice/containerd.service/kubepods-pod.slice:cri-containerd:0123456789abcdef",
        ] {
            assert!(is_of(&format!("1:name=x:/\n{path}\n"), ID), "{path}");
        }
        let inner =
            format!("0::/docker/0123456789abcdef/kubelet/cri-containerd-{}.scope", "f".repeat(WHOLE_ID));
        for path in [
            "0::/",
            "0::/system.slice/ssh.service",
            "0::/docker/ff0123456789ab",
            "0123456789ab",
            "0::/machine.slice/libpod-conmon-0123456789abcdef.scope",
            "0::/kubepods.slice/kubepods-pod.slice/crio-conmon-0123456789abcdef.scope",
            &inner,
        ] {
            assert!(!is_of(path, ID), "{path}");
        }
    }

    #[test]
    fn a_namespace_is_called_by_what_is_short() {
        for (argument, expected) in [
            ("web", "web"),
            ("4242", "4242"),
            ("/proc/4242/ns/net", "4242"),
            ("/run/netns/web", "web"),
            ("./x\n", "x?"),
        ] {
            assert_eq!(called(argument), expected);
        }
    }

    #[test]
    fn each_short_name_is_that_of_one() {
        let names = ["web", "/tmp/x/web", "/tmp/y/web", "db", "/run/netns/c0ffee000000"];
        let mut all: Vec<_> = names.map(|name| NamespaceArgument::of_name(name.into())).into();
        all.push(NamespaceArgument::of_container("c0ffee000000ff".into()));
        NamespaceArgument::tell_apart(all.iter_mut());
        let names: Vec<String> =
            all.iter().map(|argument| argument.name(Path::new(&argument.text))).collect();
        assert_eq!(names, ["web", "/tmp/x/web", "/tmp/y/web", "db", "c0ffee000000", "c0ffee000000ff"]);
    }

    #[test]
    fn what_is_none_is_said() {
        let error = find("no-such").unwrap_err().to_string();
        assert!(error.starts_with("no network namespace no-such: No such file or directory"), "{error}");
        let error = of_container("abc").unwrap_err().to_string();
        assert_eq!(error, "--container abc: give 12 letters of the id, or more");
        let error = of_container("000000000000").unwrap_err().to_string();
        assert!(error.starts_with("no container 000000000000: "), "{error}");
    }

    /// Nothing waits for the other end of a pipe.
    #[test]
    fn another_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe.as_path(), Path::new("/etc/passwd"), Path::new("/dev/null"), Path::new("/")] {
            let error = find(path).unwrap_err().to_string();
            let expected = format!("{} is not a network namespace; name one (have: ", path.display());
            assert!(error.starts_with(&expected), "{error}");
        }
        let error = find("/proc/self/ns/mnt").unwrap().enter().unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("/proc/self/ns/mnt is not a network namespace; "), "{error}");
    }

    #[test]
    fn its_own_namespace_can_be_found_in_three_ways() {
        let own = format!("/proc/{}/ns/net", std::process::id());
        for argument in [own.as_str(), "/proc/self/ns/net", &std::process::id().to_string()] {
            find(argument).unwrap();
        }
        NetworkNamespace::own().unwrap();
    }
}

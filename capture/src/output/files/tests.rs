mod rotation;
mod time;

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    thread,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

use super::*;

const HEADER: Bytes = Bytes::from_static(b"header");

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn to(path: impl Into<PathBuf>) -> FilesOptions {
    FilesOptions { path: path.into(), ..FilesOptions::default() }
}

/// `count` packets of `length` bytes, each of its own letter, and where they end.
fn packets(length: usize, count: usize) -> (Vec<u8>, Vec<usize>) {
    let letters = (0..count).flat_map(|number| vec![b'a' + (number % 26) as u8; length]);
    (letters.collect(), (1..=count).map(|number| number * length).collect())
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn text(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

/// A block of packets: each word is one.
fn words(words: &str) -> (Vec<u8>, Vec<usize>) {
    let (mut block, mut ends) = (Vec::new(), Vec::new());
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        block.extend_from_slice(word.as_bytes());
        ends.push(block.len());
    }
    (block, ends)
}

fn refusal(path: &Path) -> String {
    Files::create(to(path), HEADER).unwrap_err().to_string()
}

#[test]
fn a_file_has_its_header_at_once_and_is_for_the_owner_alone() {
    let folder = folder();
    let path = folder.path().join("x.pcap");
    let mut files = Files::create(to(&path), HEADER).unwrap();
    assert_eq!(fs::read(&path).unwrap(), HEADER);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let progress = Progress::default();
    let (block, ends) = packets(3, 2);
    files.write(&block, &ends, &progress).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"headeraaabbb");
    assert_eq!(progress.packets(), 2);
    files.close(&progress).unwrap();
}

/// As tcpdump does: the file stays the same. Others who could read it cannot read what is in it then.
#[test]
fn an_existing_file_is_replaced() {
    let folder = folder();
    let path = folder.path().join("x.pcap");
    fs::write(&path, "much longer than the header").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&path).unwrap().ino();
    Files::create(to(&path), HEADER).unwrap().close(&Progress::default()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), HEADER);
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.ino(), after.mode() & 0o7777), (before, 0o600));
}

#[test]
#[ignore = "needs root"]
fn a_file_of_another_user_keeps_its_owner_and_its_mode() {
    let folder = folder();
    let path = folder.path().join("x.pcap");
    fs::write(&path, "much longer than the header").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    chown(&path, Some(65_534), None).unwrap();
    Files::create(to(&path), HEADER).unwrap().close(&Progress::default()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), HEADER);
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.uid(), after.mode() & 0o7777), (65_534, 0o640));
}

#[test]
fn what_is_no_file_is_refused_with_the_next_step() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("target"), "kept").unwrap();
    symlink(at("target"), at("link")).unwrap();
    symlink(at("nowhere"), at("loose")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    for (name, why) in [
        ("link", "it is a symbolic link; name the file that it leads to, or remove it"),
        ("loose", "it is a symbolic link; name the file that it leads to, or remove it"),
        ("directory", "it is a directory; name a file in it"),
        ("directory/", "it is a directory; name a file in it"),
        (
            "missing/x",
            "its directory cannot be opened: No such file or directory (os error 2); create the directory first",
        ),
        ("target/x", "its directory cannot be opened: Not a directory (os error 20)"),
    ] {
        assert_eq!(refusal(&at(name)), format!("cannot write to {}: {why}", at(name).display()));
    }
    assert_eq!(refusal(Path::new("")), "cannot write to : it has no file name; add one");
    assert_eq!(fs::read(at("target")).unwrap(), b"kept");
    assert!(!at("nowhere").exists());
}

/// Also before anyone reads it.
#[test]
fn a_pipe_has_one_writer() {
    let folder = folder();
    let path = folder.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let claims = Claims::default();
    let options = || FilesOptions { claims: claims.clone(), ..to(&path) };
    let first = Files::create(options(), HEADER).unwrap();
    let name = path.display();
    assert_eq!(
        Files::create(options(), HEADER).unwrap_err().to_string(),
        format!("cannot write to {name}: another output goes to this file, as {name}; name another one")
    );
    drop(first);
    Files::create(options(), HEADER).unwrap();
}

#[test]
fn devices_and_pipes_are_written_to() {
    Files::create(to("/dev/null"), HEADER).unwrap().close(&Progress::default()).unwrap();
    let full = refusal(Path::new("/dev/full"));
    assert!(full.starts_with("cannot write to /dev/full: No space left on device"), "{full}");

    // It is opened without a reader. Writing waits for one.
    let folder = folder();
    let path = folder.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let mut files = Files::create(to(&path), HEADER).unwrap();
    assert_eq!(files.wait(), Some(Duration::ZERO));
    let reader = thread::spawn({
        let path = path.clone();
        move || fs::read(path).unwrap()
    });
    let (block, ends) = packets(10_000, 3);
    let progress = Progress::default();
    files.write(&block, &ends, &progress).unwrap();
    assert_eq!(files.wait(), None);
    files.close(&progress).unwrap();
    assert_eq!(reader.join().unwrap(), [&HEADER[..], &block].concat());
    assert_eq!(progress.packets(), 3);
}

/// The name of a descriptor of the process itself is a symbolic link, and it is followed. What the file holds already
/// stays.
#[test]
fn descriptors_are_written_to() {
    let (mut reader, writer) = io::pipe().unwrap();
    let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
    Files::create(to(path), HEADER).unwrap().close(&Progress::default()).unwrap();
    drop(writer);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert_eq!(read, HEADER);

    let folder = folder();
    let path = folder.path().join("x");
    fs::write(&path, "before ").unwrap();
    let file = File::options().append(true).open(&path).unwrap();
    let descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    Files::create(to(descriptor), HEADER).unwrap().close(&Progress::default()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"before header");
}

/// A disk of 64 KiB takes some packets and a part of one more. The part is taken away again: readers find whole packets.
#[test]
#[ignore = "needs root"]
fn a_full_disk_holds_whole_packets_and_counts_them() {
    let folder = folder();
    let path = folder.path().to_owned();
    let in_a_namespace = move || {
        test_support::namespace::own_mounts();
        let (kind, data) = (Some("tmpfs"), Some("size=64k"));
        nix::mount::mount(kind, &path, kind, nix::mount::MsFlags::empty(), data).unwrap();
        let file = path.join("x.pcap");
        let mut files = Files::create(to(&file), HEADER).unwrap();
        let (block, ends) = packets(1000, 100);
        let progress = Progress::default();
        let error = files.write(&block, &ends, &progress).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().ends_with("; make room, or choose a directory on another file system"));
        assert_eq!(progress.packets(), 65);
        let written = fs::read(&file).unwrap();
        assert_eq!(written, [&HEADER[..], &block[..65_000]].concat());
    };
    thread::spawn(in_a_namespace).join().unwrap();
}

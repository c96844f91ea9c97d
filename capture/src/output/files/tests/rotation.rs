//! Files that end by their size or their packets, and what becomes of them.

use std::{fs, path::Path, process::Command};

use nix::unistd::{Uid, setfsuid};
use test_support::wait::wait_until;

use super::{
    super::{Autostop, Files, FilesOptions, Ring, Rotation, Tcpdump},
    *,
};

/// A pcap file: its header, its packets, and where they end.
fn pcap(lengths: impl Iterator<Item = u32>) -> (Bytes, Vec<u8>, Vec<usize>) {
    let mut header = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    let (mut block, mut ends) = (Vec::new(), Vec::new());
    for (number, length) in (0..).zip(lengths) {
        for word in [1_700_000_000_u32, number, length, length] {
            block.extend_from_slice(&word.to_le_bytes());
        }
        block.resize(block.len() + length as usize, number as u8);
        ends.push(block.len());
    }
    (header.into(), block, ends)
}

/// What tcpdump makes of the same packets: the same names, the same bytes.
#[test]
fn names_and_contents_are_tcpdumps() {
    let lengths = (0..5000_u32).map(|number| 60 + number * 7 % 1400);
    let (header, block, ends) = pcap(lengths);
    let source = folder();
    let big = source.path().join("big.pcap");
    fs::write(&big, [&header[..], &block].concat()).unwrap();
    for (flags, size, files) in [
        ("-C 1", Some(1_000_000), None),
        ("-C 1 -W 2", Some(1_000_000), Some(2)),
        ("-C 1 -W 3", Some(1_000_000), Some(3)),
        ("-C 1 -W 11", Some(1_000_000), Some(11)),
        ("-C 1 -W 1", Some(1_000_000), Some(1)),
        ("-C 2", Some(2_000_000), None),
        ("-W 2", None, Some(2)),
    ] {
        let (theirs, ours) = (folder(), folder());
        let mut tcpdump = Command::new("tcpdump");
        tcpdump.args(["-Z", "root", "-r"]).arg(&big).arg("-w").arg(theirs.path().join("x.pcap"));
        assert!(tcpdump.args(flags.split(' ')).output().unwrap().status.success());

        let rotation = Rotation::Tcpdump(Tcpdump { size, period: None, files });
        let options = FilesOptions { rotation, ..to(ours.path().join("x.pcap")) };
        let mut destination = Files::create(options, header.clone()).unwrap();
        let progress = Progress::default();
        // Blocks of some packets each.
        let (mut start, mut rest) = (0, &ends[..]);
        while !rest.is_empty() {
            let (some, others) = rest.split_at(rest.len().min(777));
            let in_block: Vec<usize> = some.iter().map(|end| end - start).collect();
            let end = *some.last().unwrap();
            destination.write(&block[start..end], &in_block, &progress).unwrap();
            (start, rest) = (end, others);
        }
        destination.close(&progress).unwrap();
        assert_eq!(progress.packets(), 5000);
        assert_eq!(names(ours.path()), names(theirs.path()), "{flags}");
        assert!(files == Some(1) || size.is_none() || names(ours.path()).len() > 1, "{flags}");
        for name in names(ours.path()) {
            let [ours, theirs] = [&ours, &theirs].map(|folder| fs::read(folder.path().join(&name)).unwrap());
            assert!(ours == theirs, "{flags} {name}: {} bytes, tcpdump's has {}", ours.len(), theirs.len());
        }
    }
}

/// Writes the words, each a packet, and what each file holds then.
fn written(options: FilesOptions, blocks: &[&str]) -> Progress {
    let progress = Progress::default();
    let mut files = Files::create(options, Bytes::from_static(b"H")).unwrap();
    for block in blocks {
        let (block, ends) = words(block);
        files.write(&block, &ends, &progress).unwrap();
    }
    files.close(&progress).unwrap();
    progress
}

/// The contents of all files, by name.
fn contents(folder: &TempDir) -> Vec<String> {
    names(folder.path()).iter().map(|name| text(folder, name)).collect()
}

#[test]
fn a_ring_has_as_many_packets_bytes_and_files_as_it_may() {
    for (rules, expected) in [
        (Ring { packets: Some(2), ..Ring::default() }, &["Haabb", "Hccdd", "Hee"][..]),
        (Ring { size: Some(5), ..Ring::default() }, &["Haabb", "Hccdd", "Hee"]),
        // A header that is too large already has a packet all the same.
        (Ring { size: Some(1), ..Ring::default() }, &["Haa", "Hbb", "Hcc", "Hdd", "Hee"]),
        (Ring { packets: Some(1), files: Some(2), ..Ring::default() }, &["Hdd", "Hee"]),
        (Ring { packets: Some(1), files: Some(1), ..Ring::default() }, &["Hee"]),
        (Ring { packets: Some(1), total: Some(9), ..Ring::default() }, &["Hcc", "Hdd", "Hee"]),
        // Never the file that is being written.
        (Ring { packets: Some(1), total: Some(2), ..Ring::default() }, &["Hee"]),
    ] {
        for blocks in [&["aa bb cc dd ee"][..], &["aa", "bb cc", "dd ee"]] {
            let folder = folder();
            let options =
                FilesOptions { rotation: Rotation::Ring(rules), ..to(folder.path().join("x.y.pcap")) };
            assert_eq!(written(options, blocks).packets(), 5);
            assert_eq!(contents(&folder), expected, "{rules:?}");
            let name = &names(folder.path())[0];
            assert!(name.starts_with("x.y_0000") && name.ends_with(".pcap"), "{name}");
        }
    }
}

/// A file of someone else's that took the name stays.
#[test]
fn only_its_own_files_are_deleted() {
    let folder = folder();
    let rotation = Rotation::Ring(Ring { packets: Some(1), files: Some(1), ..Ring::default() });
    let options = FilesOptions { rotation, ..to(folder.path().join("x")) };
    let progress = Progress::default();
    let mut files = Files::create(options, HEADER).unwrap();
    let first = folder.path().join(&names(folder.path())[0]);
    // The present file's inode must stay in use, or the new one would get it.
    fs::rename(&first, folder.path().join("away")).unwrap();
    fs::write(&first, "another").unwrap();
    let (block, ends) = words("aa bb");
    files.write(&block, &ends, &progress).unwrap();
    assert_eq!(fs::read(first).unwrap(), b"another");
    assert_eq!(names(folder.path()).len(), 3);
}

#[test]
fn enough_is_exact_and_the_rest_is_counted() {
    for (autostop, expected, left_out) in [
        (Autostop { packets: Some(3), ..Autostop::default() }, "Haabbcc", 2),
        (Autostop { packets: Some(5), ..Autostop::default() }, "Haabbccddee", 0),
        (Autostop { size: Some(4), ..Autostop::default() }, "Haabb", 3),
        (Autostop { size: Some(5), ..Autostop::default() }, "Haabb", 3),
        (Autostop { size: Some(100), ..Autostop::default() }, "Haabbccddee", 0),
    ] {
        for blocks in [&["aa bb cc dd ee"][..], &["aa", "bb cc", "dd ee"]] {
            let folder = folder();
            let options = FilesOptions { autostop, ..to(folder.path().join("x")) };
            let progress = written(options, blocks);
            assert_eq!(text(&folder, "x"), expected);
            assert_eq!((progress.packets(), progress.left_out()), (5 - left_out, left_out), "{autostop:?}");
            assert_eq!(progress.has_enough(), left_out > 0 || autostop.packets == Some(5));
        }
    }
}

/// What follows the last packet is written, though packets before it are not.
#[test]
fn the_end_of_the_stream_is_written_after_enough() {
    let folder = folder();
    let autostop = Autostop { packets: Some(1), ..Autostop::default() };
    let progress = Progress::default();
    let options = FilesOptions { autostop, ..to(folder.path().join("x")) };
    let mut files = Files::create(options, HEADER).unwrap();
    let (mut block, ends) = words("aa bb cc");
    block.extend_from_slice(b"end");
    files.write(&block, &ends, &progress).unwrap();
    files.close(&progress).unwrap();
    assert_eq!(text(&folder, "x"), "headeraaend");
    assert_eq!(progress.left_out(), 2);
}

#[test]
fn enough_files_end_the_output() {
    let folder = folder();
    let options = FilesOptions {
        rotation: Rotation::Ring(Ring { packets: Some(1), ..Ring::default() }),
        autostop: Autostop { files: Some(2), ..Autostop::default() },
        ..to(folder.path().join("x"))
    };
    let progress = written(options, &["aa bb cc dd"]);
    assert_eq!(contents(&folder), ["Haa", "Hbb"]);
    assert_eq!((progress.packets(), progress.left_out()), (2, 2));
    assert_eq!(progress.take_notes()[0], "Maximum file limit reached: 2");
}

/// Whatever it is called, and also when its turn comes later.
#[test]
fn the_file_of_another_output_is_not_written_to() {
    let folder = folder();
    let [name, link, file, next] = ["x", "link", "y", "y1"].map(|name| folder.path().join(name));
    let options = |path: &Path, claims: &Claims| FilesOptions { claims: claims.clone(), ..to(path) };
    let claims = Claims::default();
    let mut first = Files::create(options(&name, &claims), HEADER).unwrap();
    fs::hard_link(&name, &link).unwrap();
    let refused = Files::create(options(&link, &claims), HEADER).unwrap_err().to_string();
    let why = format!("another output goes to this file, as {}; name another one", name.display());
    assert_eq!(refused, format!("cannot write to {}: {why}", link.display()));

    fs::hard_link(&name, &next).unwrap();
    let rotation = Rotation::Tcpdump(Tcpdump { size: Some(6), ..Tcpdump::default() });
    let mut second = Files::create(FilesOptions { rotation, ..options(&file, &claims) }, HEADER).unwrap();
    let (block, ends) = words("aa bb");
    let progress = Progress::default();
    let error = second.write(&block, &ends, &progress).unwrap_err().to_string();
    assert_eq!(error, format!("the next file, {}: {why}", next.display()));

    first.write(&block, &ends, &progress).unwrap();
    first.close(&progress).unwrap();
    assert_eq!(text(&folder, "x"), "headeraabb");
    // It is free now.
    Files::create(options(&link, &claims), HEADER).unwrap();
}

/// Files stay together in the directory that they began in.
#[test]
fn a_directory_may_get_another_name() {
    let folder = folder();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    fs::create_dir(&old).unwrap();
    let rotation = Rotation::Tcpdump(Tcpdump { size: Some(6), ..Tcpdump::default() });
    let mut files = Files::create(FilesOptions { rotation, ..to(old.join("x")) }, HEADER).unwrap();
    let progress = Progress::default();
    let (block, ends) = words("aa bb");
    fs::rename(&old, &new).unwrap();
    files.write(&block, &ends, &progress).unwrap();
    assert_eq!(names(&new), ["x", "x1"]);

    fs::remove_dir_all(&new).unwrap();
    let error = files.write(&block, &ends, &progress).unwrap_err().to_string();
    let next = old.join("x2");
    assert!(
        error.starts_with(&format!("the next file, {}: No such file or directory", next.display())),
        "{error}"
    );
    assert_eq!(progress.packets(), 2);
}

#[test]
fn a_device_or_a_pipe_is_one_file() {
    let rotation = Rotation::Tcpdump(Tcpdump { size: Some(6), ..Tcpdump::default() });
    let options = FilesOptions { rotation, ..to("/dev/null") };
    let error = Files::create(options, HEADER).unwrap_err().to_string();
    assert!(error.starts_with("cannot write to /dev/null: only a regular file"), "{error}");
}

/// `touch` as the program leaves a trace: `-z` gets each file, the last one, too.
#[test]
fn each_finished_file_goes_to_the_program() {
    let folder = folder();
    let program = folder.path().join("program");
    fs::write(&program, "#!/bin/sh\n[ $# = 1 ] && cp \"$1\" \"$1.seen\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let options = FilesOptions {
        rotation: Rotation::Tcpdump(Tcpdump { size: Some(2), ..Tcpdump::default() }),
        command: Some(program.into()),
        ..to(folder.path().join("x"))
    };
    let progress = written(options, &["aa bb"]);
    assert_eq!(progress.take_notes(), Vec::<String>::new());
    for (name, contents) in [("x.seen", "Haa"), ("x1.seen", "Hbb")] {
        let path = folder.path().join(name);
        wait_until(name, || fs::read(&path).is_ok_and(|found| found == contents.as_bytes()));
    }
    no_child_is_left();
}

/// A child that has ended and that no one has waited for is a zombie.
fn no_child_is_left() {
    let children = format!("/proc/self/task/{}/children", nix::unistd::gettid());
    wait_until("the program", || fs::read_to_string(Path::new(&children)).unwrap().is_empty());
}

#[test]
fn a_program_that_cannot_be_started_is_reported_once() {
    let folder = folder();
    let options = FilesOptions {
        rotation: Rotation::Tcpdump(Tcpdump { size: Some(2), ..Tcpdump::default() }),
        command: Some("/nowhere/gzip".into()),
        ..to(folder.path().join("x"))
    };
    let notes = written(options, &["aa bb cc"]).take_notes();
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(note.starts_with("cannot start /nowhere/gzip for "), "{note}");
    assert!(note.contains("No such file or directory"), "{note}");
}

/// Each is reported, though the other one has been. In a directory that may not be written to, nothing is deleted.
#[test]
fn a_file_that_cannot_be_deleted_is_reported_too() {
    let folder = folder();
    let options = FilesOptions {
        rotation: Rotation::Ring(Ring { packets: Some(1), files: Some(1), ..Ring::default() }),
        command: Some("/nowhere/gzip".into()),
        ..to(folder.path().join("x"))
    };
    let mut files = Files::create(options, HEADER).unwrap();
    let progress = Progress::default();
    let (block, ends) = words("aa bb");
    let set_mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o555);
    // Of this thread, which is not root then.
    let before = setfsuid(Uid::from_raw(65_534));
    let written = files.write(&block, &ends, &progress);
    setfsuid(before);
    set_mode(0o700);
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    let notes = progress.take_notes();
    let [command, deletion] = &notes[..] else { panic!("{notes:?}") };
    assert!(command.starts_with("cannot start /nowhere/gzip for "), "{command}");
    assert!(deletion.starts_with("an old file is not deleted: "), "{deletion}");
}

/// Standard output, which is open already, can have enough.
#[test]
fn an_open_file_is_written_to() {
    let folder = folder();
    let path = folder.path().join("x");
    let autostop = Autostop { packets: Some(2), ..Autostop::default() };
    let options = FilesOptions { autostop, ..to("standard output") };
    let mut files = Files::onto(File::create(&path).unwrap(), options, HEADER).unwrap();
    let (block, ends) = words("aa bb cc");
    let progress = Progress::default();
    files.write(&block, &ends, &progress).unwrap();
    files.close(&progress).unwrap();
    assert_eq!(text(&folder, "x"), "headeraabb");
    assert!(progress.has_enough());

    let rotation = Rotation::Tcpdump(Tcpdump { size: Some(1), ..Tcpdump::default() });
    let options = FilesOptions { rotation, ..to("standard output") };
    assert!(Files::onto(File::create(&path).unwrap(), options, HEADER).is_err());
}

//! What `capture -r` prints, byte for byte as the real tcpdump printed it.
//!
//! `tests/golden/LIST` has a line for each case: its name, the file of packets, the file with what tcpdump 4.99.3
//! printed, and the flags, before them perhaps `TZ=...`. Where tcpdump complained of the file, its words are next to
//! what it printed, with the extension `err`. `cargo lab bless` makes what is expected, from tcpdump and never from
//! capture.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use test_support::oracle::Invocation;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// What is wrong with a case, if anything.
fn fault(name: &str, file: &str, expected: &str, flags: &str) -> Option<String> {
    let invocation: Invocation = flags.parse().unwrap();
    let output = invocation.capture(env!("CARGO_BIN_EXE_capture"), &folder().join(file)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = folder().join(expected);
    let complaint = fs::read_to_string(expected.with_extension("err")).ok();
    let printed = String::from_utf8_lossy(&output.stdout);
    let wanted = fs::read(expected).unwrap();
    if output.stdout != wanted {
        let wanted = String::from_utf8_lossy(&wanted);
        let line = printed.lines().zip(wanted.lines()).position(|(printed, wanted)| printed != wanted);
        let line = line.unwrap_or_else(|| printed.lines().count().min(wanted.lines().count()));
        let [wanted, printed] = [wanted, printed].map(|text| text.lines().nth(line).unwrap_or("").to_owned());
        return Some(format!(
            "{name} ({flags}), line {}\n  expected {wanted}\n  printed  {printed}",
            line + 1
        ));
    }
    match complaint {
        Some(complaint) if output.status.success() => Some(format!("{name}: went well, but {complaint}")),
        Some(complaint) if !said.contains(complaint.trim_end()) => {
            Some(format!("{name}: says `{said}` and not `{complaint}`"))
        }
        None if !output.status.success() => Some(format!("{name}: failed, {said}")),
        _ => None,
    }
}

#[test]
fn files_print_as_in_tcpdump() {
    let list = fs::read_to_string(folder().join("LIST")).unwrap();
    let mut faults = Vec::new();
    for line in list.lines() {
        let columns: Vec<_> = line.splitn(4, ' ').collect();
        let &[name, file, expected, flags] = &columns[..] else {
            panic!("LIST has four columns, not `{line}`")
        };
        faults.extend(fault(name, file, expected, flags));
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), list.lines().count(), faults.join("\n"));
    assert!(list.lines().count() > 100, "the list is not the whole list");
}

/// Through a pipe as from a file.
#[test]
fn standard_input_is_read() {
    let file = fs::File::open(folder().join("walkthrough.pcap")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    let output = command.env("TZ", "GMT0").args(["-r", "-", "-n"]).stdin(file).output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, fs::read(folder().join("walkthrough.out")).unwrap());
}

#[test]
fn every_file_belongs_to_a_case() {
    let list = fs::read_to_string(folder().join("LIST")).unwrap();
    let named: Vec<_> = list.split_ascii_whitespace().collect();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let expected = name.replace(".err", ".out");
        assert!(name == "LIST" || named.contains(&expected.as_str()), "{name} is in no line of LIST");
    }
}

/// `--count`, as tcpdump 4.99.3: the number alone, also of what is whole in a file that is cut off.
#[test]
fn packets_are_counted() {
    let whole = folder().join("walkthrough.pcap");
    let cut = Path::new(env!("CARGO_TARGET_TMPDIR")).join("count-cut.pcap");
    fs::write(&cut, &fs::read(&whole).unwrap()[..300]).unwrap();
    for (file, flags, expected, success) in [
        (&whole, "", "11 packets\n", true),
        (&whole, "-v -x -c 1 --explain", "1 packet\n", true),
        (&whole, "--port 1", "0 packets\n", true),
        (&cut, "", "3 packets\n", false),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
        command.args(["-n", "--count", "-r"]).arg(file).args(flags.split_ascii_whitespace());
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{flags}");
        assert_eq!(output.status.success(), success, "{flags}");
    }
}

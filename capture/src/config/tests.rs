//! Command lines and what they mean.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
};

use capture_filter::names::NoNames;
use clap::CommandFactory as _;

use super::*;
use crate::output::{json, pcap, pcapng};

fn config(arguments: &str) -> Result<Config, ConfigError> {
    let words = ["capture"].into_iter().chain(arguments.split_whitespace());
    let cli = Cli::read(words.map(OsString::from)).unwrap();
    match Command::new(cli, &mut NoNames)? {
        Command::Print(config) => Ok(*config),
        other => panic!("{other:?}"),
    }
}

fn live(arguments: &str) -> Live {
    match config(arguments).unwrap().source {
        Source::Live(live) => live,
        Source::File(file) => panic!("not a file: {file:?}"),
    }
}

#[test]
fn tcpdumps_flags_mean_what_they_mean_there() {
    let text = config("-nn -i lo -ttttSq#e --nano").unwrap().text;
    let expected = TextOptions {
        timestamp: TimestampStyle::DateTime,
        nanoseconds: true,
        number: true,
        link_header: true,
        quiet: true,
        absolute_sequence: true,
        headers_only: true,
        ..TextOptions::default()
    };
    assert_eq!(text, expected);
    assert_eq!(config("-XX").unwrap().text.dump, Dump::HexAscii { link_header: true });
    assert_eq!(config("-A -x").unwrap().text.dump, Dump::Hex { link_header: false });
}

#[test]
fn the_smallest_snaplen_that_serves_is_chosen() {
    assert_eq!(live("-i lo").snaplen, 0);
    assert_eq!(live("-e -q -S -#").snaplen, 0);
    assert_eq!(live("-v").snaplen, MAX_SNAPLEN);
    assert_eq!(live("-x").snaplen, MAX_SNAPLEN);
    assert_eq!(live("-x -s 96").snaplen, 96);
    assert_eq!(live("-s 0").snaplen, MAX_SNAPLEN);
}

#[test]
fn interfaces_are_one_several_or_all() {
    let several = |names: &[&str]| Interfaces::Several(names.iter().map(OsString::from).collect());
    for (arguments, expected) in [
        ("", Interfaces::Default),
        ("-i lo", Interfaces::One("lo".into())),
        ("-i lo --iface eth0 --interface lo", several(&["lo", "eth0", "lo"])),
        ("-i any", Interfaces::Any),
        ("-i any -i any", Interfaces::Any),
        ("-i anyone", Interfaces::One("anyone".into())),
    ] {
        assert_eq!(live(arguments).interfaces, expected, "{arguments}");
    }
    for (arguments, expected) in [
        ("-y LINUX_SLL2", Some(LinkType::LinuxSll2)),
        ("--linktype linux_sll2", Some(LinkType::LinuxSll2)),
        ("-y en10mb", Some(LinkType::Ethernet)),
        ("", None),
    ] {
        assert_eq!(live(arguments).link_type, expected, "{arguments}");
    }
}

#[test]
fn refusals_say_what_is_accepted() {
    for (arguments, expected) in [
        (
            "-r x --headers",
            "--headers is what a live capture takes of each packet, and -r has what is in the file: leave it out",
        ),
        ("-r x --json=", "--json has an empty name: name a file, or give - for standard output"),
        ("--format pcap", "--format is the format of a file: name one with -w"),
        ("-r x --count -w y", "--count prints only how many packets there are: leave out -w and --json"),
        (
            "--explain -w x.pcap",
            "pcap files have no comments: write pcapng (--format pcapng), or add --print or --json",
        ),
        ("-w - --print", "two outputs go to standard output: give one of them a file of its own"),
        ("-w /dev/stdout --json", "two outputs go to standard output: give one of them a file of its own"),
        ("--json --print", "two outputs go to standard output: give one of them a file of its own"),
        ("-w x --json=x", "two outputs go to x: give one of them a file of its own"),
        ("-c 0", "invalid packet count 0: -c takes 1 or more"),
        ("-c -1", "invalid packet count -1: -c takes 1 or more"),
        ("-c abc", "invalid packet count abc: -c takes 1 or more"),
        ("-s 262145", "invalid snapshot length 262145: -s takes 1 to 262144 bytes, or 0 for the maximum"),
        (
            "-r x -s 262145",
            "invalid snapshot length 262145: -s takes 1 to 262144 bytes, or 0 for the maximum",
        ),
        ("-s -1", "invalid snapshot length -1: -s takes 1 to 262144 bytes, or 0 for the maximum"),
        ("-B 0", "invalid buffer size 0: -B takes 1 to 1048576, in KiB"),
        ("-B 1048577", "invalid buffer size 1048577: -B takes 1 to 1048576, in KiB"),
        ("-B -1", "invalid buffer size -1: -B takes 1 to 1048576, in KiB"),
        ("-tttttt", "too many -t: 5 at most"),
        ("--hook xdp -Q out", "XDP sees incoming packets only: -Q out takes --hook tc"),
        ("-i any -i lo", "-i any takes every interface: leave out the other -i, or name all that are meant"),
        ("-n --resolve", "-n asks for numbers and --resolve for names: leave one of them out"),
    ] {
        assert_eq!(config(arguments).unwrap_err().to_string(), expected, "{arguments}");
    }
    assert_eq!(config("--count").unwrap_err(), ConfigError::LiveCount);
}

#[test]
fn a_broken_expression_is_pointed_at() {
    let error = config("tcp and port 70000 or port 1").unwrap_err().to_string();
    let expected = "port 70000: ports go up to 65535\n  tcp and port 70000 or port 1\n               ^~~~~";
    assert_eq!(error, expected);
}

#[test]
fn an_expression_and_ports_are_one_filter() {
    for (arguments, expected) in [
        ("", "tcp"),
        ("tcp port 443 -n", "tcp port 443"),
        ("host 10.0.0.1 and not port 22", "host 10.0.0.1 and not port 22"),
        ("--port 80,443 src 10.0.0.1", "(tcp port 80 or tcp port 443) and (src 10.0.0.1)"),
        ("--port 2 --port 1", "tcp portrange 1-2"),
    ] {
        assert_eq!(config(arguments).unwrap().filter.to_string(), expected, "{arguments}");
    }
    // In one word, as a script may have it.
    let cli = Cli::read(["capture", "tcp port 80 or tcp port 443"].map(OsString::from)).unwrap();
    let Ok(Command::Print(config)) = Command::new(cli, &mut NoNames) else { panic!("a command") };
    assert_eq!(config.filter.text(), "tcp port 80 or tcp port 443");
}

/// As tcpdump reads the file: lines are joined, `#` begins a comment, the text ends at a NUL.
#[test]
fn an_expression_may_come_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("expression");
    let read = |text: &[u8]| {
        std::fs::write(&path, text).unwrap();
        config(&format!("-F {} tcp port 1", path.display())).unwrap().filter.text().to_owned()
    };
    assert_eq!(
        read(b"host 10.0.0.1 # the server\n# not:\nor\nport 22\n\0 and ("),
        "host 10.0.0.1   or port 22 "
    );
    assert_eq!(read(b""), "");
    let long = |length: usize| {
        std::fs::write(&path, " ".repeat(length)).unwrap();
        config(&format!("-F {}", path.display())).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(long(1 << 20), Ok(()));
    assert!(long((1 << 20) + 1).unwrap_err().ends_with(": it is longer than 1048576 bytes"));
    let missing = config("-F /nonexistent/x").unwrap_err().to_string();
    assert_eq!(missing, "-F /nonexistent/x: No such file or directory (os error 2)");
}

#[test]
fn a_filter_can_be_looked_at() {
    let command = |arguments: &str| {
        let words = ["capture"].into_iter().chain(arguments.split_whitespace());
        Command::new(Cli::read(words.map(OsString::from)).unwrap(), &mut NoNames)
    };
    assert!(matches!(command("--check tcp"), Ok(Command::Check(config)) if config.filter.text() == "tcp"));
    for (arguments, expected) in [
        ("-d tcp", Form::Classic),
        ("-dd tcp", Form::C),
        ("-d -d tcp", Form::C),
        ("-ddd", Form::Numbers),
        ("-d --ebpf tcp", Form::Ebpf),
    ] {
        assert!(matches!(command(arguments), Ok(Command::Dump(_, form)) if form == expected), "{arguments}");
    }
    assert_eq!(command("--ebpf tcp").unwrap_err(), ConfigError::EbpfOfNothing);
    assert_eq!(command("-d --ebpf -r x tcp").unwrap_err(), ConfigError::EbpfOfFile);
    assert_eq!(command("--check --port 80 tcp").unwrap_err(), ConfigError::CheckOfPorts);
}

/// As getopt(3) has it: an option may come again, and the last one counts.
#[test]
fn the_last_of_an_option_counts() {
    let text = config("-e -e -q -q -S -S -## -K -K -l -U --nano --nano --micro").unwrap().text;
    assert!(text.link_header && text.quieter && text.absolute_sequence && text.number && text.skip_checksums);
    for (arguments, nanoseconds) in [
        ("--micro --nano", true),
        ("--nano --micro", false),
        ("--nano --time-stamp-precision=micro", false),
        ("--micro --time-stamp-precision nanosecond", true),
        ("--time-stamp-precision nano --micro", false),
    ] {
        assert_eq!(config(arguments).unwrap().text.nanoseconds, nanoseconds, "{arguments}");
    }
    assert_eq!(config("-c 1 -c 2").unwrap().count, Some(2));
    assert_eq!(live("-i lo -s 60 -s 70 -B 1 -B 2").snaplen, 70);
    let file = config("-r a -r b -i lo -B 4096 --hook xdp --hook tc").unwrap().source;
    assert!(matches!(file, Source::File(file) if file.path == Path::new("b")));
    let cli = Cli::read(["capture", "-r", "x", "-D", "tcp"].map(OsString::from)).unwrap();
    assert!(
        matches!(Command::new(cli, &mut NoNames), Ok(Command::ListInterfaces(namespaces)) if namespaces.is_empty())
    );
}

#[test]
fn what_scripts_pass_is_accepted() {
    for flag in ["-U", "--packet-buffered", "--packet-buf"] {
        assert!(config(flag).unwrap().line_buffered, "{flag}");
    }
    let config = config("-a -b -H -u -O --no-optimize --print -p --imm -N -r x --count").unwrap();
    assert!(config.no_domain && config.count_only);
}

/// As in tcpdump, what is written to a file is not printed, unless `--print` asks for it.
#[test]
fn packets_go_where_the_command_line_says() {
    let outputs = |arguments: &str| config(arguments).unwrap().outputs;
    let to = |path: &str, format| OutputSpec {
        format,
        path: path.into(),
        is_unbuffered: false,
        rules: FileRules::default(),
        command: None,
    };
    let (pcap, pcapng, json) = (&pcap::FORMAT, &pcapng::FORMAT, &json::FORMAT);
    for (arguments, text, others) in [
        ("", true, vec![]),
        ("--print", true, vec![]),
        ("-w x.pcap", false, vec![to("x.pcap", pcap)]),
        ("-w x.pcapng", false, vec![to("x.pcapng", pcapng)]),
        ("-w x.pcapng --format pcap", false, vec![to("x.pcapng", pcap)]),
        ("-w - --format pcapng", false, vec![to("-", pcapng)]),
        ("-w /dev/stdout", false, vec![to("-", pcap)]),
        ("-w //dev/fd//1", false, vec![to("-", pcap)]),
        ("--json=/proc/self/fd/1", false, vec![to("-", json)]),
        ("-w x --print", true, vec![to("x", pcap)]),
        ("--json", false, vec![to("-", json)]),
        ("--json -w x", false, vec![to("x", pcap), to("-", json)]),
        ("--json=y --print", true, vec![to("y", json)]),
    ] {
        assert_eq!(outputs(arguments), Outputs { text, others }, "{arguments}");
    }
    for (arguments, unbuffered) in [
        ("-U -w x", vec![true]),
        ("-l -w x --json", vec![false, true]),
        ("-U -w x --json", vec![true, false]),
        ("-U --json", vec![true]),
    ] {
        let is_unbuffered = |output: &OutputSpec| output.is_unbuffered;
        assert_eq!(outputs(arguments).others.iter().map(is_unbuffered).collect::<Vec<_>>(), unbuffered);
    }
    // An expression is no file.
    assert_eq!(config("--json tcp port 80").unwrap().filter.to_string(), "tcp port 80");
}

/// A file has whole packets, unless less is asked for.
#[test]
fn a_file_has_whole_packets() {
    for (arguments, snaplen) in [
        ("-w x", MAX_SNAPLEN),
        ("-w x -s 96", 96),
        ("-w x --headers", 0),
        ("-w x -s 96 --headers", 0),
        ("-w x --headers -s 96", 96),
        ("--json", 0),
        ("--json -v", 0),
        ("--json=x --print -v", MAX_SNAPLEN),
    ] {
        assert_eq!(live(arguments).snaplen, snaplen, "{arguments}");
    }
}

#[test]
fn payload_has_a_larger_buffer() {
    const MIB: usize = 1 << 20;
    for (arguments, size) in [
        ("", 32 * MIB),
        ("-w x --headers", 32 * MIB),
        ("-w x", 64 * MIB),
        ("-v", 64 * MIB),
        ("-w x -B 100", 100 << 10),
    ] {
        assert_eq!(live(arguments).buffer_size, size, "{arguments}");
    }
}

#[test]
fn flags_that_there_are_not_are_named() {
    for (flag, expected) in [
        ("-k", "no such option: -k (see capture --help)\n"),
        ("-V", "no such option: -V (see capture --help)\n"),
        ("-Jin", "no such option: -J (see capture --help)\n"),
        ("--prot", "no such option: --prot; did you mean --port?\n"),
    ] {
        let error = Cli::read(["capture", flag, "in"].map(OsString::from)).unwrap_err();
        assert_eq!(error.to_string(), format!("error: {expected}"));
        assert_eq!(error.exit_code(), 2);
    }
}

/// As for getopt(3): the next word is the option's value, whatever it begins with, also `--`.
#[test]
fn values_may_begin_with_a_hyphen() {
    let words = |words: &[&str]| {
        let words = ["capture"].iter().chain(words).map(OsString::from).collect::<Vec<_>>();
        Cli::read(words)
    };
    let mut options = 0;
    for argument in Cli::command().get_arguments() {
        if argument.is_positional() || !argument.get_action().takes_values() {
            continue;
        }
        // Its value, if it has one, is in the same word.
        if argument.get_num_args().is_some_and(|count| count.min_values() == 0) {
            continue;
        }
        let short = argument.get_short().map(|short| format!("-{short}"));
        let long = argument.get_long().map(|long| format!("--{long}"));
        for option in short.iter().chain(&long) {
            for value in ["-x", "-", "--", "--nano", "-1"] {
                let together = if option.starts_with("--") {
                    format!("{option}={value}")
                } else {
                    format!("{option}{value}")
                };
                for words in
                    [words(&[option, value]), words(&["-n", option, value, "-e"]), words(&[&together])]
                {
                    // Either the value is taken, or it is the value that is refused.
                    if let Err(error) = words {
                        let error = error.to_string();
                        let named = [format!("invalid value {value}: "), format!("`{value}` is not a ")];
                        let missing = value == "-" && error.contains("a port is missing");
                        assert!(
                            missing || named.iter().any(|named| error.contains(named)),
                            "{option} {value}: {error}"
                        );
                    }
                }
                options += 1;
            }
        }
    }
    assert!(options >= 5 * 10, "{options}");
    let cli = words(&["-i", "-x", "-r", "--", "-c", "-e", "-e"]).unwrap();
    assert_eq!((cli.interfaces, cli.read), (vec!["-x".into()], Some("--".into())));
    assert_eq!((cli.count.as_deref(), cli.link_header), (Some("-e"), true));
}

/// One sentence says what is wrong with a command line.
#[test]
fn wrong_values_are_answered_in_one_sentence() {
    for (words, expected) in [
        (&["-r"][..], "a value is missing: -r <FILE>"),
        (&["-n", "--interface"], "a value is missing: --interface <INTERFACE>"),
        (&["--hook"], "a value is missing: --hook <HOOK> takes auto, tc, xdp, xdp-native or xdp-generic"),
        (&["-Q", ""], "a value is missing: --direction <DIRECTION> takes in, out or inout"),
        (&["--log-level=-"], "invalid value -: --log-level <LEVEL> takes off, info, debug or trace"),
        (
            &["--time-stamp-precision", "-1"],
            "invalid value for --time-stamp-precision <PRECISION>: `-1` is not a precision: give micro or nano",
        ),
        (&["--count=3"], "--count takes no value"),
    ] {
        let words = ["capture"].iter().chain(words).map(OsString::from).collect::<Vec<_>>();
        let error = Cli::read(words).unwrap_err();
        assert_eq!(error.to_string(), format!("error: {expected}\n"));
        assert_eq!(error.exit_code(), 2);
    }
    let number = OsString::from_vec(vec![0xff]);
    let error = Cli::read(["capture".into(), "-c".into(), number]).unwrap_err();
    assert_eq!(error.to_string(), "error: a number or a name on the command line is not UTF-8\n");
}

/// File names are bytes.
#[test]
fn names_need_not_be_utf8() {
    let name = OsStr::from_bytes(b"a\xff");
    let cli = Cli::read([OsStr::new("capture"), OsStr::new("-r"), name].map(OsString::from)).unwrap();
    let Ok(Command::Print(config)) = Command::new(cli, &mut NoNames) else { panic!("a command") };
    assert!(matches!(config.source, Source::File(file) if file.path == name));
}

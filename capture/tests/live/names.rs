//! `--resolve` with files of the machine that are not as they should be, next to tcpdump without `-n`.

use std::{
    path::Path,
    process::{Command, Output},
};

use nix::mount::{MsFlags, mount};

use crate::namespace::Namespace;

const CAPTURE: &str = env!("CARGO_BIN_EXE_capture");

/// Among others, it has the ports 1, 8000, 8100 and 8888, and the addresses 10.0.0.1 and 10.0.0.2.
const PORTS: &str = "port.pcap";

/// Prints a file.
fn print(namespace: &Namespace, program: &'static str, file: &str, flags: &'static str) -> Output {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let mut command = Command::new(program);
    command.args(["-t", "-r"]).arg(file).args(flags.split_whitespace()).arg("tcp");
    let output = namespace.run(move || command.output());
    let output = output.expect("it starts");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Whatever stands in the files: what is wrong with a line costs no other line its name.
#[test]
#[ignore = "needs root"]
fn bytes_that_are_not_text() {
    let long = [b"# ".to_vec(), vec![b'x'; 300_000], b"\n".to_vec()].concat();
    let services = |comment: &[u8], end: &str| {
        let mut file = comment.to_vec();
        for line in [
            "tcpmux 1/tcp",
            "first 8888/tcp alias # comment",
            "second 8888/tcp",
            "whois++\t8000/tcp",
            "  udp 8100/udp",
        ] {
            file.extend_from_slice(line.as_bytes());
            file.extend_from_slice(end.as_bytes());
        }
        file
    };
    let hosts = |comment: &[u8], end: &str| {
        let mut file = comment.to_vec();
        for line in ["10.0.0.1 one.example.net one", "10.0.0.2\ttwo"] {
            file.extend_from_slice(line.as_bytes());
            file.extend_from_slice(end.as_bytes());
        }
        file
    };
    for (name, comment, end) in [
        ("plain", &b""[..], "\n"),
        ("Latin-1", b"# caf\xe9\n", "\n"),
        ("no text at all", b"\xff\xfe\x80\n", "\n"),
        ("another system's line ends", b"# comment\r\n", "\r\n"),
        ("a long line", &long, "\n"),
        ("without a last newline", b"\n\n", "\n\n"),
    ] {
        let namespace = Namespace::new();
        let files = [
            ("/etc/services", services(comment, end)),
            ("/etc/hosts", hosts(comment, end)),
            ("/etc/nsswitch.conf", b"hosts: files\nservices: files\n".to_vec()),
        ];
        namespace.with_files_of_its_own(&files);
        let capture = print(&namespace, CAPTURE, PORTS, "--resolve");
        let tcpdump = print(&namespace, "tcpdump", PORTS, "");
        let text = String::from_utf8_lossy(&capture.stdout);
        assert_eq!(text, String::from_utf8_lossy(&tcpdump.stdout), "{name}");
        for line in
            ["one.example.net.first > two.tcpmux: ", "one.example.net.whois++ > two.tcpmux: ", "two.8100: "]
        {
            assert!(text.contains(line), "{name}: {line} is not in: {text}");
        }
        let said = String::from_utf8_lossy(&capture.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// Names in all kinds of lines.
#[test]
#[ignore = "needs root"]
fn all_that_has_a_name() {
    let namespace = Namespace::new();
    namespace.with_files_of_its_own(&[
        ("/etc/services", "search 40000/tcp\nfirst 8888/tcp\n"),
        ("/etc/hosts", "10.0.0.1 one.example.net\n2001:db8::1 six.example.net\nfe80::1 link\n"),
        ("/etc/nsswitch.conf", "hosts: files\nservices: files\nprotocols: files\n"),
        // tcpdump has its own names of protocols.
        ("/etc/protocols", "other 6 OTHER\n"),
    ]);
    let mut named = 0;
    for file in [PORTS, "ipv4.pcap", "ipv6.pcap", "ipv6-addresses.pcap", "options.pcap", "link-sll2.pcap"] {
        for (ours, theirs) in [
            ("--resolve", ""),
            ("--resolve -v", "-v"),
            ("--resolve -vvv -X", "-vvv -X"),
            ("--resolve -q", "-q"),
            ("--resolve -qq", "-qq"),
            ("--resolve -N -S", "-N -S"),
        ] {
            let capture = print(&namespace, CAPTURE, file, ours).stdout;
            let tcpdump = print(&namespace, "tcpdump", file, theirs).stdout;
            let [capture, tcpdump] = [capture, tcpdump].map(|text| String::from_utf8(text).expect("ASCII"));
            assert_eq!(capture, tcpdump, "{file} {ours}");
            named += capture.matches(".first").count() + capture.matches(": tcp\n").count();
        }
    }
    assert!(named > 100, "{named}");
}

/// A small system may have no such files: then there are numbers, and capture says why.
#[test]
#[ignore = "needs root"]
fn a_system_without_services() {
    const NOTHING: Option<&str> = None;
    let namespace = Namespace::new();
    let numbers = print(&namespace, "tcpdump", PORTS, "-n");
    let none: [(&str, &str); 0] = [];
    namespace.with_files_of_its_own(&none);
    let empty = namespace.run(|| mount(Some("tmpfs"), "/etc", Some("tmpfs"), MsFlags::empty(), NOTHING));
    empty.expect("an empty folder");
    let capture = print(&namespace, CAPTURE, PORTS, "--resolve");
    // Only the protocol of a later fragment has a name of tcpdump's own.
    let numbers = String::from_utf8_lossy(&numbers.stdout).replace(": ip-proto-6\n", ": tcp\n");
    assert_eq!(String::from_utf8_lossy(&capture.stdout), numbers);
    let said = String::from_utf8_lossy(&capture.stderr);
    let expected = "\ncapture: /etc/services: No such file or directory: ports are printed as numbers\n";
    assert!(said.contains(expected), "{said}");
}

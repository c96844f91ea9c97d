//! The SSH session that a capture is looked at through. Where it runs over the captured interface, every line that is
//! printed makes packets, which are printed, and so on.

use std::{
    env, fs,
    io::{self, Read as _},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
};

use capture_common::headers::{ethernet, ipv4, ipv6, tcp};
use capture_filter::{interpret::Frame, target::Way};
use capture_packet::{LinkType, tcp::flag};
use nix::sys::stat::{SFlag, fstat};

use super::compiled::Compiled;
use crate::{
    filter::Filter,
    kernel::{Interface, route::leaves_through},
};

/// What sshd(8) sets: the client's address and port, then the server's.
const VARIABLE: &str = "SSH_CONNECTION";
/// How much of a process's environment is read, in bytes: execve(2) takes 6 MiB for arguments and environment together.
const ENVIRONMENT_LIMIT: u64 = 8 << 20;
/// How many ancestors are looked at: more than there are in practice.
const MOST_ANCESTORS: usize = 64;

/// The two ends of the connection of an SSH session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SshConnection {
    /// The end that somebody looks at.
    pub(super) client: SocketAddr,
    /// This machine.
    pub(super) server: SocketAddr,
}

impl SshConnection {
    /// That of this process, or of the nearest ancestor that has one: sudo(8) takes the variable away.
    pub(super) fn find() -> Option<Self> {
        if let Some(found) = env::var(VARIABLE).ok().and_then(|value| Self::parse(&value)) {
            return Some(found);
        }
        let mut process = parent_of("self")?;
        for _ in 0..MOST_ANCESTORS {
            if let Some(found) = variable_of(&process).and_then(|value| Self::parse(&value)) {
                return Some(found);
            }
            process = parent_of(&process)?;
        }
        None
    }

    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let mut end = || -> Option<SocketAddr> {
            // A link-local address has its zone with it.
            let address: IpAddr = words.next()?.split('%').next()?.parse().ok()?;
            Some(SocketAddr::new(address.to_canonical(), words.next()?.parse().ok()?))
        };
        Some(Self { client: end()?, server: end()? })
    }

    /// The expression that selects its packets.
    fn expression(self) -> String {
        format!("host {} and tcp port {}", self.client.ip(), self.client.port())
    }

    /// A packet of it that goes this way, seen from the server.
    fn frame(self, way: Way, link_type: LinkType) -> Vec<u8> {
        let (from, to) = match way {
            Way::Out => (self.server, self.client),
            Way::In => (self.client, self.server),
        };
        let mut segment = [0; tcp::MIN_LENGTH];
        segment[..2].copy_from_slice(&from.port().to_be_bytes());
        segment[2..4].copy_from_slice(&to.port().to_be_bytes());
        segment[tcp::DATA_OFFSET] = 0x50;
        segment[tcp::DATA_OFFSET + 1] = flag::ACK | flag::PSH;
        let (ethertype, header) = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = vec![0; 12];
                header[ipv4::VERSION_IHL] = 0x45;
                header[ipv4::PROTOCOL] = tcp::PROTOCOL;
                header.extend(from.octets().into_iter().chain(to.octets()));
                (ethernet::TYPE_IPV4, header)
            }
            (from, to) => {
                let mut header = vec![0; 8];
                header[0] = 0x60;
                header[ipv6::NEXT_HEADER] = tcp::PROTOCOL;
                for address in [from, to] {
                    match address {
                        IpAddr::V4(address) => header.extend(address.to_ipv6_mapped().octets()),
                        IpAddr::V6(address) => header.extend(address.octets()),
                    }
                }
                (ethernet::TYPE_IPV6, header)
            }
        };
        let mut frame = Vec::new();
        if link_type == LinkType::Ethernet {
            frame.resize(ethernet::TYPE, 0);
            frame.extend(ethertype.to_be_bytes());
        }
        frame.extend(header);
        frame.extend(segment);
        frame
    }
}

/// What there is to say where a capture prints its own output: the connection of this SSH session runs over the captured
/// interface, and the filter selects it.
pub(super) fn feedback(
    interface: &Interface,
    link_type: LinkType,
    filter: &Filter,
    compiled: &Compiled,
) -> Option<String> {
    /// A line in an encrypted packet, as far as an expression may ask for its length.
    const WIRE_LEN: u32 = 250;

    let connection = SshConnection::find()?;
    if stays_here() || !leaves_through(connection.client.ip(), interface.index).unwrap_or(false) {
        return None;
    }
    // Also the acknowledgments of what is printed are packets.
    let is_captured = [Way::Out, Way::In].into_iter().any(|way| {
        let data = connection.frame(way, link_type);
        let frame = Frame { data: &data, wire_len: WIRE_LEN, ifindex: interface.index, tag: None };
        // On loopback, what goes out comes in.
        let seen = if interface.is_loopback() { Way::In } else { way };
        compiled.matches(seen, &frame)
    });
    if !is_captured {
        return None;
    }
    let (client, own) = (connection.client, connection.expression());
    Some(format!(
        "what this capture prints leaves through {interface} (SSH to {}, port {}) and is captured there, too; to leave it \
         out{}",
        client.ip(),
        client.port(),
        without(filter.text().trim(), &own),
    ))
}

/// The expression that selects the same but what `own` selects: as a whole, or what is to be added to a long one.
fn without(text: &str, own: &str) -> String {
    /// In characters: a few lines of a terminal.
    const LONG: usize = 200;

    if text.is_empty() {
        format!(": 'not ({own})'")
    } else if text.chars().count() <= LONG {
        format!(": '({text}) and not ({own})'")
    } else {
        format!(", put the expression in parentheses and append: 'and not ({own})'")
    }
}

/// Whether standard output is a file or a device such as /dev/null, so that what is written there makes no packets. A pipe
/// most often leads to somebody who looks at it.
fn stays_here() -> bool {
    let Ok(stat) = fstat(io::stdout().as_fd()) else { return true };
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    match kind {
        SFlag::S_IFREG => true,
        SFlag::S_IFCHR => !io::IsTerminal::is_terminal(&io::stdout()),
        _ => false,
    }
}

/// The parent of a process, unless that is the kernel (proc_pid_stat(5)).
fn parent_of(process: &str) -> Option<String> {
    let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    // The name, which is in parentheses, may have any characters in it; state and parent follow.
    let (_, after) = stat.rsplit_once(')')?;
    let parent = after.split_ascii_whitespace().nth(1)?;
    (parent != "0").then(|| parent.to_owned())
}

/// The variable in the environment that a process was started with, if this process may read that.
fn variable_of(process: &str) -> Option<String> {
    let file = fs::File::open(format!("/proc/{process}/environ")).ok()?;
    let mut environment = Vec::new();
    file.take(ENVIRONMENT_LIMIT).read_to_end(&mut environment).ok()?;
    let found = environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(VARIABLE.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")));
    found.map(|value| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use capture_filter::{
        names::NoNames,
        target::{Link, Place, Target},
    };

    use super::*;

    #[test]
    fn a_connection_has_two_ends() {
        let parse = SshConnection::parse;
        let found = parse("192.0.2.7 52144 10.0.0.1 22").unwrap();
        assert_eq!(found.client, "192.0.2.7:52144".parse().unwrap());
        assert_eq!(found.server, "10.0.0.1:22".parse().unwrap());
        assert_eq!(found.expression(), "host 192.0.2.7 and tcp port 52144");
        let found = parse("fe80::1%eth0 52144 ::ffff:10.0.0.1 22").unwrap();
        assert_eq!(found.expression(), "host fe80::1 and tcp port 52144");
        assert_eq!(found.server, "10.0.0.1:22".parse().unwrap());
        for value in ["", "UNKNOWN", "192.0.2.7 52144 10.0.0.1", "192.0.2.7 70000 10.0.0.1 22", "a 1 b 2"] {
            assert_eq!(parse(value), None, "{value}");
        }
    }

    #[test]
    fn a_long_expression_is_not_repeated() {
        let own = "host 192.0.2.7 and tcp port 52144";
        assert_eq!(without("", own), format!(": 'not ({own})'"));
        assert_eq!(without("tcp or udp", own), format!(": '(tcp or udp) and not ({own})'"));
        let hosts = (1..200).map(|number| format!("host 10.0.0.{number}")).collect::<Vec<_>>().join(" or ");
        let expected = format!(", put the expression in parentheses and append: 'and not ({own})'");
        assert_eq!(without(&hosts, own), expected);
    }

    #[test]
    fn processes_have_parents_up_to_the_first() {
        assert_eq!(parent_of("self"), Some(std::os::unix::process::parent_id().to_string()));
        assert_eq!(parent_of("1"), None);
        assert_eq!(parent_of("0"), None);
    }

    #[test]
    fn a_packet_of_the_session_is_selected_by_its_expression() {
        for value in ["192.0.2.7 52144 10.0.0.1 22", "2001:db8::7 52144 2001:db8::1 22"] {
            let connection = SshConnection::parse(value).unwrap();
            for link_type in [LinkType::Ethernet, LinkType::Raw] {
                let selects = |expression: String| {
                    let filter = Filter::new(&[], expression, &mut NoNames).unwrap();
                    let link = if link_type == LinkType::Ethernet { Link::Ethernet } else { Link::Raw };
                    let target = Target { link, place: Place::Tc(Way::Out), only_tcp: true };
                    let data = connection.frame(Way::Out, link_type);
                    let frame = Frame { data: &data, wire_len: 250, ..Frame::default() };
                    filter.program(&target).unwrap().matches(&frame)
                };
                assert!(selects(connection.expression()));
                assert!(selects(format!("tcp src port 22 and dst {}", connection.client.ip())));
                assert!(!selects(format!("not ({})", connection.expression())));
                assert!(!selects("not port 22".to_owned()));
            }
        }
    }
}

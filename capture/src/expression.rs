//! The part of tcpdump's filter language (pcap-filter(7)) that selects TCP by its ports, so that `capture` can stand
//! where `tcpdump` stood in a command line.
//!
//! ```text
//! expression = "tcp" | "tcp" and ports | "tcp" and "(" ports { or ( ports | number ) } ")"
//!            | "tcp" ports { or ( "tcp" ports | number ) }
//! ports      = "port" number | "portrange" number [ "-" number ]
//! ```
//!
//! A number alone has what stood before the last one, as in `tcp port 80 or 443`. What would select more than TCP
//! (`port 80`) or less than both directions (`tcp dst port 80`) is no part of it, and neither is what mixes `and` with
//! `or`: they are equally strong in tcpdump's language, which few people expect.

use crate::ports::PortList;

/// The ports that an expression selects; none for every TCP packet. `None` if it is not understood.
pub fn ports(expression: &str) -> Option<Vec<PortList>> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    match words.as_slice() {
        ["tcp"] => Some(Vec::new()),
        ["tcp", "and" | "&&", "(", inner @ .., ")"] => alternatives(inner, &[]),
        ["tcp", "and" | "&&", inner @ ..] if !inner.contains(&"or") && !inner.contains(&"||") => {
            alternatives(inner, &[])
        }
        words => alternatives(words, &["tcp"]),
    }
}

/// What is joined by `or`, each with `prefix` in front of it.
fn alternatives(words: &[&str], prefix: &[&str]) -> Option<Vec<PortList>> {
    let mut qualifier = None;
    let alternatives = words.split(|word| matches!(*word, "or" | "||"));
    let lists = alternatives.map(|words| {
        let number = match (words.strip_prefix(prefix), qualifier) {
            (Some([first @ ("port" | "portrange"), number]), _) => {
                qualifier = Some(*first);
                *number
            }
            (_, Some(_)) => match words {
                [number] => *number,
                _ => return None,
            },
            _ => return None,
        };
        let fits = match number.contains('-') {
            true => qualifier == Some("portrange"),
            // In tcpdump's language a number that begins with 0 is octal; in a range it is not.
            false => number == "0" || !number.starts_with('0'),
        };
        number.parse().ok().filter(|_| fits && !number.contains(','))
    });
    lists.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_by_its_ports_is_understood() {
        for (expression, expected) in [
            ("tcp", &[][..]),
            (" tcp  port 8888", &["8888"]),
            ("tcp port 80 or tcp port 443", &["80", "443"]),
            ("tcp port 80 || 443 or 8080", &["80", "443", "8080"]),
            ("tcp portrange 8000-8100 or tcp port 1", &["8000-8100", "1"]),
            ("tcp portrange 8000-8100 or 9000-9001", &["8000-8100", "9000-9001"]),
            ("tcp portrange 8000", &["8000"]),
            ("tcp portrange 010-020 or tcp port 0", &["10-20", "0"]),
            ("tcp and port 8888", &["8888"]),
            ("tcp && portrange 1-2", &["1-2"]),
            ("tcp and (port 80 or port 443)", &["80", "443"]),
            ("tcp and ( port 80 or 443 )", &["80", "443"]),
        ] {
            let expected: Vec<PortList> = expected.iter().map(|list| list.parse().unwrap()).collect();
            assert_eq!(ports(expression), Some(expected), "{expression}");
        }
    }

    #[test]
    fn what_means_something_else_is_not() {
        for expression in [
            "",
            "port 80",
            "tcp port",
            "tcp port http",
            "tcp port 80,443",
            "tcp port 80-90",
            "tcp port 65536",
            "tcp port 0100",
            "tcp portrange 010",
            "tcp port 9 or 010",
            "tcp portrange 9-8",
            "tcp dst port 80",
            "tcp port 80 or port 443",
            "tcp port 80 or",
            "or tcp port 80",
            "tcp port 80 and 443",
            "tcp or tcp port 80",
            "tcp and port 80 or port 443",
            "tcp and port 80 or tcp and port 443",
            "tcp and (port 80) or udp",
            "tcp and (tcp port 80)",
            "tcp and ()",
            "(tcp port 80)",
            "not tcp port 80",
            "host 10.0.0.1",
        ] {
            assert_eq!(ports(expression), None, "{expression}");
        }
    }
}

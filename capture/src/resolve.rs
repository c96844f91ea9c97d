//! Names for addresses and ports, for `--resolve`: asked for by a thread of its own, and kept.
//!
//! A name that is not known yet holds up a line for no longer than the patience the resolver was given, and lines
//! together for no longer than that in each [`WINDOW`]; then the line has the number, and later lines the name.

use std::{
    collections::HashMap,
    fs, io,
    net::IpAddr,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use crate::text::names::Names;

/// Addresses whose names are kept. When there are more, all are forgotten and asked for again.
const LIMIT: usize = 1 << 16;
/// Questions that wait for an answer at most.
const QUESTIONS: usize = 1024;
/// How often lines may be held up.
const WINDOW: Duration = Duration::from_millis(100);
/// Where the names of ports are from.
const SERVICES: &str = "/etc/services";

/// The resolver.
#[derive(Debug)]
pub struct Resolver {
    services: HashMap<u16, String>,
    /// `None` for an address without a name, or whose name has been asked for.
    hosts: HashMap<IpAddr, Option<String>>,
    questions: SyncSender<IpAddr>,
    answers: Receiver<(IpAddr, Option<String>)>,
    patience: Duration,
    /// Until when lines may be held up, and from when on again.
    deadline: Instant,
    window: Instant,
}

impl Resolver {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn new(patience: Duration) -> io::Result<Self> {
        let (questions, queue) = sync_channel::<IpAddr>(QUESTIONS);
        let (replies, answers) = channel();
        thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            for address in queue {
                if replies.send((address, look_up(address))).is_err() {
                    break;
                }
            }
        })?;
        let now = Instant::now();
        let services = services(&fs::read_to_string(SERVICES).unwrap_or_default());
        Ok(Self { services, hosts: HashMap::new(), questions, answers, patience, deadline: now, window: now })
    }

    fn keep_answers(&mut self) {
        while let Ok((address, name)) = self.answers.try_recv() {
            self.hosts.insert(address, name);
        }
    }

    /// Asks for a name and waits for it, as long as that is allowed now.
    fn ask(&mut self, address: IpAddr) {
        // Where too many questions are open, this one is asked when the address is seen again.
        if self.questions.try_send(address).is_err() {
            return;
        }
        if self.hosts.len() >= LIMIT {
            self.hosts.clear();
        }
        self.hosts.insert(address, None);
        let mut now = Instant::now();
        if now >= self.window {
            self.deadline = now + self.patience;
            self.window = self.deadline + WINDOW;
        }
        while now < self.deadline {
            match self.answers.recv_timeout(self.deadline - now) {
                Ok((answered, name)) => {
                    self.hosts.insert(answered, name);
                    if answered == address {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
            now = Instant::now();
        }
    }
}

impl Names for Resolver {
    fn host(&mut self, address: IpAddr) -> Option<&str> {
        self.keep_answers();
        if !self.hosts.contains_key(&address) {
            self.ask(address);
        }
        self.hosts.get(&address)?.as_deref()
    }

    fn service(&self, port: u16) -> Option<&str> {
        self.services.get(&port).map(String::as_str)
    }
}

/// The name of an address, if it has one that can be printed.
fn look_up(address: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&address).ok()?;
    // Without a name the number comes back as text.
    (is_printable(&name) && name.parse::<IpAddr>().is_err()).then_some(name)
}

/// Whoever runs a name server can put anything into a name; nothing of it may control a terminal.
fn is_printable(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// The TCP services in the text of services(5). The first name of a port counts, as for getservbyport(3).
fn services(text: &str) -> HashMap<u16, String> {
    let mut services = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
        let Some(port) = port.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else { continue };
        if is_printable(name) {
            services.entry(port).or_insert_with(|| name.to_owned());
        }
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tcp_name_of_a_port_counts() {
        let text = "# services\nhttp 80/tcp www # web\nwww-old 80/tcp\ndomain 53/udp\nhttps\t443/tcp\nbad name/tcp\n";
        let services = services(text);
        assert_eq!(services.get(&80).map(String::as_str), Some("http"));
        assert_eq!(services.get(&443).map(String::as_str), Some("https"));
        assert_eq!(services.len(), 2);
    }

    #[test]
    fn names_that_could_control_a_terminal_are_none() {
        assert!(is_printable("db-1.example_net.com"));
        for name in ["", "a\x1b[31m", "a b", "ä", "a\n"] {
            assert!(!is_printable(name), "{name:?}");
        }
    }

    #[test]
    fn localhost_has_its_name_and_is_asked_for_once() {
        let mut resolver = Resolver::new(Duration::from_secs(30)).unwrap();
        let address = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(resolver.host(address), Some("localhost"));
        resolver.questions = sync_channel(0).0;
        assert_eq!(resolver.host(address), Some("localhost"));
    }

    #[test]
    fn without_patience_the_number_comes_first_and_the_name_later() {
        let mut resolver = Resolver::new(Duration::ZERO).unwrap();
        let address = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(resolver.host(address), None);
        let start = Instant::now();
        while resolver.host(address).is_none() {
            assert!(start.elapsed() < Duration::from_secs(30), "the answer never came");
            thread::yield_now();
        }
        assert_eq!(resolver.host(address), Some("localhost"));
    }
}

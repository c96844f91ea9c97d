//! Names for addresses and ports, for `--resolve`: asked for by a thread of its own, and kept.
//!
//! A name is asked for once. Until it is known it holds up a line for no longer than the [`Patience`] the resolver was
//! given; then the line has the number, and later lines the name.

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
/// How long lines are not held up after they have been.
const REST: Duration = Duration::from_millis(100);
/// Where the names of ports are from.
const SERVICES: &str = "/etc/services";

/// How long lines wait for names.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// So long for each name.
    Each(Duration),
    /// So long for all names together, and then not at all for [`REST`].
    Together(Duration),
}

/// The resolver.
#[derive(Debug)]
pub struct Resolver {
    services: HashMap<u16, String>,
    /// `None` for an address without a name, or whose name has been asked for.
    hosts: HashMap<IpAddr, Option<String>>,
    questions: SyncSender<IpAddr>,
    answers: Receiver<(IpAddr, Option<String>)>,
    patience: Patience,
    /// Until when lines may be held up, once one was.
    deadline: Option<Instant>,
}

impl Resolver {
    /// Starts the thread. With `no_domain`, names end before their first dot.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn new(patience: Patience, no_domain: bool) -> io::Result<Self> {
        Self::asking(patience, move |address| {
            let name = look_up(address)?;
            Some(if no_domain { without_domain(name) } else { name })
        })
    }

    /// As [`new`](Self::new), with somebody else to ask.
    fn asking(
        patience: Patience,
        mut look_up: impl FnMut(IpAddr) -> Option<String> + Send + 'static,
    ) -> io::Result<Self> {
        let (questions, queue) = sync_channel::<IpAddr>(QUESTIONS);
        let (replies, answers) = channel();
        thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            for address in queue {
                if replies.send((address, look_up(address))).is_err() {
                    break;
                }
            }
        })?;
        let services = services(&fs::read_to_string(SERVICES).unwrap_or_default());
        let hosts = HashMap::new();
        Ok(Self { services, hosts, questions, answers, patience, deadline: None })
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
        let deadline = match (self.patience, self.deadline) {
            (Patience::Together(_), Some(deadline)) if now < deadline + REST => deadline,
            (Patience::Together(patience) | Patience::Each(patience), _) => now + patience,
        };
        self.deadline = Some(deadline);
        while now < deadline {
            match self.answers.recv_timeout(deadline - now) {
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

/// What is before the first dot (addrtoname.c, `ipaddr_string`).
fn without_domain(mut name: String) -> String {
    if let Some(dot @ 1..) = name.find('.') {
        name.truncate(dot);
    }
    name
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
    use std::sync::mpsc::Sender;

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

    /// Longer than a test may take.
    const NEVER: Duration = Duration::from_secs(30);

    #[test]
    fn an_address_is_asked_for_once() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let named = move |asked| (asked == address).then(|| "localhost".to_owned());
        let mut resolver = Resolver::asking(Patience::Each(NEVER), named).unwrap();
        assert_eq!(resolver.host(address), Some("localhost"));
        resolver.questions = sync_channel(0).0;
        assert_eq!(resolver.host(address), Some("localhost"));
    }

    #[test]
    fn a_domain_is_left_out() {
        for (name, expected) in [("db1.example.net", "db1"), ("localhost", "localhost"), (".x", ".x")] {
            assert_eq!(without_domain(name.to_owned()), expected);
        }
    }

    /// A resolver whose questions are answered when the test says so, with the name `host`.
    fn blocked(patience: Patience) -> (Resolver, Sender<()>) {
        let (answer, told) = channel();
        let resolver = Resolver::asking(patience, move |_| told.recv().ok().map(|()| "host".to_owned()));
        (resolver.unwrap(), answer)
    }

    #[test]
    fn a_name_server_that_is_silent_does_not_stop_the_lines() {
        let address = IpAddr::from([10, 0, 0, 1]);
        let short = Duration::from_millis(1);
        for patience in [Patience::Each(short), Patience::Together(short), Patience::Together(Duration::ZERO)]
        {
            let (mut resolver, answer) = blocked(patience);
            // The question is still open, now and when the address comes again.
            assert_eq!(resolver.host(address), None);
            assert_eq!(resolver.host(address), None);
            answer.send(()).unwrap();
            let start = Instant::now();
            while resolver.host(address).is_none() {
                assert!(start.elapsed() < NEVER, "the answer never came");
                thread::yield_now();
            }
            assert_eq!(resolver.host(address), Some("host"));
        }
    }

    /// Where all names together may take their time, one that has taken too long leaves none for the next.
    #[test]
    fn lines_rest_from_waiting() {
        let [first, second] = [1, 2].map(|number| IpAddr::from([10, 0, 0, number]));
        let (mut resolver, _answer) = blocked(Patience::Together(Duration::from_millis(1)));
        assert_eq!(resolver.host(first), None);
        // The rest begins when the patience has ended; without it, this would wait for ever.
        resolver.deadline = Some(Instant::now());
        resolver.patience = Patience::Together(NEVER);
        assert_eq!(resolver.host(second), None);
    }

    /// Where each name may take its time, one that has taken too long does not cost the next one its name.
    #[test]
    fn patience_with_one_name_leaves_some_for_the_next() {
        let [first, second] = [1, 2].map(|number| IpAddr::from([10, 0, 0, number]));
        let (mut resolver, answer) = blocked(Patience::Each(Duration::from_millis(1)));
        assert_eq!(resolver.host(first), None);
        resolver.patience = Patience::Each(NEVER);
        answer.send(()).unwrap();
        answer.send(()).unwrap();
        assert_eq!(resolver.host(second), Some("host"));
    }
}

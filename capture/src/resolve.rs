//! Names for addresses and ports, for `--resolve`: asked for by a thread of its own, and kept.
//!
//! A name is asked for once. Until it is known it holds up a line for no longer than the [`Wait`] the resolver was
//! given; then the line has the number, and later lines the name.

use std::{
    collections::HashMap,
    fmt, io,
    net::IpAddr,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use capture_text::names::Names;

use crate::etc::{self, SERVICES};

/// Addresses whose names are kept. When there are more, all are forgotten and asked for again.
const LIMIT: usize = 1 << 16;
/// Questions that wait for an answer at most.
const QUESTIONS: usize = 1024;
/// How long lines are not held up after they have been.
const REST: Duration = Duration::from_millis(100);

/// How long lines wait for names.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// So long for each name.
    Each(Duration),
    /// So long for all names together, and then not at all for [`REST`].
    Together(Duration),
}

/// The resolver.
#[derive(Debug)]
pub struct Resolver {
    services: HashMap<u16, String>,
    services_error: Option<io::Error>,
    /// `None` for an address without a name, or whose name has been asked for.
    hosts: HashMap<IpAddr, Option<String>>,
    questions: SyncSender<IpAddr>,
    answers: Receiver<(IpAddr, Option<String>)>,
    wait: Wait,
    /// Until when lines may be held up, once one was.
    deadline: Option<Instant>,
}

/// What asks for names: a thread that is to be started.
pub struct LookUps(Box<dyn FnOnce() + Send>);

impl LookUps {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub fn start(self) -> io::Result<()> {
        thread::Builder::new().name("resolver".to_owned()).spawn(self.0).map(drop)
    }
}

impl fmt::Debug for LookUps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LookUps")
    }
}

impl Resolver {
    /// A resolver, and what answers its questions when it is started. With `no_domain`, names end before their first dot.
    pub fn new(wait: Wait, no_domain: bool) -> (Self, LookUps) {
        Self::asking(wait, move |address| {
            let name = look_up(address)?;
            Some(if no_domain { without_domain(name) } else { name })
        })
    }

    /// As [`new`](Self::new), with `look_up` instead of name servers.
    fn asking(
        wait: Wait,
        mut look_up: impl FnMut(IpAddr) -> Option<String> + Send + 'static,
    ) -> (Self, LookUps) {
        let (questions, queue) = sync_channel::<IpAddr>(QUESTIONS);
        let (replies, answers) = channel();
        let run = move || {
            for address in queue {
                if replies.send((address, look_up(address))).is_err() {
                    break;
                }
            }
        };
        let mut services = HashMap::new();
        let read = etc::entries(SERVICES, |entry| add_service(&mut services, entry));
        let hosts = HashMap::new();
        let services_error = read.err();
        let resolver = Self { services, services_error, hosts, questions, answers, wait, deadline: None };
        (resolver, LookUps(Box::new(run)))
    }

    /// Why [`SERVICES`] could not be read, or not to its end. The ports that are missing have no names.
    pub fn services_error(&self) -> Option<&io::Error> {
        self.services_error.as_ref()
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
        let deadline = match (self.wait, self.deadline) {
            (Wait::Together(_), Some(deadline)) if now < deadline + REST => deadline,
            (Wait::Together(patience) | Wait::Each(patience), _) => now + patience,
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

/// A name server can put anything into a name. None of it may control a terminal.
fn is_printable(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// Adds an entry of services(5), if it is a TCP service. The first name of a port counts, as for tcpdump (addrtoname.c,
/// `init_servarray`).
fn add_service(services: &mut HashMap<u16, String>, entry: &[&str]) {
    if let [name, port, ..] = entry
        && let Some(port) = port.strip_suffix("/tcp").and_then(|port| port.parse().ok())
        && !name.is_empty()
    {
        services.entry(port).or_insert_with(|| (*name).to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    #[test]
    fn the_first_tcp_name_of_a_port_counts() {
        let mut services = HashMap::new();
        for entry in [
            &["http", "80/tcp", "www"][..],
            &["www-old", "80/tcp"],
            &["domain", "53/udp"],
            &["https", "443/tcp"],
            &["bad", "name/tcp"],
            &["", "7/tcp"],
            &["alone"],
        ] {
            add_service(&mut services, entry);
        }
        let expected = [(80, "http"), (443, "https")].map(|(port, name)| (port, name.to_owned()));
        assert_eq!(services, HashMap::from(expected));
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
        let (mut resolver, look_ups) = Resolver::asking(Wait::Each(NEVER), named);
        look_ups.start().unwrap();
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
    fn blocked(wait: Wait) -> (Resolver, Sender<()>) {
        let (answer, answers) = channel();
        let look_up = move |_| answers.recv().ok().map(|()| "host".to_owned());
        let (resolver, look_ups) = Resolver::asking(wait, look_up);
        look_ups.start().unwrap();
        (resolver, answer)
    }

    #[test]
    fn a_name_server_that_is_silent_does_not_stop_the_lines() {
        let address = IpAddr::from([10, 0, 0, 1]);
        let short = Duration::from_millis(1);
        for wait in [Wait::Each(short), Wait::Together(short), Wait::Together(Duration::ZERO)] {
            let (mut resolver, answer) = blocked(wait);
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
        let (mut resolver, _answer) = blocked(Wait::Together(Duration::from_millis(1)));
        assert_eq!(resolver.host(first), None);
        // The rest begins when the patience has ended; without it, this would wait for ever.
        resolver.deadline = Some(Instant::now());
        resolver.wait = Wait::Together(NEVER);
        assert_eq!(resolver.host(second), None);
    }

    /// Where each name may take its time, one that has taken too long does not cost the next one its name.
    #[test]
    fn patience_with_one_name_leaves_some_for_the_next() {
        let [first, second] = [1, 2].map(|number| IpAddr::from([10, 0, 0, number]));
        let (mut resolver, answer) = blocked(Wait::Each(Duration::from_millis(1)));
        assert_eq!(resolver.host(first), None);
        resolver.wait = Wait::Each(NEVER);
        answer.send(()).unwrap();
        answer.send(()).unwrap();
        assert_eq!(resolver.host(second), Some("host"));
    }
}

//! Names for addresses and ports, for `--resolve`: asked for by a process of its own ([`helper`]), and kept.
//!
//! A name is asked for once. Until it is known it holds up a line for no longer than the [`Wait`] the resolver was
//! given; then the line has the number, and later lines the name.

mod helper;
pub mod message;

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use capture_text::names::Names;
use nix::poll::PollTimeout;

use self::{
    helper::Asking,
    message::{Answer, Question},
};
use crate::{
    etc::{self, SERVICES},
    process::channel::Broken,
};

pub use self::helper::{HelperError, end_with_parent};

/// Addresses whose names are kept. When there are more, all are forgotten and asked for again.
const LIMIT: usize = 1 << 16;
/// How long lines are not held up after they have been.
const REST: Duration = Duration::from_millis(100);
/// poll(2) waits for whole ones.
const MILLISECOND: Duration = Duration::from_millis(1);

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
    /// The helper, as long as it is of use.
    helper: Option<Asking>,
    wait: Wait,
    /// Until when lines may be held up, once one was.
    deadline: Option<Instant>,
}

impl Resolver {
    /// A resolver with a helper of its own: splits the process, which must have one thread. With `no_domain`, names end before
    /// their first dot. The helper gives up what it does not need with `confine`, which says what is left, in words; these are
    /// returned, too.
    ///
    /// # Errors
    ///
    /// When there is no helper.
    pub fn split(
        wait: Wait,
        no_domain: bool,
        confine: impl FnOnce() -> Result<String, String>,
    ) -> Result<(Self, String), HelperError> {
        let (helper, holds) = helper::split(no_domain, confine)?;
        Ok((Self::asking(wait, helper), holds))
    }

    fn asking(wait: Wait, helper: Asking) -> Self {
        let mut services = HashMap::new();
        let read = etc::entries(SERVICES, |entry| add_service(&mut services, entry));
        let (hosts, helper) = (HashMap::new(), Some(helper));
        Self { services, services_error: read.err(), hosts, helper, wait, deadline: None }
    }

    /// Why [`SERVICES`] could not be read, or not to its end. The ports that are missing have no names.
    pub fn services_error(&self) -> Option<&io::Error> {
        self.services_error.as_ref()
    }

    /// Keeps what the helper has answered. Returns the address of one answer, if there was any.
    fn keep_answer(&mut self) -> Option<IpAddr> {
        match self.helper.as_ref()?.next() {
            Ok(Some(Answer::Named(address, name))) => {
                // The helper is not believed, and neither are name servers.
                self.hosts.insert(address, name.filter(|name| is_printable(name)));
                Some(address)
            }
            Ok(None) => None,
            Ok(Some(Answer::Begun(_) | Answer::Refused(_))) | Err(_) => {
                self.helper = None;
                None
            }
        }
    }

    /// Asks for a name and waits for it, as long as that is allowed now.
    fn ask(&mut self, address: IpAddr) {
        match self.helper.as_ref().map(|helper| helper.offer(&Question(address))) {
            Some(Ok(true)) => {}
            // Where too many questions are open, this one is asked when the address is seen again.
            Some(Ok(false)) | None => return,
            Some(Err(_)) => {
                self.helper = None;
                return;
            }
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
            match self.keep_answer() {
                Some(answered) if answered == address => return,
                Some(_) => {}
                None if self.await_answer(deadline - now).is_err() => return,
                None => {}
            }
            now = Instant::now();
        }
    }

    fn await_answer(&self, patience: Duration) -> Result<bool, Broken> {
        let patience = PollTimeout::try_from(patience + MILLISECOND).unwrap_or(PollTimeout::MAX);
        self.helper.as_ref().ok_or(Broken::Closed)?.wait(patience)
    }
}

impl Names for Resolver {
    fn host(&mut self, address: IpAddr) -> Option<&str> {
        while self.keep_answer().is_some() {}
        if !self.hosts.contains_key(&address) {
            self.ask(address);
        }
        self.hosts.get(&address)?.as_deref()
    }

    fn service(&self, port: u16) -> Option<&str> {
        self.services.get(&port).map(String::as_str)
    }
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
    use std::{
        sync::mpsc::{Sender, channel},
        thread,
    };

    use super::*;
    use crate::process::channel::pair;

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
            let mut resolver = resolver(Wait::Each(NEVER), move |_| Some(name.to_owned()));
            assert_eq!(resolver.host(IpAddr::from([10, 0, 0, 1])), None);
        }
    }

    /// Longer than a test may take.
    const NEVER: Duration = Duration::from_secs(30);

    /// A resolver with `look_up` instead of name servers, in a thread instead of a process.
    fn resolver(wait: Wait, look_up: impl FnMut(IpAddr) -> Option<String> + Send + 'static) -> Resolver {
        let (asking, end) = pair().unwrap();
        thread::spawn(move || helper::serve(&end, false, look_up));
        Resolver::asking(wait, asking)
    }

    #[test]
    fn an_address_is_asked_for_once() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let named = move |asked| (asked == address).then(|| "localhost".to_owned());
        let mut resolver = resolver(Wait::Each(NEVER), named);
        assert_eq!(resolver.host(address), Some("localhost"));
        resolver.helper = None;
        assert_eq!(resolver.host(address), Some("localhost"));
    }

    /// Numbers are printed from then on, without a wait.
    #[test]
    fn a_helper_that_is_gone_is_not_waited_for() {
        let address = IpAddr::from([10, 0, 0, 1]);
        let (asking, end) = pair::<_, Answer>().unwrap();
        let mut resolver = Resolver::asking(Wait::Each(NEVER), asking);
        drop(end);
        assert_eq!(resolver.host(address), None);
        assert!(resolver.helper.is_none());
        let (asking, end) = pair().unwrap();
        let mut resolver = Resolver::asking(Wait::Each(NEVER), asking);
        end.say(&Answer::Begun(String::new())).unwrap();
        assert_eq!(resolver.host(address), None);
        assert!(resolver.helper.is_none());
    }

    /// What there is no room for is asked when the address comes again.
    #[test]
    fn many_open_questions_hold_nothing_up() {
        let (asking, _end) = pair::<_, Answer>().unwrap();
        let mut resolver = Resolver::asking(Wait::Together(Duration::ZERO), asking);
        let addresses =
            || (0..=u8::MAX).flat_map(|c| (0..=u8::MAX).map(move |d| IpAddr::from([10, 0, c, d])));
        assert!(addresses().all(|address| resolver.host(address).is_none()));
        assert!(resolver.hosts.len() < addresses().count());
        assert!(resolver.helper.is_some());
    }

    /// A resolver whose questions are answered when the test says so, with the name `host`.
    fn blocked(wait: Wait) -> (Resolver, Sender<()>) {
        let (answer, answers) = channel();
        let look_up = move |_| answers.recv().ok().map(|()| "host".to_owned());
        (resolver(wait, look_up), answer)
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

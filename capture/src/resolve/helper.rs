//! The helper that asks for names: a process with what the C library reads and calls for that, and nothing of what is
//! captured but the addresses. Who prints asks it ([`message`](super::message)), and does not wait for it longer than lines may.

use std::{io, net::IpAddr, os::fd::AsFd as _};

use nix::sys::{prctl, signal::Signal};

use super::message::{Answer, Question};
use crate::process::{
    Side,
    channel::{Broken, End, pair},
    close_others, fork,
};

/// The end of the process that asks.
pub(super) type Asking = End<Question, Answer>;

/// Why there is no helper.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The system's answer.
    #[error("cannot start the helper process, which asks for names: {0}")]
    Start(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Refused(String),
    /// It ended at once.
    #[error("lost the helper process that asks for names: {0}; start capture again")]
    Broken(#[from] Broken),
    /// It said something else first.
    #[error("the helper process, which asks for names, does not begin as it should; start capture again")]
    Early,
}

/// Splits the process: the child is the helper. To be called while the process has one thread. The child gives up what it
/// does not need with `confine`, which says what is left, in words. Returns the end to ask at, and these words.
///
/// # Errors
///
/// When the system has no more processes or descriptors, or does not let the child give something up.
pub(super) fn split(
    no_domain: bool,
    confine: impl FnOnce() -> Result<String, String>,
) -> Result<(Asking, String), HelperError> {
    let (asking, end) = pair()?;
    match fork()? {
        Side::Parent(_) => {}
        Side::Child(child) => child.live(c"capture-names", move || {
            close_others(std::iter::once(end.as_fd()));
            live(&end, no_domain, confine);
        }),
    }
    match asking.hear()? {
        Answer::Begun(holds) => Ok((asking, holds)),
        Answer::Refused(why) => Err(HelperError::Refused(why)),
        Answer::Named(..) => Err(HelperError::Early),
    }
}

/// The life of the helper.
fn live(end: &End<Answer, Question>, no_domain: bool, confine: impl FnOnce() -> Result<String, String>) {
    let begun = confine().map_or_else(Answer::Refused, Answer::Begun);
    let is_refused = matches!(begun, Answer::Refused(_));
    // The process that asked is gone, or sends nonsense.
    let _broken =
        end.say(&begun).and_then(|()| if is_refused { Ok(()) } else { serve(end, no_domain, look_up) });
}

/// Has the kernel end this process with the one that started it, also while a name server is waited for. To be called when
/// this process has become its user: before, the kernel forgets it then (prctl(2), PR_SET_PDEATHSIG).
///
/// # Errors
///
/// When the kernel refuses.
pub fn end_with_parent() -> io::Result<()> {
    Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
}

/// Answers questions, until nothing can come any more.
pub(super) fn serve(
    end: &End<Answer, Question>,
    no_domain: bool,
    mut look_up: impl FnMut(IpAddr) -> Option<String>,
) -> Result<(), Broken> {
    loop {
        let Question(address) = end.hear()?;
        let name = look_up(address);
        let name = if no_domain { name.map(without_domain) } else { name };
        end.say(&Answer::Named(address, name))?;
    }
}

/// The name of an address, if it has one.
fn look_up(address: IpAddr) -> Option<String> {
    // Without a name the number comes back as text.
    dns_lookup::lookup_addr(&address).ok().filter(|name| name.parse::<IpAddr>().is_err())
}

/// What is before the first dot (addrtoname.c, `ipaddr_string`).
fn without_domain(mut name: String) -> String {
    if let Some(dot @ 1..) = name.find('.') {
        name.truncate(dot);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_left_out() {
        for (name, expected) in [("db1.example.net", "db1"), ("localhost", "localhost"), (".x", ".x")] {
            assert_eq!(without_domain(name.to_owned()), expected);
        }
    }
}

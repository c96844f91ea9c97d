//! Interfaces that are wanted and not attached to, and why.

use super::super::interface::Interface;

/// One that is not attached to.
#[derive(Debug)]
struct Refusal {
    index: u32,
    name: String,
    /// What was said of it.
    why: String,
    /// Whether it is to be tried again.
    is_allowed: bool,
}

/// Those that are not attached to. Each is tried again when it comes up or gets another name, and when another interface
/// has gone; and what is said of it is said once.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Whether there is one of this interface.
    pub(super) fn has(&self, index: u32) -> bool {
        self.0.iter().any(|refusal| refusal.index == index)
    }

    /// Whether an interface is not to be tried now.
    pub(super) fn hold(&self, interface: &Interface) -> bool {
        let is_it = |refusal: &&Refusal| refusal.index == interface.index && refusal.name == interface.name;
        self.0.iter().find(is_it).is_some_and(|refusal| !refusal.is_allowed)
    }

    /// Adds one. Whether that is new, and to be said.
    pub(super) fn add(&mut self, interface: &Interface, why: &str) -> bool {
        let (index, name, why) = (interface.index, interface.name.clone(), why.to_owned());
        let is_new = !self.0.iter().any(|refusal| refusal.index == index && refusal.why == why);
        self.forget(index);
        self.0.push(Refusal { index, name, why, is_allowed: false });
        is_new
    }

    /// The interface is down: it may be tried again when it comes up.
    pub(super) fn allow_one(&mut self, index: u32) {
        self.0
            .iter_mut()
            .filter(|refusal| refusal.index == index)
            .for_each(|refusal| refusal.is_allowed = true);
    }

    /// The interface is gone, or attached to.
    pub(super) fn forget(&mut self, index: u32) {
        self.0.retain(|refusal| refusal.index != index);
    }

    /// All may be tried again. Whether there are any.
    pub(super) fn allow(&mut self) -> bool {
        self.0.iter_mut().for_each(|refusal| refusal.is_allowed = true);
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::link::Link, *};

    fn interface(name: &str, index: u32) -> Interface {
        Link { name: name.to_owned(), index, ..Link::default() }.into()
    }

    #[test]
    fn each_is_said_once_and_tried_again_when_that_can_help() {
        let mut refusals = Refusals::default();
        assert!(!refusals.allow() && !refusals.has(5));
        let e0 = interface("e0", 5);
        assert!(refusals.add(&e0, "full"));
        assert!(refusals.hold(&e0) && refusals.has(5));
        // Another one of its name, and itself with another name.
        assert!(!refusals.hold(&interface("e0", 6)) && !refusals.hold(&interface("e1", 5)));
        assert!(refusals.allow());
        assert!(!refusals.hold(&e0));
        assert!(!refusals.add(&e0, "full"));
        assert!(refusals.hold(&e0));
        refusals.allow_one(6);
        assert!(refusals.hold(&e0));
        refusals.allow_one(5);
        assert!(!refusals.hold(&e0));
        assert!(refusals.add(&e0, "too many open files"));
        let e1 = interface("e1", 5);
        assert!(!refusals.add(&e1, "too many open files"));
        assert!(refusals.hold(&e1));
        refusals.forget(5);
        assert!(!refusals.hold(&e0) && !refusals.allow());
    }
}

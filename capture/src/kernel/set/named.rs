//! Interfaces that are asked for by name, and which ones these are when they are attached to.

use std::collections::BTreeMap;

use super::super::{
    interface::{Disappeared, Interface, InterfaceError},
    watch::WatchError,
};

/// An interface that is asked for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub(super) name: String,
    /// Its index when it was looked for, if it was there.
    index: Option<u32>,
    /// Whether it is waited for where it is not there, or down.
    pub(super) is_awaited: bool,
}

impl Named {
    /// This one at the start, whatever it is called then. Where `is_awaited`, it may be gone or down by then.
    pub fn found(interface: &Interface, is_awaited: bool) -> Self {
        Self { name: interface.name.clone(), index: Some(interface.index), is_awaited }
    }

    /// One that is not there yet.
    pub fn missing(name: String) -> Self {
        Self { name, index: None, is_awaited: true }
    }

    /// Which of the interfaces it is; `None` while it has to be waited for.
    ///
    /// # Errors
    ///
    /// When it is gone or down, and it is not to be waited for.
    fn among<'a>(&self, all: &'a [Interface]) -> Result<Option<&'a Interface>, WatchError> {
        let found = all.iter().find(|interface| Some(interface.index) == self.index);
        if let Some(interface) = found.filter(|interface| interface.is_up()) {
            return Ok(Some(interface));
        }
        let called = all.iter().find(|interface| interface.name == self.name);
        if self.is_awaited {
            return Ok(called.filter(|interface| interface.is_up()));
        }
        let name = self.name.clone();
        Err(match (found, called) {
            (Some(interface), _) => WatchError::Down { name: interface.name.clone() },
            // Another one is called so now.
            (None, Some(_)) => Disappeared { name }.into(),
            (None, None) => {
                let have = Interface::some(all, &name);
                InterfaceError::NoSuchInterface { name, have }.into()
            }
        })
    }
}

/// Those of the interfaces that are asked for and are up, each once, by index.
///
/// # Errors
///
/// When one is gone or down, and it is not to be waited for.
pub(super) fn asked_for<'a>(
    names: &'a [Named],
    all: &'a [Interface],
) -> Result<impl Iterator<Item = (&'a Named, &'a Interface)> + use<'a>, WatchError> {
    let mut found = BTreeMap::new();
    for named in names {
        if let Some(interface) = named.among(all)? {
            found.entry(interface.index).or_insert((named, interface));
        }
    }
    Ok(found.into_values())
}

#[cfg(test)]
mod tests {
    use super::{super::super::link::Link, *};

    fn interface(name: &str, index: u32, is_up: bool) -> Interface {
        let flags = if is_up { libc::IFF_UP as u32 } else { 0 };
        Link { name: name.to_owned(), index, flags, ..Link::default() }.into()
    }

    /// `e0` and `e1`, found with the indices 5 and 6.
    fn names(is_awaited: bool) -> [Named; 2] {
        [("e0", 5), ("e1", 6)].map(|(name, index)| Named::found(&interface(name, index, true), is_awaited))
    }

    /// The indices of those that are attached to, or the error.
    fn attached(names: &[Named], all: &[(&str, u32, bool)]) -> Result<Vec<u32>, String> {
        let all: Vec<_> = all.iter().map(|(name, index, is_up)| interface(name, *index, *is_up)).collect();
        let found = asked_for(names, &all).map_err(|error| error.to_string())?;
        Ok(found.map(|(_, interface)| interface.index).collect())
    }

    #[test]
    fn what_was_found_is_meant_whatever_it_is_called() {
        for is_awaited in [false, true] {
            for all in [
                [("e0", 5, true), ("e1", 6, true), ("e2", 7, true)],
                [("e9", 5, true), ("e1", 6, true), ("e0", 7, true)],
                [("e1", 5, true), ("e0", 6, true), ("e2", 7, true)],
            ] {
                assert_eq!(attached(&names(is_awaited), &all), Ok(vec![5, 6]), "{all:?}");
            }
        }
    }

    #[test]
    fn one_that_is_gone_or_down_is_an_error_unless_it_is_waited_for() {
        let e1 = ("e1", 6, true);
        for (e0, error) in [
            (None, "cannot attach to e0: no such interface (have: e1)"),
            (Some(("e0", 7, true)), "e0 disappeared: the capture has ended"),
            (
                Some(("e0", 5, false)),
                "cannot capture on e0: the interface is down (bring it up with `ip link set e0 up`)",
            ),
            (
                Some(("e9", 5, false)),
                "cannot capture on e9: the interface is down (bring it up with `ip link set e9 up`)",
            ),
        ] {
            let all: Vec<_> = e0.into_iter().chain([e1]).collect();
            assert_eq!(attached(&names(false), &all), Err(error.to_owned()), "{all:?}");
            // It has the name, and is up.
            let new = (e0 == Some(("e0", 7, true))).then_some(7);
            let expected = [6].into_iter().chain(new).collect();
            assert_eq!(attached(&names(true), &all), Ok(expected), "{all:?}");
        }
    }

    #[test]
    fn one_that_was_missing_is_the_one_with_the_name() {
        let name = [Named::missing("e0".to_owned())];
        assert_eq!(attached(&name, &[("e1", 6, true)]), Ok(vec![]));
        assert_eq!(attached(&name, &[("e0", 7, false)]), Ok(vec![]));
        assert_eq!(attached(&name, &[("e0", 7, true)]), Ok(vec![7]));
        // Both names lead to one interface.
        let [_, found] = names(true);
        let [missing] = name;
        assert_eq!(attached(&[missing, found], &[("e0", 6, true)]), Ok(vec![6]));
    }
}

//! The list that a packet's [`SourceId`] is a place in. It only grows, and is bounded.

use capture_packet::{LinkType, SourceId};

use super::super::sources::Listed;

/// Interfaces that are listed each by itself, in a capture that goes on for weeks. Later ones share a place with the others
/// of their link type.
const MOST: usize = 1000;

/// The list.
#[derive(Debug, Default)]
pub(in super::super) struct List(Vec<Listed>);

impl List {
    /// The place of an interface: the one that it had before, if it comes back. Also what is new in the list, if it is.
    pub(in super::super) fn place(
        &mut self,
        name: &str,
        hardware_type: u16,
        link_type: LinkType,
        hook: &str,
    ) -> (SourceId, Option<Listed>) {
        let is_full = self.0.len() >= MOST;
        let is_it = |listed: &Listed| match &listed.name {
            Some(known) => listed.hardware_type == hardware_type && known == name,
            None => is_full,
        };
        let found = self.0.iter().position(|listed| listed.link_type == link_type && is_it(listed));
        if let Some(place) = found {
            return (SourceId(place as u32), None);
        }
        let name = (!is_full).then(|| name.to_owned());
        let listed = Listed { name, link_type, hardware_type, hook: hook.to_owned() };
        self.0.push(listed.clone());
        (SourceId((self.0.len() - 1) as u32), Some(listed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(list: &mut List, name: &str, hardware_type: u16, link_type: LinkType) -> (u32, Option<Listed>) {
        let (SourceId(place), listed) = list.place(name, hardware_type, link_type, "tc");
        (place, listed)
    }

    #[test]
    fn an_interface_that_returns_has_its_place_again() {
        let mut list = List::default();
        let (ethernet, raw) = (LinkType::Ethernet, LinkType::Raw);
        let listed = place(&mut list, "e0", 1, ethernet).1.unwrap();
        assert_eq!((listed.name.as_deref(), listed.hook.as_str()), (Some("e0"), "tc"));
        assert_eq!(place(&mut list, "e1", 1, ethernet).0, 1);
        assert_eq!(place(&mut list, "e0", 1, ethernet), (0, None));
        // The name alone does not make it the same.
        assert_eq!(place(&mut list, "e0", 772, ethernet).0, 2);
        assert_eq!(place(&mut list, "e0", 0xfffe, raw).0, 3);
    }

    #[test]
    fn what_there_is_no_room_for_shares_a_place_by_link_type() {
        let mut list = List::default();
        for number in 0..MOST {
            assert_eq!(place(&mut list, &format!("e{number}"), 1, LinkType::Ethernet).0, number as u32);
        }
        for (name, link_type, expected) in [
            ("a", LinkType::Ethernet, 1000),
            ("b", LinkType::Raw, 1001),
            ("c", LinkType::Ethernet, 1000),
            ("d", LinkType::Raw, 1001),
            ("e7", LinkType::Ethernet, 7),
        ] {
            let (found, listed) = place(&mut list, name, 1, link_type);
            assert_eq!(found, expected, "{name}");
            assert!(listed.is_none_or(|listed| listed.name.is_none()));
        }
        assert_eq!(list.0.len(), MOST + 2);
    }
}

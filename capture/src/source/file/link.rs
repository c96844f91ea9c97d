//! The numbers that files have for link types, and for snapshot lengths.

use capture_common::record::MAX_SNAPLEN;
use capture_packet::LinkType;

/// The link types that are read, as tcpdump calls them.
pub(super) const SUPPORTED: &str = "EN10MB, RAW, IPV4, IPV6, NULL, LOOP, LINUX_SLL, LINUX_SLL2";

/// The link type that a `LINKTYPE_` number stands for. RAW is also 12, as libpcap takes it on Linux
/// (pcap-common.c, linktype_to_dlt: numbers up to 104 are the system's own; OpenBSD's 14 is not).
pub(super) fn from_number(number: u32) -> Option<LinkType> {
    match number {
        12 => Some(LinkType::Raw),
        number => LinkType::from_number(number),
    }
}

/// The number, and the name of those that a Linux machine is likely to have written.
pub(super) fn describe(number: u32) -> String {
    let name = match number {
        9 => "PPP",
        50 => "PPP_SERIAL",
        105 => "IEEE802_11",
        127 => "IEEE802_11_RADIO",
        189 => "USB_LINUX",
        192 => "PPI",
        201 => "BLUETOOTH_HCI_H4_WITH_PHDR",
        220 => "USB_LINUX_MMAPPED",
        227 => "CAN_SOCKETCAN",
        239 => "NFLOG",
        253 => "NETLINK",
        _ => return number.to_string(),
    };
    format!("{number} ({name})")
}

/// The snapshot length to read a file with: one that cannot be is replaced by the maximum (savefile.c,
/// pcap_adjust_snapshot).
pub(super) fn adjust_snaplen(snaplen: u32) -> u32 {
    if snaplen == 0 || snaplen > i32::MAX.unsigned_abs() { MAX_SNAPLEN } else { snaplen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_type_is_read_and_named() {
        let mut names: Vec<_> = SUPPORTED.split(", ").collect();
        for link_type in LinkType::ALL {
            assert_eq!(from_number(link_type.number().into()), Some(link_type));
            let written = link_type.to_string();
            names.retain(|name| written.split_once(' ').is_none_or(|(known, _)| known != *name));
        }
        assert!(names.is_empty(), "{names:?}");
        assert_eq!((from_number(12), from_number(14)), (Some(LinkType::Raw), None));
    }
}

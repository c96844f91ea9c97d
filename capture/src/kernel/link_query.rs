//! Who holds an interface's XDP slot: asked of rtnetlink, which knows of programs attached in any way.

use std::io;

use aya::programs::loaded_programs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd;

/// linux/rtnetlink.h and linux/netlink.h.
const RTM_GETLINK: u16 = 18;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const MESSAGE_HEADER: usize = 16;
/// `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// linux/if_link.h.
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_IDS: [(u16, &str); 4] = [(5, "native"), (6, "generic"), (7, "offloaded"), (4, "")];
/// The high bits of an attribute's type are flags.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;
/// More than a link's description ever needs.
const ANSWER_SIZE: usize = 64 * 1024;

/// Describes the program in the XDP slot of the interface with index `index`: its id, name and mode, as far as they
/// can be found out.
pub(super) fn xdp_holder(index: u32) -> String {
    let Some((id, mode)) = query(index).ok().as_deref().and_then(xdp_program) else {
        return "another program".to_owned();
    };
    let info = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let name = info.as_ref().and_then(|program| program.name_as_str()).unwrap_or("?");
    let mode = if mode.is_empty() { String::new() } else { format!(", {mode}") };
    format!("program {name} (id {id}{mode})")
}

/// Asks for the description of one link.
fn query(index: u32) -> io::Result<Vec<u8>> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let length = (MESSAGE_HEADER + LINK_HEADER) as u32;
    let mut request = Vec::with_capacity(length as usize);
    request.extend_from_slice(&length.to_ne_bytes());
    request.extend_from_slice(&RTM_GETLINK.to_ne_bytes());
    request.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request.resize(MESSAGE_HEADER + 4, 0);
    request.extend_from_slice(&index.to_ne_bytes());
    request.resize(length as usize, 0);
    sendto(netlink.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = vec![0; ANSWER_SIZE];
    let received = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    answer.truncate(received);
    Ok(answer)
}

/// The program's id and mode in the answer to [`query`].
fn xdp_program(answer: &[u8]) -> Option<(u32, &'static str)> {
    let message_type = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    if message_type != RTM_NEWLINK {
        return None;
    }
    let (_, xdp) =
        attributes(answer.get(MESSAGE_HEADER + LINK_HEADER..)?).find(|(kind, _)| *kind == IFLA_XDP)?;
    IFLA_XDP_PROG_IDS.iter().find_map(|(kind, mode)| {
        let (_, id) = attributes(xdp).find(|(found, _)| found == kind)?;
        Some((u32::from_ne_bytes(*id.first_chunk()?), *mode))
    })
}

/// The attributes in `bytes` (`struct rtattr`): type and value.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [l0, l1, t0, t1] = *bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([t0, t1]) & ATTRIBUTE_TYPE_MASK, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn answer(attributes: &[u8]) -> Vec<u8> {
        let mut answer = vec![0; MESSAGE_HEADER + LINK_HEADER];
        answer[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
        answer.extend_from_slice(attributes);
        answer
    }

    #[test]
    fn the_program_is_found_with_its_mode() {
        let xdp =
            [attribute(2, &[2]), attribute(4, &77_u32.to_ne_bytes()), attribute(6, &77_u32.to_ne_bytes())];
        let link = [attribute(3, b"lo\0"), attribute(IFLA_XDP, &xdp.concat())];
        assert_eq!(xdp_program(&answer(&link.concat())), Some((77, "generic")));
    }

    #[test]
    fn a_free_slot_and_a_broken_answer_have_no_program() {
        assert_eq!(xdp_program(&answer(&attribute(IFLA_XDP, &attribute(2, &[0])))), None);
        assert_eq!(xdp_program(&[0; 7]), None);
        assert_eq!(xdp_program(&answer(&[9, 0, 43, 0, 1])), None);
    }
}

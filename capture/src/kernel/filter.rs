//! tc's filters of an interface's clsact qdisc, over rtnetlink: linux/rtnetlink.h, linux/pkt_cls.h, linux/pkt_sched.h.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use libc::{
    ETH_P_ALL, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL, RTM_NEWQDISC, RTM_NEWTFILTER, TCA_KIND, TCA_OPTIONS,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption},
};

use super::{
    hook::Side,
    netlink::{Message, attributes, dump, request, text},
};

/// `struct tcmsg`, in bytes.
const HEADER: usize = 20;
/// In which chain a filter is. libc has it for the GNU C library only, and not for musl.
const TCA_CHAIN: u16 = 11;
/// What a filter of kind `bpf` says of its program.
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_TAG: u16 = 10;
const TCA_BPF_ID: u16 = 11;
/// The kind that runs programs.
const BPF: &str = TcFilterBpf::KIND;

/// A filter, or a priority at which filters are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// `bpf`, `u32` ..
    pub(super) kind: String,
    /// Those with a low number come first.
    pub(super) priority: u16,
    /// `ETH_P_`, linux/if_ether.h, of the packets that it is for.
    pub(super) protocol: u16,
    /// Which of the filters with that priority; 0 for the priority itself.
    pub(super) handle: u32,
    /// What a filter of kind `bpf` runs, unless that is classic BPF.
    pub(super) program: Option<FilterProgram>,
}

/// What a filter runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FilterProgram {
    pub(super) id: u32,
    /// The name that was given to the filter.
    pub(super) name: String,
    /// The hash of its instructions.
    pub(super) tag: u64,
}

/// Where a filter that runs a program on all packets is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) priority: u16,
    pub(super) handle: u32,
}

impl Filter {
    /// Its place at its side.
    pub(super) fn place(&self) -> Place {
        Place { priority: self.priority, handle: self.handle }
    }

    /// Whether a program for all packets can have the same priority.
    pub(super) fn shares_its_priority(&self) -> bool {
        self.kind == BPF && i32::from(self.protocol) == ETH_P_ALL
    }
}

impl Side {
    /// `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS` of the clsact qdisc.
    fn parent(self) -> TcHandle {
        let minor = match self {
            Self::Ingress => TcHandle::MIN_INGRESS,
            Self::Egress => TcHandle::MIN_EGRESS,
        };
        TcHandle { major: TcHandle::CLSACT.major, minor }
    }
}

fn message(interface: u32, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::with_index(interface.cast_signed());
    message.header.parent = parent;
    message
}

/// What `tcm_info` of a filter is.
fn info(priority: u16, protocol: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(protocol.to_be())
}

/// Adds the clsact qdisc.
///
/// # Errors
///
/// The kernel's: `EEXIST` if there is one, or another that is in its place.
pub(super) fn add_clsact(interface: u32) -> io::Result<()> {
    let mut qdisc = message(interface, TcHandle::CLSACT);
    qdisc.header.handle = TcHandle { minor: 0, ..TcHandle::CLSACT };
    qdisc.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    let flags = (NLM_F_CREATE | NLM_F_EXCL) as u16;
    request(RouteNetlinkMessage::NewQueueDiscipline(qdisc), flags, |_| None::<()>).map(drop)
}

/// The kind of the qdisc that is there for what comes in: `clsact`, or `ingress`, which has no way out.
///
/// # Errors
///
/// The kernel's.
pub(super) fn ingress_qdisc(interface: u32) -> io::Result<Option<String>> {
    let qdisc = RouteNetlinkMessage::GetQueueDiscipline(message(interface, TcHandle::CLSACT));
    // The kernel answers to a listener of the group, unless it is asked to echo (net/sched/sch_api.c, `qdisc_notify`).
    let kinds =
        request(qdisc, NLM_F_ECHO as u16, |message| (message.kind == RTM_NEWQDISC).then(|| kind(message)));
    kinds.map(|kinds| kinds.into_iter().next())
}

/// The filters at one side of an interface, in the order in which they run; each priority stands before its filters.
///
/// # Errors
///
/// The kernel's.
pub(super) fn filters(interface: u32, side: Side) -> io::Result<Vec<Filter>> {
    dump(RouteNetlinkMessage::GetTrafficFilter(message(interface, side.parent())), filter)
}

/// The filter at this place, if there is one. The list of [`filters`] comes in parts, and the kernel does not say that
/// it has changed between two of them (net/sched/cls_api.c, `tc_dump_tfilter`): while others come and go, one that stays
/// can be missing from it.
///
/// # Errors
///
/// The kernel's.
pub(super) fn filter_at(interface: u32, side: Side, place: Place) -> io::Result<Option<Filter>> {
    let mut wanted = message(interface, side.parent());
    wanted.header.handle = place.handle.into();
    wanted.header.info = info(place.priority, ETH_P_ALL as u16);
    wanted.attributes.push(TcAttribute::Kind(BPF.to_owned()));
    match request(RouteNetlinkMessage::GetTrafficFilter(wanted), 0, filter) {
        Ok(found) => Ok(found.into_iter().next()),
        // There is none, or others have the priority.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds a filter that runs a program on all packets. `priority` is free, or [shared](Filter::shares_its_priority).
///
/// # Errors
///
/// The kernel's: `EINVAL` if filters of another kind or for another protocol have the priority, `EOPNOTSUPP` if the
/// filters are those of several interfaces.
pub(super) fn add_filter(
    interface: u32,
    side: Side,
    priority: u16,
    name: &str,
    program: BorrowedFd<'_>,
) -> io::Result<Filter> {
    let mut wanted = message(interface, side.parent());
    wanted.header.info = info(priority, ETH_P_ALL as u16);
    wanted.attributes = vec![
        TcAttribute::Kind(BPF.to_owned()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned())),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]),
    ];
    let flags = (NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO) as u16;
    let added = request(RouteNetlinkMessage::NewTrafficFilter(wanted), flags, filter)?;
    added.into_iter().next().ok_or_else(|| io::Error::other("the kernel does not say what it has added"))
}

/// Removes a filter.
///
/// # Errors
///
/// The kernel's.
pub(super) fn delete_filter(interface: u32, side: Side, filter: &Filter) -> io::Result<()> {
    let mut unwanted = message(interface, side.parent());
    unwanted.header.handle = filter.handle.into();
    unwanted.header.info = info(filter.priority, filter.protocol);
    unwanted.attributes.push(TcAttribute::Kind(filter.kind.clone()));
    request(RouteNetlinkMessage::DelTrafficFilter(unwanted), 0, |_| None::<()>).map(drop)
}

fn kind(message: Message<'_>) -> String {
    let kind = message.attributes(HEADER).find(|attribute| attribute.kind() == TCA_KIND);
    kind.map_or_else(String::new, |kind| text(kind.value()))
}

/// `None` for what is not in the first chain: the others are reached from there only.
fn filter(message: Message<'_>) -> Option<Filter> {
    if message.kind != RTM_NEWTFILTER {
        return None;
    }
    let header = TcHeader::parse(message.body).ok()?;
    let mut filter = Filter {
        kind: kind(message),
        priority: (header.info >> 16) as u16,
        protocol: u16::from_be(header.info as u16),
        handle: header.handle.into(),
        program: None,
    };
    for attribute in message.attributes(HEADER) {
        match attribute.kind() {
            TCA_CHAIN if attribute.value() != [0; 4] => return None,
            TCA_OPTIONS if filter.kind == BPF => filter.program = program(attribute.value()),
            _ => {}
        }
    }
    Some(filter)
}

fn program(options: &[u8]) -> Option<FilterProgram> {
    let mut program = FilterProgram::default();
    let mut is_program = false;
    for option in attributes(options) {
        match option.kind() {
            TCA_BPF_NAME => program.name = text(option.value()),
            TCA_BPF_TAG => program.tag = u64::from_be_bytes(*option.value().first_chunk()?),
            TCA_BPF_ID => {
                program.id = u32::from_ne_bytes(*option.value().first_chunk()?);
                is_program = true;
            }
            _ => {}
        }
    }
    is_program.then_some(program)
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::tests::attribute, *};

    /// A filter at priority 7 for IPv4, with handle 2.
    fn body(attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![0; 4];
        for word in [5, 2, 0xffff_fff3, info(7, 0x0800)] {
            body.extend_from_slice(&u32::to_ne_bytes(word));
        }
        body.extend_from_slice(&attributes.concat());
        body
    }

    fn read(attributes: &[Vec<u8>]) -> Option<Filter> {
        filter(Message { kind: RTM_NEWTFILTER, body: &body(attributes) })
    }

    #[test]
    fn filters_are_read_with_their_programs() {
        let options = [
            attribute(TCA_BPF_NAME, b"drop\0"),
            attribute(TCA_BPF_TAG, &[0, 0, 0, 0, 0, 0, 1, 2]),
            attribute(TCA_BPF_ID, &9_u32.to_ne_bytes()),
        ];
        let chain = attribute(TCA_CHAIN, &[0; 4]);
        let bpf = attribute(TCA_KIND, b"bpf\0");
        let found = read(&[bpf.clone(), chain.clone(), attribute(TCA_OPTIONS, &options.concat())]).unwrap();
        let program = FilterProgram { id: 9, name: "drop".to_owned(), tag: 0x102 };
        let plain = Filter { kind: BPF.to_owned(), priority: 7, protocol: 0x0800, handle: 2, program: None };
        assert_eq!(found, Filter { program: Some(program), ..plain.clone() });
        // Classic BPF has no id.
        let classic = attribute(TCA_OPTIONS, &attribute(TCA_BPF_NAME, b"drop\0"));
        assert_eq!(read(&[bpf, classic]), Some(plain.clone()));
        let other = read(&[attribute(TCA_KIND, b"u32\0"), attribute(TCA_OPTIONS, &options.concat())]);
        assert_eq!(other, Some(Filter { kind: "u32".to_owned(), ..plain }));
    }

    #[test]
    fn filters_of_other_chains_and_what_is_broken_do_not_count() {
        assert_eq!(read(&[attribute(TCA_CHAIN, &[1, 0, 0, 0])]), None);
        let whole = body(&[]);
        for length in 0..whole.len() {
            assert_eq!(filter(Message { kind: RTM_NEWTFILTER, body: &whole[..length] }), None);
        }
        assert_eq!(filter(Message { kind: RTM_NEWQDISC, body: &whole }), None);
    }

    #[test]
    fn programs_for_all_packets_share_a_priority_with_their_like() {
        let filter = |kind: &str, protocol| Filter { kind: kind.to_owned(), protocol, ..Filter::default() };
        assert!(filter(BPF, ETH_P_ALL as u16).shares_its_priority());
        assert!(!filter(BPF, 0x0800).shares_its_priority());
        assert!(!filter("u32", ETH_P_ALL as u16).shares_its_priority());
    }
}

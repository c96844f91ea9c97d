//! The filter of a live capture, compiled for its interface.

use capture_filter::{
    ebpf,
    interpret::Frame,
    program::Program,
    target::{Link, Place, Target, Way},
};
use capture_packet::LinkType;

use crate::{
    filter::{Filter, FilterError, Refusal},
    kernel::{DirectionFilter, FilterCode, Hook, Interface},
};

/// Which packets are captured of those that are asked for: on loopback each that goes out comes in again, and is captured there.
pub(super) fn direction(interface: &Interface, asked: DirectionFilter) -> DirectionFilter {
    match asked {
        DirectionFilter::Both if interface.is_loopback() => DirectionFilter::In,
        asked => asked,
    }
}

/// A filter for the programs at one hook of an interface.
#[derive(Debug)]
pub(super) struct Compiled {
    /// For each way that packets go where programs are attached.
    programs: Vec<(Way, Program)>,
    /// What stands in front of the programs in the kernel; nothing where every packet matches.
    pub(super) code: Option<FilterCode>,
}

impl Compiled {
    /// Compiles a filter for the packets that go these ways.
    ///
    /// # Errors
    ///
    /// When it can select none of them, or becomes too long.
    pub(super) fn new(
        filter: &Filter,
        link_type: LinkType,
        hook: Hook,
        direction: DirectionFilter,
    ) -> Result<Self, FilterError> {
        let link = if link_type == LinkType::Ethernet { Link::Ethernet } else { Link::Raw };
        let ways: &[Way] = match direction {
            DirectionFilter::Both if !hook.is_xdp() => &[Way::In, Way::Out],
            DirectionFilter::In | DirectionFilter::Both => &[Way::In],
            DirectionFilter::Out => &[Way::Out],
        };
        let place = |&way| if hook.is_xdp() { Place::Xdp } else { Place::Tc(way) };
        let target = |place| Target { link, place, only_tcp: true };
        let targets: Vec<Target> = ways.iter().map(place).map(target).collect();
        let programs = filter.programs(&targets).map_err(|error| {
            let next_step = match (hook.is_xdp(), direction) {
                (true, _) => "XDP sees no others; write --hook tc",
                (false, DirectionFilter::Out) => "-Q out captures no others; leave it out",
                (false, DirectionFilter::In) => {
                    "no others are captured with -Q in, nor on loopback, where each packet comes in again; leave out -Q, \
                     or what the expression says of the way"
                }
                (false, DirectionFilter::Both) => return error,
            };
            let way = if direction == DirectionFilter::Out { "goes out" } else { "comes in" };
            let elsewhere = [Way::In, Way::Out].map(|way| target(Place::Tc(way)));
            match filter.programs(&elsewhere) {
                Ok(_) => filter.refused(Refusal::WrongWay { expression: filter.shown(), way, next_step }),
                Err(_) => error,
            }
        })?;
        let programs: Vec<_> = ways.iter().copied().zip(programs).collect();
        if filter.is_everything() {
            return Ok(Self { programs, code: None });
        }
        let kind = if hook.is_xdp() { ebpf::Hook::Xdp } else { ebpf::Hook::Tc };
        let mut code = FilterCode::default();
        for (way, program) in &programs {
            let instructions = filter.instructions(program, kind)?;
            match (kind, way) {
                (ebpf::Hook::Xdp, _) => code.xdp = instructions,
                (ebpf::Hook::Tc, Way::In) => code.tc_ingress = instructions,
                (ebpf::Hook::Tc, Way::Out) => code.tc_egress = instructions,
            }
        }
        Ok(Self { programs, code: Some(code) })
    }

    /// Whether a frame that goes this way is selected, if it is TCP.
    pub(super) fn matches(&self, way: Way, frame: &Frame<'_>) -> bool {
        self.programs.iter().any(|(captured, program)| *captured == way && program.matches(frame))
    }
}

//! Questions about single primitives, and what a link type or a place has not.

use alloc::format;

use super::{LowerError, Lowering, PACKET_OUTGOING, builder::Fragment, error, questions::Questions};
use crate::{
    expression::{Direction, Primitive, Span},
    program::{Metadata, Size, Value},
    target::{Link, Place, Way},
};

impl Lowering<'_> {
    /// A primitive that is in no group.
    pub(super) fn ask_other(
        &self,
        questions: &mut Questions<'_>,
        primitive: &Primitive,
        span: &Span,
    ) -> Result<Fragment, LowerError> {
        Ok(match primitive {
            Primitive::EtherType(number) => questions.ether_type(*number),
            Primitive::Vlan(identifier) => {
                self.check_tags(span)?;
                questions.tag(*identifier)
            }
            Primitive::Inbound => self.outbound(questions, span)?.not(),
            Primitive::Outbound => self.outbound(questions, span)?,
            Primitive::IfIndex(index) => {
                let value = match (self.target.link, self.target.place) {
                    (Link::LinuxSll2, _) => questions.layout.at(4, Size::Word, u32::MAX),
                    (link, Place::File) => {
                        return Err(error(
                            span,
                            format!(
                                "{} in a file does not say on which interface it was captured",
                                link.name()
                            ),
                        ));
                    }
                    _ => Value::Metadata(Metadata::IfIndex),
                };
                questions.builder.equal(value, *index)
            }
            Primitive::EtherBroadcast => {
                self.check_addresses(span)?;
                questions.ether(Direction::Destination, &[[0xff; 6]])
            }
            Primitive::EtherMulticast => {
                self.check_addresses(span)?;
                questions.ether_multicast()
            }
            Primitive::IpBroadcast => questions.ip_broadcast(),
            Primitive::IpMulticast => questions.ip_multicast(),
            Primitive::Ip6Multicast => questions.ip6_multicast(),
            Primitive::Relation { left, operator, right } => {
                questions.relation(left, *operator, right).map_err(|_| {
                    let limit = crate::program::MAX_DEPTH;
                    error(
                        span,
                        format!("this arithmetic is too deep: it needs more than {limit} values at once"),
                    )
                })?
            }
            // These have groups, and are no primitives any more.
            Primitive::Protocol { .. }
            | Primitive::Ipv4 { .. }
            | Primitive::Ipv6 { .. }
            | Primitive::Ether { .. }
            | Primitive::Port { .. } => questions.builder.constant(false),
        })
    }

    fn outbound(&self, questions: &mut Questions<'_>, span: &Span) -> Result<Fragment, LowerError> {
        let value = match (self.target.link, self.target.place) {
            (Link::LinuxSll, _) => questions.layout.at(0, Size::Half, 0xffff),
            (Link::LinuxSll2, _) => questions.layout.at(10, Size::Byte, 0xff),
            (link, Place::File) => {
                return Err(error(
                    span,
                    format!("{} in a file does not say whether it was inbound or outbound", link.name()),
                ));
            }
            (_, Place::Tc(way)) => return Ok(questions.builder.constant(way == Way::Out)),
            (_, Place::Xdp) => return Ok(questions.builder.constant(false)),
            (_, Place::Socket | Place::UnknownSocket) => Value::Metadata(Metadata::PacketType),
        };
        Ok(questions.builder.equal(value, PACKET_OUTGOING))
    }

    pub(super) fn check_tags(&self, span: &Span) -> Result<(), LowerError> {
        match self.target.link {
            Link::Ethernet => Ok(()),
            link => Err(error(span, format!("{} has no VLAN tags", link.name()))),
        }
    }

    pub(super) fn check_addresses(&self, span: &Span) -> Result<(), LowerError> {
        match self.target.link {
            Link::Ethernet => Ok(()),
            link => Err(error(span, format!("{} has no MAC addresses", link.name()))),
        }
    }
}

//! What a filter is compiled for where no packet is read.

use capture_common::record::MAX_SNAPLEN;
use capture_filter::target::{Link, Place};
use capture_packet::LinkType;

use super::compiled::Compiled;
use crate::{
    filter::{Filter, FilterError},
    kernel::{DirectionFilter, Hook},
};

/// What the filter decides about.
pub(super) struct Frames {
    pub(super) link: Link,
    pub(super) link_type: LinkType,
    pub(super) place: Place,
    pub(super) snaplen: u32,
    pub(super) hook: Hook,
    pub(super) direction: DirectionFilter,
    /// Neither an interface nor a file was named.
    pub(super) is_assumed: bool,
}

impl Frames {
    /// Those of a file without interfaces: Ethernet, which is the kind with the most headers.
    pub(super) const ETHERNET: Self = Self {
        link: Link::Ethernet,
        link_type: LinkType::Ethernet,
        place: Place::File,
        snaplen: MAX_SNAPLEN,
        hook: Hook::Tc,
        direction: DirectionFilter::Both,
        is_assumed: false,
    };

    /// The filter of a live capture of them.
    pub(super) fn compile(&self, filter: &Filter) -> Result<Compiled, FilterError> {
        Compiled::new(filter, self.link_type, self.hook, self.direction)
    }
}

//! Which packets are selected: the ports of the filter, as the parser asks for them.

use capture_common::ports::Ports;

use crate::config;

/// The ports set at load time.
pub(crate) struct PortFilter;

impl Ports for PortFilter {
    #[inline(always)]
    fn any(&self) -> bool {
        config::any_port()
    }

    #[inline(always)]
    fn contains(&self, port: u16) -> bool {
        config::has_port(port)
    }
}

//! Hosts, networks and Ethernet stations.

use alloc::{format, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Parser, identifier::Width, qualifiers::Qualifiers};
use crate::{
    error::{Error, ErrorKind},
    expression::{Ipv4Scope, Primitive, Span, Step, StepKind},
    lexer::{Protocol, Token, TokenKind, Type},
};

impl Parser<'_, '_> {
    /// Adds what `host` and `net` mean of an identifier.
    pub(super) fn address(
        &mut self,
        token: &Token<'_>,
        width: Option<Width>,
        kind: Type,
        qualifiers: &Qualifiers,
    ) -> Result<(), Error> {
        let (what, right) = match kind {
            Type::Host => ("hosts", "`ip`, `ip6`, `arp`, `rarp` and `ether` do"),
            _ => ("networks", "`ip`, `ip6`, `arp` and `rarp` do"),
        };
        match qualifiers.protocol {
            None | Some(Protocol::Ip | Protocol::Ip6 | Protocol::Arp | Protocol::Rarp) => {}
            Some(Protocol::Ether) if kind == Type::Host => {
                self.no_width(width.as_ref())?;
                return self.station(token, qualifiers);
            }
            Some(protocol) => {
                let span = qualifiers.span.clone();
                let error = self.wrong_protocol(protocol, span, what, right);
                return Err(error.hint(self.protocol_hint(protocol, token, kind, qualifiers)));
            }
        }
        let span = token.span.clone();
        match token.kind {
            TokenKind::Number(number) => {
                let (address, mask) =
                    if kind == Type::Host { (number, u32::MAX) } else { network_of_number(number) };
                self.push_ipv4(qualifiers, address, mask, span)
            }
            TokenKind::Dotted(text) => self.dotted(text, width, kind, qualifiers, span),
            TokenKind::Ipv6(address) => self.ipv6(address, width, kind, qualifiers, span),
            TokenKind::Ether(_) => {
                let error = self.error(ErrorKind::Qualifier, span, "this is an Ethernet address");
                let word = self.text.get(token.span.clone()).unwrap_or_default();
                Err(error.hint(format!("write `ether host {word}`")))
            }
            TokenKind::Name(name) | TokenKind::Escaped(name) if kind == Type::Host => {
                self.host(name, qualifiers, span)
            }
            TokenKind::Name(name) | TokenKind::Escaped(name) => {
                // What has the number 0 is not found, as in tcpdump.
                let number = match self.names.network(name) {
                    Ok(0) => Err("its number is 0".into()),
                    found => found,
                };
                let number = number.map_err(|reason| self.unknown("network", name, &reason, span.clone()))?;
                let (address, mask) = network_of_number(number);
                self.push_ipv4(qualifiers, address, mask, span)
            }
            _ => Err(self.unexpected("an address is missing here")),
        }
    }

    /// Adds an Ethernet station.
    fn station(&mut self, token: &Token<'_>, qualifiers: &Qualifiers) -> Result<(), Error> {
        let span = token.span.clone();
        let address = match token.kind {
            TokenKind::Ether(address) => address,
            TokenKind::Name(name) | TokenKind::Escaped(name) => match self.names.ether(name) {
                Ok(address) => address,
                Err(reason) => return Err(self.unknown("Ethernet station", name, &reason, span)),
            },
            _ => {
                let cause = "this is no Ethernet address, such as 02:00:00:00:00:01";
                return Err(self.error(ErrorKind::Qualifier, span, cause));
            }
        };
        self.push(Primitive::Ether { direction: qualifiers.direction(), address }, span);
        Ok(())
    }

    /// Adds an IPv4 address, of a host or of a network.
    fn dotted(
        &mut self,
        text: &str,
        width: Option<Width>,
        kind: Type,
        qualifiers: &Qualifiers,
        span: Span,
    ) -> Result<(), Error> {
        if kind == Type::Host {
            if let Some(Width::Length(length, _)) = &width {
                let error = self.no_width(width.as_ref()).err();
                let (address, _) = self.ipv4(text, &span)?;
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(*length)).unwrap_or_default();
                let hint = format!("write `net {}/{length}`", Ipv4Addr::from_bits(address & mask));
                return Err(error.map_or_else(|| self.unexpected(""), |error| error.hint(hint)));
            }
            self.no_width(width.as_ref())?;
        }
        let (address, parts_mask) = self.ipv4(text, &span)?;
        let (mask, span) = match width {
            None => (parts_mask, span),
            Some(Width::Length(length, span)) => match length {
                0 => (0, span),
                1..=32 => (u32::MAX << (32 - length), span),
                _ => return Err(self.error(ErrorKind::Value, span, "prefixes of IPv4 have up to 32 bits")),
            },
            Some(Width::Mask(text, span)) => (self.ipv4(&text, &span)?.0, span),
        };
        if kind == Type::Net && address & !mask != 0 {
            let network = Ipv4Addr::from_bits(address & mask);
            let hint = match mask.leading_ones() {
                length if mask.count_ones() == length => format!("write `net {network}/{length}`, or `host`"),
                _ => format!("write `net {network} mask {}`, or `host`", Ipv4Addr::from_bits(mask)),
            };
            let cause = "the address has bits outside of the network's prefix";
            return Err(self.error(ErrorKind::Value, span, cause).hint(hint));
        }
        self.push_ipv4(qualifiers, address, mask, span)
    }

    /// The value of two to four numbers with dots between, and the mask of so many bytes.
    fn ipv4(&self, text: &str, span: &Span) -> Result<(u32, u32), Error> {
        let (mut address, mut mask, mut shift) = (0, 0, 32);
        for part in text.split('.') {
            let byte =
                part.bytes().all(|digit| digit.is_ascii_digit()).then(|| part.parse::<u8>().ok()).flatten();
            let Some(byte) = byte else {
                let cause = "the numbers of an IPv4 address are decimal and go up to 255";
                return Err(self.error(ErrorKind::Value, span.clone(), cause));
            };
            shift -= 8;
            address |= u32::from(byte) << shift;
            mask |= 0xff << shift;
        }
        Ok((address, mask))
    }

    /// Adds an IPv6 address, of a host or of a network.
    fn ipv6(
        &mut self,
        address: Ipv6Addr,
        width: Option<Width>,
        kind: Type,
        qualifiers: &Qualifiers,
        span: Span,
    ) -> Result<(), Error> {
        if !matches!(qualifiers.protocol, None | Some(Protocol::Ip6)) {
            return Err(self.wrong_family(qualifiers, "IPv6", span));
        }
        let address = address.to_bits();
        let (mask, span) = match width {
            None => (u128::MAX, span),
            Some(Width::Length(128, span)) => (u128::MAX, span),
            Some(ref width @ (Width::Length(..) | Width::Mask(..))) if kind == Type::Host => {
                return self.no_width(Some(width));
            }
            Some(Width::Length(0, span)) => (0, span),
            Some(Width::Length(length @ 1..128, span)) => (u128::MAX << (128 - length), span),
            Some(Width::Length(_, span) | Width::Mask(_, span)) => {
                return Err(self.error(ErrorKind::Value, span, "prefixes of IPv6 have up to 128 bits"));
            }
        };
        if address & !mask != 0 {
            let network = Ipv6Addr::from_bits(address & mask);
            let cause = "the address has bits outside of the network's prefix";
            let hint = format!("write `net {network}/{}`, or `host`", mask.leading_ones());
            return Err(self.error(ErrorKind::Value, span, cause).hint(hint));
        }
        self.push(Primitive::Ipv6 { direction: qualifiers.direction(), address, mask }, span);
        Ok(())
    }

    /// Adds all addresses that a name has, with `or` between.
    fn host(&mut self, name: &str, qualifiers: &Qualifiers, span: Span) -> Result<(), Error> {
        let found =
            self.names.host(name).map_err(|reason| self.unknown("host", name, &reason, span.clone()))?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found {
            let wanted = match qualifiers.protocol {
                Some(Protocol::Ip) => address.is_ipv4(),
                Some(Protocol::Ip6) => address.is_ipv6(),
                _ => true,
            };
            if wanted && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let reason = match qualifiers.protocol {
                Some(Protocol::Ip) => "it has no IPv4 address",
                Some(Protocol::Ip6) => "it has no IPv6 address",
                _ => "it has no address",
            };
            return Err(self.unknown("host", name, reason, span));
        }
        for (index, address) in addresses.into_iter().enumerate() {
            match address {
                IpAddr::V4(address) => {
                    self.push_ipv4(qualifiers, address.to_bits(), u32::MAX, span.clone())?
                }
                IpAddr::V6(address) => self.ipv6(address, None, Type::Host, qualifiers, span.clone())?,
            }
            if index > 0 {
                self.steps.push(Step { kind: StepKind::Or, span: span.clone() });
            }
        }
        Ok(())
    }

    fn push_ipv4(
        &mut self,
        qualifiers: &Qualifiers,
        address: u32,
        mask: u32,
        span: Span,
    ) -> Result<(), Error> {
        let scope = match qualifiers.protocol {
            None => Ipv4Scope::Any,
            Some(Protocol::Ip) => Ipv4Scope::Ip,
            Some(Protocol::Arp) => Ipv4Scope::Arp,
            Some(Protocol::Rarp) => Ipv4Scope::Rarp,
            Some(_) => return Err(self.wrong_family(qualifiers, "IPv4", span)),
        };
        self.push(Primitive::Ipv4 { scope, direction: qualifiers.direction(), address, mask }, span);
        Ok(())
    }

    /// Refuses an address of a family that the protocol does not have.
    fn wrong_family(&self, qualifiers: &Qualifiers, family: &str, span: Span) -> Error {
        let protocol = qualifiers.protocol.map_or("ip", Protocol::word);
        self.error(ErrorKind::Qualifier, span, format!("`{protocol}` has no {family} addresses"))
    }
}

/// What a lone number is as a network: shifted up until its first byte is not 0, and the mask with it.
fn network_of_number(number: u32) -> (u32, u32) {
    // Of 0 and of numbers with four bytes nothing is shifted: they are addresses.
    let shift = if number == 0 { 0 } else { number.leading_zeros() / 8 * 8 };
    (number << shift, u32::MAX << shift)
}

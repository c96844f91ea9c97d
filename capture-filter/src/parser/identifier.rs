//! What identifiers mean under their qualifiers.

use alloc::{format, string::String};

use super::{
    Parser,
    qualifiers::{Kind, Qualifiers},
};
use crate::{
    error::{Error, ErrorKind, shown},
    expression::{Family, Operator, Primitive, Span},
    lexer::{Keyword, Protocol, Token, TokenKind, Type},
};

/// What `ether proto` knows by name, and how tcpdump numbers it: EtherTypes, and LLC's service access points.
const ETHER_TYPES: &[(&str, u32)] = &[
    ("ip", 0x0800),
    ("ip6", 0x86dd),
    ("arp", 0x0806),
    ("rarp", 0x8035),
    ("aarp", 0x80f3),
    ("atalk", 0x809b),
    ("decnet", 0x6003),
    ("ipx", 0x8137),
    ("iso", 0xfe),
    ("lat", 0x6004),
    ("loopback", 0x9000),
    ("mopdl", 0x6001),
    ("moprc", 0x6002),
    ("netbeui", 0xf0),
    ("sca", 0x6007),
    ("stp", 0x42),
];

/// What stands after an address of a network.
pub(super) enum Width {
    /// `/LEN`: the number.
    Length(u32, Span),
    /// `mask M`: its text.
    Mask(String, Span),
}

impl Parser<'_, '_> {
    /// Reads an identifier, and adds what it means.
    pub(super) fn identifier(&mut self, qualifiers: &Qualifiers) -> Result<(), Error> {
        // What cannot be read right after a word, such as a foreign letter, most likely belongs to it.
        let (token, following) = (self.peek().clone(), self.peek_at(1));
        if let TokenKind::Bad(error) = &following.kind
            && following.span.start == token.span.end
        {
            return Err((**error).clone());
        }
        if !matches!(
            token.kind,
            TokenKind::Number(_)
                | TokenKind::Dotted(_)
                | TokenKind::Ipv6(_)
                | TokenKind::Ether(_)
                | TokenKind::Name(_)
                | TokenKind::Escaped(_)
        ) {
            return Err(self.missing_identifier(qualifiers));
        }
        self.at += 1;
        let width = self.width(&token)?;
        match qualifiers.kind {
            Kind::Proto => {
                self.no_width(width.as_ref())?;
                self.protocol(&token, qualifiers)
            }
            Kind::Type(Type::Port) => {
                self.no_width(width.as_ref())?;
                self.port(&token, qualifiers)
            }
            Kind::Type(Type::PortRange) => {
                self.no_width(width.as_ref())?;
                self.port_range(&token, qualifiers)
            }
            Kind::Type(kind @ (Type::Host | Type::Net)) => self.address(&token, width, kind, qualifiers),
        }
    }

    /// Reads `/LEN` and `mask M`.
    fn width(&mut self, address: &Token<'_>) -> Result<Option<Width>, Error> {
        let is_ipv4 = matches!(address.kind, TokenKind::Dotted(_));
        if !is_ipv4 && !matches!(address.kind, TokenKind::Ipv6(_)) {
            return Ok(None);
        }
        match self.peek().kind {
            TokenKind::Operator(Operator::Divide) => {
                self.at += 1;
                let TokenKind::Number(number) = self.peek().kind else {
                    return Err(self.unexpected("the length of a network's prefix, in bits, is missing here"));
                };
                self.at += 1;
                Ok(Some(Width::Length(number, self.span_from(address.span.start))))
            }
            TokenKind::Keyword(Keyword::Mask) if is_ipv4 => {
                self.at += 1;
                let TokenKind::Dotted(mask) = self.peek().kind else {
                    return Err(self.unexpected("a mask, such as `255.255.0.0`, is missing here"));
                };
                let mask = mask.into();
                self.at += 1;
                Ok(Some(Width::Mask(mask, self.span_from(address.span.start))))
            }
            _ => Ok(None),
        }
    }

    /// Refuses a prefix or a mask.
    pub(super) fn no_width(&self, width: Option<&Width>) -> Result<(), Error> {
        match width {
            None => Ok(()),
            Some(Width::Length(_, span) | Width::Mask(_, span)) => {
                let cause = "only networks have a prefix or a mask";
                Err(self.error(ErrorKind::Qualifier, span.clone(), cause))
            }
        }
    }

    /// Adds what `proto` means of an identifier.
    fn protocol(&mut self, token: &Token<'_>, qualifiers: &Qualifiers) -> Result<(), Error> {
        let family = match qualifiers.protocol {
            None => None,
            Some(Protocol::Ip) => Some(Family::Ipv4),
            Some(Protocol::Ip6) => Some(Family::Ipv6),
            Some(Protocol::Ether) => return self.ether_type(token),
            Some(protocol) => {
                let span = qualifiers.span.clone();
                return Err(self.wrong_protocol(protocol, span, "`proto`", "`ip`, `ip6` and `ether` do"));
            }
        };
        let span = token.span.clone();
        let number = match token.kind {
            TokenKind::Number(number) => number,
            TokenKind::Name(name) | TokenKind::Escaped(name) => match self.names.protocol(name) {
                Ok(number) => number,
                Err(reason) => return Err(self.unknown("protocol", name, &reason, span)),
            },
            _ => return Err(self.error(ErrorKind::Qualifier, span, "an address is no protocol")),
        };
        self.push(Primitive::Protocol { family, number }, span);
        Ok(())
    }

    /// Adds what `ether proto` means of an identifier.
    fn ether_type(&mut self, token: &Token<'_>) -> Result<(), Error> {
        let span = token.span.clone();
        let number = match token.kind {
            TokenKind::Number(number) => number,
            TokenKind::Name(name) | TokenKind::Escaped(name) => {
                let known = ETHER_TYPES.iter().find(|(known, _)| *known == name);
                let Some((_, number)) = known else {
                    let reason = "`ether proto` knows ip, ip6, arp and others of pcap-filter(7), and numbers";
                    return Err(self.unknown("EtherType", name, reason, span));
                };
                *number
            }
            _ => return Err(self.error(ErrorKind::Qualifier, span, "an address is no protocol")),
        };
        self.push(Primitive::EtherType(number), span);
        Ok(())
    }

    /// The error about a name that is not resolved.
    pub(super) fn unknown(&self, what: &str, name: &str, reason: &str, span: Span) -> Error {
        let hint = self.at.checked_sub(1).and_then(|last| self.tokens.get(last));
        let hint = hint.and_then(|token| self.name_hint(token));
        let lower = name.to_ascii_lowercase();
        let hint =
            hint.or_else(|| (what == "port" && lower != name).then(|| format!("try `{}`", shown(&lower))));
        let reason: String = reason.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.error(ErrorKind::Name, span, reason).about(&format!("{what} {name}")).hint(hint)
    }

    /// The error about what follows qualifiers without being an identifier.
    fn missing_identifier(&self, qualifiers: &Qualifiers) -> Error {
        let what = match qualifiers.kind {
            Kind::Proto => "a protocol, such as `6` or `\\tcp`,",
            Kind::Type(Type::Host) => "an address or the name of a host",
            Kind::Type(Type::Net) => "a network, such as `10.0.0.0/8`,",
            Kind::Type(Type::Port) => "a port",
            Kind::Type(Type::PortRange) => "a range, such as `8000-8100`,",
        };
        let words = qualifiers.words(self.text);
        self.unexpected(&format!("{what} is missing after `{words}`"))
    }
}

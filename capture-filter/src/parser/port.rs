//! Ports and their ranges.

use alloc::{format, string::String};

use super::{Parser, qualifiers::Qualifiers};
use crate::{
    error::{Error, ErrorKind},
    expression::{Primitive, Span, Transports},
    lexer::{Protocol, Token, TokenKind},
};

const ALL: Transports = Transports { tcp: true, udp: true, sctp: true };
const TCP: Transports = Transports { tcp: true, udp: false, sctp: false };
const UDP: Transports = Transports { tcp: false, udp: true, sctp: false };
const SCTP: Transports = Transports { tcp: false, udp: false, sctp: true };

/// Which protocols qualify ports.
const RIGHT: &str = "`tcp`, `udp` and `sctp` do";

/// A port, and of which protocols it is: of all if it is a number, or a service's name that both TCP and UDP have.
type Port = (u16, Transports);

impl Parser<'_, '_> {
    /// Adds what `port` means of an identifier.
    pub(super) fn port(&mut self, token: &Token<'_>, qualifiers: &Qualifiers) -> Result<(), Error> {
        let asked = self.transports(qualifiers)?;
        let (low, of) = match token.kind {
            TokenKind::Number(number) => (self.in_range(i64::from(number), token.span.clone())?, ALL),
            TokenKind::Escaped(name) if is_decimal(name) => (self.decimal(name, token.span.clone())?, ALL),
            TokenKind::Name(name) | TokenKind::Escaped(name) => self
                .service(name)
                .map_err(|reason| self.unknown("port", name, &reason, token.span.clone()))?,
            _ => return Err(self.error(ErrorKind::Qualifier, token.span.clone(), "an address is no port")),
        };
        let transports = self.common(asked, of, token.span.clone())?;
        self.push(
            Primitive::Port { transports, direction: qualifiers.direction(), low, high: low },
            token.span.clone(),
        );
        Ok(())
    }

    /// Adds what `portrange` means of an identifier.
    pub(super) fn port_range(&mut self, token: &Token<'_>, qualifiers: &Qualifiers) -> Result<(), Error> {
        let asked = self.transports(qualifiers)?;
        let span = token.span.clone();
        let (first, second) = match token.kind {
            TokenKind::Number(number) => {
                let port = self.in_range(i64::from(number), span.clone())?;
                ((port, ALL), (port, ALL))
            }
            TokenKind::Name(name) | TokenKind::Escaped(name) => self.ends(name, span.clone())?,
            _ => return Err(self.error(ErrorKind::Qualifier, span, "an address is no range of ports")),
        };
        // Names say which protocol is meant only if both say the same.
        let of = if first.1 == second.1 { first.1 } else { ALL };
        let transports = self.common(asked, of, span.clone())?;
        let (low, high) = (first.0.min(second.0), first.0.max(second.0));
        self.push(Primitive::Port { transports, direction: qualifiers.direction(), low, high }, span);
        Ok(())
    }

    /// The protocols that are asked for.
    fn transports(&self, qualifiers: &Qualifiers) -> Result<Option<Transports>, Error> {
        Ok(match qualifiers.protocol {
            None => None,
            Some(Protocol::Tcp) => Some(TCP),
            Some(Protocol::Udp) => Some(UDP),
            Some(Protocol::Sctp) => Some(SCTP),
            Some(protocol @ (Protocol::Ip | Protocol::Ip6)) => {
                let error = self.wrong_protocol(protocol, qualifiers.span.clone(), "ports", RIGHT);
                let id = self.last_word();
                return Err(error.hint(format!("write `{} and port {id}`", protocol.word())));
            }
            Some(protocol) => {
                return Err(self.wrong_protocol(protocol, qualifiers.span.clone(), "ports", RIGHT));
            }
        })
    }

    /// Of which protocols a port is, if some are asked for and a name says some.
    fn common(&self, asked: Option<Transports>, of: Transports, span: Span) -> Result<Transports, Error> {
        match asked {
            None => Ok(of),
            Some(asked) if of == ALL || of == asked => Ok(asked),
            Some(_) => {
                let cause = if of.tcp { "this service is one of TCP" } else { "this service is one of UDP" };
                Err(self.error(ErrorKind::Name, span, cause))
            }
        }
    }

    /// The ends of a range. Digits at the beginning of both are numbers, whatever follows them, as in tcpdump.
    fn ends(&mut self, range: &str, span: Span) -> Result<(Port, Port), Error> {
        let Some((first, second)) = range.split_once('-') else {
            let reason = "a range has two ends: write `FIRST-LAST`, without blanks";
            return Err(self.unknown("port range", range, reason, span));
        };
        let digits = second.find(|c: char| !c.is_ascii_digit()).unwrap_or(second.len());
        if is_decimal(first) && digits > 0 {
            let second = second.get(..digits).unwrap_or_default();
            let (first, second) = (self.decimal(first, span.clone())?, self.decimal(second, span)?);
            return Ok(((first, ALL), (second, ALL)));
        }
        let mut end = |end: &str| {
            if is_decimal(end) {
                return self.decimal(end, span.clone()).map(|port| (port, ALL));
            }
            let found = self.service(end);
            found.map_err(|reason| self.unknown("port range", range, &reason, span.clone()))
        };
        Ok((end(first)?, end(second)?))
    }

    /// The port of a service, and of which protocol it is, if it is of one only.
    fn service(&mut self, name: &str) -> Result<Port, String> {
        let service = self.names.service(name)?;
        match (service.tcp, service.udp) {
            (Some(tcp), Some(udp)) if tcp == udp => Ok((tcp, ALL)),
            (Some(tcp), None) => Ok((tcp, TCP)),
            (None, Some(udp)) => Ok((udp, UDP)),
            (Some(tcp), Some(udp)) => Err(format!("TCP has port {tcp} under this name, UDP port {udp}")),
            (None, None) => Err("no such service".into()),
        }
    }

    fn decimal(&self, digits: &str, span: Span) -> Result<u16, Error> {
        self.in_range(digits.parse().unwrap_or(i64::MAX), span)
    }

    fn in_range(&self, number: i64, span: Span) -> Result<u16, Error> {
        u16::try_from(number).map_err(|_| {
            let word = self.text.get(span.clone()).unwrap_or_default();
            let subject = format!("port {word}");
            self.error(ErrorKind::Value, span, "ports go up to 65535").about(&subject)
        })
    }
}

fn is_decimal(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|digit| digit.is_ascii_digit())
}

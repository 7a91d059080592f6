//! Who a certificate is for, and for how long.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;

use crate::der::{BOOLEAN, Der, GENERALIZED_TIME, OCTETS, OID, SEQUENCE, SET, UTC_TIME};

/// `id-at-commonName`.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `id-ce-subjectAltName`.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// More names than this are not looked at.
const NAMES_MAX: usize = 256;

/// What a certificate says about its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The alternative names (DNS, URI, e-mail), or the common name where there are none.
    pub(crate) names: Vec<String>,
    /// The second after which it is no longer valid, since 1970.
    pub(crate) not_after_s: i64,
}

/// Who showed a certificate that a CA of ours vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    names: Vec<String>,
}

impl Peer {
    /// The names in its certificate.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Peer {
        Peer { names: Certificate::read(certificate).map(|it| it.names).unwrap_or_default() }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() {
            return f.write_str("nobody named");
        }
        f.write_str(&self.names.join(", "))
    }
}

impl Certificate {
    /// `None` if it makes no sense.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Option<Certificate> {
        let mut body = Der(certificate).enter(SEQUENCE)?.enter(SEQUENCE)?;
        // The version is left out of the oldest.
        let mut rest = body;
        if rest.next()?.0 == 0xa0 {
            body = rest;
        }
        let (_serial, _algorithm, _issuer) = (body.next()?, body.next()?, body.next()?);
        let mut validity = body.enter(SEQUENCE)?;
        let _not_before = validity.next()?;
        let (tag, not_after) = validity.next()?;
        let not_after_s = seconds(tag, not_after)?;
        let subject = body.enter(SEQUENCE)?;
        let _key = body.next()?;
        let mut names = alternative_names(body).unwrap_or_default();
        if names.is_empty() {
            names.extend(common_name(subject));
        }
        Some(Certificate { names, not_after_s })
    }
}

fn common_name(mut subject: Der<'_>) -> Option<String> {
    while let Some(mut parts) = subject.enter(SET) {
        while let Some(mut part) = parts.enter(SEQUENCE) {
            if part.expect(OID)? == COMMON_NAME {
                return text(part.next()?.1);
            }
        }
    }
    None
}

fn alternative_names(mut body: Der<'_>) -> Option<Vec<String>> {
    const EXTENSIONS: u8 = 0xa3;
    let mut extensions = loop {
        match body.next()? {
            (EXTENSIONS, content) => break Der(content).enter(SEQUENCE)?,
            _ => continue,
        }
    };
    while let Some(mut extension) = extensions.enter(SEQUENCE) {
        if extension.expect(OID)? != ALTERNATIVE_NAMES {
            continue;
        }
        let (tag, mut content) = extension.next()?;
        if tag == BOOLEAN {
            content = extension.expect(OCTETS)?;
        }
        let mut entries = Der(content).enter(SEQUENCE)?;
        let mut names = Vec::new();
        while let Some((tag, name)) = entries.next().filter(|_| names.len() < NAMES_MAX) {
            // rfc822Name, dNSName, uniformResourceIdentifier.
            if matches!(tag, 0x81 | 0x82 | 0x86) {
                names.extend(text(name));
            }
        }
        return Some(names);
    }
    None
}

/// A name that can be printed. One with control characters in it is no name.
fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

fn seconds(tag: u8, time: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let time = DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// A time for people.
pub(crate) fn at(second: i64) -> String {
    jiff::Timestamp::from_second(second).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

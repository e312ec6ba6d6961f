//! A certificate and its key in files: whether they belong together, and until when they are good.

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// From when to when a certificate holds, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

/// Why a server could not use the files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate can not be read: {0}")]
    Certificate(pem::Error),
    #[error("the key can not be read: {0}")]
    Key(pem::Error),
    #[error("there is no certificate in the file")]
    Empty,
    #[error("certificate and key can not be used together: {0}")]
    Unusable(rustls::Error),
}

/// Looks at a PEM chain and its PEM key. `None` where the dates are written in a way that is not known.
pub fn inspect(certificate: &Path, key: &Path) -> Result<Option<Validity>, CertificateError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).map_err(CertificateError::Certificate)?.collect();
    let chain = chain.map_err(CertificateError::Certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(CertificateError::Key)?;
    let first = chain.first().ok_or(CertificateError::Empty)?.clone();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(CertificateError::Unusable)?;
    Ok(validity(&first))
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `Certificate.tbsCertificate.validity` (RFC 5280 §4.1).
fn validity(certificate: &[u8]) -> Option<Validity> {
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (body, _) = element(whole, SEQUENCE)?;
    let body = element(body, VERSION).map_or(body, |(_, rest)| rest);
    let (_, body) = element(body, INTEGER)?;
    let (_signature, body) = element(body, SEQUENCE)?;
    let (_issuer, body) = element(body, SEQUENCE)?;
    let (dates, _) = element(body, SEQUENCE)?;
    let (not_before, dates) = time(dates)?;
    let (not_after, _) = time(dates)?;
    Some(Validity { not_before, not_after })
}

/// The content of a DER element of this kind, and what follows it.
fn element(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (found == kind).then(|| rest.split_at_checked(length)).flatten()
}

fn time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, century) = match element(bytes, UTC_TIME) {
        Some((text, rest)) => (text, rest, false),
        None => {
            let (text, rest) = element(bytes, GENERALIZED_TIME)?;
            (text, rest, true)
        }
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) || text.len() != if century { 14 } else { 12 } {
        return None;
    }
    let (year, text) = text.split_at(if century { 4 } else { 2 });
    let year: i64 = year.parse().ok()?;
    // Two digits reach from 1950 to 2049 (RFC 5280 §4.1.2.5.1).
    let year = if century { year } else { year + if year < 50 { 2000 } else { 1900 } };
    let part = |at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let seconds = part(4)? * 3600 + part(6)? * 60 + part(8)?;
    Some((days(year, month, day) * 86_400 + seconds, rest))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that the leap
/// day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted() {
        for (date, expected) in [
            ((1970, 1, 1), 0),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 11, 21), 20_778),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }

    #[test]
    fn both_forms_of_time_are_read_and_others_are_not() {
        let utc = b"\x17\x0d261121120000Zrest";
        assert_eq!(time(utc), Some((20_778 * 86_400 + 43_200, &b"rest"[..])));
        let general = b"\x18\x0f20261121120000Z";
        assert_eq!(time(general), Some((20_778 * 86_400 + 43_200, &b""[..])));
        for wrong in [&b"\x17\x0d261121120000+"[..], b"\x17\x0c26112112000Z", b"\x17\x7f2", b"\x05\x00", b""]
        {
            assert_eq!(time(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn der_that_lies_about_its_length_is_nothing() {
        for wrong in [&b"\x30\x05\x30"[..], b"\x30\x80", b"\x30\x84\xff\xff\xff\xff\x00", b"\x30", b""] {
            assert_eq!(validity(wrong), None, "{wrong:?}");
        }
    }
}

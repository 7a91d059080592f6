//! What went wrong between two ends, in a sentence that says what to do.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::certificate::at;

/// The rustls error in an error of a stream, if that is what it is.
pub(crate) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// Why a server did not let a client in, for the server's log.
pub(crate) fn of_client(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::NoCertificatesPresented) => "it shows no certificate".to_owned(),
        Some(Error::InvalidCertificate(problem)) => {
            format!("its certificate {}", certificate(problem, "client_ca"))
        }
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "it does not speak TLS".to_owned()
        }
        Some(Error::AlertReceived(alert)) => match alert {
            AlertDescription::UnknownCA => "it does not trust the CA of our certificate".to_owned(),
            AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
                "it does not take our certificate: it expects another name or CA".to_owned()
            }
            AlertDescription::CertificateExpired => {
                "it says that our certificate has expired".to_owned()
            }
            other => format!("it ended the handshake: {other:?}"),
        },
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}

/// What a client knows about itself, for its sentences.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    /// What its files are called: `ca`, `certificate`, `key` with what stands before them.
    pub(crate) prefix: String,
    /// Whether it shows a certificate, and until when that is valid.
    pub(crate) not_after_s: Option<i64>,
}

/// Why a client did not get in.
pub(crate) fn of_server(error: &io::Error, host: &str, shown: &Shown) -> Option<String> {
    let prefix = &shown.prefix;
    let own = match shown.not_after_s {
        Some(second) => {
            format!("our certificate (`{prefix}certificate`, valid until {})", at(second))
        }
        None => format!("our certificate (`{prefix}certificate`)"),
    };
    Some(match tls_error(error)? {
        Error::InvalidCertificate(problem) => {
            format!("the certificate of `{host}` {}", certificate(problem, &format!("{prefix}ca")))
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS on this port: write `http://`".to_owned()
        }
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => format!(
                "it asks for a client certificate and none was shown: give `{prefix}certificate` and \
                 `{prefix}key`"
            ),
            AlertDescription::CertificateExpired => format!("it refuses {own}: it has expired"),
            AlertDescription::UnknownCA => {
                format!("it refuses {own}: none of its CAs (`client_ca` there) has signed it")
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate => {
                format!("it refuses {own}: it is not valid for a client ({alert:?})")
            }
            AlertDescription::CertificateRevoked => format!("it refuses {own}: it is revoked"),
            AlertDescription::AccessDenied => format!("it refuses {own}: it is not allowed"),
            AlertDescription::DecryptError => {
                format!("it refuses {own}: the signature does not fit it")
            }
            AlertDescription::ProtocolVersion => "it does not speak TLS 1.3".to_owned(),
            other => format!("it ended the TLS handshake: {other:?}"),
        },
        other => format!("TLS failed: {other}"),
    })
}

/// The end of a sentence about a certificate.
fn certificate(problem: &CertificateError, ca: &str) -> String {
    match problem {
        CertificateError::ExpiredContext { not_after, .. } => {
            let second = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX);
            format!("has expired, on {}", at(second))
        }
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            let second = i64::try_from(not_before.as_secs()).unwrap_or(i64::MAX);
            format!("is not valid before {}: compare the clocks", at(second))
        }
        CertificateError::NotValidYet => "is not valid yet: compare the clocks".to_owned(),
        CertificateError::UnknownIssuer => format!("is signed by none of the CAs in `{ca}`"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let presented = match presented.is_empty() {
                true => "nobody".to_owned(),
                false => presented.join(", "),
            };
            format!("is not for `{expected}`: it is for {presented}")
        }
        CertificateError::NotValidForName => "is for another name".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not meant for this (its extended key usage)".to_owned()
        }
        CertificateError::BadSignature => "has a signature that does not fit".to_owned(),
        CertificateError::Revoked => "is revoked".to_owned(),
        CertificateError::BadEncoding => "cannot be read".to_owned(),
        other => format!("is not acceptable: {other}"),
    }
}

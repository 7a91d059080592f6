//! Where a node takes events.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tonic::transport::Uri;

/// The port that nodes take events on unless configured otherwise.
const DEFAULT_PORT: u16 = 7400;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence after which a node is probed while something is unanswered, and how long that may take.
/// A peer that vanished without a word is noticed within the sum.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The address of a node's ingest port, such as `http://127.0.0.1:7400`.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    transport: tonic::transport::Endpoint,
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL.
    #[error("`{text}` is no address: write `http://HOST:PORT` or `https://HOST:PORT`")]
    Malformed {
        /// The text.
        text: String,
    },
    /// Neither `http` nor `https`.
    #[error("`{text}` asks for {scheme}, only http and https are there")]
    Scheme {
        /// The text.
        text: String,
        /// What it asks for.
        scheme: String,
    },
}

impl Endpoint {
    /// The address as a URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same with another limit on how long a connection may take to come about; 5 s without.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Endpoint {
        self.transport = self.transport.connect_timeout(timeout);
        self
    }

    pub(crate) fn transport(&self) -> &tonic::transport::Endpoint {
        &self.transport
    }
}

impl Default for Endpoint {
    /// A node on this machine: `http://127.0.0.1:7400`.
    fn default() -> Endpoint {
        "http://127.0.0.1:7400".parse().expect("it is an address")
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Takes `http://HOST:PORT` and `https://HOST:PORT`; `http://` and the port may be left out.
    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let malformed = || EndpointError::Malformed { text: text.to_owned() };
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !matches!(scheme, "http" | "https") {
            let (text, scheme) = (text.to_owned(), scheme.to_owned());
            return Err(EndpointError::Scheme { text, scheme });
        }
        let uri: Uri = format!("{scheme}://{rest}").parse().map_err(|_| malformed())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(malformed());
        }
        // Anything beside the host must be a port.
        let port = match uri.port_u16() {
            Some(port) => port,
            None if uri.authority().is_some_and(|authority| authority == host) => DEFAULT_PORT,
            None => return Err(malformed()),
        };
        let url = format!("{scheme}://{host}:{port}");
        let transport = tonic::transport::Endpoint::from_shared(url.clone())
            .map_err(|_| malformed())?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE);
        Ok(Endpoint { url, transport })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.url).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_and_nonsense_is_refused() {
        let parse = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.url);
        assert_eq!(parse("http://node-1:7500"), Ok("http://node-1:7500".to_owned()));
        assert_eq!(parse("https://node-1"), Ok("https://node-1:7400".to_owned()));
        assert_eq!(parse("node-1"), Ok("http://node-1:7400".to_owned()));
        assert_eq!(parse("[::1]:9"), Ok("http://[::1]:9".to_owned()));
        for wrong in ["", "http://", "http://a b", "http://node/path", "ftp://node", "node:99999"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}

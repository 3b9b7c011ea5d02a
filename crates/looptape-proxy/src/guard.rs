//! Who may talk to a listener.
//!
//! A listener on loopback serves this machine's programs; a web page open in a browser on this machine
//! must not reach it (DNS rebinding, cross-site requests), so Host and Origin are checked. A listener
//! beyond loopback wants a token, which travels as a path segment because SDKs can carry nothing else.

use http::{HeaderMap, HeaderName, header};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// Where a browser says which page a request comes from.
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The rules of one listener.
#[derive(Clone)]
pub struct Guard {
    token: Option<String>,
    beyond_loopback: bool,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("token", &self.token.is_some()).finish_non_exhaustive()
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this listener answers only requests that name it as localhost or 127.0.0.1, not as `{host}`")]
    Host { host: String },
    #[error("requests from web pages (Origin `{origin}`) are refused")]
    Origin { origin: String },
    #[error("this listener wants its token as the first path segments: /k/TOKEN/…")]
    Token,
}

/// Why a listener would not be safe.
#[derive(Debug, thiserror::Error)]
#[error(
    "{listen} can be reached from other machines, so it needs a token: add --token TOKEN (or LOOPTAPE_TOKEN), and put /k/TOKEN in front of the clients' base URLs"
)]
pub struct TokenMissing {
    listen: SocketAddr,
}

impl Guard {
    /// The rules for `listen`. Beyond loopback a token of at least 16 characters is required.
    pub fn new(listen: SocketAddr, token: Option<String>) -> Result<Self, TokenMissing> {
        let beyond_loopback = !listen.ip().is_loopback();
        if beyond_loopback && token.as_ref().is_none_or(|t| t.len() < 16) {
            return Err(TokenMissing { listen });
        }
        Ok(Self { token, beyond_loopback })
    }

    /// Whether a request may go on. `given` is the token in its path.
    pub fn check(&self, headers: &HeaderMap, given: Option<&str>) -> Result<(), Refusal> {
        self.check_sender(headers)?;
        self.check_token(given)
    }

    /// The token only: of a captured call, whose Host and Origin are those of another place.
    pub fn check_token(&self, given: Option<&str>) -> Result<(), Refusal> {
        match &self.token {
            Some(token)
                if !given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(token.as_bytes()))) =>
            {
                Err(Refusal::Token)
            }
            _ => Ok(()),
        }
    }

    /// Host and Origin only: for what needs no token.
    pub fn check_sender(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
            if !is_local_origin(&origin) || self.beyond_loopback {
                return Err(Refusal::Origin { origin });
            }
        }
        if headers.get(&SEC_FETCH_SITE).is_some_and(|site| site == "cross-site") {
            return Err(Refusal::Origin { origin: "cross-site".into() });
        }
        if !self.beyond_loopback {
            let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("localhost");
            if !is_local_host(host) {
                return Err(Refusal::Host { host: host.to_owned() });
            }
        }
        Ok(())
    }
}

/// `host[:port]` names this machine by a loopback address or as localhost.
fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_local_origin(origin: &str) -> bool {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).is_some_and(is_local_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| ((*n).try_into().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn loopback_refuses_web_pages() {
        let guard = Guard::new("127.0.0.1:0".parse().unwrap(), None).unwrap();
        for host in ["127.0.0.1:80", "localhost:1", "[::1]:1", "127.9.9.9", "LOCALHOST"] {
            assert_eq!(guard.check(&headers(&[("host", host)]), None), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1:1", "localhost.evil"]
        {
            assert!(guard.check(&headers(&[("host", host)]), None).is_err(), "{host}");
        }
        for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example"] {
            assert!(
                guard.check(&headers(&[("host", "localhost"), ("origin", origin)]), None).is_err(),
                "{origin}"
            );
        }
        assert!(
            guard.check(&headers(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]), None).is_err()
        );
    }

    #[test]
    fn beyond_loopback_wants_a_token() {
        let listen: SocketAddr = "0.0.0.0:0".parse().unwrap();
        assert!(Guard::new(listen, None).is_err());
        assert!(Guard::new(listen, Some("short".into())).is_err());
        let guard = Guard::new(listen, Some("0123456789abcdef".into())).unwrap();
        let h = headers(&[("host", "gateway.internal:8080")]);
        assert_eq!(guard.check(&h, Some("0123456789abcdef")), Ok(()));
        assert_eq!(guard.check(&h, Some("0123456789abcdeX")), Err(Refusal::Token));
        assert_eq!(guard.check(&h, None), Err(Refusal::Token));
    }
}

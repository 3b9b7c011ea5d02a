//! The host that a captured call is for.

use crate::upstream::is_loopback;
use http::Uri;
use http::uri::Scheme;
use std::fmt;
use std::net::SocketAddr;

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    /// In lower case; an IPv6 address in its brackets.
    host: String,
    port: u16,
}

impl Target {
    /// Of a URI that is a whole URL.
    pub(super) fn of_url(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))?;
        let port = uri.port_u16().unwrap_or(if *scheme == Scheme::HTTP { 80 } else { 443 });
        Self::new(scheme.clone(), uri.host()?, port)
    }

    /// Of the `host:port` for which a tunnel is asked. What is spoken through it shows later.
    pub(super) fn of_tunnel(uri: &Uri) -> Option<Self> {
        Self::new(Scheme::HTTPS, uri.host()?, uri.port_u16()?)
    }

    fn new(scheme: Scheme, host: &str, port: u16) -> Option<Self> {
        (!host.is_empty()).then(|| Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// The same host, where plain HTTP is spoken.
    pub(super) fn in_the_clear(self) -> Self {
        Self { scheme: Scheme::HTTP, ..self }
    }

    pub(super) fn is(&self, own: SocketAddr) -> bool {
        self.port == own.port() && is_loopback(&self.host)
    }

    /// The host as a certificate names it.
    pub(super) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The host, with its port unless that is its scheme's own.
    pub(crate) fn host(&self) -> String {
        match (self.scheme == Scheme::HTTP, self.port) {
            (true, 80) | (false, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    pub(crate) fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The URL of a path there.
    pub(crate) fn url(&self, path_and_query: &str) -> String {
        let slash = if path_and_query.starts_with('/') { "" } else { "/" };
        format!("{self}{slash}{path_and_query}")
    }
}

/// As an origin.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_unless_they_are_the_schemes_own() {
        let url = |text: &str| Target::of_url(&text.parse().unwrap()).unwrap().url("/a?b");
        assert_eq!(url("http://Api.Example.com/x"), "http://api.example.com/a?b");
        assert_eq!(url("https://me:secret@h:443"), "https://h/a?b");
        assert_eq!(url("http://[::1]:8080"), "http://[::1]:8080/a?b");
        assert_eq!(Target::of_url(&"/path".parse().unwrap()), None);
        assert_eq!(Target::of_url(&"ftp://h/".parse().unwrap()), None);
        let tunnel = |text: &str| Target::of_tunnel(&text.parse().unwrap());
        assert_eq!(tunnel("h:443").unwrap().to_string(), "https://h");
        let plain = tunnel("[::1]:80").unwrap().in_the_clear();
        assert_eq!((plain.to_string().as_str(), plain.name()), ("http://[::1]", "::1"));
        assert_eq!(tunnel("h"), None, "a tunnel needs its port");
    }

    #[test]
    fn this_listener_is_known_by_any_of_its_names() {
        let own = "127.0.0.1:4100".parse().unwrap();
        for (authority, is_own) in
            [("127.0.0.1:4100", true), ("localhost:4100", true), ("127.0.0.1:4101", false), ("h:4100", false)]
        {
            assert_eq!(
                Target::of_tunnel(&authority.parse().unwrap()).unwrap().is(own),
                is_own,
                "{authority}"
            );
        }
    }
}

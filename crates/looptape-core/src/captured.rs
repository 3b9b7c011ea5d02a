//! Calls that a forward proxy captured on their way to a host that nobody configured.
//!
//! A call that came by a base URL has a path, below a provider. A captured one has its whole URL in the place of
//! the path, so nothing else has to be kept to know where it went, and `GET /status` of one host is not that of
//! another. Whether it is a model call follows from the URL: what a provider's host is asked is read as it always
//! is, so that a client that is led here by a base URL is replayed from what was captured of it, and the other way
//! round. Of any other host only paths are model calls that can be nothing else; everything else is a call that a
//! tool made.
//!
//! URLs here have no credentials before the host: clients send those in a header.

use crate::provider_host;

/// A captured call's URL, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturedUrl<'a> {
    url: &'a str,
    /// Where the path begins.
    path_at: usize,
}

impl<'a> CapturedUrl<'a> {
    /// `None` for the path of a call that came by a base URL.
    pub fn parse(path: &'a str) -> Option<Self> {
        let scheme = ["https://", "http://"].into_iter().find(|scheme| path.starts_with(scheme))?;
        let rest = &path[scheme.len()..];
        let host = rest.find(['/', '?']).unwrap_or(rest.len());
        (host > 0).then_some(Self { url: path, path_at: scheme.len() + host })
    }

    /// The host, with its port unless that is its scheme's own.
    pub fn host(self) -> &'a str {
        let before = &self.url[..self.path_at];
        before.split_once("://").map_or(before, |(_, host)| host)
    }

    /// Path and query.
    pub fn path(self) -> &'a str {
        &self.url[self.path_at..]
    }

    /// Whether the host is known to be a model provider's.
    pub fn is_of_a_provider(self) -> bool {
        provider_host::known(self.host()).is_some()
    }
}

/// Whether a call was captured.
pub fn is_captured(path: &str) -> bool {
    CapturedUrl::parse(path).is_some()
}

/// Path and query as the host knows them, however the call came.
pub fn path_at_host(path: &str) -> &str {
    CapturedUrl::parse(path).map_or(path, CapturedUrl::path)
}

/// What stands for a call's path in the path of another URL, as requests to a replay's own server have it.
pub fn below(prefix: &str, path: &str) -> String {
    let slash = if is_captured(path) { "/" } else { "" };
    [prefix, slash, path].concat()
}

/// The path that [`below`] put there, once the prefix is gone.
pub fn without_slash(path: &str) -> &str {
    path.strip_prefix('/').filter(|url| is_captured(url)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, path, is_providers) in [
            ("https://api.mistral.ai/v1/chat/completions", "api.mistral.ai", "/v1/chat/completions", true),
            ("http://10.0.0.1:8080/a?b=https://c/", "10.0.0.1:8080", "/a?b=https://c/", false),
            ("https://[::1]:1/", "[::1]:1", "/", false),
            ("https://h", "h", "", false),
            ("https://h?x", "h", "?x", false),
        ] {
            let parsed = CapturedUrl::parse(url).unwrap();
            assert_eq!((parsed.host(), parsed.path()), (host, path), "{url}");
            assert_eq!(parsed.is_of_a_provider(), is_providers, "{url}");
        }
        for path in ["/v1/chat", "/https://h/", "https://", "https:///x", "ftp://h/", ""] {
            assert_eq!(CapturedUrl::parse(path), None, "{path}");
        }
    }

    #[test]
    fn they_stand_below_a_prefix_and_come_out_again() {
        for (path, written) in [("/v1/x", "/p/v1/x"), ("https://h/v1/x", "/p/https://h/v1/x")] {
            let below = below("/p", path);
            assert_eq!(below, written);
            assert_eq!(without_slash(below.strip_prefix("/p").unwrap()), path);
        }
    }
}

//! Which headers pass, and which are recorded.
//!
//! Headers of one connection end here, and so do looptape's own. Everything else passes as it came.

use http::header::{self, HeaderMap, HeaderName};

/// How the names of looptape's own headers begin.
const OWN: &str = "x-looptape-";

/// The headers that go upstream: all but those of this connection and looptape's own.
pub(crate) fn forwarded(mut headers: HeaderMap) -> HeaderMap {
    remove(&mut headers, |name| {
        *name == header::HOST || *name == header::EXPECT || name.as_str().starts_with(OWN)
    });
    headers
}

/// Takes out what belongs to one connection, also by what `connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    remove(headers, |_| false);
}

/// Takes out what belongs to one connection, and what else `goes`.
fn remove(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let going: Vec<HeaderName> =
        headers.keys().filter(|name| is_hop_by_hop(name.as_str()) || goes(name)).cloned().collect();
    for name in going {
        headers.remove(name);
    }
    for name in named {
        headers.remove(name);
    }
}

/// Headers of one connection, which say nothing about the message. `name` in lower case.
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Request headers that say nothing about the request: of this connection, or known from elsewhere.
/// `name` in lower case.
pub fn is_not_recorded(name: &str) -> bool {
    is_hop_by_hop(name) || matches!(name, "host" | "content-length" | "expect") || name.starts_with(OWN)
}

/// A header's value, if it is text and not empty.
pub(crate) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty()).map(str::to_owned)
}

//! Which headers pass, and which are recorded.
//!
//! Headers of one connection end here, and so do looptape's own. Everything else passes as it came.

use http::header::{self, HeaderMap, HeaderName};

/// Headers that belong to one connection, not to the message.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// How the names of looptape's own headers begin.
const OWN: &str = "x-looptape-";

/// The headers that go upstream: all but those of this connection and looptape's own.
pub(crate) fn forwarded(mut headers: HeaderMap) -> HeaderMap {
    remove_hop_by_hop(&mut headers);
    headers.remove(header::HOST);
    headers.remove(header::EXPECT);
    let own: Vec<HeaderName> = headers.keys().filter(|n| n.as_str().starts_with(OWN)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    headers
}

/// Takes out what belongs to one connection, also by what `connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    for name in named {
        headers.remove(name);
    }
}

/// Headers of one connection, which say nothing about the message. `name` in lower case.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|hop| hop.as_str() == name)
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

//! Calls that agents make beside their loop and that may come or stay away: probes, preconnects.
//!
//! They are optional. A recorded one is served like any other call; one that was not recorded gets the
//! neutral answer here, and neither fails a replay. Telemetry and title calls are not in this table.

/// An optional call and its neutral answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideCall {
    pub method: &'static str,
    pub path: &'static str,
    pub status: u16,
    pub body: &'static str,
}

/// Sources: observed (claude-code checks that its host is there before its first call; some versions ask
/// for the root, some for a path of its own).
const SIDE_CALLS: &[SideCall] = &[
    SideCall { method: "HEAD", path: "/", status: 200, body: "" },
    SideCall { method: "HEAD", path: "/api/hello", status: 200, body: "" },
];

impl SideCall {
    /// The side call that a request is, whatever its query.
    pub fn find(method: &str, path_and_query: &str) -> Option<&'static Self> {
        let path = path_and_query.split('?').next().unwrap_or_default();
        SIDE_CALLS.iter().find(|call| call.method.eq_ignore_ascii_case(method) && call.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::SideCall;

    #[test]
    fn only_the_listed_calls_are_optional() {
        assert!(SideCall::find("HEAD", "/api/hello").is_some());
        assert!(SideCall::find("HEAD", "/api/hello?x=1").is_some());
        assert!(SideCall::find("HEAD", "/").is_some());
        assert!(SideCall::find("GET", "/").is_none());
        assert!(SideCall::find("GET", "/api/hello").is_none());
        assert!(SideCall::find("HEAD", "/api/hello/2").is_none());
    }
}

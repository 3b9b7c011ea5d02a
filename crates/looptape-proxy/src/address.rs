//! How a request says what it is for: `[/k/TOKEN][/t/TRACE][/PROVIDER]/path`.
//!
//! Unmodified SDKs can carry nothing but a base URL, so token, trace id and provider are path segments.
//! None of them reaches the upstream.

use looptape_core::mcp::is_mcp;
use looptape_core::provider::{DEFAULT_UPSTREAMS, Provider};
use looptape_core::wire;
use looptape_core::{TraceId, trace_id::InvalidTraceId};

/// A request's path, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub token: Option<String>,
    pub trace: Option<TraceId>,
    /// `None` if neither a prefix nor the path's shape says.
    pub provider: Option<Provider>,
    /// Path and query as the provider knows them.
    pub path: String,
}

impl Address {
    /// Whether the path has segments that URLs resolve away (`..`, also as `%2e%2e` or behind a
    /// backslash): behind an upstream with a path of its own they would lead elsewhere.
    pub fn leaves_its_base(&self) -> bool {
        if memchr::memchr2(b'.', b'%', self.path.as_bytes()).is_none() {
            return false;
        }
        let path = self.path.split('?').next().unwrap_or_default();
        path.split(['/', '\\']).any(|segment| matches!(only_dots(segment), Some(1 | 2)))
    }
}

/// How many dots a segment is made of, encoded ones too; `None` if it has anything else in it.
fn only_dots(segment: &str) -> Option<usize> {
    let mut rest = segment.as_bytes();
    let mut dots = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return None,
        };
        dots += 1;
    }
    Some(dots)
}

/// Takes a request's path and query apart. `known` are providers besides the built-in ones; `has_header`
/// helps where the path alone does not tell the provider.
pub fn parse(
    method: &str,
    path_and_query: &str,
    known: &[Provider],
    has_header: &dyn Fn(&str) -> bool,
) -> Result<Address, InvalidTraceId> {
    let mut rest = path_and_query;
    let token = take_pair(&mut rest, "k").map(str::to_owned);
    let trace = take_pair(&mut rest, "t").map(TraceId::parse).transpose()?;
    let named = first_segment(rest).and_then(|segment| {
        let builtin = DEFAULT_UPSTREAMS.iter().any(|(name, _)| *name == segment) || segment == "azure";
        let is_mcp_server = || Provider::parse(segment).is_some_and(|provider| is_mcp(&provider));
        let is_known = || known.iter().any(|provider| provider.as_str().eq_ignore_ascii_case(segment));
        (builtin || is_known() || is_mcp_server()).then(|| Provider::parse(segment)).flatten()
    });
    let path = match &named {
        Some(provider) => rooted(&rest[1 + provider.as_str().len()..]),
        None => rooted(rest),
    };
    let provider = named.or_else(|| wire::route::guess_provider(method, &path, has_header));
    Ok(Address { token, trace, provider, path })
}

/// The token in front of a path and query, and the rest.
pub(crate) fn without_token(path_and_query: &str) -> (Option<String>, String) {
    let mut rest = path_and_query;
    let token = take_pair(&mut rest, "k").map(str::to_owned);
    (token, rooted(rest))
}

/// Takes `/key/VALUE` off the front of `path`.
fn take_pair<'a>(path: &mut &'a str, key: &str) -> Option<&'a str> {
    let rest = path.strip_prefix('/')?.strip_prefix(key)?.strip_prefix('/')?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (value, after) = rest.split_at(end);
    *path = after;
    Some(value)
}

fn first_segment(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split(['/', '?']).next()
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> (Option<String>, Option<String>, Option<String>, String) {
        let a = parse("POST", path, &[Provider::parse("mine").unwrap()], &|_| false).unwrap();
        (a.token, a.trace.map(|t| t.to_string()), a.provider.map(|p| p.to_string()), a.path)
    }

    #[test]
    fn prefixes() {
        let s = |t: &str| Some(t.to_owned());
        assert_eq!(
            parsed("/t/abc/openai/v1/chat/completions"),
            (None, s("abc"), s("openai"), "/v1/chat/completions".into())
        );
        assert_eq!(
            parsed("/k/s3cret/t/a/anthropic/v1/messages?beta=true"),
            (s("s3cret"), s("a"), s("anthropic"), "/v1/messages?beta=true".into())
        );
        assert_eq!(parsed("/v1/messages"), (None, None, s("anthropic"), "/v1/messages".into()));
        assert_eq!(parsed("/mine/x"), (None, None, s("mine"), "/x".into()));
        assert_eq!(parsed("/t/abc/openai"), (None, s("abc"), s("openai"), "/".into()));
        assert_eq!(parsed("/openai?x=1"), (None, None, s("openai"), "/?x=1".into()));
        assert_eq!(parsed("/t/abc"), (None, s("abc"), None, "/".into()));
    }

    #[test]
    fn segments_that_lead_elsewhere() {
        let leaves = |path: &str| parse("GET", path, &[], &|_| false).unwrap().leaves_its_base();
        for path in
            ["/openai/../x", "/openai/v1/%2E%2e/x", "/openai/a\\..\\b", "/openai/v1/.", "/openai/.%2e"]
        {
            assert!(leaves(path), "{path}");
        }
        for path in ["/openai/v1/...", "/openai/v1/x..y", "/openai/v1/x?y=/../", "/openai/.well-known"] {
            assert!(!leaves(path), "{path}");
        }
    }

    #[test]
    fn a_bad_trace_id_is_an_error() {
        assert!(parse("POST", "/t/..%2f/openai/v1", &[], &|_| false).is_err());
        assert!(parse("POST", "/t//openai/v1", &[], &|_| false).is_err());
    }
}

//! What a request's headers say its trace is called: `x-looptape-agent`, `x-looptape-agent-version` and
//! `x-looptape-tag: KEY=VALUE`, which may come several times or hold several tags with commas between. They
//! never reach the upstream (see `passing_headers`). What is no label is passed over.

use http::{HeaderMap, HeaderName};
use looptape_core::labels::{Labels, Tag, parse_name};

static AGENT: HeaderName = HeaderName::from_static("x-looptape-agent");
static AGENT_VERSION: HeaderName = HeaderName::from_static("x-looptape-agent-version");
static TAG: HeaderName = HeaderName::from_static("x-looptape-tag");

/// Whether a header, by its name in lower case, may hold a label.
pub(crate) fn is_label(name: &str) -> bool {
    [&AGENT, &AGENT_VERSION, &TAG].iter().any(|label| label.as_str() == name)
}

/// The labels of one request.
pub(crate) fn labels(headers: &HeaderMap) -> Labels {
    let name = |name: &HeaderName| parse_name(headers.get(name)?.to_str().ok()?).ok();
    let mut labels = Labels { agent: name(&AGENT), agent_version: name(&AGENT_VERSION), ..Labels::default() };
    let lists = headers.get_all(&TAG).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(Tag::parse_list).flatten().for_each(|tag| labels.add_tag(tag));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn headers_name_agent_version_and_tags() {
        let mut headers = HeaderMap::new();
        assert!(labels(&headers).is_empty());
        headers.insert(&AGENT, HeaderValue::from_static("refund"));
        headers.insert(&AGENT_VERSION, HeaderValue::from_static(" 1.4 "));
        headers.append(&TAG, HeaderValue::from_static("env=staging, nightly"));
        headers.append(&TAG, HeaderValue::from_static("env=prod"));
        headers.append(&TAG, HeaderValue::from_static("=nothing"));
        headers.append(&TAG, HeaderValue::from_bytes(b"x=\xff").unwrap());
        let got = labels(&headers);
        assert_eq!((got.agent.as_deref(), got.agent_version.as_deref()), (Some("refund"), Some("1.4")));
        let tags: Vec<_> = got.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(tags, [("env", "staging"), ("nightly", "")]);
        headers.insert(&AGENT, HeaderValue::from_str(&"x".repeat(500)).unwrap());
        assert_eq!(labels(&headers).agent, None, "what is too long is no name");
    }
}

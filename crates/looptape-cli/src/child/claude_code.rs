//! claude-code asks otherwise once a base URL is set: another system prompt, other tools, other betas. It
//! can be told that the base is Anthropic's own, and asks then as it would without looptape.
//!
//! Recording tells it so where its calls do go to Anthropic; replaying, where the recording shows it.

use super::environment::Variables;
use bytes::Bytes;
use looptape_core::provider::Provider;
use looptape_proxy::upstream::Upstreams;

const FIRST_PARTY: &str = "_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL";
const ANTHROPIC: &str = "https://api.anthropic.com";

/// With this claude-code begins its system prompt ...
const HEADER: &[u8] = b"x-anthropic-billing-header: ";
/// ... and goes on with a checksum of the request only if the base is Anthropic's.
const CHECKSUM: &[u8] = b" cch=";

/// What to tell it when its calls go to `upstreams`.
pub(crate) fn if_first_party(upstreams: &Upstreams) -> Variables {
    let provider = Provider::parse("anthropic").expect("a built-in name is valid");
    let upstream = upstreams.get(&provider).map(|upstream| upstream.url());
    let is_theirs = upstream.is_some_and(|url| url == ANTHROPIC || url.starts_with(&format!("{ANTHROPIC}/")));
    if is_theirs { told() } else { Variables::new() }
}

/// What it was told when requests with these bodies were recorded.
pub(crate) fn as_recorded(bodies: impl IntoIterator<Item = Bytes>) -> Variables {
    let shows = |body: Bytes| {
        let header = find(&body, HEADER).map(|at| &body[at..]);
        // The system prompt's block ends at the next quote.
        let block = header.map(|from| &from[..find(from, b"\"").unwrap_or(from.len())]);
        block.is_some_and(|block| find(block, CHECKSUM).is_some())
    };
    if bodies.into_iter().any(shows) { told() } else { Variables::new() }
}

fn told() -> Variables {
    vec![(FIRST_PARTY.to_owned(), "1".to_owned())]
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_anthropics_own_host_is_first_party() {
        let told = |flags: &[&str]| {
            let mut upstreams = Upstreams::default();
            for flag in flags {
                upstreams.add_stated(flag).unwrap();
            }
            !if_first_party(&upstreams).is_empty()
        };
        assert!(told(&[]), "the default upstream is Anthropic's");
        assert!(told(&["anthropic=https://api.anthropic.com/v1"]));
        assert!(told(&["openai=http://127.0.0.1:1"]));
        assert!(!told(&["anthropic=http://127.0.0.1:1"]));
        assert!(!told(&["anthropic=https://api.anthropic.com.example.org"]));
    }
}

//! Which headers of a recorded request are sent again with it.
//!
//! Those that say something about what is asked: not the keys, which were not recorded, and not what a connection, the
//! browser's page, or another body than the one that is sent says of itself.

use looptape_core::headers::REDACTED;
use looptape_proxy::is_not_recorded;

/// The body that a recorded request is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentBody {
    /// Byte by byte.
    AsRecorded,
    Another,
}

/// `name` in lower case.
pub(crate) fn is_sent_again((name, value): (&str, &str), body: SentBody) -> bool {
    // Older recordings, and other tools', may hold what is not recorded any more.
    value != REDACTED
        && !is_not_recorded(name)
        && !is_of_a_page(name)
        && (body == SentBody::AsRecorded || !is_of_a_body(name))
}

/// What a browser says about the page that sends. No page sends this request again, and servers may refuse those of
/// strangers.
fn is_of_a_page(name: &str) -> bool {
    name == "origin" || name.starts_with("sec-fetch-")
}

/// What is said about the recorded body, and not about another one.
fn is_of_a_body(name: &str) -> bool {
    matches!(name, "content-encoding" | "content-length" | "content-md5" | "content-digest" | "digest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_question_is_sent_again() {
        let sent = |name, body| is_sent_again((name, "x"), body);
        for name in ["content-type", "anthropic-version", "x-title", "accept-encoding"] {
            assert!(sent(name, SentBody::Another), "{name}");
        }
        for name in
            ["connection", "te", "host", "content-length", "x-looptape-trace", "origin", "sec-fetch-site"]
        {
            assert!(!sent(name, SentBody::AsRecorded), "{name}");
        }
        for name in ["content-encoding", "content-md5", "digest"] {
            assert!(sent(name, SentBody::AsRecorded) && !sent(name, SentBody::Another), "{name}");
        }
        assert!(!is_sent_again(("authorization", REDACTED), SentBody::AsRecorded));
    }
}

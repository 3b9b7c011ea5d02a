//! What a request's headers say to looptape: which trace and loop it is of, what that is called, and how it
//! turned out.
//!
//! All are found in one pass, since most requests have none of them. It decides nothing: what takes precedence
//! is the recording proxy's business.

use crate::labels::{is_label, labels};
use http::HeaderMap;
use looptape_core::assembly::LoopOutcome;
use looptape_core::labels::Labels;

/// Headers by name: of each the first that is text and not empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stated<'a> {
    pub(crate) trace: Option<&'a str>,
    pub(crate) of_loop: Option<&'a str>,
    pub(crate) labels: Labels,
    outcome: Option<&'a str>,
    pub(crate) traceparent: Option<&'a str>,
    /// Coding agents name their session in one of these, the earlier one first.
    sessions: [Option<&'a str>; 4],
}

impl<'a> Stated<'a> {
    pub(crate) fn by(headers: &'a HeaderMap) -> Self {
        let mut stated = Self::default();
        let mut is_labelled = false;
        for (name, value) in headers {
            let name = name.as_str();
            is_labelled |= is_label(name);
            if let Some(place) = stated.place(name)
                && place.is_none()
            {
                *place = value.to_str().ok().filter(|text| !text.is_empty());
            }
        }
        if is_labelled {
            stated.labels = labels(headers);
        }
        stated
    }

    fn place(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        Some(match name {
            "x-looptape-trace" => &mut self.trace,
            "x-looptape-loop" => &mut self.of_loop,
            "x-looptape-outcome" => &mut self.outcome,
            "traceparent" => &mut self.traceparent,
            "x-claude-code-session-id" => &mut self.sessions[0],
            "session-id" => &mut self.sessions[1],
            "session_id" => &mut self.sessions[2],
            "x-session-id" => &mut self.sessions[3],
            _ => return None,
        })
    }

    /// How the trace turned out, if that is an outcome.
    pub(crate) fn outcome(&self) -> Option<LoopOutcome> {
        LoopOutcome::parse(self.outcome?.trim())
    }

    pub(crate) fn session(&self) -> Option<&'a str> {
        self.sessions.iter().find_map(|session| *session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_name_that_says_something() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-session-id", "later"),
            ("x-looptape-trace", ""),
            ("x-looptape-trace", "mine"),
            ("x-looptape-trace", "too late"),
            ("session_id", "earlier"),
            ("x-looptape-agent", "a"),
            ("x-looptape-tag", "k=v"),
            ("authorization", "Bearer x"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let sessions = [None, None, Some("earlier"), Some("later")];
        let labels = labels(&headers);
        assert_eq!((labels.agent.as_deref(), labels.tags.len()), (Some("a"), 1));
        let expected = Stated { trace: Some("mine"), labels, sessions, ..Stated::default() };
        assert_eq!(Stated::by(&headers), expected);
        assert_eq!(expected.session(), Some("earlier"));
    }
}

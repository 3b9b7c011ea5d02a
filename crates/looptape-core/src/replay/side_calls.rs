//! Calls that agents make beside their loop and that may come or stay away: probes, titles, classifiers.
//!
//! They are optional. A recorded one is served like any other call; one that was not recorded gets a neutral
//! answer, and one that was recorded and is not made is left over. Both are reported, and neither fails a
//! replay. The table is here, with what was observed; a project's settings may add to it.
//!
//! A model call is told by words of its system prompt, and only if it offers no tools: a loop's own request
//! is never one of these.

use super::components::Split;
use crate::canonical::Json;
use crate::wire::Wire;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The neutral answer to an optional call that was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideCall {
    pub status: u16,
    pub body: &'static str,
}

/// Whoever probes is told that somebody is there.
const PRESENT: SideCall = SideCall { status: 200, body: "" };

/// An error that every provider's client reads, and none tries again.
const NOT_RECORDED: SideCall = SideCall {
    status: 422,
    body: r#"{"type":"error","error":{"type":"not_recorded","code":422,"status":"FAILED_PRECONDITION","message":"looptape: this optional call was not recorded; the replay goes on without it"}}"#,
};

/// How an optional call is recognised.
#[derive(Clone, Debug)]
enum Sign {
    /// By method and path, whatever its query.
    Address { method: Cow<'static, str>, path: Cow<'static, str> },
    /// A model call without tools whose system prompt holds these words.
    Instruction { words: Cow<'static, str> },
}

/// Observed: claude-code 2.1, opencode 1.18, gemini-cli.
const KNOWN: &[(Sign, SideCall)] = &[
    // claude-code checks that its host is there before its first call; some versions ask for the root,
    // some for a path of its own.
    (Sign::Address { method: Cow::Borrowed("HEAD"), path: Cow::Borrowed("/") }, PRESENT),
    (Sign::Address { method: Cow::Borrowed("HEAD"), path: Cow::Borrowed("/api/hello") }, PRESENT),
    // claude-code names its session.
    (instruction("Generate a concise, sentence-case title"), NOT_RECORDED),
    // opencode names its conversation, on a smaller model.
    (instruction("You are a title generator. You output ONLY a thread title."), NOT_RECORDED),
    // gemini-cli asks which model a task needs; without an answer it takes its default.
    (instruction("You are a specialized Task Routing AI."), NOT_RECORDED),
];

const fn instruction(words: &'static str) -> Sign {
    Sign::Instruction { words: Cow::Borrowed(words) }
}

/// One `[[side_call]]` entry of the project's settings: a call is optional if all that is stated holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideCallEntry {
    pub method: Option<String>,
    pub path: Option<String>,
    /// Words of the system prompt of a model call that offers no tools.
    pub system: Option<String>,
}

/// Why an entry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SideCallEntryError {
    #[error("[[side_call]]: state `method` and `path`, or `system`: words of the call's system prompt")]
    SaysNothing,
    #[error(
        "[[side_call]] system = \"{words}\": state at least 12 characters, or the loop's own calls might be taken for optional ones"
    )]
    TooShort { words: String },
}

/// Fewer characters of a system prompt are no sign.
const SHORTEST_SIGN: usize = 12;

/// Which calls are optional.
#[derive(Clone, Debug, Default)]
pub struct SideCalls {
    configured: Vec<Sign>,
}

/// A call as far as it shows whether it is optional.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'c> {
    pub(super) wire: Option<Wire>,
    pub(super) method: &'c str,
    pub(super) path: &'c str,
    pub(super) body: &'c [u8],
}

impl SideCalls {
    /// The known ones and those of the settings.
    pub fn with(entries: &[SideCallEntry]) -> Result<Self, SideCallEntryError> {
        let configured = entries.iter().map(Sign::try_from).collect::<Result<_, _>>()?;
        Ok(Self { configured })
    }

    /// The neutral answer to a call, if it is optional.
    pub(super) fn find(&self, call: Seen<'_>) -> Option<&'static SideCall> {
        let known = KNOWN.iter().find(|(sign, _)| sign.is_of(call)).map(|(_, answer)| answer);
        known.or_else(|| self.configured.iter().any(|sign| sign.is_of(call)).then_some(&NOT_RECORDED))
    }
}

impl TryFrom<&SideCallEntry> for Sign {
    type Error = SideCallEntryError;

    fn try_from(entry: &SideCallEntry) -> Result<Self, SideCallEntryError> {
        match (&entry.method, &entry.path, &entry.system) {
            (Some(method), Some(path), None) => {
                Ok(Self::Address { method: Cow::Owned(method.clone()), path: Cow::Owned(path.clone()) })
            }
            (None, None, Some(words)) if words.len() < SHORTEST_SIGN => {
                Err(SideCallEntryError::TooShort { words: words.clone() })
            }
            (None, None, Some(words)) => Ok(Self::Instruction { words: Cow::Owned(words.clone()) }),
            _ => Err(SideCallEntryError::SaysNothing),
        }
    }
}

impl Sign {
    fn is_of(&self, call: Seen<'_>) -> bool {
        match self {
            Self::Address { method, path } => {
                let own_path = call.path.split('?').next().unwrap_or_default();
                call.method.eq_ignore_ascii_case(method) && own_path == path
            }
            Self::Instruction { words } => call.wire.is_some_and(|wire| instructs(wire, call.body, words)),
        }
    }
}

/// Whether a request's system prompt holds the words, and it offers no tools.
fn instructs(wire: Wire, body: &[u8], words: &str) -> bool {
    // Most bodies do not hold them anywhere. Words that JSON would escape are looked for in the first
    // run of them that it would not.
    let plain = words.split(['"', '\\', '\n', '\t', '/']).max_by_key(|part| part.len()).unwrap_or(words);
    if memchr::memmem::find(body, plain.as_bytes()).is_none() {
        return false;
    }
    let Some(json) = Json::parse(body) else { return false };
    let split = Split::new(Some(wire), &json);
    let has_tools =
        split.tools.iter().any(|tools| !matches!(tools.json, Json::Array(tools) if tools.is_empty()));
    !has_tools && split.system.iter().any(|piece| holds(piece.json, words))
}

fn holds(json: &Json<'_>, words: &str) -> bool {
    match json {
        Json::String(text) => memchr::memmem::find(text, words.as_bytes()).is_some(),
        Json::Array(items) => items.iter().any(|item| holds(item, words)),
        Json::Object(members) => members.iter().any(|(_, value)| holds(value, words)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(
        side_calls: &SideCalls,
        method: &str,
        path: &str,
        wire: Option<Wire>,
        body: &str,
    ) -> Option<u16> {
        let seen = Seen { wire, method, path, body: body.as_bytes() };
        side_calls.find(seen).map(|answer| answer.status)
    }

    #[test]
    fn only_the_listed_addresses_are_optional() {
        let known = SideCalls::default();
        for (method, path, expected) in [
            ("HEAD", "/api/hello", Some(200)),
            ("HEAD", "/api/hello?x=1", Some(200)),
            ("HEAD", "/", Some(200)),
            ("GET", "/", None),
            ("GET", "/api/hello", None),
            ("HEAD", "/api/hello/2", None),
        ] {
            assert_eq!(status(&known, method, path, None, ""), expected, "{method} {path}");
        }
    }

    #[test]
    fn titles_and_classifiers_are_optional() {
        let known = SideCalls::default();
        let post = |wire, body: &str| status(&known, "POST", "/v1/x", Some(wire), body);
        let title = r#"{"system":[{"type":"text","text":"You are an agent."},{"type":"text","text":"Generate a concise, sentence-case title (3-7 words)"}],"tools":[],"messages":[{"role":"user","content":"x"}]}"#;
        let opencode = "You are a title generator. You output ONLY a thread title. Nothing else.";
        for (wire, body, expected) in [
            (Wire::AnthropicMessages, title.to_owned(), Some(422)),
            (Wire::AnthropicMessages, title.replace("\"tools\":[]", "\"tools\":[{\"name\":\"t\"}]"), None),
            (Wire::AnthropicMessages, format!(r#"{{"system":"{opencode}","messages":[]}}"#), Some(422)),
            (Wire::OpenAiResponses, format!(r#"{{"input":[{{"role":"developer","content":"{opencode}"}}]}}"#), Some(422)),
            (Wire::OpenAiChat, format!(r#"{{"messages":[{{"role":"system","content":"{opencode}"}}]}}"#), Some(422)),
            // Said by a user, it is the loop's own matter.
            (Wire::OpenAiChat, format!(r#"{{"messages":[{{"role":"user","content":"{opencode}"}}]}}"#), None),
            (Wire::GeminiGenerate, r#"{"systemInstruction":{"parts":[{"text":"\nYou are a specialized Task Routing AI. Your"}]}}"#.to_owned(), Some(422)),
        ] {
            assert_eq!(post(wire, &body), expected, "{body}");
        }
    }

    #[test]
    fn a_project_adds_its_own() {
        let entry = |method: Option<&str>, path: Option<&str>, system: Option<&str>| SideCallEntry {
            method: method.map(Into::into),
            path: path.map(Into::into),
            system: system.map(Into::into),
        };
        let own = SideCalls::with(&[
            entry(Some("GET"), Some("/v1/models"), None),
            entry(None, None, Some("Say \"yes\" if it is spam")),
        ])
        .unwrap();
        assert_eq!(status(&own, "GET", "/v1/models", None, ""), Some(422));
        let body = r#"{"messages":[{"role":"system","content":"Say \"yes\" if it is spam."}]}"#;
        assert_eq!(status(&own, "POST", "/v1/x", Some(Wire::OpenAiChat), body), Some(422));
        assert_eq!(status(&SideCalls::default(), "POST", "/v1/x", Some(Wire::OpenAiChat), body), None);
        assert_eq!(
            SideCalls::with(&[entry(Some("GET"), None, None)]).err(),
            Some(SideCallEntryError::SaysNothing)
        );
        assert!(SideCalls::with(&[entry(None, None, Some("You are"))]).is_err());
    }
}

//! A request, split once into the components that are compared: endpoint, model, system prompt, tools,
//! parameters and history.
//!
//! Each component has a digest of its own; the history is a chain over its messages, so that equal heads
//! mean equal histories and the first difference of two is found by bisection. Everything here is derived
//! from redacted bytes. Headers are not compared: they say who asks, not what is asked.

use super::{fields, references};
use crate::canonical::{Encoder, Json, Place, Renaming, Rules};
use crate::captured::CapturedUrl;
use crate::digest::Digest;
use crate::wire::Wire;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Prepares a redacted body for comparison: numbers its secret placeholders by first occurrence, so that
/// the two sides agree about them.
pub type Normalise = for<'a> fn(&'a [u8]) -> Cow<'a, [u8]>;

/// A [`Normalise`] for bodies that hold no placeholders.
pub fn verbatim(body: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(body)
}

/// The named parts of a request, in the order in which a difference is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    Endpoint,
    Model,
    System,
    Tools,
    Parameters,
    History,
}

impl Component {
    pub const ALL: [Self; 6] =
        [Self::Endpoint, Self::Model, Self::System, Self::Tools, Self::Parameters, Self::History];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Model => "model",
            Self::System => "system",
            Self::Tools => "tools",
            Self::Parameters => "parameters",
            Self::History => "history",
        }
    }
}

/// Where a request goes: method, path and the meaningful part of the query. A model named in the path
/// (Gemini, Azure deployments) is taken out: it is the model component. The host counts where a tool's call was
/// captured; a provider's does not, since a base URL may lead to it as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    text: String,
    model: Option<String>,
    /// The text with `{id}` in the place of ids, and the ids.
    shape: String,
    ids: Vec<String>,
    whose: Whose,
}

/// To whom a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Provider,
    /// A host that no provider is known by, to which it was captured.
    Outside,
}

impl Endpoint {
    pub fn new(method: &str, path_and_query: &str) -> Self {
        let (path_and_query, whose) = match CapturedUrl::parse(path_and_query) {
            Some(url) if url.is_of_a_provider() => (url.path(), Whose::Provider),
            Some(_) => (path_and_query, Whose::Outside),
            None => (path_and_query, Whose::Provider),
        };
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let (path, model) = take_model(path);
        let mut parameters: Vec<&str> = query
            .split('&')
            .filter(|p| !p.is_empty())
            .filter(|p| fields::query_parameter_counts(p.split('=').next().unwrap_or_default()))
            .collect();
        parameters.sort_by_key(|p| p.split('=').next());
        let mark = if parameters.is_empty() { "" } else { "?" };
        // What the ids of other services look like is not known: theirs count as they are.
        let (shape, ids) = match whose {
            Whose::Provider => references::take_ids(&path),
            Whose::Outside => (path.clone(), Vec::new()),
        };
        let text = |path: &str| format!("{method} {path}{mark}{}", parameters.join("&"));
        Self { text: text(&path), model, shape: text(&shape), ids, whose }
    }

    /// Whether a request of this format that goes here is a tool's, and no model's or provider's business.
    pub(super) fn is_a_tools(&self, wire: Option<Wire>) -> bool {
        wire.is_none() && self.whose == Whose::Outside
    }

    /// Method and host of a tool's call, its path and its query; `None` for a provider's.
    pub(super) fn parts(&self) -> Option<(&str, &str, Option<&str>)> {
        let (method, target) = self.text.split_once(' ').filter(|_| self.whose == Whose::Outside)?;
        let url = CapturedUrl::parse(target)?;
        let (path, query) = match url.path().split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (url.path(), None),
        };
        Some((&self.text[..method.len() + 1 + target.len() - url.path().len()], path, query))
    }

    /// The same with another text.
    pub(super) fn with_text(&self, text: String) -> Self {
        Self { shape: text.clone(), text, ..self.clone() }
    }

    /// What requests have in common that can match, however loosely: of a tool's calls, method and host.
    pub(super) fn shelf(&self) -> &str {
        self.parts().map_or(&self.shape, |(origin, ..)| origin)
    }

    /// The ids that the path names.
    pub(super) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The model that the path names.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `…/models/NAME:verb`, `…/deployments/NAME/…` and Bedrock's `/model/NAME/verb`: the path with `{model}` in
/// its place, and the name.
fn take_model(path: &str) -> (String, Option<String>) {
    for (marker, end) in [("/models/", ':'), ("/deployments/", '/'), ("/model/", '/')] {
        let Some(start) = path.find(marker).map(|at| at + marker.len()) else { continue };
        // A name of Bedrock's may hold slashes itself: the verb follows the last one.
        let len = if marker == "/model/" { path[start..].rfind(end) } else { path[start..].find(end) };
        if let Some(len) = len.filter(|&len| len > 0) {
            let name = path[start..start + len].to_owned();
            return (format!("{}{{model}}{}", &path[..start], &path[start + len..]), Some(name));
        }
    }
    (path.to_owned(), None)
}

/// The digest of rung 0: endpoint and body, the latter by its own digest.
pub fn exact_digest(endpoint: &Endpoint, body: Digest) -> Digest {
    let model = endpoint.model.as_deref().unwrap_or_default();
    Digest::of_parts(&[endpoint.text.as_bytes(), model.as_bytes(), body.0.as_slice()])
}

/// What a request is found by beyond its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// Rung 1: equal as JSON, transport and billing fields left out.
    pub canonical: Digest,
    /// Rung 2: equal after renaming round-trip ids as well.
    pub renamed: Digest,
    /// The components at rung 2.
    pub components: Components,
    /// Billing fields, by JSON pointer: tolerated, and reported where they differ.
    pub billing: Vec<(String, Digest)>,
}

/// A digest per component. The history is the chain's heads: `history[i]` stands for messages `0..=i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components {
    pub endpoint: Digest,
    pub model: Digest,
    pub system: Digest,
    pub tools: Digest,
    pub parameters: Digest,
    pub history: Vec<Digest>,
}

impl Components {
    /// The digest of one component.
    pub fn get(&self, component: Component) -> Digest {
        match component {
            Component::Endpoint => self.endpoint,
            Component::Model => self.model,
            Component::System => self.system,
            Component::Tools => self.tools,
            Component::Parameters => self.parameters,
            Component::History => self.history.last().copied().unwrap_or_else(chain_start),
        }
    }

    /// How many messages two histories have in common at their beginning: a bisection, because heads that
    /// have parted never meet again.
    pub fn common_messages(&self, other: &Self) -> usize {
        let shorter = self.history.len().min(other.history.len());
        let (mut same, mut unknown) = (0, shorter);
        while same < unknown {
            let middle = same + (unknown - same) / 2;
            if self.history[middle] == other.history[middle] {
                same = middle + 1;
            } else {
                unknown = middle;
            }
        }
        same
    }

    fn all(&self) -> Digest {
        let digests = Component::ALL.map(|component| self.get(component));
        let parts: Vec<&[u8]> = digests.iter().map(|digest| digest.0.as_slice()).collect();
        Digest::of_parts(&parts)
    }
}

fn chain_start() -> Digest {
    Digest::of(b"looptape history")
}

impl RequestKey {
    /// The key of a request whose body has been normalised.
    pub fn new(wire: Option<Wire>, endpoint: &Endpoint, normalised_body: &[u8]) -> Self {
        match Json::parse(normalised_body) {
            Some(json) => Self::of_json(wire, endpoint, &json),
            None => Self::of_bytes(endpoint, normalised_body),
        }
    }

    /// The key of a parsed body.
    pub(super) fn of_json(wire: Option<Wire>, endpoint: &Endpoint, json: &Json<'_>) -> Self {
        let split = Split::of(wire, endpoint, json);
        let (canonical, billing) = split.digests(endpoint, Renaming::Off);
        let (components, _) = split.digests(endpoint, Renaming::On);
        Self { canonical: canonical.all(), renamed: components.all(), components, billing }
    }

    /// What is not JSON has one parameter: its bytes. The boundary of an upload is renamed.
    pub(super) fn of_bytes(endpoint: &Endpoint, body: &[u8]) -> Self {
        let canonical = Self::components_of_bytes(endpoint, &endpoint.text, body);
        let upload = references::without_boundary(body);
        let renamed = Self::components_of_bytes(endpoint, &endpoint.shape, upload.as_deref().unwrap_or(body));
        Self { canonical: canonical.all(), renamed: renamed.all(), components: renamed, billing: Vec::new() }
    }

    fn components_of_bytes(endpoint: &Endpoint, text: &str, body: &[u8]) -> Components {
        let nothing = Digest::of(b"");
        Components {
            endpoint: Digest::of(text.as_bytes()),
            model: Digest::of_parts(&[endpoint.model.as_deref().unwrap_or_default().as_bytes()]),
            system: nothing,
            tools: nothing,
            parameters: Digest::of_parts(&[b"bytes", body]),
            history: Vec::new(),
        }
    }
}

/// A value of the body, with the JSON pointer at which it stands.
#[derive(Debug)]
pub(super) struct Piece<'j> {
    pub(super) pointer: String,
    pub(super) place: Place,
    pub(super) json: &'j Json<'j>,
}

/// A parsed body, sorted by component. Pointers are those of the whole body.
#[derive(Debug)]
pub(super) struct Split<'j> {
    pub(super) rules: &'static Rules,
    pub(super) model: Vec<Piece<'j>>,
    pub(super) system: Vec<Piece<'j>>,
    pub(super) tools: Vec<Piece<'j>>,
    pub(super) parameters: Vec<Piece<'j>>,
    /// One piece a message, in order.
    pub(super) history: Vec<Piece<'j>>,
}

/// How the fields of a body count that goes there.
pub(super) fn rules(wire: Option<Wire>, endpoint: &Endpoint) -> &'static Rules {
    if endpoint.is_a_tools(wire) { Rules::everything_counts() } else { fields::rules(wire) }
}

impl<'j> Split<'j> {
    pub(super) fn new(wire: Option<Wire>, json: &'j Json<'j>) -> Self {
        Self::by_rules(wire, fields::rules(wire), json)
    }

    /// The same of a body that goes there.
    pub(super) fn of(wire: Option<Wire>, endpoint: &Endpoint, json: &'j Json<'j>) -> Self {
        Self::by_rules(wire, rules(wire, endpoint), json)
    }

    fn by_rules(wire: Option<Wire>, rules: &'static Rules, json: &'j Json<'j>) -> Self {
        let mut split = Self {
            rules,
            model: Vec::new(),
            system: Vec::new(),
            tools: Vec::new(),
            parameters: Vec::new(),
            history: Vec::new(),
        };
        match (wire, json) {
            (Some(wire), Json::Object(members)) => {
                for (key, value) in members {
                    split.sort_in(wire, key, value);
                }
            }
            _ => split.parameters.push(Piece { pointer: String::new(), place: Place::ROOT, json }),
        }
        split
    }

    fn sort_in(&mut self, wire: Wire, key: &[u8], json: &'j Json<'j>) {
        let mut pointer = String::from("/");
        crate::canonical::push_segment(&mut pointer, key);
        let piece = Piece { pointer, place: self.rules.member(Place::ROOT, key), json };
        match component_of(wire, key) {
            Component::Model => self.model.push(piece),
            Component::System => self.system.push(piece),
            Component::Tools => self.tools.push(piece),
            Component::History => self.sort_messages(piece),
            Component::Endpoint | Component::Parameters => self.parameters.push(piece),
        }
    }

    /// Leading system and developer messages are the system prompt; the rest is the history.
    fn sort_messages(&mut self, array: Piece<'j>) {
        let Json::Array(messages) = array.json else {
            self.history.push(array);
            return;
        };
        let place = self.rules.element(array.place);
        let leading = messages.iter().take_while(|m| is_system_message(m)).count();
        for (index, json) in messages.iter().enumerate() {
            let piece = Piece { pointer: format!("{}/{index}", array.pointer), place, json };
            if index < leading { self.system.push(piece) } else { self.history.push(piece) }
        }
    }

    /// The pieces of a component; the endpoint has none.
    pub(super) fn pieces(&self, component: Component) -> &[Piece<'j>] {
        match component {
            Component::Endpoint => &[],
            Component::Model => &self.model,
            Component::System => &self.system,
            Component::Tools => &self.tools,
            Component::Parameters => &self.parameters,
            Component::History => &self.history,
        }
    }

    fn digests(&self, endpoint: &Endpoint, renaming: Renaming) -> (Components, Vec<(String, Digest)>) {
        let mut encoder = Encoder::new(self.rules, renaming);
        // The history comes first, so that the names which renaming gives to a history's beginning do not
        // depend on anything outside it.
        let mut head = chain_start();
        let history = self
            .history
            .iter()
            .map(|message| {
                encoder.push(message.json, message.place, &message.pointer);
                head = head.chain(encoder.finish_item());
                head
            })
            .collect();
        encoder.push_text(endpoint.model.as_deref().unwrap_or_default().as_bytes());
        let model = digest_of_pieces(&mut encoder, &self.model);
        let system = digest_of_pieces(&mut encoder, &self.system);
        let tools = digest_of_pieces(&mut encoder, &self.tools);
        let parameters = digest_of_pieces(&mut encoder, &self.parameters);
        let endpoint = match renaming {
            Renaming::Off => Digest::of(endpoint.text.as_bytes()),
            Renaming::On => Digest::of(endpoint.shape.as_bytes()),
        };
        (Components { endpoint, model, system, tools, parameters, history }, encoder.into_collected())
    }
}

fn digest_of_pieces(encoder: &mut Encoder<'_>, pieces: &[Piece<'_>]) -> Digest {
    for piece in pieces {
        encoder.push_member(&piece.pointer, piece.json, piece.place);
    }
    encoder.finish_item()
}

pub(crate) fn component_of(wire: Wire, key: &[u8]) -> Component {
    match (wire, key) {
        (_, b"model") => Component::Model,
        (_, b"tools") | (Wire::OpenAiChat, b"functions") => Component::Tools,
        (Wire::BedrockConverse | Wire::BedrockInvoke, b"toolConfig") => Component::Tools,
        (
            Wire::OpenAiChat
            | Wire::AnthropicMessages
            | Wire::OllamaChat
            | Wire::CohereChatV2
            | Wire::BedrockConverse
            | Wire::BedrockInvoke,
            b"messages",
        )
        | (Wire::OpenAiCompletions | Wire::OllamaGenerate | Wire::BedrockInvoke, b"prompt")
        | (Wire::OllamaGenerate, b"context" | b"images")
        // In the order of their names, which is the order of the conversation.
        | (Wire::CohereChatV1 | Wire::BedrockInvoke, b"chat_history" | b"message" | b"tool_results")
        | (Wire::BedrockInvoke, b"inputText")
        | (Wire::OpenAiResponses, b"input")
        | (Wire::GeminiGenerate, b"contents") => Component::History,
        (Wire::OpenAiResponses, b"instructions")
        | (
            Wire::AnthropicMessages | Wire::OllamaGenerate | Wire::BedrockConverse | Wire::BedrockInvoke,
            b"system",
        )
        | (Wire::CohereChatV1 | Wire::BedrockInvoke, b"preamble")
        | (Wire::GeminiGenerate, b"systemInstruction" | b"system_instruction") => Component::System,
        _ => Component::Parameters,
    }
}

fn is_system_message(message: &Json<'_>) -> bool {
    message.get("role").and_then(Json::as_text).is_some_and(|role| role == "system" || role == "developer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(wire: Wire, body: &str) -> RequestKey {
        RequestKey::new(Some(wire), &Endpoint::new("POST", "/v1/x"), body.as_bytes())
    }

    #[test]
    fn endpoints() {
        for (path, text, model) in [
            ("/v1/chat/completions", "POST /v1/chat/completions", None),
            ("/v1/messages?beta=true", "POST /v1/messages?beta=true", None),
            ("/v1/a?key=abc", "POST /v1/a", None),
            ("/v1/a?b=2&key=abc&a=1", "POST /v1/a?a=1&b=2", None),
            (
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse&key=[redacted]",
                "POST /v1beta/models/{model}:streamGenerateContent?alt=sse",
                Some("gemini-2.5-flash"),
            ),
            (
                "/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01",
                "POST /openai/deployments/{model}/chat/completions?api-version=2024-06-01",
                Some("gpt-4o"),
            ),
            ("/v1/models/gpt-4o", "POST /v1/models/gpt-4o", None),
            ("/model/a.b-v1%3A0/converse", "POST /model/{model}/converse", Some("a.b-v1%3A0")),
            ("/model/arn:x/y/invoke", "POST /model/{model}/invoke", Some("arn:x/y")),
            ("/models/chat/completions", "POST /models/chat/completions", None),
        ] {
            let endpoint = Endpoint::new("POST", path);
            assert_eq!((endpoint.to_string().as_str(), endpoint.model.as_deref()), (text, model), "{path}");
        }
    }

    /// Bodies that differ in one component each, and that one alone.
    #[test]
    fn each_component_has_its_own_digest() {
        let chat = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"tools":[1],"n":1}"#;
        let cases = [
            (Component::Model, chat.replace("\"m\"", "\"m2\"")),
            (Component::System, chat.replace("\"s\"", "\"s2\"")),
            (Component::Tools, chat.replace("[1]", "[2]")),
            (Component::Parameters, chat.replace("\"n\":1", "\"n\":2")),
            (Component::Parameters, chat.replace("\"n\":1", "\"n\":1,\"unheard_of\":null")),
            (Component::History, chat.replace("\"u\"", "\"u2\"")),
        ];
        let recorded = key(Wire::OpenAiChat, chat);
        for (changed, body) in cases {
            let live = key(Wire::OpenAiChat, &body);
            for component in Component::ALL {
                let same = live.components.get(component) == recorded.components.get(component);
                assert_eq!(same, component != changed, "{component:?} of {body}");
            }
            assert_ne!(live.canonical, recorded.canonical);
            assert_ne!(live.renamed, recorded.renamed);
        }
    }

    #[test]
    fn the_system_prompt_of_every_wire() {
        for (wire, body) in [
            (Wire::OpenAiChat, r#"{"messages":[{"role":"developer","content":"@"},{"role":"user"}]}"#),
            (Wire::OpenAiResponses, r#"{"instructions":"@","input":"hi"}"#),
            (Wire::OpenAiResponses, r#"{"input":[{"role":"system","content":"@"},{"role":"user"}]}"#),
            (Wire::AnthropicMessages, r#"{"system":[{"type":"text","text":"@"}],"messages":[{}]}"#),
            (Wire::GeminiGenerate, r#"{"systemInstruction":{"parts":[{"text":"@"}]},"contents":[{}]}"#),
            (Wire::OllamaChat, r#"{"messages":[{"role":"system","content":"@"},{"role":"user"}]}"#),
            (Wire::OllamaGenerate, r#"{"system":"@","prompt":"p"}"#),
            (Wire::CohereChatV1, r#"{"preamble":"@","message":"m"}"#),
            (Wire::CohereChatV2, r#"{"messages":[{"role":"system","content":"@"},{"role":"user"}]}"#),
            (Wire::BedrockConverse, r#"{"system":[{"text":"@"}],"messages":[{}]}"#),
            (Wire::BedrockInvoke, r#"{"system":"@","messages":[{}]}"#),
        ] {
            let (a, b) = (key(wire, &body.replace('@', "a")), key(wire, &body.replace('@', "b")));
            assert_ne!(a.components.system, b.components.system, "{body}");
            assert_eq!(a.components.history, b.components.history, "{body}");
            assert_eq!(a.components.history.len(), 1, "{body}");
        }
    }

    #[test]
    fn the_history_of_cohere_is_in_order_whatever_the_order_of_its_keys() {
        let history = |body: &str| key(Wire::CohereChatV1, body).components.history;
        let (older, question, result) = (
            r#""chat_history":[{"role":"USER"},{"role":"CHATBOT"}]"#,
            r#""message":"m""#,
            r#""tool_results":[{}]"#,
        );
        let all = history(&format!("{{{older},{question},{result}}}"));
        assert_eq!(all.len(), 4);
        assert_eq!(all, history(&format!("{{{result},{question},{older}}}")));
        assert_eq!(all[..2], history(&format!("{{{older}}}")));
        assert_ne!(all, history(&format!("{{{older},\"message\":\"n\",{result}}}")));
    }

    /// Pairs of bodies that meet at a rung and not before it.
    #[test]
    fn rungs_of_field_classes() {
        let canonical = |k: &RequestKey| k.canonical;
        let renamed = |k: &RequestKey| k.renamed;
        let cases: &[(Wire, &str, &str, u8)] = &[
            (Wire::OpenAiChat, r#"{"model":"m","n":1.0}"#, r#"{"n":1, "model":"m"}"#, 1),
            (Wire::OpenAiChat, r#"{"n":1,"user":"a"}"#, r#"{"n":1}"#, 1),
            (Wire::OpenAiChat, r#"{"n":1,"prompt_cache_key":"a"}"#, r#"{"n":1,"prompt_cache_key":"b"}"#, 1),
            (Wire::OpenAiChat, r#"{"stream_options":{"include_usage":true}}"#, "{}", 9),
            (
                Wire::OpenAiResponses,
                r#"{"client_metadata":{"turn":"1"}}"#,
                r#"{"client_metadata":{"turn":"2"}}"#,
                1,
            ),
            (
                Wire::OpenAiResponses,
                r#"{"input":[{"id":"a","role":"user"}]}"#,
                r#"{"input":[{"id":"b","role":"user"}]}"#,
                2,
            ),
            (
                Wire::OpenAiChat,
                r#"{"messages":[{"tool_calls":[{"id":"a"},{"id":"b"}]},{"tool_call_id":"a","content":"x"}]}"#,
                r#"{"messages":[{"tool_calls":[{"id":"c"},{"id":"d"}]},{"tool_call_id":"c","content":"x"}]}"#,
                2,
            ),
            (
                Wire::OpenAiChat,
                r#"{"messages":[{"tool_calls":[{"id":"a"},{"id":"b"}]},{"tool_call_id":"a","content":"x"}]}"#,
                r#"{"messages":[{"tool_calls":[{"id":"c"},{"id":"d"}]},{"tool_call_id":"d","content":"x"}]}"#,
                9,
            ),
            (
                Wire::AnthropicMessages,
                r#"{"messages":[{"content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}]}"#,
                r#"{"messages":[{"content":[{"type":"text","text":"x"}]}]}"#,
                1,
            ),
            (
                Wire::AnthropicMessages,
                r#"{"messages":[{"content":[{"type":"tool_use","input":{"cache_control":1,"id":"a"}}]}]}"#,
                r#"{"messages":[{"content":[{"type":"tool_use","input":{"cache_control":2,"id":"a"}}]}]}"#,
                9,
            ),
            (
                Wire::AnthropicMessages,
                r#"{"messages":[{"content":[{"type":"tool_use","input":{"id":"a"}}]}]}"#,
                r#"{"messages":[{"content":[{"type":"tool_use","input":{"id":"b"}}]}]}"#,
                9,
            ),
            (
                Wire::AnthropicMessages,
                r#"{"metadata":{"user_id":"a"}}"#,
                r#"{"metadata":{"user_id":"b"}}"#,
                1,
            ),
            (
                Wire::BedrockConverse,
                r#"{"messages":[{"content":[{"toolUse":{"toolUseId":"a"}}]},{"content":[{"toolResult":{"toolUseId":"a"}}]}]}"#,
                r#"{"messages":[{"content":[{"toolUse":{"toolUseId":"b"}}]},{"content":[{"toolResult":{"toolUseId":"b"}}]}]}"#,
                2,
            ),
            (
                Wire::BedrockInvoke,
                r#"{"messages":[{"content":[{"type":"tool_use","id":"a"}]},{"content":[{"tool_use_id":"a"}]}]}"#,
                r#"{"messages":[{"content":[{"type":"tool_use","id":"b"}]},{"content":[{"tool_use_id":"b"}]}]}"#,
                2,
            ),
            (
                Wire::BedrockConverse,
                r#"{"requestMetadata":{"a":"1"}}"#,
                r#"{"requestMetadata":{"a":"2"}}"#,
                1,
            ),
            (Wire::OllamaChat, r#"{"keep_alive":"5m","model":"m"}"#, r#"{"keep_alive":0,"model":"m"}"#, 1),
            (
                Wire::CohereChatV2,
                r#"{"messages":[{"tool_calls":[{"id":"a"}]},{"tool_call_id":"a"}]}"#,
                r#"{"messages":[{"tool_calls":[{"id":"b"}]},{"tool_call_id":"b"}]}"#,
                2,
            ),
            (Wire::OpenAiCompletions, r#"{"prompt":"p","user":"a"}"#, r#"{"prompt":"p"}"#, 1),
            (Wire::OpenAiCompletions, r#"{"prompt":"p","seed":1}"#, r#"{"prompt":"p"}"#, 9),
            (
                Wire::GeminiGenerate,
                r#"{"contents":[{"parts":[{"functionCall":{"id":"a","name":"f"}}]},{"parts":[{"functionResponse":{"id":"a"}}]}]}"#,
                r#"{"contents":[{"parts":[{"functionCall":{"id":"z","name":"f"}}]},{"parts":[{"functionResponse":{"id":"z"}}]}]}"#,
                2,
            ),
        ];
        for (wire, a, b, rung) in cases {
            let (a, b) = (key(*wire, a), key(*wire, b));
            assert_eq!(canonical(&a) == canonical(&b), *rung <= 1, "{a:?} {b:?}");
            assert_eq!(renamed(&a) == renamed(&b), *rung <= 2, "{a:?} {b:?}");
        }
    }

    #[test]
    fn bodies_that_are_not_json_count_by_bytes() {
        let (a, b) = (key(Wire::OpenAiChat, "a{"), key(Wire::OpenAiChat, "a {"));
        assert_ne!(a.canonical, b.canonical);
        assert_eq!(a, key(Wire::OpenAiChat, "a{"));
    }

    #[test]
    fn common_messages_by_bisection() {
        let of = |words: &str| {
            let messages: Vec<String> = words.chars().map(|c| format!("{{\"content\":\"{c}\"}}")).collect();
            key(Wire::OpenAiChat, &format!("{{\"messages\":[{}]}}", messages.join(","))).components
        };
        for (a, b, common) in [
            ("", "", 0),
            ("a", "b", 0),
            ("abc", "abc", 3),
            ("abc", "abcd", 3),
            ("abxd", "abyd", 2),
            ("", "a", 0),
        ] {
            assert_eq!(of(a).common_messages(&of(b)), common, "{a} {b}");
        }
    }
}

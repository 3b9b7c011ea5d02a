//! Requests that point at things by their ids: a stored response, a file, a batch.
//!
//! The id stands in the path, or in a field of the body. In another run it may be another, so from rung 2 on it
//! counts as a reference: the path is compared with `{id}` in its place, and of several recorded calls that
//! match, those are taken whose ids the live ids stand for. Which id stands for which is learnt from the calls
//! that were served, and one never stands for two ([`Bound`]).
//!
//! Uploads are the other thing that differs from run to run without meaning anything: the boundary between the
//! parts of a `multipart/form-data` body is random ([`without_boundary`]).

use super::components::Endpoint;
use crate::canonical::Json;
use crate::wire::Wire;
use memchr::memmem;
use std::borrow::Cow;
use std::collections::HashMap;

/// Path segments after which an id stands. OpenAI: responses, conversations, files, uploads, batches, vector
/// stores, containers, evals, threads and runs; Anthropic: message batches, files, skills; Gemini: files,
/// batches, cached contents, operations.
const COLLECTIONS: &[&str] = &[
    "assistants",
    "batches",
    "cachedContents",
    "containers",
    "conversations",
    "evals",
    "file_batches",
    "files",
    "items",
    "jobs",
    "messages",
    "operations",
    "responses",
    "runs",
    "skills",
    "steps",
    "threads",
    "uploads",
    "vector_stores",
];

/// Members of a request's body that name a thing that an earlier answer made.
const FIELDS: &[&str] = &[
    "previous_response_id",
    "conversation",
    "container",
    "input_file_id",
    "file_id",
    "training_file",
    "validation_file",
    "cachedContent",
];

/// A path with `{id}` in the place of its ids, and the ids.
pub(super) fn take_ids(path: &str) -> (String, Vec<String>) {
    let mut ids = Vec::new();
    let mut before = "";
    let shaped: Vec<&str> = path
        .split('/')
        .map(|segment| {
            let is_id = COLLECTIONS.contains(&before) && looks_like_an_id(segment);
            before = segment;
            if is_id {
                ids.push(segment.to_owned());
                "{id}"
            } else {
                segment
            }
        })
        .collect();
    (shaped.join("/"), ids)
}

/// Verbs and collections are words; ids hold a digit or a capital.
fn looks_like_an_id(segment: &str) -> bool {
    segment.bytes().any(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:%".contains(&b))
}

/// The ids that a request names, in its path and in its body; a tool's call names none.
pub(super) fn named<B: AsRef<[u8]>>(
    wire: Option<Wire>,
    endpoint: &Endpoint,
    body: impl FnOnce() -> B,
) -> Vec<String> {
    match endpoint.is_a_tools(wire) {
        true => Vec::new(),
        false => endpoint.ids().iter().cloned().chain(named_in(body().as_ref())).collect(),
    }
}

/// The ids that a body names, in the order of the table; empty where a field is not there.
fn named_in(body: &[u8]) -> Vec<String> {
    if !FIELDS.iter().any(|field| memmem::find(body, field.as_bytes()).is_some()) {
        return Vec::new();
    }
    let Some(json) = Json::parse(body) else { return Vec::new() };
    let text = |field: &&str| {
        let value = json.get(field);
        let id = value.and_then(|value| value.as_text().or_else(|| value.get("id")?.as_text()));
        id.map(Cow::into_owned).unwrap_or_default()
    };
    FIELDS.iter().map(text).collect()
}

/// Which live id stands for which recorded one.
#[derive(Debug, Default)]
pub(super) struct Bound {
    recorded: HashMap<String, String>,
    live: HashMap<String, String>,
}

impl Bound {
    /// Whether each live id may stand for the recorded one in its place.
    pub(super) fn allows(&self, live: &[String], recorded: &[String]) -> bool {
        live.len() == recorded.len()
            && live.iter().zip(recorded).all(|(live, recorded)| {
                let known = (self.recorded.get(live), self.live.get(recorded));
                match known {
                    (None, None) => true,
                    (known_recorded, known_live) => {
                        known_recorded.is_none_or(|known| known == recorded)
                            && known_live.is_none_or(|known| known == live)
                    }
                }
            })
    }

    /// Whether each live id is known to stand for the recorded one in its place, or is the same.
    pub(super) fn knows(&self, live: &[String], recorded: &[String]) -> bool {
        live.len() == recorded.len()
            && live.iter().zip(recorded).all(|(live, recorded)| {
                self.recorded.get(live).map_or(live == recorded, |known| known == recorded)
            })
    }

    /// Learns that each live id stands for the recorded one in its place.
    pub(super) fn learn(&mut self, live: &[String], recorded: &[String]) {
        for (live, recorded) in live.iter().zip(recorded).filter(|(live, _)| !live.is_empty()) {
            self.recorded.entry(live.clone()).or_insert_with(|| recorded.clone());
            self.live.entry(recorded.clone()).or_insert_with(|| live.clone());
        }
    }
}

/// What stands for the boundary of a multipart body.
const ANY_BOUNDARY: &[u8] = b"--looptape-boundary";

/// A `multipart/form-data` body with one boundary for all; `None` for any other. The boundary is its first
/// line, and its last.
pub(super) fn without_boundary(body: &[u8]) -> Option<Vec<u8>> {
    const LONGEST_BYTES: usize = 72;
    let head = &body[..body.len().min(LONGEST_BYTES + 2)];
    let boundary = &head[..memmem::find(head, b"\r\n")?];
    let last = body.strip_suffix(b"\r\n").unwrap_or(body);
    let is_multipart = boundary.len() > 2 && boundary.starts_with(b"--") && last.ends_with(b"--");
    if !is_multipart || !last[..last.len() - 2].ends_with(boundary) {
        return None;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut copied = 0;
    for at in memmem::find_iter(body, boundary) {
        // A boundary stands at the beginning of a line.
        if at == 0 || body[..at].ends_with(b"\r\n") {
            out.extend_from_slice(&body[copied..at]);
            out.extend_from_slice(ANY_BOUNDARY);
            copied = at + boundary.len();
        }
    }
    out.extend_from_slice(&body[copied..]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_out_of_paths() {
        for (path, shaped, ids) in [
            ("/v1/responses/resp_68a1", "/v1/responses/{id}", vec!["resp_68a1"]),
            ("/v1/responses/resp_68a1/cancel", "/v1/responses/{id}/cancel", vec!["resp_68a1"]),
            ("/v1/files/file-Abc/content", "/v1/files/{id}/content", vec!["file-Abc"]),
            (
                "/v1/messages/batches/msgbatch_01X/results",
                "/v1/messages/batches/{id}/results",
                vec!["msgbatch_01X"],
            ),
            ("/v1/threads/thread_1/runs/run_2", "/v1/threads/{id}/runs/{id}", vec!["thread_1", "run_2"]),
            ("/v1/messages/count_tokens", "/v1/messages/count_tokens", vec![]),
            ("/v1/responses/compact", "/v1/responses/compact", vec![]),
            ("/v1/models/gpt-4o", "/v1/models/gpt-4o", vec![]),
        ] {
            assert_eq!(take_ids(path), (shaped.to_owned(), ids.into_iter().map(str::to_owned).collect()));
        }
    }

    #[test]
    fn bodies_name_ids_at_known_places() {
        let named = |body: &str| {
            named_in(body.as_bytes()).into_iter().filter(|id| !id.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(named(r#"{"previous_response_id":"r1","conversation":{"id":"c1"}}"#), ["r1", "c1"]);
        assert_eq!(named(r#"{"input":"previous_response_id"}"#), [""; 0]);
        assert_eq!(named("not JSON, previous_response_id"), [""; 0]);
    }

    #[test]
    fn no_id_stands_for_two() {
        let ids = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut bound = Bound::default();
        assert!(bound.allows(&ids("a"), &ids("x")) && !bound.knows(&ids("a"), &ids("x")));
        bound.learn(&ids("a b"), &ids("x y"));
        assert!(bound.knows(&ids("b a"), &ids("y x")));
        assert!(!bound.allows(&ids("a"), &ids("y")));
        assert!(!bound.allows(&ids("c"), &ids("x")), "x is taken");
        assert!(bound.allows(&ids("c"), &ids("z")));
        assert!(bound.knows(&ids("d"), &ids("d")), "the same id needs no learning");
    }

    #[test]
    fn boundaries_do_not_count() {
        let upload = |boundary: &str, text: &str| {
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{text}\r\n--{boundary}--\r\n"
            )
            .into_bytes()
        };
        let (one, two) = (upload("b4711", "same"), upload("----WebKitFormBoundaryXyz", "same"));
        assert_eq!(without_boundary(&one), without_boundary(&two));
        assert_ne!(without_boundary(&one), without_boundary(&upload("b4711", "other")));
        let text = without_boundary(&upload("b", "x--b in a line stays")).unwrap();
        assert!(memmem::find(&text, b"x--b in a line").is_some());
        for no in ["", "--", "--x\r\n", "{\"a\":1}", "--a\r\ntext\r\n--b--"] {
            assert_eq!(without_boundary(no.as_bytes()), None, "{no:?}");
        }
    }
}

//! Bodies as people read them.
//!
//! A request's body that is a JSON object is written as that object, with its long members (the history, tool
//! definitions, prompts) by reference. An answer's body that is JSON stands in the call's file; a stream, text and
//! bytes are files of their own. An answer with a content encoding is kept as it came, and beside it decoded, for
//! people; a reader holds the two against each other.
//!
//! What does not give the same bytes is written as pieces of bytes: a body is never changed to look better.

use super::error::CassetteError;
use super::files::{self, FileName, Files};
use super::json_text::{file_text, laid_out, read_back};
use super::lists::{ListFile, ListTree, RecentLists};
use super::shelf::{Contents, Reference, Shelf};
use super::style::{Style, Styles};
use super::values::{Collector, Named, fill};
use crate::chain::{self, Cut, CutOf};
use crate::derive::decode_body;
use crate::headers::RedactedHeaders;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// No body is larger, whatever a file says.
const MAX_BODY_BYTES: usize = 256 << 20;

/// Members of so many bytes are stored by reference.
const LONG_MEMBER_BYTES: usize = 512;
/// Array entries of so many bytes, and objects.
const LONG_ENTRY_BYTES: usize = 64;
/// JSON answers up to this length, laid out, stand in the call's file.
const MAX_INLINE_BYTES: usize = 16 << 10;

/// A request's body in a call's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RequestBody {
    Object {
        /// Members that stand in `json` as references: a list, or one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        by_reference: Vec<String>,
        json: Map<String, Value>,
        style: Style,
    },
    /// Contents that follow each other.
    Pieces { pieces: ListFile },
}

/// An answer's body in a call's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum AnswerBody {
    Json {
        json: Value,
        style: Style,
    },
    File {
        /// The same without its content encoding.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decoded: Option<Box<AnswerBody>>,
        file: String,
    },
}

/// The list of a body's pieces, beside those of its members.
const PIECES: &str = "(pieces)";

/// Writes bodies.
#[derive(Debug, Default)]
pub(super) struct BodyWriter {
    shelf: Shelf,
    lists: RecentLists,
    files: Files,
    /// What was read back to be compared.
    contents: Contents,
}

impl BodyWriter {
    pub(super) fn request(&mut self, call: u32, body: &[u8], found: &mut Collector) -> Option<RequestBody> {
        if body.is_empty() {
            return None;
        }
        let number = u64::from(call) + 1;
        let split = chain::split(body);
        let object = self.object(body, &split, found).map(|object| object.write(number, &mut self.lists));
        Some(object.unwrap_or_else(|| {
            let pieces = pieces(body, &split).map(|piece| self.shelf.put_raw(piece, found)).collect();
            RequestBody::Pieces { pieces: self.lists.file(number, PIECES, pieces) }
        }))
    }

    pub(super) fn answer(
        &mut self,
        call: u32,
        headers: &RedactedHeaders,
        body: &Bytes,
        found: &mut Collector,
    ) -> Option<AnswerBody> {
        if body.is_empty() {
            return None;
        }
        let decoded = decode_body(headers, body, &[]).bytes;
        if decoded == *body || decoded.is_empty() {
            return Some(self.plain_answer(call, headers, body, found));
        }
        let name = self.file(call, "bin", body.clone());
        let decoded = Some(Box::new(self.plain_answer(call, headers, &decoded, found)));
        // Bytes that are no text are nothing for people.
        let decoded =
            decoded.filter(|decoded| !matches!(&**decoded, AnswerBody::File { file, .. } if *file == name));
        Some(AnswerBody::File { decoded, file: name })
    }

    fn plain_answer(
        &mut self,
        call: u32,
        headers: &RedactedHeaders,
        body: &Bytes,
        found: &mut Collector,
    ) -> AnswerBody {
        if let Some(inline) = inline(body, found) {
            return inline;
        }
        let (ending, content) = match std::str::from_utf8(body) {
            Ok(text) => (text_ending(headers, text), found.template(text).into()),
            Err(_) => ("bin", body.clone()),
        };
        AnswerBody::File { decoded: None, file: self.file(call, ending, content) }
    }

    /// The name within the folder of calls. A content that came first stays: a decoded body that is no text
    /// has the name of the encoded one.
    fn file(&mut self, call: u32, ending: &str, content: Bytes) -> String {
        let name = FileName::of_call(call, ending);
        let short = name.as_str().rsplit('/').next().unwrap_or_default().to_owned();
        self.files.entry(name).or_insert(content);
        short
    }

    fn object(&mut self, body: &[u8], split: &chain::Split, found: &mut Collector) -> Option<Object> {
        let Value::Object(mut json) = serde_json::from_slice(split.skeleton.literal()).ok()? else {
            return None;
        };
        let spelled = Value::Object(json.clone());
        let mut styles = Styles::of(split.skeleton.literal(), &spelled);
        let mut long = Vec::new();
        for cut in &split.cuts {
            let name: String =
                serde_json::from_slice(&[b"\"", &body[cut.name.clone()], b"\""].concat()).ok()?;
            let (entries, comma) = entries(body, cut)?;
            styles = styles.and(comma);
            long.push((name, cut.of, entries));
        }
        let all = long.iter().flat_map(|(.., entries)| entries);
        let common = all.fold(styles, |common, entry| common.and(self.shelf.styles(entry, found)));
        let style = common.first().or(styles.first())?;
        let mut by_reference = Vec::new();
        for (name, of, entries) in long {
            let member = match of {
                CutOf::Array => match short_array(&entries, style) {
                    Some(array) => {
                        json.insert(name, array);
                        continue;
                    }
                    None => {
                        Long::List(entries.iter().map(|entry| self.shelf.put(entry, style, found)).collect())
                    }
                },
                CutOf::Text => Long::One(self.shelf.put(&entries[0], style, found)),
            };
            by_reference.push((name, member));
        }
        for (name, value) in &json {
            let is_known = by_reference.iter().any(|(known, _)| known == name);
            if !is_known && !value.is_array() {
                let text = style.write(value);
                if text.len() >= LONG_MEMBER_BYTES {
                    by_reference.push((name.clone(), Long::One(self.shelf.put(&text, style, found))));
                }
            }
        }
        for (name, _) in &by_reference {
            json.insert(name.clone(), Value::Null);
        }
        let Value::Object(laid_out) = laid_out(&Value::Object(json), found)? else { return None };
        let object = Object { json: laid_out, style, by_reference };
        (self.joined(&object, found).as_deref() == Some(body)).then_some(object)
    }

    /// What a reader will make of it.
    fn joined(&mut self, object: &Object, found: &Collector) -> Option<Vec<u8>> {
        let members = object.by_reference.iter().map(|(name, long)| (name.as_str(), long));
        let members: Vec<(&str, &Long)> = members.collect();
        let (contents, files) = (&mut self.contents, self.shelf.files());
        let mut get =
            |reference: &Reference| contents.get(files, found.named(), reference, Some(object.style));
        join(object.json.clone(), object.style, &members, found.named(), &mut get).ok()
    }

    pub(super) fn into_files(self) -> Files {
        let mut files = self.shelf.into_files();
        files.extend(self.files);
        files
    }
}

/// A body that is an object; its long members stand in `json` as null.
struct Object {
    json: Map<String, Value>,
    style: Style,
    by_reference: Vec<(String, Long)>,
}

/// A member that is stored by reference.
#[derive(Debug)]
enum Long {
    One(Reference),
    List(Vec<Reference>),
}

impl Object {
    fn write(self, call: u64, lists: &mut RecentLists) -> RequestBody {
        let Self { mut json, style, by_reference } = self;
        let names = by_reference.iter().map(|(name, _)| name.clone()).collect();
        for (name, long) in by_reference {
            let value = match long {
                Long::One(reference) => Value::String(reference.into()),
                Long::List(list) => {
                    serde_json::to_value(lists.file(call, &name, list)).expect("a list of references is JSON")
                }
            };
            json.insert(name, value);
        }
        RequestBody::Object { by_reference: names, json, style }
    }
}

/// The entries of a cut as JSON texts, and the styles in which they are separated as they are.
fn entries(body: &[u8], cut: &Cut) -> Option<(Vec<Vec<u8>>, Styles)> {
    let pieces = cut.pieces.iter().map(|piece| &body[piece.clone()]);
    if cut.of == CutOf::Text {
        return Some((pieces.map(|text| [b"\"", text, b"\""].concat()).collect(), Styles::ANY));
    }
    let mut styles = Styles::ANY;
    let mut entries = Vec::with_capacity(cut.pieces.len());
    for (at, piece) in pieces.enumerate() {
        let entry = chain::element(piece);
        let before = &piece[..piece.len() - entry.len()];
        styles = match at {
            0 if before.is_empty() => styles,
            0 => return None,
            _ => styles.and(Styles::with_comma(before)),
        };
        entries.push(entry.to_vec());
    }
    Some((entries, styles))
}

/// An array that needs no reference.
fn short_array(entries: &[Vec<u8>], style: Style) -> Option<Value> {
    let values = entries.iter().map(|entry| {
        let value: Value = serde_json::from_slice(entry).ok()?;
        let is_short = entry.len() < LONG_ENTRY_BYTES && !value.is_object() && style.write(&value) == *entry;
        is_short.then_some(value)
    });
    values.collect::<Option<Vec<Value>>>().map(Value::Array)
}

/// A body in pieces that are likely to come again.
fn pieces<'b>(body: &'b [u8], split: &chain::Split) -> impl Iterator<Item = &'b [u8]> {
    let mut ends: Vec<usize> =
        split.cuts.iter().flat_map(|cut| cut.pieces.iter()).flat_map(|p| [p.start, p.end]).collect();
    ends.push(body.len());
    ends.dedup();
    let mut start = 0;
    ends.into_iter().filter_map(move |end| {
        let piece = &body[std::mem::replace(&mut start, end)..end];
        (!piece.is_empty()).then_some(piece)
    })
}

/// A JSON answer that stands in the call's file.
fn inline(body: &[u8], found: &mut Collector) -> Option<AnswerBody> {
    if body.len() > MAX_INLINE_BYTES {
        return None;
    }
    let value: Value =
        serde_json::from_slice(body).ok().filter(|value: &Value| value.is_object() || value.is_array())?;
    let style = Styles::of(body, &value).first()?;
    let json = laid_out(&value, found)?;
    (file_text(&json).len() <= MAX_INLINE_BYTES).then_some(AnswerBody::Json { json, style })
}

fn text_ending(headers: &RedactedHeaders, text: &str) -> &'static str {
    let kind = headers.get("content-type").unwrap_or_default();
    if kind.contains("event-stream") || text.starts_with("data:") || text.starts_with("event:") {
        "sse"
    } else if kind.contains("ndjson") {
        "ndjson"
    } else {
        "txt"
    }
}

/// Reads bodies, in the order of their calls.
#[derive(Debug, Default)]
pub(super) struct BodyReader {
    contents: Contents,
    lists: ListTree,
}

impl BodyReader {
    pub(super) fn request(
        &mut self,
        call: u32,
        body: Option<RequestBody>,
        files: &Files,
        named: &Named,
    ) -> Result<Bytes, CassetteError> {
        let number = u64::from(call) + 1;
        match body {
            None => Ok(Bytes::new()),
            Some(RequestBody::Pieces { pieces }) => {
                let pieces = self.lists.read(number, PIECES, pieces)?;
                let mut body = Vec::new();
                for piece in &pieces {
                    push(&mut body, &self.contents.get(files, named, piece, None)?)?;
                }
                Ok(body.into())
            }
            Some(RequestBody::Object { by_reference, mut json, style }) => {
                let mut members = Vec::with_capacity(by_reference.len());
                for name in &by_reference {
                    let value = json.get_mut(name).map(Value::take).unwrap_or_default();
                    members.push((name.as_str(), self.long(call, name, value)?));
                }
                let members: Vec<(&str, &Long)> = members.iter().map(|(name, long)| (*name, long)).collect();
                let contents = &mut self.contents;
                let mut get = |reference: &Reference| contents.get(files, named, reference, Some(style));
                join(json, style, &members, named, &mut get).map(Bytes::from)
            }
        }
    }

    fn long(&mut self, call: u32, name: &str, value: Value) -> Result<Long, CassetteError> {
        if let Value::String(reference) = value {
            return Ok(Long::One(reference.into()));
        }
        let list = serde_json::from_value(value).map_err(|_| {
            CassetteError::invalid(FileName::of_call(call, "json"), format!("its {name} are no references"))
        })?;
        Ok(Long::List(self.lists.read(u64::from(call) + 1, name, list)?))
    }
}

/// An answer's body.
pub(super) fn answer(
    call: u32,
    headers: &RedactedHeaders,
    body: Option<AnswerBody>,
    files: &Files,
    named: &Named,
) -> Result<Bytes, CassetteError> {
    let file = FileName::of_call(call, "json");
    match body {
        None => Ok(Bytes::new()),
        Some(AnswerBody::Json { json, style }) => {
            let value = read_back(json, named).map_err(|detail| CassetteError::invalid(file, detail))?;
            Ok(style.write(&value).into())
        }
        Some(AnswerBody::File { decoded, file: short }) => {
            let folder = FileName::folders()[0];
            let name = FileName::parse(&format!("{folder}/{short}"))
                .ok_or_else(|| CassetteError::invalid(&file, format!("`{short}` is no name of a file")))?;
            if short.ends_with(".bin") {
                let body = files::required(files, &name)?.clone();
                if let Some(decoded) = decoded {
                    let told = answer(call, headers, Some(*decoded), files, named)?;
                    if told != decode_body(headers, &body, &[]).bytes {
                        let detail = format!("the answer that it shows is not the one in {name}");
                        return Err(CassetteError::invalid(file, detail));
                    }
                }
                return Ok(body);
            }
            let text = fill(files::text(files, &name)?, named);
            text.map(Bytes::from).map_err(|error| CassetteError::invalid(name, error))
        }
    }
}

/// The bytes of a body that is an object.
fn join(
    json: Map<String, Value>,
    style: Style,
    by_reference: &[(&str, &Long)],
    named: &Named,
    get: &mut dyn FnMut(&Reference) -> Result<Bytes, CassetteError>,
) -> Result<Vec<u8>, CassetteError> {
    let mut body = Vec::from(b"{");
    for (at, (name, value)) in json.into_iter().enumerate() {
        if at > 0 {
            body.extend_from_slice(style.comma());
        }
        body.extend_from_slice(&style.write(&Value::String(name.clone())));
        body.extend_from_slice(style.colon());
        match by_reference.iter().find(|(known, _)| *known == name) {
            Some((_, Long::One(reference))) => push(&mut body, &get(reference)?)?,
            Some((_, Long::List(list))) => {
                body.push(b'[');
                for (at, reference) in list.iter().enumerate() {
                    if at > 0 {
                        body.extend_from_slice(style.comma());
                    }
                    push(&mut body, &get(reference)?)?;
                }
                body.push(b']');
            }
            None => {
                let value = read_back(value, named).map_err(|detail| CassetteError::invalid(name, detail))?;
                push(&mut body, &style.write(&value))?;
            }
        }
    }
    body.push(b'}');
    Ok(body)
}

fn push(body: &mut Vec<u8>, part: &[u8]) -> Result<(), CassetteError> {
    if body.len() + part.len() > MAX_BODY_BYTES {
        let detail = format!("a request's body would have more than {} MiB", MAX_BODY_BYTES >> 20);
        return Err(CassetteError::TooLarge { detail });
    }
    body.extend_from_slice(part);
    Ok(())
}

//! Where the string values of JSON documents lie, as byte ranges, each with its channel.
//!
//! A channel names the place of a value across the events of a stream: its path of keys and indices, with
//! what tells siblings apart (`index`, `output_index`, the event's `type` …). The values of one channel,
//! one after the other, are the text that the reader of the stream puts together.
//!
//! The scanner never fails: on broken JSON it goes on with the next byte that can start a document, and
//! a string without its closing quote (a stream cut off) reaches to the end. It checks nothing.

use std::ops::Range;

/// One string value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JsonString {
    /// Between the quotes.
    pub(super) range: Range<usize>,
    pub(super) channel: Vec<u8>,
}

/// Members whose values tell siblings apart, wherever they stand in their object.
const MARKS: &[&[u8]] = &[b"index", b"output_index", b"content_index", b"summary_index", b"thought"];
/// The same, at the top of an event only: deeper `type` members come and go between fragments.
const TOP_MARKS: &[&[u8]] = &[b"type"];
/// Deeper nesting is skipped, not followed.
const MAX_DEPTH: usize = 96;

/// The string values of the documents in `body[range]`: one document, several in a row, or the elements
/// of a top-level array, each taken for a document.
pub(super) fn string_values(body: &[u8], range: Range<usize>) -> Vec<JsonString> {
    let mut scanner =
        Scanner { text: &body[..range.end], at: range.start, nodes: Vec::new(), found: Vec::new() };
    let mut strings = Vec::new();
    while scanner.at < range.end {
        if matches!(scanner.text[scanner.at], b'{' | b'"') {
            scanner.nodes.clear();
            let root = scanner.node(None, Step::Root);
            scanner.value(root, 0);
            let found = std::mem::take(&mut scanner.found);
            strings.extend(
                found.into_iter().map(|(node, range)| JsonString { range, channel: scanner.channel(node) }),
            );
        } else {
            scanner.at += 1;
        }
    }
    strings
}

/// The last key on the way to a channel's values.
pub(super) fn last_key(channel: &[u8]) -> &[u8] {
    let start = memchr::memrchr(b'/', channel).map_or(0, |slash| slash + 1);
    &channel[start..]
}

#[derive(Clone)]
enum Step {
    Root,
    Key(Range<usize>),
    Index(usize),
}

struct Node {
    parent: Option<usize>,
    step: Step,
    marks: Vec<u8>,
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    found: Vec<(usize, Range<usize>)>,
}

impl Scanner<'_> {
    fn node(&mut self, parent: Option<usize>, step: Step) -> usize {
        self.nodes.push(Node { parent, step, marks: Vec::new() });
        self.nodes.len() - 1
    }

    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Reads the value at the cursor; returns its extent.
    fn value(&mut self, node: usize, depth: usize) -> Range<usize> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => self.skip_nested(),
            Some(b'{') => self.object(node, depth),
            Some(b'[') => self.array(node, depth),
            Some(b'"') => {
                let content = self.string();
                self.found.push((node, content));
            }
            _ => self.scalar(),
        }
        start..self.at
    }

    fn object(&mut self, node: usize, depth: usize) {
        self.at += 1;
        while let Some(next) = self.peek() {
            match next {
                b'"' => self.member(node, depth),
                b'}' => {
                    self.at += 1;
                    return;
                }
                b',' => self.at += 1,
                _ => return,
            }
        }
    }

    fn member(&mut self, object: usize, depth: usize) {
        let key = self.string();
        if self.peek() != Some(b':') {
            return;
        }
        self.at += 1;
        let child = self.node(Some(object), Step::Key(key.clone()));
        let extent = self.value(child, depth + 1);
        let name = &self.text[key];
        let is_mark = MARKS.contains(&name) || (depth == 0 && TOP_MARKS.contains(&name));
        let is_scalar = !matches!(self.text.get(extent.start), Some(b'{' | b'['));
        if is_mark && is_scalar {
            let marks = &mut self.nodes[object].marks;
            marks.extend_from_slice(name);
            marks.push(b'=');
            marks.extend_from_slice(&self.text[extent]);
            marks.push(b';');
        }
    }

    fn array(&mut self, node: usize, depth: usize) {
        self.at += 1;
        let mut index = 0;
        while let Some(next) = self.peek() {
            match next {
                b']' => {
                    self.at += 1;
                    return;
                }
                b',' => self.at += 1,
                b'}' | b':' => return,
                _ => {
                    let child = self.node(Some(node), Step::Index(index));
                    self.value(child, depth + 1);
                    index += 1;
                }
            }
        }
    }

    /// Reads a string; the cursor is on its opening quote. Returns the range between the quotes.
    fn string(&mut self) -> Range<usize> {
        let start = self.at + 1;
        let mut at = start;
        while let Some(step) = memchr::memchr2(b'"', b'\\', &self.text[at.min(self.text.len())..]) {
            at += step;
            if self.text[at] == b'"' {
                self.at = at + 1;
                return start..at;
            }
            at += 2;
        }
        self.at = self.text.len();
        start..self.text.len()
    }

    fn scalar(&mut self) {
        let rest = &self.text[self.at.min(self.text.len())..];
        let ends = |b: &u8| b",]}\":".contains(b) || b.is_ascii_whitespace();
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }

    fn skip_nested(&mut self) {
        let mut open = 0usize;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return;
            }
        }
    }

    fn channel(&self, node: usize) -> Vec<u8> {
        let mut path = Vec::new();
        let mut next = Some(node);
        while let Some(index) = next {
            path.push(index);
            next = self.nodes[index].parent;
        }
        let mut channel = Vec::new();
        for node in path.into_iter().rev().map(|index| &self.nodes[index]) {
            match &node.step {
                Step::Root => {}
                Step::Key(key) => {
                    channel.push(b'/');
                    channel.extend_from_slice(&self.text[key.clone()]);
                }
                // An element that carries its own index keeps its channel wherever it stands.
                Step::Index(_) if node.marks.starts_with(b"index=") => channel.push(b'/'),
                Step::Index(place) => channel.extend_from_slice(format!("/{place}").as_bytes()),
            }
            if !node.marks.is_empty() {
                channel.push(b'{');
                channel.extend(node.marks.iter().map(|&b| if b == b'/' { b'|' } else { b }));
                channel.push(b'}');
            }
        }
        channel
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(body: &str) -> Vec<String> {
        string_values(body.as_bytes(), 0..body.len())
            .into_iter()
            .map(|s| format!("{} {}", String::from_utf8_lossy(&s.channel), &body[s.range]))
            .collect()
    }

    #[test]
    fn channels_tell_siblings_apart() {
        assert_eq!(
            shown(r#"{"type":"x","choices":[{"delta":{"content":"a\"b"},"index":1}],"n":[1,"z"]}"#),
            [
                r#"{type="x";}/type x"#,
                r#"{type="x";}/choices/{index=1;}/delta/content a\"b"#,
                r#"{type="x";}/n/1 z"#
            ]
        );
        assert_eq!(last_key(br#"{type="a|b";}/delta/text"#), b"text");
    }

    #[test]
    fn rows_arrays_and_cut_ends() {
        assert_eq!(shown("{\"a\":\"1\"}\n{\"a\":\"2\"}"), ["/a 1", "/a 2"]);
        assert_eq!(shown(r#"[{"a":"1"},{"a":"2"}]"#), ["/a 1", "/a 2"]);
        assert_eq!(shown(r#"{"a":"cut of"#), ["/a cut of"]);
        assert_eq!(shown(r#"{"a":"cut \"#), [r"/a cut \"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in "[\\[\\]{}\":,\\\\a1 ]{0,60}") {
            string_values(body.as_bytes(), 0..body.len());
        }

        #[test]
        fn deep_nesting_is_survived(depth in 90usize..3000) {
            let body = format!("{{\"a\":{}\"x\"{},\"b\":\"y\"}}", "[".repeat(depth), "]".repeat(depth));
            prop_assert!(shown(&body).contains(&"/b y".to_owned()));
        }
    }
}

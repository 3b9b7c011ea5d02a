//! YAML into a tree.
//!
//! The parser knows YAML 1.2's grammar; typing, merge keys, repeated keys, anchors and bounds are decided
//! here. Only one document per file is accepted.

use super::{
    Refused,
    document::{MAX_DEPTH, MAX_VALUES, Node, Shared, Tag},
    repair,
    scalar::{Scalar, Style},
};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};
use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    rc::Rc,
};

/// How many entries merge keys may add in one document.
const MAX_MERGED_ENTRIES: usize = 100_000;

/// How many quoted scalars are repaired; each costs another pass over the file.
const MAX_REPAIRS: u32 = 100;

/// Parses a file that holds one document.
pub(super) fn parse(text: &str) -> Result<Shared, Refused> {
    refuse_nul(text)?;
    let mut text = repair::line_breaks(text);
    for _ in 0..MAX_REPAIRS {
        match build(&text) {
            Err(Failure::Scan(error)) => match repair::quoted(&text, &error) {
                Some(repaired) => text = Cow::Owned(repaired),
                None => return Err(not_yaml(&error)),
            },
            Err(Failure::Refused(refused)) => return Err(refused),
            Ok(root) => return Ok(root),
        }
    }
    build(&text).map_err(|failure| match failure {
        Failure::Scan(error) => not_yaml(&error),
        Failure::Refused(refused) => refused,
    })
}

/// The parser takes a NUL for the end of the file, which would cut a recording short in silence.
fn refuse_nul(text: &str) -> Result<(), Refused> {
    let Some(at) = memchr::memchr(0, text.as_bytes()) else { return Ok(()) };
    let before = &text[..at];
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) as u64 + 1;
    Err(Refused::NotYaml { line, column, problem: "a NUL character".to_owned() })
}

fn not_yaml(error: &ScanError) -> Refused {
    not_yaml_at(error.marker(), error.info())
}

fn not_yaml_at(mark: &Marker, problem: &str) -> Refused {
    Refused::NotYaml { line: mark.line() as u64, column: mark.col() as u64 + 1, problem: problem.to_owned() }
}

enum Failure {
    Scan(ScanError),
    Refused(Refused),
}

fn build(text: &str) -> Result<Shared, Failure> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(Failure::Scan)?;
        builder.accept(event, &span.start).map_err(Failure::Refused)?;
    }
    builder.root.ok_or(Failure::Refused(Refused::EmptyFile))
}

/// Builds the tree from the parser's events.
#[derive(Default)]
struct Builder {
    open: Vec<Collection>,
    anchors: HashMap<usize, (Shared, u32)>,
    merged_entries: usize,
    values: u32,
    root: Option<Shared>,
}

/// A collection whose end has not been seen.
struct Collection {
    anchor: usize,
    tag: Tag,
    kind: Kind,
    /// The greatest depth among its finished children.
    depth: u32,
}

enum Kind {
    List(Vec<Shared>),
    Map { entries: Vec<(Shared, Shared)>, key: Option<Shared> },
}

impl Builder {
    fn accept(&mut self, event: Event<'_>, at: &Marker) -> Result<(), Refused> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Refused::TooManyValues { limit: MAX_VALUES });
        }
        match event {
            Event::DocumentStart(_) if self.root.is_some() => return Err(Refused::SeveralDocuments),
            Event::Scalar(text, style, anchor, tag) => {
                let text = repair::scalar(text.into_owned(), style);
                let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Marked };
                let scalar = Scalar { text, tag: tag_of(tag), style };
                self.finished(Rc::new(Node::Scalar(scalar)), anchor, 0);
            }
            Event::SequenceStart(anchor, tag) => self.open(anchor, tag, Kind::List(Vec::new()))?,
            Event::MappingStart(anchor, tag) => {
                self.open(anchor, tag, Kind::Map { entries: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => {
                let (node, depth) = self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or_else(|| not_yaml_at(at, "an alias to an anchor that is not finished here"))?;
                if self.open.len() as u32 + depth > MAX_DEPTH {
                    return Err(Refused::ExpandsTooFar { limit: "128 levels deep" });
                }
                self.finished(node, 0, depth);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        anchor: usize,
        tag: Option<Cow<'_, saphyr_parser::Tag>>,
        kind: Kind,
    ) -> Result<(), Refused> {
        if self.open.len() as u32 >= MAX_DEPTH {
            return Err(Refused::ExpandsTooFar { limit: "128 levels deep" });
        }
        self.open.push(Collection { anchor, tag: tag_of(tag), kind, depth: 0 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refused> {
        let collection = self.open.pop().expect("the parser ends only what it began");
        let tag = collection.tag;
        let node = match collection.kind {
            Kind::List(items) => Node::List { tag, items },
            Kind::Map { entries, .. } => Node::Map { tag, entries: self.effective(entries)? },
        };
        self.finished(Rc::new(node), collection.anchor, collection.depth + 1);
        Ok(())
    }

    /// Hands a finished node to the collection that is open, or makes it the root.
    fn finished(&mut self, node: Shared, anchor: usize, depth: u32) {
        if anchor != 0 {
            self.anchors.insert(anchor, (Rc::clone(&node), depth));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        parent.depth = parent.depth.max(depth);
        match &mut parent.kind {
            Kind::List(items) => items.push(node),
            Kind::Map { entries, key } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(node),
            },
        }
    }

    /// A mapping's entries with merge keys followed and repeated keys settled: an entry of its own beats
    /// a merged one, the last of its own beats earlier ones.
    fn effective(&mut self, entries: Vec<(Shared, Shared)>) -> Result<Vec<(Shared, Shared)>, Refused> {
        let mut places: HashMap<String, usize> = HashMap::with_capacity(entries.len());
        let mut settled: Vec<(Shared, Shared)> = Vec::with_capacity(entries.len());
        let (merges, own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| is_merge(key));
        for (key, value) in own {
            match places.entry(unique_key(&key)) {
                Entry::Occupied(place) => settled[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    place.insert(settled.len());
                    settled.push((key, value));
                }
            }
        }
        for (_, source) in &merges {
            for (key, value) in merge_entries(source) {
                self.merged_entries += 1;
                if self.merged_entries > MAX_MERGED_ENTRIES {
                    return Err(Refused::ExpandsTooFar { limit: "100000 merged entries" });
                }
                if let Entry::Vacant(place) = places.entry(unique_key(key)) {
                    place.insert(settled.len());
                    settled.push((Rc::clone(key), Rc::clone(value)));
                }
            }
        }
        Ok(settled)
    }
}

fn is_merge(key: &Node) -> bool {
    matches!(key, Node::Scalar(s) if s.text == "<<" && s.style == Style::Plain && s.tag == Tag::Absent)
}

/// The entries that a merge key brings: of one mapping, or of a list of mappings in order of precedence.
fn merge_entries(source: &Node) -> Box<dyn Iterator<Item = &(Shared, Shared)> + '_> {
    match source {
        Node::Map { entries, .. } => Box::new(entries.iter()),
        Node::List { items, .. } => Box::new(items.iter().flat_map(|item| match &**item {
            Node::Map { entries, .. } => entries.as_slice(),
            _ => &[],
        })),
        Node::Scalar(_) => Box::new(std::iter::empty()),
    }
}

/// Keys are the same if they read the same; keys that are collections of several scalars never are.
fn unique_key(key: &Shared) -> String {
    match key.text() {
        Some(text) => text.into_owned(),
        None => format!("\0{:p}", Rc::as_ptr(key)),
    }
}

fn tag_of(tag: Option<Cow<'_, saphyr_parser::Tag>>) -> Tag {
    tag.map_or(Tag::Absent, |tag| Tag::parse(&format!("{}{}", tag.handle, tag.suffix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted() {
        let mut builder = Builder { values: MAX_VALUES - 1, ..Builder::default() };
        let at = Marker::default();
        let scalar = || Event::Scalar("a".into(), ScalarStyle::Plain, 0, None);
        assert_eq!(builder.accept(scalar(), &at), Ok(()));
        assert_eq!(builder.accept(scalar(), &at), Err(Refused::TooManyValues { limit: MAX_VALUES }));
    }
}

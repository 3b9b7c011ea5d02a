//! Headers, in every shape in which recorders write them down.

use super::{
    Refused,
    document::{Node, Tag},
    place::Place,
};

/// The headers under `key`; none if there is no such key. A header with several values comes several times.
pub(super) fn read(
    place: Place,
    message: &Node,
    key: &str,
    field: &'static str,
) -> Result<Vec<(String, String)>, Refused> {
    let mut headers = Vec::new();
    if let Some(node) = message.get_some(key) {
        append(node, &mut headers).ok_or_else(|| place.wrong(field, "a mapping of names to values"))?;
    }
    Ok(headers)
}

/// Appends headers: of a mapping, of a list of pairs, of `{name, value}` entries or of mappings (ordered
/// mappings), or of whichever of these an object wraps. `None` if the node is none of them.
fn append(node: &Node, headers: &mut Vec<(String, String)>) -> Option<()> {
    match node {
        Node::Scalar(_) => node.is_null().then_some(()),
        Node::Map { tag: Tag::Object(_), .. } if wrapped(node).is_some() => append(wrapped(node)?, headers),
        Node::Map { entries, .. } => {
            entries.iter().try_for_each(|(name, value)| append_header(name, value, headers))
        }
        Node::List { items, .. } => items.iter().try_for_each(|item| match item.items() {
            Some([name, value]) if matches!(**name, Node::Scalar(_)) => append_header(name, value, headers),
            _ => match (item.get("name"), item.get("value")) {
                (Some(name), Some(value)) => append_header(name, value, headers),
                _ => append(item, headers),
            },
        }),
    }
}

/// Where a pickled mapping keeps its entries.
fn wrapped(object: &Node) -> Option<&Node> {
    ["dictitems", "listitems", "state", "args"].iter().find_map(|key| object.get_some(key))
}

fn append_header(name: &Node, value: &Node, headers: &mut Vec<(String, String)>) -> Option<()> {
    let name = name.text()?;
    match value {
        Node::List { tag, items } if !matches!(tag, Tag::Object(_)) => {
            for item in items {
                headers.push((name.clone().into_owned(), header_value(item)?));
            }
        }
        _ => headers.push((name.into_owned(), header_value(value)?)),
    }
    Some(())
}

fn header_value(value: &Node) -> Option<String> {
    if value.is_null() { Some(String::new()) } else { value.text().map(|t| t.into_owned()) }
}

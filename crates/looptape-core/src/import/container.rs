//! What a file is: a vcrpy cassette, or something else, by name.

use super::{
    Container, NotHttp, Refused,
    document::{Node, Shared},
};

/// Whether the file is an httprr trace. These hold raw HTTP, so they are told before any parsing.
pub(super) fn is_httprr(bytes: &[u8]) -> bool {
    bytes.starts_with(b"httprr trace v")
}

/// The interactions of a vcrpy cassette, at least one; anything else is refused under its own name.
pub(super) fn vcrpy_interactions(root: &Node) -> Result<&[Shared], Refused> {
    if root.is_null() {
        return Err(Refused::EmptyFile);
    }
    if let Some(items) = root.items() {
        return Err(refused_list(items));
    }
    if let Some(refused) = refused_by_keys(root) {
        return Err(refused);
    }
    let list = root.get("interactions").ok_or(Refused::UnknownFormat)?;
    let interactions = match list.items() {
        Some(items) => items,
        None if list.is_null() => &[],
        None => return Err(Refused::UnknownFormat),
    };
    let first = interactions.first().ok_or(Refused::NoInteractions)?;
    if let Some(refused) = refused_by_interaction(first) {
        return Err(refused);
    }
    match root.get_some("version").map(|v| v.text()) {
        // Older writers left the version out; the format was the same.
        None => Ok(interactions),
        Some(Some(version)) if version == "1" => Ok(interactions),
        Some(version) => Err(Refused::UnsupportedVersion { found: version.unwrap_or_default().into_owned() }),
    }
}

/// A list at the top: messages of a chat, or a cassette from before vcrpy 1.0.
fn refused_list(items: &[Shared]) -> Refused {
    match items.first() {
        None => Refused::NoInteractions,
        Some(first) if first.get("request").is_some() => {
            Refused::UnsupportedVersion { found: "0 (a list of interactions)".to_owned() }
        }
        Some(first) if first.get("role").is_some() => Refused::NoHttp(NotHttp::MessageList),
        Some(_) => Refused::UnknownFormat,
    }
}

fn refused_by_keys(root: &Node) -> Option<Refused> {
    if let Some(list) = root.get("http_interactions") {
        let empty = list.is_null() || list.items().is_some_and(<[_]>::is_empty);
        return Some(if empty { Refused::NoInteractions } else { Refused::NotYetSupported(Container::Vcr) });
    }
    if let Some(entries) = root.get("log").and_then(|log| log.get("entries")) {
        let empty = entries.items().is_some_and(<[_]>::is_empty);
        return Some(if empty { Refused::NoInteractions } else { Refused::NotYetSupported(Container::Har) });
    }
    let has = |key: &str| root.get(key).is_some();
    if !has("interactions") && (has("trajectory") || has("history") || has("trajectory_format")) {
        return Some(Refused::NoHttp(NotHttp::SweAgentTrajectory));
    }
    if !has("interactions") && root.get("messages").is_some_and(|m| m.items().is_some()) {
        return Some(Refused::NoHttp(NotHttp::MessageList));
    }
    None
}

/// Other recorders that keep a list under `interactions`.
fn refused_by_interaction(first: &Node) -> Option<Refused> {
    let has = |key: &str| first.get(key).is_some();
    if has("direction") && !has("request") {
        return Some(Refused::NoHttp(NotHttp::WebSocketFrames));
    }
    if (has("request_sample") || has("response_sample")) && !has("request") {
        return Some(Refused::NoHttp(NotHttp::GrpcCalls));
    }
    let request = first.get("request")?;
    (request.get("url").is_some() && request.get("uri").is_none())
        .then_some(Refused::NotYetSupported(Container::GoVcr))
}

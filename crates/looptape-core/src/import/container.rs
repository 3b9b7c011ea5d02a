//! What a file is, by its content: one of the containers that are read, or something else, by name.

use super::{
    Container, NotHttp, Refused,
    document::{Node, Shared, Tag},
};

/// A parsed file whose container is known. Each list has at least one element.
pub(super) enum Recording<'a> {
    Vcrpy(&'a [Shared]),
    GoVcr(&'a [Shared]),
    Vcr(&'a [Shared]),
    Har { log: &'a Node, entries: &'a [Shared] },
}

/// Tells what a parsed file is. Anything that cannot be read is refused under its own name.
pub(super) fn tell(root: &Node) -> Result<Recording<'_>, Refused> {
    if root.is_null() {
        return Err(Refused::EmptyFile);
    }
    if let Some(items) = root.items() {
        return Err(refused_list(items));
    }
    if let Some(list) = root.get("http_interactions") {
        return filled(list).map(Recording::Vcr);
    }
    if let Some(log) = root.get("log")
        && let Some(list) = log.get("entries")
    {
        return har(log, list);
    }
    match root.get("interactions").or_else(|| root.get("Interactions")) {
        Some(list) => with_interactions(root, filled(list)?),
        None => Err(refused_by_keys(root)),
    }
}

/// The elements of a list, at least one.
fn filled(list: &Node) -> Result<&[Shared], Refused> {
    match list.items() {
        Some([]) => Err(Refused::NoInteractions),
        Some(items) => Ok(items),
        None if list.is_null() => Err(Refused::NoInteractions),
        None => Err(Refused::UnknownFormat),
    }
}

fn har<'a>(log: &'a Node, list: &'a Node) -> Result<Recording<'a>, Refused> {
    let entries = filled(list)?;
    let version = log.get_some("version").and_then(Node::text).unwrap_or_default();
    // Version 1.1 may leave the version out, or empty.
    if !version.is_empty() && version != "1" && !version.starts_with("1.") {
        return Err(Refused::UnsupportedVersion { container: Container::Har, found: version.into_owned() });
    }
    Ok(Recording::Har { log, entries })
}

/// A list under `interactions`: vcrpy's, go-vcr's, or of a recorder of something other than HTTP.
fn with_interactions<'a>(root: &'a Node, list: &'a [Shared]) -> Result<Recording<'a>, Refused> {
    let first = &list[0];
    let has = |key: &str| first.get(key).is_some();
    if has("direction") && !has("request") {
        return Err(Refused::NoHttp(NotHttp::WebSocketFrames));
    }
    if (has("request_sample") || has("response_sample")) && !has("request") {
        return Err(Refused::NoHttp(NotHttp::GrpcCalls));
    }
    let request = first.get("request").or_else(|| first.get("Request"));
    let is_go =
        request.is_some_and(|r| r.get("uri").is_none() && (r.get("url").is_some() || r.get("URL").is_some()));
    let version = root.get_some("version").or_else(|| root.get_some("Version")).map(|v| v.text());
    let version = version.map(|found| found.unwrap_or_default());
    let (container, known): (_, &[&str]) =
        if is_go { (Container::GoVcr, &["1", "2"]) } else { (Container::Vcrpy, &["1"]) };
    match version {
        // Older writers left the version out; the format was the same.
        None => {}
        Some(version) if known.contains(&&*version) => {}
        Some(version) => {
            return Err(Refused::UnsupportedVersion { container, found: version.into_owned() });
        }
    }
    Ok(if is_go { Recording::GoVcr(list) } else { Recording::Vcrpy(list) })
}

/// A list at the top: messages of a chat, or a cassette from before vcrpy 1.0 or before VCR 2.0.
fn refused_list(items: &[Shared]) -> Refused {
    let Some(first) = items.first() else { return Refused::NoInteractions };
    let older = |container, found: &str| Refused::UnsupportedVersion { container, found: found.to_owned() };
    match first.tag() {
        Tag::Object(class) if class.contains("VCR::HTTPInteraction") => older(Container::Vcr, "1"),
        _ if first.get("request").is_some() => older(Container::Vcrpy, "0 (a list of interactions)"),
        _ if first.get("role").is_some() => Refused::NoHttp(NotHttp::MessageList),
        _ => Refused::UnknownFormat,
    }
}

fn refused_by_keys(root: &Node) -> Refused {
    let has = |key: &str| root.get(key).is_some();
    if has("trajectory") || has("history") || has("trajectory_format") {
        return Refused::NoHttp(NotHttp::SweAgentTrajectory);
    }
    if root.get("messages").is_some_and(|m| m.items().is_some()) {
        return Refused::NoHttp(NotHttp::MessageList);
    }
    Refused::UnknownFormat
}

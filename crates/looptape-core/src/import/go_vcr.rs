//! go-vcr cassettes: version 1, and version 2, which go-vcr 3 and 4 write too.
//!
//! Both are a mapping with `interactions`, each with a `request` (`method`, `url`, `headers`, `body`) and a
//! `response` (`status` as text, `code`, `headers`, `body`). Version 2 adds ids, protocol details and the
//! `duration` of the call. Written through a JSON marshaller, the keys are Go's names of the fields, and
//! durations are counts of ns.

use super::{
    CallTimes, Interaction, Refused,
    body::Body,
    document::{Node, Shared},
    header_list,
    place::Place,
    times,
};

/// Reads all interactions.
pub(super) fn read(interactions: &[Shared]) -> Result<Vec<Interaction>, Refused> {
    (0..).zip(interactions).map(|(index, node)| interaction(Place { index }, node)).collect()
}

fn interaction(place: Place, node: &Node) -> Result<Interaction, Refused> {
    let request = place.map(node, key(node, "request", "Request"), "request")?;
    let response = place.map(node, key(node, "response", "Response"), "response")?;
    let request_body = body(place, request, "request.body")?;
    let response_body = body(place, response, "response.body")?;
    let headers =
        |message, field| header_list::read(place, message, key(message, "headers", "Headers"), field);
    let duration = response.get_some(key(response, "duration", "Duration")).and_then(Node::text);
    Ok(Interaction {
        index: place.index,
        method: place.text(request, key(request, "method", "Method"), "request.method")?,
        url: url(place, request)?,
        request_headers: headers(request, "request.headers")?,
        request_body: request_body.bytes,
        status: Some(status(place, response)?),
        response_headers: headers(response, "response.headers")?,
        response_body: response_body.bytes,
        request_exact: request_body.exact,
        response_exact: response_body.exact,
        times: CallTimes {
            duration_us: duration.as_deref().and_then(times::go_duration_us),
            ..CallTimes::default()
        },
    })
}

/// The key's spelling in this mapping.
fn key<'a>(node: &Node, yaml: &'a str, go: &'a str) -> &'a str {
    if node.get(yaml).is_none() && node.get(go).is_some() { go } else { yaml }
}

/// The URL; a URL without a host gets the one that the request was for, where that is recorded.
fn url(place: Place, request: &Node) -> Result<String, Refused> {
    let url = place.text(request, key(request, "url", "URL"), "request.url")?;
    let host = request.get_some(key(request, "host", "Host")).and_then(Node::text).unwrap_or_default();
    Ok(if url.starts_with('/') && !url.starts_with("//") && !host.is_empty() {
        format!("//{host}{url}")
    } else {
        url
    })
}

fn status(place: Place, response: &Node) -> Result<u16, Refused> {
    let code = response.get_some(key(response, "code", "Code"));
    let status = code.or_else(|| response.get_some(key(response, "status", "Status")));
    place.status_code(status.ok_or_else(|| place.missing("response.code"))?, "response.code")
}

fn body(place: Place, message: &Node, field: &'static str) -> Result<Body, Refused> {
    match message.get_some(key(message, "body", "Body")) {
        Some(Node::Scalar(scalar)) => Body::of_scalar(place, scalar, field),
        Some(_) => Err(place.wrong(field, "text or binary")),
        None => Ok(Body::empty()),
    }
}

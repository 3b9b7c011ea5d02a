//! vcrpy cassettes: version 1 as vcrpy has written it over the years, and the variants that projects
//! derive from it.
//!
//! Known shapes, from vcrpy's own serialisation code and from published cassettes:
//! - a request's `body` is text, `!!binary`, null, or a pickled `io.BytesIO`;
//! - a response's `body` is `{string: …}` (or `base64_string`), its `status` `{code, message}`; responses
//!   recorded through httpx by vcrpy 4 and 5 have `content` and `status_code` instead;
//! - `parsed_body`, where it is not null, stands for the body: a recorder parsed the JSON and dropped
//!   the text;
//! - header values are lists or single values, header names may be objects of string-like classes.

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
    let request = place.map(node, "request", "request")?;
    let response = place.map(node, "response", "response")?;
    let request_body = body(place, request, "request.body")?;
    let response_body = body(place, response, "response.body")?;
    let recorded_at = node.get_some("recorded_at").and_then(Node::text);
    Ok(Interaction {
        index: place.index,
        method: place.text(request, "method", "request.method")?,
        url: place.text(request, "uri", "request.uri")?,
        request_headers: header_list::read(place, request, "headers", "request.headers")?,
        request_body: request_body.bytes,
        status: Some(status(place, response)?),
        response_headers: header_list::read(place, response, "headers", "response.headers")?,
        response_body: response_body.bytes,
        request_exact: request_body.exact,
        response_exact: response_body.exact,
        times: CallTimes {
            started_unix_us: recorded_at.as_deref().and_then(times::unix_us),
            ..CallTimes::default()
        },
    })
}

fn status(place: Place, response: &Node) -> Result<u16, Refused> {
    let field = "response.status";
    let status = response.get_some("status").or_else(|| response.get_some("status_code"));
    let status = status.ok_or_else(|| place.missing(field))?;
    place.status_code(status.get_some("code").unwrap_or(status), field)
}

fn body(place: Place, message: &Node, field: &'static str) -> Result<Body, Refused> {
    if let Some(parsed) = message.get_some("parsed_body") {
        return Body::parsed(parsed);
    }
    match message.get_some("body").or_else(|| message.get_some("content")) {
        Some(body) => Body::of_node(place, body, field),
        None => Ok(Body::empty()),
    }
}

//! go-vcr cassettes: version 1, and version 2, which go-vcr 3 and 4 write too.
//!
//! Both are a mapping with `interactions`, each with a `request` (`method`, `url`, `headers`, `body`) and a
//! `response` (`status` as text, `code`, `headers`, `body`). Version 2 adds ids, protocol details and the
//! `duration` of the call. Written through a JSON marshaller, the keys are Go's names of the fields, and
//! durations are counts of ns.

use super::{
    CallTimes, Interaction, Refused, Side, body::Body, document::Node, header_list, place::Place, times,
};

/// Reads one interaction.
pub(super) fn interaction(place: Place, node: &Node) -> Result<Interaction, Refused> {
    let request = place.map(node, key(node, "request", "Request"), "request")?;
    let response = place.map(node, key(node, "response", "Response"), "response")?;
    let side = |message, headers, body_field| {
        Ok::<_, Refused>(Side {
            headers: header_list::read(place, message, key(message, "headers", "Headers"), headers)?,
            body: body(place, message, body_field)?,
        })
    };
    let line =
        (place.text(request, key(request, "method", "Method"), "request.method")?, url(place, request)?);
    let asked = side(request, "request.headers", "request.body")?;
    let answer = side(response, "response.headers", "response.body")?;
    let duration = response.get_some(key(response, "duration", "Duration")).and_then(Node::text);
    let times = CallTimes {
        duration_us: duration.as_deref().and_then(times::go_duration_us),
        ..CallTimes::default()
    };
    Ok(Interaction { times, ..Interaction::answered(place, line, asked, status(place, response)?, answer) })
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

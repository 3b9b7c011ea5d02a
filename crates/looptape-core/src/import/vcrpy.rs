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

use super::{Interaction, Refused, Side, body::Body, document::Node, header_list, place::Place, times};

/// Reads one interaction.
pub(super) fn interaction(place: Place, node: &Node) -> Result<Interaction, Refused> {
    let request = place.map(node, "request", "request")?;
    let response = place.map(node, "response", "response")?;
    let side = |message, headers, body_field| {
        Ok::<_, Refused>(Side {
            headers: header_list::read(place, message, "headers", headers)?,
            body: body(place, message, body_field)?,
        })
    };
    let method = place.text(request, "method", "request.method")?;
    let line = (method, place.text(request, "uri", "request.uri")?);
    let asked = side(request, "request.headers", "request.body")?;
    let answer = side(response, "response.headers", "response.body")?;
    let times = times::recorded_at(node);
    Ok(Interaction { times, ..Interaction::answered(place, line, asked, status(place, response)?, answer) })
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

//! Reading other tools' recordings of HTTP traffic, so that they become traces like any other.
//!
//! [`read`] takes a file's bytes and gives the HTTP interactions that it holds, in file order, or says by
//! name what the file is and why it is refused. A file is read whole or refused whole: nothing is skipped
//! in silence.
//!
//! Reading follows rules, never the habits of one project: tags that are not known are accepted, a body
//! is text, binary or a structure, and whether the file holds a body's bytes or only what a recorder
//! parsed out of them is kept beside it ([`Interaction::request_exact`], [`Interaction::response_exact`]).
//!
//! This module does not decode content encodings (a recorded `content-encoding` is often stale), does
//! not redact, and does not know what a model call is.

mod body;
mod container;
mod document;
mod go_vcr;
mod gzip;
mod har;
mod header_list;
mod httprr;
mod json;
mod json_file;
mod place;
mod refused;
mod repair;
mod scalar;
mod times;
mod vcr;
mod vcrpy;
mod yaml;

pub use refused::{NotHttp, Refused};

use crate::assembly::Timing;
use crate::provider::Provider;
use crate::provider_host;
use body::Body;
use bytes::Bytes;
use container::Recording;
use document::{Node, Shared};
use place::Place;
use std::{borrow::Cow, fmt};

/// The largest file that is read.
pub const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Reads a recording, compressed with gzip or not. `file_name` decides only whether a file that cannot be parsed is
/// described as broken JSON or as broken YAML; what the file is, its content says.
pub fn read(file_name: &str, bytes: &[u8]) -> Result<Cassette, Refused> {
    let size_bytes = bytes.len() as u64;
    if size_bytes > MAX_FILE_BYTES {
        return Err(Refused::TooLarge { size_bytes, limit_bytes: MAX_FILE_BYTES });
    }
    let bytes = &*gzip::unpacked(bytes)?;
    if httprr::is_httprr(bytes) {
        return Ok(Cassette { container: Container::Httprr, interactions: httprr::read(bytes)? });
    }
    let root = document::parse(gzip::inner_name(file_name), bytes)?;
    let (container, interactions) = match container::tell(&root)? {
        Recording::Vcrpy(list) => (Container::Vcrpy, each(list, vcrpy::interaction)?),
        Recording::GoVcr(list) => (Container::GoVcr, each(list, go_vcr::interaction)?),
        Recording::Vcr(list) => (Container::Vcr, each(list, vcr::interaction)?),
        Recording::Har { log, entries } => (Container::Har, har::read(log, entries)?),
    };
    Ok(Cassette { container, interactions })
}

/// Reads the interactions of a list, in its order.
fn each(
    list: &[Shared],
    read: fn(Place, &Node) -> Result<Interaction, Refused>,
) -> Result<Vec<Interaction>, Refused> {
    (0..).zip(list).map(|(index, node)| read(Place { index }, node)).collect()
}

/// What a file held: at least one interaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cassette {
    pub container: Container,
    /// In file order, which is the order in which the calls were made; those of an HTTP Archive by start.
    pub interactions: Vec<Interaction>,
}

impl Cassette {
    /// Which times the file states of its calls. Starts that go back contradict the order, and are not
    /// believed.
    pub fn timing(&self) -> Timing {
        let times = || self.interactions.iter().map(|interaction| interaction.times);
        let starts: Option<Vec<i64>> = times().map(|times| times.started_unix_us).collect();
        let starts = starts.is_some_and(|starts| starts.is_sorted());
        let durations = || times().map(|times| times.duration_us.is_some());
        match (starts, durations().all(|is_known| is_known)) {
            (true, true) => Timing::Stated,
            (true, false) => Timing::StartsOnly,
            (false, _) if durations().any(|is_known| is_known) => Timing::DurationsOnly,
            (false, _) => Timing::OrderOnly,
        }
    }
}

/// A format in which a tool keeps HTTP interactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// vcrpy's cassettes (YAML or JSON), variants with `parsed_body` included.
    Vcrpy,
    /// Cassettes of go-vcr.
    GoVcr,
    /// Cassettes of Ruby's VCR, of R's vcr, and of betamax: a list under `http_interactions`.
    Vcr,
    /// HTTP Archives, Polly.JS recordings among them.
    Har,
    /// Traces of Go's httprr.
    Httprr,
}

/// One request and its response, as the file holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interaction {
    /// The place in the file, from 0.
    pub index: u32,
    pub method: String,
    /// As recorded. It may hold placeholders that no URL parser accepts.
    pub url: String,
    /// Names as recorded; a header with several values comes several times.
    pub request_headers: Vec<(String, String)>,
    pub request_body: Bytes,
    /// `None` for a call that ended before an answer came; it has no headers and no body either.
    pub status: Option<u16>,
    pub response_headers: Vec<(String, String)>,
    pub response_body: Bytes,
    /// The file holds the request body itself, not a structure that was parsed out of it and is written
    /// here as compact JSON.
    pub request_exact: bool,
    /// The same of the response body.
    pub response_exact: bool,
    pub times: CallTimes,
}

/// When a call happened, as far as the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallTimes {
    /// Wall-clock start, µs since the Unix epoch. VCR's recorders state only when they noted a call down, to
    /// the second; that stands for it.
    pub started_unix_us: Option<i64>,
    /// From the start to the answer's head.
    pub head_us: Option<i64>,
    /// From the start to the answer's end.
    pub duration_us: Option<i64>,
}

/// One side of an interaction while it is read.
struct Side {
    headers: Vec<(String, String)>,
    body: Body,
}

impl Interaction {
    /// A call that was answered, without its times. `line` is method and URL.
    fn answered(place: Place, line: (String, String), request: Side, status: u16, response: Side) -> Self {
        Self {
            index: place.index,
            method: line.0,
            url: line.1,
            request_headers: request.headers,
            request_body: request.body.bytes,
            status: Some(status),
            response_headers: response.headers,
            response_body: response.body.bytes,
            request_exact: request.body.exact,
            response_exact: response.body.exact,
            times: CallTimes::default(),
        }
    }

    /// Host and port as written in the URL, without credentials; empty if the URL names none.
    pub fn host(&self) -> &str {
        let (authority, _) = split_url(&self.url);
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    /// The provider that the URL's host belongs to; a name made from the host where it is not known.
    pub fn provider(&self) -> Provider {
        provider_host::of_host(self.host())
    }

    /// Path and query as written in the URL, without the fragment; it always begins with `/`.
    pub fn path_and_query(&self) -> Cow<'_, str> {
        let (_, rest) = split_url(&self.url);
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        if rest.starts_with('/') { Cow::Borrowed(rest) } else { Cow::Owned(format!("/{rest}")) }
    }
}

/// Splits a URL into authority and the rest without judging either: recordings hold hosts such as
/// `{scrubbed}`.
fn split_url(url: &str) -> (&str, &str) {
    let after_scheme = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => rest,
        _ => match url.strip_prefix("//") {
            Some(rest) => rest,
            None => return ("", url),
        },
    };
    after_scheme.split_at(after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len()))
}

impl Container {
    /// The versions that are read.
    fn versions(self) -> &'static str {
        match self {
            Self::Vcrpy => "version 1",
            Self::GoVcr => "versions 1 and 2",
            Self::Vcr => "version 2 and later",
            Self::Har => "versions 1.1 to 1.3",
            Self::Httprr => "version 1",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vcrpy => "vcrpy cassette",
            Self::GoVcr => "go-vcr cassette",
            Self::Vcr => "VCR cassette (Ruby, R or betamax)",
            Self::Har => "HTTP Archive (HAR)",
            Self::Httprr => "httprr trace",
        })
    }
}

#[cfg(test)]
mod tests;

//! An HTTP server that is asked itself: where a tool runs live in a replay.
//!
//! Requests go to it as the client made them, but for the session, which is its own. It exists only where somebody said that
//! tools of such servers run; every other replay reaches nobody.

use super::desk::McpDesk;
use crate::passing_headers::{forwarded, remove_hop_by_hop};
use crate::recording::innermost;
use crate::terminal;
use crate::upstream::Upstreams;
use crate::upstream_client::{SetupError, UpstreamClient};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::{BodyExt, Either};
use looptape_core::exchange::{Answer, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_core::mcp::{Message, Opening, RealServer, SESSION_HEADER, Said, ServerName, said};
use looptape_core::wire::sse;
use std::error::Error;

/// An answer beyond this size is none.
const ANSWER_LIMIT_BYTES: usize = 64 << 20;

/// Reaches servers.
#[derive(Debug)]
pub struct RealHttp {
    client: UpstreamClient,
    upstreams: Upstreams,
}

/// What a client said to open its conversation, with the headers of each message: some servers want both to agree.
#[derive(Clone, Debug, Default)]
pub(super) struct HttpOpening {
    opening: Opening,
    headers: Vec<(String, HeaderMap)>,
}

impl HttpOpening {
    pub(super) fn overhear(&mut self, message: &[u8], headers: &HeaderMap) {
        self.opening.hear(message);
        if let Some(method) = method(message) {
            self.headers.retain(|(known, _)| *known != method);
            self.headers.push((method, headers.clone()));
        }
    }

    /// The headers with which the client would say this; `otherwise` if it never did.
    fn headers<'a>(&'a self, line: &[u8], otherwise: &'a HeaderMap) -> &'a HeaderMap {
        let said = method(line).and_then(|method| self.headers.iter().find(|(known, _)| *known == method));
        said.map_or(otherwise, |(_, headers)| headers)
    }
}

fn method(message: &[u8]) -> Option<String> {
    match Message::read(message) {
        Message::Request { method, .. } | Message::Notification { method, .. } => Some(method.into_owned()),
        Message::Response { .. } | Message::Unreadable => None,
    }
}

/// A conversation with a server: its own id, if it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Opened {
    session: Option<HeaderValue>,
}

/// Where a message goes, and with which headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct To<'a> {
    pub(super) server: &'a ServerName,
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
}

impl RealHttp {
    /// The servers are where `upstreams` says.
    pub fn new(upstreams: Upstreams) -> Result<Self, SetupError> {
        Ok(Self { client: UpstreamClient::new()?, upstreams })
    }

    /// Opens a conversation as the client did, and asks for the tools on offer.
    pub(super) async fn open(
        &self,
        desk: &McpDesk,
        to: To<'_>,
        opening: &HttpOpening,
    ) -> Result<Opened, String> {
        desk.note_started(to.server, None);
        let mut server = RealServer::new(&opening.opening);
        let mut opened = Opened::default();
        let mut lines = server.begin();
        while !lines.is_empty() {
            let mut next = Vec::new();
            for line in std::mem::take(&mut lines) {
                let to = To { headers: opening.headers(&line, to.headers), ..to };
                for said in self.say(to, &mut opened, &line).await? {
                    let heard = server.hear(&said.message);
                    if let Some(why) = heard.failed {
                        return Err(why);
                    }
                    next.extend(heard.write);
                }
            }
            lines = next;
        }
        desk.note_started(to.server, server.tools());
        Ok(opened)
    }

    /// Says a call; its answer.
    pub(super) async fn call(&self, to: To<'_>, opened: &Opened, line: &Bytes) -> Result<Bytes, String> {
        let id = Message::read(line).unanswered().map(|request| request.id);
        let said = self.say(to, &mut opened.clone(), line).await?;
        let is_it = |said: &Said| matches!(Message::read(&said.message), Message::Response { id: of, .. } if Some(of) == id.as_deref());
        let answer = said.into_iter().find(is_it).map(|said| said.message);
        match (answer, id) {
            (Some(answer), _) => Ok(Bytes::from([answer.trim_ascii(), b"\n"].concat())),
            (None, None) => Ok(Bytes::new()),
            (None, Some(_)) => Err("it ended its answer without a result".to_owned()),
        }
    }

    /// Says something; what the server says about it.
    async fn say(&self, to: To<'_>, opened: &mut Opened, line: &Bytes) -> Result<Vec<Said>, String> {
        let To { server, path, headers } = to;
        let provider = server.provider();
        let upstream = self
            .upstreams
            .stated(&provider)
            .ok_or_else(|| format!("nobody said where it is: add --upstream {provider}=URL"))?;
        let uri = upstream.join(path).map_err(|_| "its address is too long".to_owned())?;
        let mut request = Request::post(uri);
        if let Some(own) = request.headers_mut() {
            *own = forwarded(headers.clone());
            remove_hop_by_hop(own);
            for gone in [
                header::HOST.as_str(),
                "content-length",
                "content-encoding",
                "accept-encoding",
                SESSION_HEADER,
            ] {
                own.remove(gone);
            }
            if let Some(session) = &opened.session {
                own.insert(SESSION_HEADER, session.clone());
            }
        }
        let request = request
            .body(Either::Left(Bytes::copy_from_slice(line.trim_ascii()).into()))
            .map_err(|error| error.to_string())?;
        let unreachable = |error: &(dyn Error + 'static)| format!("{} {}", upstream.url(), innermost(error));
        let response = self.client.send(request).await.map_err(|error| unreachable(&error))?;
        let (head, mut body) = response.into_parts();
        if let Some(session) = head.headers.get(SESSION_HEADER) {
            opened.session = Some(session.clone());
        }
        let recorded = RedactedHeaders::redact(
            head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())),
        );
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unreachable(&error))?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if bytes.len() > ANSWER_LIMIT_BYTES {
                return Err("its answer is larger than 64 MiB".to_owned());
            }
            if terminal::is_finished(&bytes) {
                break;
            }
            if asks_its_client(&bytes) {
                return Err("it asks its client for something, who is not asked in a replay".to_owned());
            }
        }
        if head.status.as_u16() >= 400 {
            return Err(format!("{} answers {}", upstream.url(), head.status));
        }
        Ok(said(&Answer {
            status: head.status.as_u16(),
            headers: recorded,
            body: bytes.into(),
            chunks: Vec::new(),
            head_us: 0,
            end_us: 0,
            ending: Ending::Complete,
        }))
    }
}

/// Whether the server asks its client for something in the middle of an answer, and would wait for it.
fn asks_its_client(stream: &[u8]) -> bool {
    sse::events(stream).any(|event| matches!(Message::read(event.data.as_bytes()), Message::Request { .. }))
}

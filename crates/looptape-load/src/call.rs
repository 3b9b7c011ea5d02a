//! One call: sent, read to its end, with the times at which its pieces came.

use crate::clock::Clock;
use crate::target::Target;
use bytes::Bytes;
use looptape_core::derive::{self, RequestFacts};
use looptape_core::exchange::{Answer, Chunk, Ending, Outcome};
use looptape_core::facts::{CallFacts, CallKind, Lineage};
use looptape_core::headers::RedactedHeaders;
use looptape_core::load::GivenUp;
use looptape_core::provider::Provider;
use looptape_core::wire::{ResponseView, Wire};
use std::future::Future;
use std::time::Duration;

/// Sends calls to one target. Times are those of the run's clock.
#[derive(Debug)]
pub(crate) struct Caller {
    http: reqwest::Client,
    pub(crate) target: Target,
    pub(crate) wire: Wire,
    pub(crate) provider: Provider,
    pub(crate) stream: bool,
    pub(crate) clock: Clock,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Sending<'a> {
    pub(crate) path: &'a str,
    pub(crate) body: Bytes,
    /// How often it was sent before.
    pub(crate) retries: u32,
    /// How long the client waits for an answer, and for more of it.
    pub(crate) patience: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) outcome: Outcome,
    pub(crate) facts: CallFacts,
    pub(crate) given_up: Option<GivenUp>,
    /// What the answer says; `None` if there is none.
    pub(crate) said: Option<ResponseView>,
}

impl Caller {
    pub(crate) fn new(
        target: Target,
        wire: Wire,
        provider: Provider,
        stream: bool,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .pool_max_idle_per_host(usize::MAX);
        // No proxy of the environment could reach this machine.
        let builder = if target.is_here() { builder.no_proxy() } else { builder };
        Ok(Self { http: builder.build()?, target, wire, provider, stream, clock })
    }

    /// What every request has besides its key.
    pub(crate) fn headers(&self, retries: u32) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        // The SDKs of these providers count their retries.
        if matches!(self.wire, Wire::OpenAiChat | Wire::OpenAiResponses | Wire::AnthropicMessages) {
            headers.push(("x-stainless-retry-count", retries.to_string()));
        }
        headers
    }

    /// Sends a request and reads its answer to the end, unless the loop's time is over before.
    pub(crate) async fn call(&self, sending: Sending<'_>, over: impl Future<Output = ()>) -> Called {
        let sent_us = self.clock.signed_now_us();
        let request = self.facts(&sending, sent_us);
        let mut reading = Reading::default();
        let given_up = {
            tokio::select! {
                given_up = self.ask(&sending, &mut reading) => given_up,
                () = over => Some(GivenUp::Stopped),
            }
        };
        let outcome = reading.outcome(self.clock.signed_now_us(), given_up);
        let facts = derive::call(&request, &outcome);
        let said = derive::response_view(request.kind, &outcome);
        Called { outcome, facts, given_up, said }
    }

    async fn ask(&self, sending: &Sending<'_>, reading: &mut Reading) -> Option<GivenUp> {
        let mut request = self.http.post(self.target.join(sending.path)).body(sending.body.clone());
        for (name, value) in self.headers(sending.retries).into_iter().chain(self.target.headers(self.wire)) {
            request = request.header(name, value);
        }
        let mut response = match tokio::time::timeout(sending.patience, request.send()).await {
            Err(_) => return Some(GivenUp::TimedOut),
            Ok(Err(error)) => {
                reading.broken = Some(ending(&error));
                return None;
            }
            Ok(Ok(response)) => response,
        };
        let headers = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        reading.head =
            Some((response.status().as_u16(), RedactedHeaders::redact(headers), self.clock.signed_now_us()));
        loop {
            match tokio::time::timeout(sending.patience, response.chunk()).await {
                Err(_) => return Some(GivenUp::TimedOut),
                Ok(Ok(Some(piece))) => {
                    let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                    reading.chunks.push(Chunk { at_us: self.clock.signed_now_us(), len });
                    reading.body.push(piece);
                }
                Ok(Ok(None)) => return None,
                Ok(Err(error)) => {
                    reading.broken = Some(ending(&error));
                    return None;
                }
            }
        }
    }

    /// What is known of the request, which this client made: its body is not read again.
    fn facts(&self, sending: &Sending<'_>, sent_us: i64) -> RequestFacts {
        RequestFacts {
            seq: 0,
            sent_us,
            loop_hint: None,
            provider: self.provider.clone(),
            endpoint: format!("POST {}", sending.path.split('?').next().unwrap_or_default()),
            kind: CallKind::Llm(self.wire),
            model: None,
            stream: self.stream,
            previous_response_id: None,
            request_digest: 0,
            retry_count: Some(sending.retries),
            request_bytes: sending.body.len() as u64,
            lineage: Lineage::default(),
            conversation: None,
        }
    }
}

/// An answer as it comes.
#[derive(Debug, Default)]
struct Reading {
    head: Option<(u16, RedactedHeaders, i64)>,
    body: Vec<Bytes>,
    chunks: Vec<Chunk>,
    broken: Option<Ending>,
}

impl Reading {
    fn outcome(self, end_us: i64, given_up: Option<GivenUp>) -> Outcome {
        let Self { head, body, chunks, broken } = self;
        let ending = match given_up {
            Some(_) => Ending::ClientGone,
            None => broken.unwrap_or(Ending::Complete),
        };
        match head {
            None => Outcome::NoResponse { end_us, ending },
            Some((status, headers, head_us)) => {
                let body = Bytes::from(body.concat());
                Outcome::Answered(Answer { status, headers, body, chunks, head_us, end_us, ending })
            }
        }
    }
}

fn ending(error: &reqwest::Error) -> Ending {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let error = match error.is_connect() {
        true => return Ending::UpstreamUnreachable { error: cause.to_string() },
        false => cause.to_string(),
    };
    Ending::UpstreamReset { error }
}

//! One call: sent, read to its end, with the times at which its pieces came.

use crate::clock::Clock;
use crate::target::{Target, TargetProvider};
use bytes::Bytes;
use looptape_core::derive::{self, RequestFacts};
use looptape_core::exchange::{Answer, Chunk, Ending, Outcome};
use looptape_core::facts::{CallFacts, CallKind, Lineage};
use looptape_core::headers::{RedactedHeaders, string_to_latin1};
use looptape_core::load::GivenUp;
use looptape_core::provider::Provider;
use looptape_core::simulated::WISH_HEADER;
use looptape_core::wire::{ResponseView, Wire};
use std::future::Future;
use std::time::Duration;

/// Sends calls to one target. To set one up takes a while: it is there before a run's clock begins.
#[derive(Clone, Debug)]
pub struct Caller {
    http: reqwest::Client,
    target: Target,
}

/// What is asked, however often.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) wire: Wire,
    pub(crate) provider: Provider,
    pub(crate) stream: bool,
    pub(crate) path: String,
    /// Besides the key, and what the count of retries is said in.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// The bound that it sets for the answer.
    pub(crate) max_output_tokens: Option<u64>,
    /// What a simulated provider is to answer, if the body does not say so itself.
    pub(crate) wish: Option<String>,
}

/// A request to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending<'a> {
    pub(crate) asked: &'a Asked,
    /// How often it was sent before.
    pub(crate) retries: u32,
    /// How long the client waits for an answer, and for more of it.
    pub(crate) patience: Duration,
    /// Whose times its calls have.
    pub(crate) clock: Clock,
}

/// What SDKs count their retries in.
pub(crate) const RETRY_COUNT: &str = "x-stainless-retry-count";

impl Asked {
    /// All headers but the key's.
    pub(crate) fn headers(&self, retries: u32) -> Vec<(String, String)> {
        let mut headers = self.headers.clone();
        // The SDKs of these providers count their retries.
        if matches!(self.wire, Wire::OpenAiChat | Wire::OpenAiResponses | Wire::AnthropicMessages) {
            headers.push((RETRY_COUNT.to_owned(), retries.to_string()));
        }
        headers
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) outcome: Outcome,
    pub(crate) facts: CallFacts,
    pub(crate) given_up: Option<GivenUp>,
    /// Something in its stream cannot be read.
    pub(crate) is_unreadable: bool,
    /// What the answer says; `None` if there is none.
    pub(crate) said: Option<ResponseView>,
}

impl Caller {
    pub fn new(target: Target) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .pool_max_idle_per_host(usize::MAX);
        // No proxy of the environment could reach this machine.
        let builder = if target.is_here() { builder.no_proxy() } else { builder };
        Ok(Self { http: builder.build()?, target })
    }

    /// Sends a request and reads its answer to the end, unless the loop's time is over before.
    pub(crate) async fn call(&self, sending: Sending<'_>, over: impl Future<Output = ()>) -> Called {
        let clock = sending.clock;
        let sent_us = clock.signed_now_us();
        let request = Self::facts(&sending, sent_us);
        let mut reading = Reading::default();
        let given_up = {
            tokio::select! {
                given_up = self.ask(&sending, &mut reading) => given_up,
                () = over => Some(GivenUp::Stopped),
            }
        };
        let outcome = reading.outcome(clock.signed_now_us(), given_up);
        let facts = derive::call(&request, &outcome);
        let said = derive::response_view(request.kind, &outcome);
        let is_unreadable = derive::has_unreadable_events(&outcome);
        Called { outcome, facts, given_up, is_unreadable, said }
    }

    async fn ask(&self, sending: &Sending<'_>, reading: &mut Reading) -> Option<GivenUp> {
        let Sending { asked, retries, patience, clock } = *sending;
        let mut request = self.http.post(self.target.join(&asked.path)).body(asked.body.clone());
        for (name, value) in asked.headers(retries) {
            request = request.header(name, string_to_latin1(&value));
        }
        for (name, value) in self.target.headers(asked.wire) {
            request = request.header(name, value);
        }
        let wish = asked.wish.as_ref().filter(|_| self.target.provider == TargetProvider::Simulated);
        if let Some(wish) = wish {
            request = request.header(WISH_HEADER, wish);
        }
        let mut response = match tokio::time::timeout(patience, request.send()).await {
            Err(_) => return Some(GivenUp::TimedOut),
            Ok(Err(error)) => {
                reading.broken = Some(ending(&error));
                return None;
            }
            Ok(Ok(response)) => response,
        };
        let headers = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        reading.head =
            Some((response.status().as_u16(), RedactedHeaders::redact(headers), clock.signed_now_us()));
        loop {
            match tokio::time::timeout(patience, response.chunk()).await {
                Err(_) => return Some(GivenUp::TimedOut),
                Ok(Ok(Some(piece))) => {
                    let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                    reading.chunks.push(Chunk { at_us: clock.signed_now_us(), len });
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
    fn facts(sending: &Sending<'_>, sent_us: i64) -> RequestFacts {
        let Sending { asked, retries, .. } = *sending;
        RequestFacts {
            seq: 0,
            sent_us,
            loop_hint: None,
            provider: asked.provider.clone(),
            endpoint: format!("POST {}", asked.path.split('?').next().unwrap_or_default()),
            kind: CallKind::Llm(asked.wire),
            model: None,
            stream: asked.stream,
            previous_response_id: None,
            request_digest: 0,
            retry_count: Some(retries),
            request_bytes: asked.body.len() as u64,
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

//! Holding a recorded call to a budget: asked before it is sent, settled when its answer is over.
//!
//! A call that is refused is recorded as what its client saw: an error of looptape's own. The upstream is not asked.

use crate::budgets::{Held, Seen, SharedBudget};
use crate::reply::{self, Body};
use bytes::Bytes;
use http::{Method, Response};
use looptape_core::TraceId;
use looptape_core::budget::{OverBudget, Prospect};
use looptape_core::derive::{self, RequestFacts};
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use looptape_core::wire::{Wire, route};
use looptape_store::{CallEnd, CallTicket, Moment, TraceHint};
use tokio::sync::oneshot;

/// A call that wants to be sent.
pub(crate) struct Candidate {
    budget: SharedBudget,
    provider: Provider,
    method: Method,
    path: String,
    /// Without content encoding.
    plain: Bytes,
    hint: TraceHint,
}

/// A call that was let through.
pub(crate) struct HeldCall {
    held: Held,
    request: RequestFacts,
}

impl Candidate {
    pub(crate) fn new(
        budget: &SharedBudget,
        head: &http::request::Parts,
        (provider, path, body): (&Provider, &str, &Bytes),
        hint: TraceHint,
    ) -> Self {
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let plain = derive::decode_body(&RedactedHeaders::redact(headers), body, &[]).bytes;
        let (provider, path) = (provider.clone(), path.to_owned());
        Self { budget: budget.clone(), provider, method: head.method.clone(), path, plain, hint }
    }

    /// Reserves what it could cost, or refuses it and records that.
    pub(crate) async fn admit(self, ticket: CallTicket) -> Result<(HeldCall, CallTicket), Response<Body>> {
        let trace = self.trace(&ticket).await;
        let method = self.method.as_str();
        let prospect = Prospect {
            provider: &self.provider,
            method,
            path: &self.path,
            body: &self.plain,
            at_unix_us: Moment::now().unix_us,
        };
        match self.budget.admit(&prospect, trace).await {
            Ok(held) => {
                let none = RedactedHeaders::default();
                let request = derive::request(&self.provider, method, &self.path, &none, &self.plain);
                Ok((HeldCall { held, request }, ticket))
            }
            Err(over) => {
                let wire = route::identify(&self.provider, method, &self.path);
                Err(refused(ticket, wire, &over))
            }
        }
    }

    /// Only the writer knows where a call belongs that names no trace; it is asked if that matters.
    async fn trace(&self, ticket: &CallTicket) -> Option<TraceId> {
        match &self.hint {
            TraceHint::Named(id) => Some(id.clone()),
            TraceHint::Lineage if self.budget.limits().trace_usd.is_none() => None,
            TraceHint::Lineage => {
                let (tell, told) = oneshot::channel();
                ticket.tell_trace(move |trace| {
                    // Nobody listens any more if the client went away.
                    let _ = tell.send(trace);
                });
                told.await.ok().flatten()
            }
        }
    }
}

fn refused(ticket: CallTicket, wire: Option<Wire>, over: &OverBudget) -> Response<Body> {
    let (response, body) = reply::over_budget(wire, &over.to_string());
    let headers = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let at_us = Moment::now().mono_us;
    let len = u32::try_from(body.len()).expect("looptape's own errors are short");
    ticket.finish(CallEnd::Answered {
        status: response.status().as_u16(),
        headers: RedactedHeaders::redact(headers),
        head_mono_us: at_us,
        end_mono_us: at_us,
        body: vec![body],
        chunks: vec![Chunk { at_us, len }],
        ending: Ending::Complete,
        cut: None,
    });
    response
}

impl HeldCall {
    /// It had this answer.
    pub(crate) fn answered(self, seen: Seen) {
        self.held.answered(&self.request, seen);
    }

    /// It had none.
    pub(crate) fn unanswered(self, was_connected: bool) {
        self.held.unanswered(was_connected);
    }
}

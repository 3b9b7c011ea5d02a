//! The provider itself, asked within a budget.
//!
//! A call goes to its provider's upstream as the agent sent it, but for three things: looptape's own key is in
//! the place of the dummy, another model may be asked for, and references to what only the recorded run's
//! provider has are written out. What the call could cost at most is reserved before it is sent, and settled by
//! the usage that the answer reports; an answer that is broken off, or says nothing of usage, counts as what was
//! reserved for it. A client that hangs up ends the upstream's call with its own.

use crate::budgets::SharedBudget;
use crate::connections::NoAnswer;
use crate::model::{Asked, Model, ModelCall};
use crate::observed::observed;
use crate::passing_headers::{forwarded, remove_hop_by_hop};
use crate::reply::{self, Abort};
use crate::upstream::Upstreams;
use crate::upstream_client::{SetupError, UpstreamClient};
use crate::upstream_keys::{UpstreamKeys, variable_names};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Either;
use looptape_core::TraceId;
use looptape_core::budget::{Prospect, Spending};
use looptape_core::derive::{self, RequestFacts};
use looptape_core::exchange::Ending;
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use looptape_core::replay::{Forking, ModelKind, WhyRefused};
use looptape_core::wire::Wire;
use looptape_store::Moment;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What is needed to ask.
#[derive(Debug)]
pub struct LiveOptions {
    pub upstreams: Upstreams,
    pub keys: UpstreamKeys,
    pub budget: SharedBudget,
    pub forking: Forking,
    /// What its calls count to, unless [`LiveModel::counts_to`] says otherwise.
    pub trace: TraceId,
}

/// Asks providers.
#[derive(Debug)]
pub struct LiveModel {
    client: UpstreamClient,
    upstreams: Upstreams,
    keys: UpstreamKeys,
    forking: Forking,
    budget: SharedBudget,
    trace: TraceId,
    named: OnceLock<TraceId>,
    remarks: Mutex<BTreeMap<String, u64>>,
}

/// Why a provider cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    #[error("no upstream is known for `{provider}`: name it with --upstream {provider}=URL")]
    NoUpstream { provider: Provider },
    #[error(
        "a live call to {provider} needs a key: set {} for looptape itself (the agent gets a dummy)", variables.join(" or ")
    )]
    NoKey { provider: Provider, variables: Vec<String> },
}

impl LiveModel {
    pub fn new(options: LiveOptions) -> Result<Self, SetupError> {
        let LiveOptions { upstreams, keys, budget, forking, trace } = options;
        let (client, named, remarks) = (UpstreamClient::new()?, OnceLock::new(), Mutex::default());
        Ok(Self { client, upstreams, keys, forking, budget, trace, named, remarks })
    }

    /// Names the trace that its calls are written down in. Only the first word counts.
    pub fn counts_to(&self, trace: &TraceId) {
        let _ = self.named.set(trace.clone());
    }

    fn trace(&self) -> &TraceId {
        self.named.get().unwrap_or(&self.trace)
    }

    /// Whether these providers can be asked, as far as that is known before. An upstream on this machine may do
    /// without a key, unless the recorded calls had one: `keyed` are the providers to which they carried it.
    pub fn is_ready_for(&self, providers: &[Provider], keyed: &[Provider]) -> Result<(), NotReady> {
        for provider in providers {
            let Some(upstream) = self.upstreams.get(provider) else {
                return Err(NotReady::NoUpstream { provider: provider.clone() });
            };
            let needs_key = !upstream.is_on_this_machine() || keyed.contains(provider);
            if needs_key && !self.keys.has(provider) {
                let variables = variable_names(provider);
                return Err(NotReady::NoKey { provider: provider.clone(), variables });
            }
        }
        Ok(())
    }

    pub fn budget(&self) -> &SharedBudget {
        &self.budget
    }

    /// What was spent so far.
    pub fn spending(&self) -> Spending {
        self.budget.spending()
    }

    /// Upstreams that could not be reached: message and how often.
    pub fn remarks(&self) -> Vec<(String, u64)> {
        lock(&self.remarks).iter().map(|(message, times)| (message.clone(), *times)).collect()
    }

    fn no_answer(&self, error: &NoAnswer, upstream: &str) -> Asked {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let (cause, is_connect) = (cause.to_string(), error.is_connect());
        let what = if is_connect { "cannot be reached" } else { "broke the connection before answering" };
        let why = format!("{upstream} {what}: {cause}");
        *lock(&self.remarks).entry(why.clone()).or_default() += 1;
        let ending = match is_connect {
            true => Ending::UpstreamUnreachable { error: cause },
            false => Ending::UpstreamReset { error: cause },
        };
        Asked::NoAnswer { ending, abort: Abort { why } }
    }
}

/// A call as it goes upstream.
struct Ready {
    path: String,
    headers: http::HeaderMap,
    body: Bytes,
    /// The same without content encoding.
    plain: Bytes,
}

impl LiveModel {
    fn ready(&self, call: &ModelCall) -> Result<Ready, String> {
        let mut headers = forwarded(call.headers.clone());
        let by_name = RedactedHeaders::redact(call.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())));
        let plain = derive::decode_body(&by_name, &call.body, &[]).bytes;
        let forked = self.forking.request(call.wire(), &call.path, &plain).map_err(|no| no.to_string())?;
        let mut path = forked.path;
        self.keys.put_into(&call.provider, &mut headers, &mut path);
        let (body, plain) = match forked.body {
            None => (call.body.clone(), plain),
            Some(changed) => {
                headers.remove(header::CONTENT_ENCODING);
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(changed.len()));
                let changed = Bytes::from(changed);
                (changed.clone(), changed)
            }
        };
        Ok(Ready { path, headers, body, plain })
    }
}

impl Model for LiveModel {
    fn kind(&self) -> ModelKind {
        ModelKind::Live
    }

    async fn ask(&self, call: ModelCall) -> Asked {
        let Some(upstream) = self.upstreams.get(&call.provider) else {
            let message = NotReady::NoUpstream { provider: call.provider.clone() }.to_string();
            return refused(call.wire(), WhyRefused::CannotAsk, &message);
        };
        let ready = match self.ready(&call) {
            Ok(ready) => ready,
            Err(why) => return refused(call.wire(), WhyRefused::CannotAsk, &why),
        };
        let Ok(uri) = upstream.join(&ready.path) else {
            return refused(
                call.wire(),
                WhyRefused::CannotAsk,
                "with the upstream's base URL the path is too long",
            );
        };
        let prospect = Prospect {
            provider: &call.provider,
            method: call.method.as_str(),
            path: &ready.path,
            body: &ready.plain,
            at_unix_us: Moment::now().unix_us,
        };
        let held = match self.budget.admit(&prospect, Some(self.trace().clone())).await {
            Ok(held) => held,
            Err(over) => return refused(call.wire(), WhyRefused::OverBudget, &over.to_string()),
        };
        let facts = request_facts(&call, &ready);
        let mut request = Request::new(Either::Left(ready.body.into()));
        *request.method_mut() = call.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = ready.headers;
        match self.client.send(request).await {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                remove_hop_by_hop(&mut parts.headers);
                parts.extensions = http::Extensions::new();
                parts.version = http::Version::HTTP_11;
                let response = Response::from_parts(parts, body);
                Asked::Answered(observed(response, None, move |seen| held.answered(&facts, seen.into())))
            }
            Err(error) => {
                held.unanswered(!error.is_connect());
                self.no_answer(&error, &upstream.url())
            }
        }
    }
}

fn request_facts(call: &ModelCall, ready: &Ready) -> RequestFacts {
    let headers = RedactedHeaders::default();
    derive::request(&call.provider, call.method.as_str(), &ready.path, &headers, &ready.plain)
}

/// An error that no SDK tries again, in the client's own wire format.
fn refused(wire: Option<Wire>, why: WhyRefused, message: &str) -> Asked {
    let (response, _) = match why {
        WhyRefused::OverBudget => reply::over_budget(wire, message),
        WhyRefused::CannotAsk | WhyRefused::Diverged(_) => {
            reply::own_error(wire, StatusCode::UNPROCESSABLE_ENTITY, "cannot_ask", message)
        }
    };
    Asked::Refused { why, response }
}

/// A panic while it is held is a bug that must not take other calls with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Who is asked where a recording has no answer.
//!
//! A [`Model`] takes one call and answers it; it needs no server of its own. A replay from the recording alone
//! has [`NoModel`], of which no value exists: that nothing is asked then is what the compiler says.

use crate::reply::{Abort, Body};
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use looptape_core::exchange::Ending;
use looptape_core::provider::Provider;
use looptape_core::replay::{ModelKind, WhyRefused};
use looptape_core::wire::{Wire, route};
use std::sync::Arc;

/// A call as its client made it.
#[derive(Clone, Debug)]
pub struct ModelCall {
    pub provider: Provider,
    pub method: Method,
    /// Path and query as the provider knows them.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl ModelCall {
    /// The format of what it asks for, if that is a model's answer.
    pub fn wire(&self) -> Option<Wire> {
        route::identify(&self.provider, self.method.as_str(), &self.path)
    }
}

/// What came of asking.
#[derive(Debug)]
pub enum Asked {
    /// The answer; its body may still be coming.
    Answered(Response<Body>),
    /// Nobody was asked; the client gets this error.
    Refused { why: WhyRefused, response: Response<Body> },
    /// The connection ended before there was an answer, and the client's is to end like it.
    NoAnswer { ending: Ending, abort: Abort },
}

/// Somebody who answers calls.
pub trait Model: Send + Sync + 'static {
    fn kind(&self) -> ModelKind;

    /// Answers a call. Dropping the future, or the body, breaks the call off.
    fn ask(&self, call: ModelCall) -> impl Future<Output = Asked> + Send;
}

/// Nobody. There is no value of this type, so what holds one cannot ask.
#[derive(Clone, Copy, Debug)]
pub enum NoModel {}

impl Model for NoModel {
    fn kind(&self) -> ModelKind {
        match *self {}
    }

    async fn ask(&self, _: ModelCall) -> Asked {
        match *self {}
    }
}

impl<M: Model> Model for Arc<M> {
    fn kind(&self) -> ModelKind {
        M::kind(self)
    }

    async fn ask(&self, call: ModelCall) -> Asked {
        M::ask(self, call).await
    }
}

//! Asking a model on behalf of a replay, and writing down what came of it.
//!
//! This is all that a replay without a server of its own needs: a call goes in, an answer comes out.

use crate::child_trace::{ChildCall, ChildTrace, Likeness};
use crate::flush::Flushes;
use crate::model::{Asked, Model, ModelCall};
use crate::observed::observed;
use crate::reply::{Abort, Body};
use http::Response;
use looptape_core::replay::{Provenance, WhyAsked};
use looptape_store::Moment;

/// Asks `model`, and records call and answer in `child`. Dropping the future, or the body, is recorded as a
/// client that went away.
pub async fn ask<M: Model>(
    model: &M,
    child: Option<&ChildTrace>,
    call: ModelCall,
    why: WhyAsked,
) -> Result<Response<Body>, Abort> {
    ask_for(model, child, (call, Moment::now()), why, None).await
}

/// The same for a call that had been read at a moment, from a connection whose flushes are known.
pub(crate) async fn ask_for<M: Model>(
    model: &M,
    child: Option<&ChildTrace>,
    (call, at): (ModelCall, Moment),
    why: WhyAsked,
    flushes: Option<Flushes>,
) -> Result<Response<Body>, Abort> {
    let from = Provenance::Asked { model: model.kind(), why };
    let ticket = child.map(|child| child.begin(&ChildCall::of(&call, at), from));
    let response = match model.ask(call).await {
        Asked::Answered(response) => response,
        Asked::Refused { why, response } => {
            if let Some(ticket) = &ticket {
                ticket.came_from(Provenance::Refused(why));
            }
            response
        }
        Asked::NoAnswer { ending, abort } => {
            if let Some(ticket) = ticket {
                ticket.no_response(ending);
            }
            return Err(abort);
        }
    };
    Ok(match ticket {
        Some(ticket) => ticket.watch(response, Likeness::Other, flushes),
        None => observed(response, flushes, |_| {}),
    })
}

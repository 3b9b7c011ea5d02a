//! Replays that the page starts: the only thing here that does more than read: starting and stopping
//! one wants the terminal's token.

use super::{Failure, find};
use crate::page::{MayWrite, Shared};
use crate::replays::{Answers, ReplayState, Replays, WantedReplay};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A replay to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReplay {
    trace: String,
    #[serde(default)]
    source: Source,
    /// From which step on a model answers.
    from: Option<u32>,
    /// Asked instead of the recorded one; of live replays.
    model: Option<String>,
    /// What live answers may cost at most; live replays must say it.
    max_usd: Option<f64>,
    /// 0 (nothing waits), 1 (as recorded), 10, …
    #[serde(default)]
    speed: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Source {
    #[default]
    Cached,
    Mock,
    Live,
}

impl NewReplay {
    fn checked(self) -> Result<WantedReplay, Failure> {
        let invalid = |say: &str| Err(Failure::Invalid(say.to_owned()));
        if !self.speed.is_finite() || self.speed < 0.0 {
            return invalid("speed is 0 or a positive number, such as 1 or 10");
        }
        if self.from == Some(0) {
            return invalid("steps are counted from 1");
        }
        let model = self.model.filter(|model| !model.trim().is_empty());
        let answers = match (self.source, self.max_usd) {
            (Source::Live, Some(max_usd)) if max_usd.is_finite() && max_usd > 0.0 => {
                Answers::Live { from: self.from, model, max_usd }
            }
            (Source::Live, _) => {
                return invalid("live calls cost money: say in max_usd how much they may cost at most");
            }
            (_, Some(_)) => return invalid("max_usd is about live calls"),
            _ if model.is_some() => return invalid("a model is asked live: source is live then"),
            (Source::Cached, None) if self.from.is_some() => {
                return invalid("from says from where a model answers: source is mock or live then");
            }
            (Source::Cached, None) => Answers::Recorded,
            (Source::Mock, None) => Answers::Mocked { from: self.from },
        };
        Ok(WantedReplay { trace: self.trace, answers, speed: self.speed })
    }
}

/// Starts a replay: the recorded requests are sent again, without the agent
#[utoipa::path(
    post, path = "/replays", request_body = NewReplay,
    responses((status = 202, body = Object), (status = 403, description = "the token is missing")),
    security(("token" = []))
)]
pub(crate) async fn start(
    _: MayWrite,
    State(shared): State<Shared>,
    body: Result<Json<NewReplay>, JsonRejection>,
) -> Result<(StatusCode, Json<ReplayState>), Failure> {
    let Json(body) = body.map_err(|error| Failure::Invalid(error.body_text()))?;
    let mut wanted = body.checked()?;
    let replays = replays(&shared)?;
    // By its full name: what `last` is may change.
    let name = wanted.trace;
    wanted.trace = shared.readers.read(move |reader| Ok(find(reader, &name)?.label())).await?;
    let state = replays.start(wanted).map_err(|error| Failure::Busy(error.to_string()))?;
    Ok((StatusCode::ACCEPTED, Json(state)))
}

/// How far a replay is, and what came of it
#[utoipa::path(get, path = "/replays/{id}", params(("id" = u32, Path)), responses((status = 200, body = Object)))]
pub(crate) async fn state(
    State(shared): State<Shared>,
    Path(id): Path<u32>,
) -> Result<Json<ReplayState>, Failure> {
    replays(&shared)?.state(id).map(Json).ok_or(Failure::NoSuchReplay(id))
}

/// Stops a replay; what it did until then is kept
#[utoipa::path(
    post, path = "/replays/{id}/stop", params(("id" = u32, Path)),
    responses((status = 200, body = Object), (status = 403, description = "the token is missing")),
    security(("token" = []))
)]
pub(crate) async fn stop(
    _: MayWrite,
    State(shared): State<Shared>,
    Path(id): Path<u32>,
) -> Result<Json<ReplayState>, Failure> {
    replays(&shared)?.stop(id).map(Json).ok_or(Failure::NoSuchReplay(id))
}

fn replays(shared: &Shared) -> Result<&Arc<Replays>, Failure> {
    shared.replays.as_ref().ok_or(Failure::ReadOnly)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Result<WantedReplay, String> {
        let new: NewReplay = serde_json::from_str(json).map_err(|error| error.to_string())?;
        new.checked().map_err(|failure| failure.to_string())
    }

    #[test]
    fn live_answers_need_a_budget_and_nothing_else_takes_one() {
        let live = checked(r#"{"trace":"last","source":"live","max_usd":0.5,"from":3,"model":"m"}"#);
        let answers = Answers::Live { from: Some(3), model: Some("m".into()), max_usd: 0.5 };
        assert_eq!(live.map(|wanted| wanted.answers), Ok(answers));
        assert_eq!(checked(r#"{"trace":"last"}"#).map(|wanted| wanted.answers), Ok(Answers::Recorded));
        let mocked = checked(r#"{"trace":"last","source":"mock","speed":1}"#);
        assert_eq!(
            mocked.map(|wanted| (wanted.answers, wanted.speed)),
            Ok((Answers::Mocked { from: None }, 1.0))
        );
        for (wrong, says) in [
            (r#"{"trace":"t","source":"live"}"#, "max_usd"),
            (r#"{"trace":"t","source":"live","max_usd":0}"#, "max_usd"),
            (r#"{"trace":"t","source":"live","max_usd":-1}"#, "max_usd"),
            (r#"{"trace":"t","max_usd":1}"#, "about live calls"),
            (r#"{"trace":"t","model":"m"}"#, "asked live"),
            (r#"{"trace":"t","from":2}"#, "mock or live"),
            (r#"{"trace":"t","source":"mock","from":0}"#, "from 1"),
            (r#"{"trace":"t","speed":-1}"#, "speed"),
            (r#"{"trace":"t","upstream":"x"}"#, "unknown field"),
        ] {
            let said = checked(wrong).unwrap_err();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }
}

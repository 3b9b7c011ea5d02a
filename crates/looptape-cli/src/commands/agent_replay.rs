//! An agent run against a recording: what `replay -- CMD`, `test` and `demo` share.
//!
//! What came of a run is a value. Nothing here tells anybody of it, and nothing judges it beyond its exit code.

use super::child_run::{self, ChildRan};
use super::record;
use super::sources::{AskedModel, ModelPlan};
use crate::child::agent_hooks::Agent;
use crate::child::environment::{Mode, Variables};
use crate::child::process::{Ended, NotStarted, Program};
use crate::child::stage::Stage;
use crate::child::surroundings::{Guarantees, Surroundings, SurroundingsArgs};
use crate::config::Config;
use crate::exit::Exit;
use crate::money::Money;
use crate::replay_trace::{About, ReplayEnd, ReplayStore, ReplayTrace};
use crate::session::{find, runtime};
use crate::tape::{self, Place, Ready, Whereabouts};
use anyhow::Context;
use looptape_core::TraceId;
use looptape_core::metrics::TraceMetrics;
use looptape_core::replay::run_figures::{self, Pace};
use looptape_core::replay::{Options, Summary, Verdict};
use looptape_proxy::forward_proxy::{Beyond, ForwardProxy};
use looptape_proxy::mcp::real_http::RealHttp;
use looptape_proxy::model::Model;
use looptape_proxy::server::Server;
use looptape_proxy::tape_server::{Speed, TapeServer};
use looptape_store::{Reader, RecordedTrace};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long a grandchild's calls may go on after the child.
const LINGER: Duration = Duration::from_millis(200);

/// What came of running an agent against a recording.
pub(super) struct Replayed {
    pub(super) child: Ended,
    pub(super) summary: Summary,
    /// Requests that reached the tape server.
    pub(super) requests: u64,
    /// Coding agents that were given hooks.
    hooked: Vec<Agent>,
}

/// Runs an agent against a server that answers from the trace `id`.
pub(super) fn replay<M: Model>(
    id: &TraceId,
    server: TapeServer<M>,
    surroundings: &Surroundings,
    (program, mut told): (Program<'_>, Variables),
) -> anyhow::Result<Result<Replayed, NotStarted>> {
    let server = Arc::new(server.noting(surroundings.blocked()));
    let ended = runtime()?.block_on(async {
        let (stage, listener) = Stage::set(program, surroundings.confinement()).await?;
        let running = serve(listener, server.clone(), surroundings.beyond());
        let running = running.context("the tape server cannot be started")?;
        let origin = format!("http://{}", running.address());
        told.extend(surroundings.variables(&origin));
        let ended = child_run::run(Mode::Replay, &origin, id.as_str(), stage, told).await;
        running.drain(LINGER).await;
        ended
    })?;
    let ChildRan { ended: child, hooked } = match ended {
        Ok(ran) => ran,
        Err(not_started) => return Ok(Err(not_started)),
    };
    let summary = server.finish().context("the replay was ended twice: this is a bug")?;
    if let Some(trouble) = server.trouble() {
        anyhow::bail!(trouble);
    }
    Ok(Ok(Replayed { child, summary, requests: server.requests(), hooked }))
}

/// Serves the tape, and what is asked of other hosts if that is to come here.
fn serve<M: Model>(
    listener: TcpListener,
    server: Arc<TapeServer<M>>,
    beyond: Option<Beyond>,
) -> std::io::Result<Server> {
    let own = listener.local_addr()?;
    match beyond {
        None => Server::start(listener, server),
        Some(beyond) => Server::start(listener, Arc::new(ForwardProxy::new(server, own, beyond))),
    }
}

/// Runs of one agent against one recording.
pub(super) struct AgentReplay<'a> {
    pub(super) config: &'a Config,
    pub(super) reader: &'a Reader,
    pub(super) trace: &'a RecordedTrace,
    pub(super) options: Options,
    pub(super) speed: Speed,
    pub(super) surroundings: SurroundingsArgs,
    /// Where the agent is run.
    pub(super) place: Place,
    /// Where MCP servers over HTTP are, besides what the configurations say: `NAME=URL`.
    pub(super) upstreams: &'a [String],
    /// Whether somebody will see what it cost: the price list is read only then.
    pub(super) prices: Prices,
}

/// Whether prices are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prices {
    Wanted,
    OnlyOfLiveCalls,
}

/// A run that came to its end.
pub(super) struct AgentRan {
    pub(super) child: Ended,
    pub(super) summary: Summary,
    /// Requests that reached the tape server.
    pub(super) requests: u64,
    /// The trace that it left.
    pub(super) own: Option<TraceId>,
    /// What is missing from that trace and why, with how often.
    pub(super) gaps: BTreeMap<String, u64>,
    pub(super) guarantees: Guarantees,
    /// The same in a sentence.
    pub(super) guarantee: String,
    pub(super) money: Money,
    /// What the user should know of asked models, and how often.
    pub(super) remarks: Vec<(String, u64)>,
}

impl AgentRan {
    /// Strongest first: diverged, the child's own code, unused recordings, calls beyond the budget.
    pub(super) fn exit(&self, allow_unused: bool) -> Exit {
        match (self.summary.verdict, self.child.exit()) {
            (Verdict::Diverged, _) => Exit::Diverged,
            (_, child) if child != Exit::Success => child,
            (Verdict::Unused, _) if !allow_unused => Exit::Unused,
            _ if self.money.is_over() => Exit::Gate,
            _ => Exit::Success,
        }
    }
}

/// How a replay is written down, and in words how it is made from its recording.
pub(super) struct Record {
    pub(super) store: Option<ReplayStore>,
    pub(super) why: String,
    /// Where it is written down what live calls cost.
    pub(super) books: Books,
}

/// Who counts what live calls cost, for limits that outlive a run.
pub(super) enum Books {
    /// The store that the replay is written down in.
    WithTheReplay,
    Elsewhere(ReplayStore),
}

impl AgentReplay<'_> {
    /// Runs the agent; a model is asked as planned.
    pub(super) fn run(
        &self,
        program: Program<'_>,
        mut own_variables: Variables,
        plan: Option<&ModelPlan<'_>>,
        record: Record,
    ) -> anyhow::Result<Result<AgentRan, NotStarted>> {
        let Self { config, reader, trace, .. } = *self;
        let whereabouts = Whereabouts { clock: self.surroundings.clock, place: self.place.clone() };
        let ready = tape::server_at(reader, trace, self.options, config, &whereabouts)?;
        let Ready { server, mut told, environment, egress } = ready;
        let recorded = (trace.row.happened_unix_us(), egress);
        let surroundings = Surroundings::prepare(self.surroundings, recorded, program.command)?;
        told.append(&mut own_variables);
        let server = server.at_speed(self.speed).reaching(self.real_servers(program.command)?);
        let model = plan.map(|plan| plan.model(config, reader, trace, self.speed)).transpose()?;
        match model {
            None => {
                let ready = Ready { server, told, environment, egress };
                self.run_against(ready, surroundings, program, None, record)
            }
            Some(model) => {
                let server = server.asking(model.clone());
                let ready = Ready { server, told, environment, egress };
                self.run_against(ready, surroundings, program, Some(&model), record)
            }
        }
    }

    /// How tools that run live reach their servers, if any may run.
    fn real_servers(&self, command: &[OsString]) -> anyhow::Result<Option<RealHttp>> {
        tape::real_servers(self.config, self.options, || {
            let mut upstreams = record::upstreams(self.config, self.upstreams)?;
            record::add_mcp_servers(&mut upstreams, command);
            Ok(upstreams)
        })
    }

    fn run_against<M: Model>(
        &self,
        Ready { server, mut told, environment, .. }: Ready<M>,
        surroundings: Surroundings,
        program: Program<'_>,
        asked: Option<&AskedModel>,
        Record { store, why, books }: Record,
    ) -> anyhow::Result<Result<AgentRan, NotStarted>> {
        let Self { trace, .. } = *self;
        if let Some(asked) = asked {
            asked.kept_by(match &books {
                Books::WithTheReplay => store.as_ref(),
                Books::Elsewhere(store) => Some(store),
            })?;
        }
        let about = || About { recording: &trace.row, why, command: program.command, environment };
        let stored = store.as_ref().map(|store| store.open(about())).transpose()?;
        let server = server.leaving(stored.as_ref().map(ReplayTrace::child));
        let own = stored.as_ref().map(|stored| stored.id().clone());
        if let (Some(asked), Some(own)) = (asked, &own) {
            asked.counts_to(own);
        }
        told.extend(own.iter().map(|own| ("LOOPTAPE_REPLAY".to_owned(), own.to_string())));
        let guarantee = guarantee(asked, server.reaches_servers());
        let replayed = replay(&trace.row.id, server, &surroundings, (program, told));
        if let Some(stored) = stored {
            stored.close(end(&replayed));
        }
        let gaps = store.map(ReplayStore::finish).unwrap_or_default();
        if let Books::Elsewhere(store) = books {
            store.finish();
        }
        let Replayed { child, summary, requests, hooked } = match replayed? {
            Ok(replayed) => replayed,
            Err(not_started) => return Ok(Err(not_started)),
        };
        let (summary, guarantees) = surroundings.finish(summary);
        let unasked = unasked(trace, &summary, &hooked);
        let is_priced = asked.is_some() || self.prices == Prices::Wanted;
        let money = if is_priced { Money::of(trace, &summary, asked) } else { Money::default() };
        Ok(Ok(AgentRan {
            child,
            summary,
            requests,
            own,
            gaps,
            guarantees,
            guarantee: format!("{guarantee}; {}", guarantees.sentence()),
            money,
            remarks: asked.map(AskedModel::remarks).unwrap_or_default().into_iter().chain(unasked).collect(),
        }))
    }
}

/// Agents that have tools of their own in the recording, and did not ask before those ran.
fn unasked(trace: &RecordedTrace, summary: &Summary, hooked: &[Agent]) -> Vec<(String, u64)> {
    let asked =
        |agent: &Agent| summary.tools.as_ref().is_some_and(|tools| tools.agents.contains(agent.as_str()));
    let has_tools = |agent: &Agent| {
        let own = agent.asks_for();
        let mut calls = trace.facts.iter().flat_map(|facts| &facts.asks);
        calls.any(|call| own.contains(&call.name.as_str()))
    };
    let silent =
        hooked.iter().filter(|agent| summary.served.total() > 0 && !asked(agent) && has_tools(agent));
    let remark = |agent: &Agent| {
        let agent = agent.as_str();
        (
            format!(
                "{agent} did not ask before its tools ran: its hooks are off, or it is a version with others"
            ),
            1,
        )
    };
    silent.map(remark).collect()
}

/// The figures by which a run of an agent is judged; `own` is the trace that it left.
pub(super) fn metrics(
    reader: &Reader,
    trace: &RecordedTrace,
    summary: &Summary,
    (own, speed): (Option<&str>, Speed),
) -> anyhow::Result<TraceMetrics> {
    let recorded = &trace.row;
    if summary.asked == 0 {
        let (span, started) = (recorded.span(), recorded.happened_unix_us());
        return Ok(run_figures::of_served(
            &trace.facts,
            span,
            started,
            &summary.served_calls,
            reader.prices(),
        ));
    }
    let own =
        own.context("a run in which a model was asked is measured by its own trace: leave --no-record out")?;
    let run = reader.load(find(reader, own)?)?;
    let pace = if speed == Speed::Times(1.0) { Pace::Recorded } else { Pace::Faster };
    let pace = (pace, summary.served.total());
    Ok(run_figures::of_asked(&run.facts, run.row.span(), run.row.happened_unix_us(), pace, reader.prices()))
}

/// What the replay's own trace says about its end.
fn end(replayed: &anyhow::Result<Result<Replayed, NotStarted>>) -> ReplayEnd {
    match replayed {
        Ok(Ok(Replayed { child, .. })) => ReplayEnd {
            exit_code: Some(child.code),
            aborted: child.interrupted.map(|interruption| interruption.as_str().to_owned()),
        },
        Ok(Err(not_started)) => ReplayEnd { exit_code: None, aborted: Some(not_started.message.clone()) },
        Err(error) => ReplayEnd { exit_code: None, aborted: Some(format!("{error:#}")) },
    }
}

/// What is true of the replay, whatever the agent did.
fn guarantee(asked: Option<&AskedModel>, reaches_tool_servers: bool) -> &'static str {
    match asked {
        None if reaches_tool_servers => {
            "the replay server asked no provider, and MCP servers for live tools only"
        }
        None => "the replay server has no upstream client",
        Some(AskedModel::Mock(_)) => "the replay server asked no provider",
        Some(AskedModel::Live(_)) => "the replay server asked providers, within the budget",
    }
}

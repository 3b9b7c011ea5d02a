//! A recorded trace as a tape, and a server for it.

use crate::child::capture::Egress;
use crate::child::claude_code;
use crate::child::environment::{self, Variables};
use crate::child::surroundings::Clock;
use crate::config::Config;
use crate::exit::UsageError;
use crate::run_environment::{self, PendingStatus};
use crate::session::now_unix_us;
use anyhow::Context;
use bytes::Bytes;
use looptape_core::captured;
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::mcp::{self, Conversation, McpTape, is_mcp};
use looptape_core::redact;
use looptape_core::replay::learn::Recording;
use looptape_core::replay::{
    CallLabel, CannotReplay, Completeness, Environment, ForkAt, Masking, OnMiss, Options, Rebind,
    RecordedBody, RecordedCall, RecordedOutcome, Replayer, RequestBodies, Run, Tape,
};
use looptape_core::wire::Wire;
use looptape_page::reading::trace_view;
use looptape_proxy::guard::Guard;
use looptape_proxy::mcp::real_http::RealHttp;
use looptape_proxy::mcp::{Beyond, McpDesk};
use looptape_proxy::model::NoModel;
use looptape_proxy::server::bind;
use looptape_proxy::tape_server::{LiveResults, TapeServer, TapedTools};
use looptape_proxy::upstream::Upstreams;
use looptape_store::{CallBytes, CallOutline, OutlineEnd, Reader, RecordedTrace, TraceBytes, TraceStatus};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A recorded trace, ready to answer an agent.
pub(crate) struct Ready<M = NoModel> {
    pub(crate) server: TapeServer<M>,
    /// What the recorded agent was told by its environment, and has to be told again.
    pub(crate) told: Variables,
    /// Where an agent that is run now runs, if that is known of the recorded one.
    pub(crate) environment: Option<Environment>,
    /// Whether the recording holds calls that were captured on their way to a host.
    pub(crate) egress: Egress,
}

/// A server that answers from `trace`.
pub(crate) fn server(
    reader: &Reader,
    trace: &RecordedTrace,
    options: Options,
    config: &Config,
) -> anyhow::Result<Ready> {
    server_at(reader, trace, options, config, &Whereabouts::default())
}

/// When and where an agent is run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whereabouts {
    pub(crate) clock: Clock,
    pub(crate) place: Place,
}

/// Where an agent is run.
#[derive(Clone, Debug, Default)]
pub(crate) enum Place {
    /// Where this process is.
    #[default]
    Here,
    There {
        folder: PathBuf,
        /// If it is not the system's.
        temporary_folder: Option<PathBuf>,
    },
}

impl Place {
    /// What agents may write of it into prompts.
    pub(crate) fn environment(&self) -> Environment {
        match self {
            Self::Here => run_environment::capture(),
            Self::There { folder, temporary_folder } => {
                let temporary_folder = temporary_folder.as_ref().and_then(|folder| folder.to_str());
                let temporary_folder = temporary_folder.map(str::to_owned);
                run_environment::of_program(Some(folder.clone()), temporary_folder)
            }
        }
    }
}

/// The same for an agent that is run there and then.
pub(crate) fn server_at(
    reader: &Reader,
    trace: &RecordedTrace,
    options: Options,
    config: &Config,
    whereabouts: &Whereabouts,
) -> anyhow::Result<Ready> {
    let bytes = Arc::new(TraceBytes::new(Arc::new(CallBytes::new(reader)?), trace.row.key));
    let outlines = reader.outlines(trace.row.key)?;
    let recorded = recorded_run(reader, trace)?;
    let live = live_run(&recorded, whereabouts);
    let masking = Masking::between(&recorded, &live)
        .without(config.masks.disable.iter().copied())
        .with(config.configured_masks()?);
    let conversations = conversations(reader, trace)?;
    let tape = Tape::new(calls(trace, &outlines, &bytes), completeness(&trace.row.status), redact::normalise)
        .masked_by(masking.clone());
    let tape = if conversations.is_empty() { tape } else { tape.beside_tool_servers() };
    let mcp = McpTape::new(conversations, masking.clone(), options.max_rung).beside(model_asked_us(trace));
    let replayer = Replayer::new(tape, options).map_err(|cannot| match cannot {
        CannotReplay::HasHoles(holes) => {
            anyhow::anyhow!("{holes}. Record the run again, or replay what there is with --allow-incomplete")
        }
        nothing @ CannotReplay::HoldsNothing => {
            anyhow::anyhow!("{nothing}. `looptape doctor` shows what leads an agent's calls to the recorder")
        }
        CannotReplay::NoSuchStep(step) => UsageError(format!("--from: {step}")).into(),
    })?;
    let replayer = replayer.with_optional(config.side_calls()?);
    let mut key = [0u8; 32];
    getrandom::fill(&mut key).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    let guard = Guard::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None)?;
    let captured: Vec<&CallOutline> =
        outlines.iter().filter(|call| captured::is_captured(&call.path)).collect();
    let egress = if captured.is_empty() { Egress::Unseen } else { Egress::Captured };
    let mut told = claude_code::as_recorded(first_messages(trace, &bytes));
    told.extend(environment::dummy_keys(captured.into_iter().map(|call| &call.provider)));
    let providers = outlines.into_iter().map(|call| call.provider).collect();
    let server = TapeServer::reading(replayer, bytes, providers, config.patterns()?, guard, key);
    let tools = Arc::new(tools(reader, trace, (options, masking), config)?);
    let desk = McpDesk::new(mcp, config.patterns()?, key).consulting(tools.clone(), beyond(options));
    let server = server.with_tools(tools).with_mcp(desk);
    Ok(Ready { server, told, environment: live.environment, egress })
}

/// What becomes of calls of tool servers that the recording does not hold.
fn beyond(options: Options) -> Beyond {
    match (options.on_miss, options.fork) {
        (OnMiss::Refuse, ForkAt::Never) => Beyond::Refused,
        (OnMiss::Ask, _) | (_, ForkAt::Step(_)) => Beyond::ReadersRun,
    }
}

/// How MCP servers over HTTP are reached; `None` where no tool may run, so that nobody is.
pub(crate) fn real_servers(
    config: &Config,
    options: Options,
    upstreams: impl FnOnce() -> anyhow::Result<Upstreams>,
) -> anyhow::Result<Option<RealHttp>> {
    if beyond(options) == Beyond::Refused && !config.tool_policies()?.let_tools_run() {
        return Ok(None);
    }
    Ok(Some(RealHttp::new(upstreams()?).context("the client for MCP servers cannot be set up")?))
}

/// What the recorded tools gave, read when one is called.
fn tools(
    reader: &Reader,
    trace: &RecordedTrace,
    (options, masking): (Options, Masking),
    config: &Config,
) -> anyhow::Result<TapedTools> {
    let (another, row) = (reader.another(), trace.row.clone());
    let read = move || {
        let reader = another.map_err(|error| error.to_string())?;
        let trace = reader.load(row).map_err(|error| error.to_string())?;
        trace_view::recorded_tools(&reader, &trace).map_err(|error| error.to_string())
    };
    let live = match options.rebind {
        Rebind::Off => LiveResults::Compared,
        Rebind::On => LiveResults::Kept,
    };
    Ok(TapedTools::new(Box::new(read), config.tool_policies()?, live, (masking, options.max_rung)))
}

/// A recorded trace, to be compared with another.
pub(crate) fn recording(reader: &Reader, trace: &RecordedTrace) -> anyhow::Result<Recording> {
    let bytes = Arc::new(TraceBytes::new(Arc::new(CallBytes::new(reader)?), trace.row.key));
    let outlines = reader.outlines(trace.row.key)?;
    Ok(Recording { calls: calls(trace, &outlines, &bytes), run: recorded_run(reader, trace)? })
}

fn recorded_run(reader: &Reader, trace: &RecordedTrace) -> anyhow::Result<Run> {
    Ok(Run { environment: reader.environment(trace.row.key)?, started_unix_us: trace.row.happened_unix_us() })
}

/// A run there and then, to be masked against `recorded`.
fn live_run(recorded: &Run, Whereabouts { clock, place }: &Whereabouts) -> Run {
    let clock = *clock;
    let started_unix_us = match clock {
        Clock::Real => Some(now_unix_us()),
        Clock::Recorded => recorded.started_unix_us,
    };
    let environment = recorded.environment.as_ref().map(|then| {
        let now = place.environment();
        let status_matters = then.git.as_ref().is_some_and(|git| git.status.is_some());
        let status = if status_matters { PendingStatus::of(&now) } else { None };
        let whole = status.and_then(|status| status.added_to(&now, STATUS_WAIT));
        let mut environment = whole.unwrap_or(now);
        if clock == Clock::Recorded {
            environment.local_date = then.local_date;
        }
        environment
    });
    Run { environment, started_unix_us }
}

/// How long a replay waits for what git has to say.
const STATUS_WAIT: Duration = Duration::from_millis(200);

/// What was said between the agent and its MCP servers.
pub(crate) fn conversations(reader: &Reader, trace: &RecordedTrace) -> anyhow::Result<Vec<Conversation>> {
    let of_mcp = trace.facts.iter().filter(|facts| is_mcp(&facts.provider));
    let exchanges = of_mcp.map(|facts| reader.exchange(trace.row.key, facts.seq));
    Ok(mcp::conversations(exchanges.collect::<Result<Vec<_>, _>>()?))
}

/// When the agent asked its model, in order.
fn model_asked_us(trace: &RecordedTrace) -> Arc<[i64]> {
    let calls = trace.facts.iter().filter(|facts| matches!(facts.kind, CallKind::Llm(_)));
    let mut asked_us: Vec<i64> = calls.map(|facts| facts.sent_us).collect();
    asked_us.sort_unstable();
    asked_us.into()
}

/// A free loopback port.
pub(crate) async fn listen() -> anyhow::Result<TcpListener> {
    Ok(bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?)
}

/// The calls of a trace; their bodies stay where they are until one is wanted.
fn calls(trace: &RecordedTrace, outlines: &[CallOutline], bytes: &Arc<TraceBytes>) -> Vec<RecordedCall> {
    let labels = labels(trace);
    let outlines: HashMap<u32, &CallOutline> = outlines.iter().map(|call| (call.seq, call)).collect();
    let call = |facts: &CallFacts| {
        let outline = outlines.get(&facts.seq)?;
        let label =
            labels.get(&facts.seq).copied().unwrap_or(CallLabel { seq: facts.seq, step: None, lane: 0 });
        Some(RecordedCall {
            label,
            wire: match facts.kind {
                CallKind::Llm(wire) => Some(wire),
                CallKind::Other => None,
            },
            method: outline.method.clone(),
            path: outline.path.clone(),
            body: RecordedBody::elsewhere(facts.seq, outline.request, outline.request_bytes, bytes.clone()),
            lineage: facts.lineage,
            sent_us: facts.sent_us,
            end_us: facts.end_us,
            outcome: match &outline.end {
                None => RecordedOutcome::InFlight,
                Some(OutlineEnd { ending, answer: None }) => RecordedOutcome::no_response(ending),
                Some(OutlineEnd { ending, answer: Some((status, body)) }) => {
                    RecordedOutcome::answered(*status, ending, *body, facts.state)
                }
            },
        })
    };
    trace.facts.iter().filter(|facts| !is_mcp(&facts.provider)).filter_map(call).collect()
}

/// The first bodies that went to Anthropic: what an agent is, its first requests say.
fn first_messages(trace: &RecordedTrace, bytes: &TraceBytes) -> impl Iterator<Item = Bytes> {
    const LOOKED_AT: usize = 8;
    let messages = |facts: &&CallFacts| facts.kind == CallKind::Llm(Wire::AnthropicMessages);
    let calls = trace.facts.iter().filter(messages).take(LOOKED_AT);
    calls.map(|facts| bytes.request_body(facts.seq))
}

/// How people know each call: by its step.
pub(crate) fn labels(trace: &RecordedTrace) -> HashMap<u32, CallLabel> {
    let assembly = trace.assemble();
    let of_step = |step: &looptape_core::assembly::Step| {
        let (number, lane) = (step.number.0, step.lane.0);
        let seqs: Vec<u32> = step.attempts.iter().map(|a| trace.facts[a.call.0].seq).collect();
        seqs.into_iter().map(move |seq| (seq, CallLabel { seq, step: Some(number), lane }))
    };
    assembly.steps.iter().flat_map(of_step).collect()
}

/// A recorder that was killed leaves a prefix; dropped calls leave holes.
fn completeness(status: &TraceStatus) -> Completeness {
    match status {
        TraceStatus::Complete => Completeness::Complete,
        TraceStatus::Recording => Completeness::Prefix,
        TraceStatus::Aborted(reasons) if reasons.len() <= 1 => Completeness::Prefix,
        TraceStatus::Aborted(reasons) | TraceStatus::Incomplete(reasons) => {
            Completeness::Incomplete { reasons: reasons.clone() }
        }
    }
}

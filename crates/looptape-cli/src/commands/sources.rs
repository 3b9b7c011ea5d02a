//! Where the answers of a replay come from: the recording, the provider, the simulated provider. Common to the
//! verbs that replay.

use super::budget::BudgetArgs;
use super::record;
use crate::config::Config;
use crate::exit::UsageError;
use crate::replay_trace::ReplayStore;
use crate::session::new_trace_id;
use anyhow::Context;
use clap::ValueEnum;
use looptape_core::TraceId;
use looptape_core::budget::{Spending, UnpricedCalls};
use looptape_core::cost::{PriceBook, Usd};
use looptape_core::derive;
use looptape_core::exchange::{Exchange, Outcome};
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::provider::Provider;
use looptape_core::replay::{ForkAt, Forking, KnownCall, ModelKind, OnMiss, Options};
use looptape_core::simulated::{AfterRecording, PlayedCall};
use looptape_core::wire::{Wire, route};
use looptape_proxy::budgets::SharedBudget;
use looptape_proxy::live_model::{LiveModel, LiveOptions};
use looptape_proxy::mock_model::MockModel;
use looptape_proxy::model::{Asked, Model, ModelCall};
use looptape_proxy::tape_server::Speed;
use looptape_proxy::upstream_keys::{self, UpstreamKeys};
use looptape_store::{Reader, RecordedTrace};
use std::sync::Arc;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Where answers come from")]
pub(crate) struct SourceArgs {
    /// Who answers
    #[arg(long, value_enum, default_value = "cached")]
    source: SourceArg,
    /// What a request gets to which the recording has no answer
    #[arg(long, value_enum, default_value = "fail", value_name = "WHAT")]
    on_miss: OnMissArg,
    /// With --source live or mock: the recording answers before step N, the model from there [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    from: Option<u32>,
    /// Ask this model instead of the recorded one
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Where a provider's live calls go, or `mcp-SERVER=URL` those of live tools of an MCP server over HTTP; repeatable
    #[arg(long = "upstream", value_name = "NAME=URL")]
    upstreams: Vec<String>,
    /// Of mock answers: another seed, other choices and waits [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    budget: BudgetArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SourceArg {
    /// The recording: no network, no key, no cost
    Cached,
    /// The provider, with the key in looptape's own environment
    Live,
    /// The simulated provider, which takes after the recording
    Mock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnMissArg {
    /// It is refused, and the replay has diverged
    Fail,
    /// The provider is asked
    Live,
    /// The simulated provider is asked
    Mock,
}

/// Whoever is asked where the recording does not answer.
#[derive(Clone, Debug)]
pub(crate) enum AskedModel {
    Live(Arc<LiveModel>),
    Mock(Arc<MockModel>),
}

impl Model for AskedModel {
    fn kind(&self) -> ModelKind {
        match self {
            Self::Live(model) => model.kind(),
            Self::Mock(model) => model.kind(),
        }
    }

    async fn ask(&self, call: ModelCall) -> Asked {
        match self {
            Self::Live(model) => model.ask(call).await,
            Self::Mock(model) => model.ask(call).await,
        }
    }
}

impl AskedModel {
    /// What live calls came to.
    pub(crate) fn spending(&self) -> Option<Spending> {
        match self {
            Self::Live(model) => Some(model.spending()),
            Self::Mock(_) => None,
        }
    }

    /// From now on `store` writes down what is spent; it must, if a limit outlives this run.
    pub(crate) fn kept_by(&self, store: Option<&ReplayStore>) -> anyhow::Result<()> {
        match self {
            Self::Live(model) => keep_books(model.budget(), store),
            Self::Mock(_) => Ok(()),
        }
    }

    /// Names the trace that its calls are written down in.
    pub(crate) fn counts_to(&self, trace: &TraceId) {
        if let Self::Live(model) = self {
            model.counts_to(trace);
        }
    }

    /// What whoever started the replay should know, and how often.
    pub(crate) fn remarks(&self) -> Vec<(String, u64)> {
        match self {
            Self::Live(model) => model.remarks(),
            Self::Mock(_) => Vec::new(),
        }
    }
}

impl SourceArgs {
    /// What an entry of `looptape.toml` says.
    pub(crate) fn of_entry(
        (source, on_miss): (Option<&str>, Option<&str>),
        (from, model, max_usd, seed): (Option<u32>, Option<String>, Option<f64>, Option<u64>),
    ) -> Result<Self, String> {
        let read = |word: &str| SourceArg::from_str(word, false);
        let source = source.map_or(Ok(SourceArg::Cached), read);
        let on_miss = on_miss.map_or(Ok(OnMissArg::Fail), |word| OnMissArg::from_str(word, false));
        let max_usd =
            max_usd.map(|dollars| Usd::from_f64(dollars).ok_or("`max_usd` is no amount of dollars"));
        if from == Some(0) {
            return Err("`from` counts steps from 1".to_owned());
        }
        Ok(Self {
            source: source.map_err(|_| "`source` is cached, live or mock")?,
            on_miss: on_miss.map_err(|_| "`on_miss` is fail, live or mock")?,
            from,
            model,
            upstreams: Vec::new(),
            seed,
            budget: BudgetArgs::of_run(max_usd.transpose()?),
        })
    }

    /// Who is to be asked, if anybody; mistakes are named before anything runs.
    pub(crate) fn asked(&self, config: &Config) -> anyhow::Result<Option<ModelKind>> {
        let by_source = match self.source {
            SourceArg::Cached => None,
            SourceArg::Live => Some(ModelKind::Live),
            SourceArg::Mock => Some(ModelKind::Mock),
        };
        let by_miss = match self.on_miss {
            OnMissArg::Fail => None,
            OnMissArg::Live => Some(ModelKind::Live),
            OnMissArg::Mock => Some(ModelKind::Mock),
        };
        let wrong = |message: &str| Err(UsageError(message.to_owned()).into());
        if by_source.is_some() && by_miss.is_some() && by_source != by_miss {
            return wrong("--source and --on-miss name different models: a replay asks one of them");
        }
        if self.from.is_some() && by_source.is_none() {
            return wrong("--from N says from where a model answers: add --source live or --source mock");
        }
        let asked = by_source.or(by_miss);
        if self.model.is_some() && asked != Some(ModelKind::Live) {
            return wrong("--model NAME is asked live: add --source live or --on-miss live");
        }
        if asked == Some(ModelKind::Live) && self.budget.limits(config)?.is_none() {
            return wrong(
                "live calls cost money: say how much they may cost at most, for example --max-usd 0.50",
            );
        }
        if asked != Some(ModelKind::Live) && self.budget.are_given() {
            return wrong(
                "--max-usd and --allow-unpriced are about live calls: add --source live or --on-miss live",
            );
        }
        if asked != Some(ModelKind::Mock) && self.seed.is_some() {
            return wrong("--seed is about mock answers: add --source mock or --on-miss mock");
        }
        Ok(asked)
    }

    /// Where live calls go, as it was written: `NAME=URL`.
    pub(crate) fn upstreams(&self) -> &[String] {
        &self.upstreams
    }

    /// The step at which the replay goes its own way, if one was named.
    pub(crate) fn fork_step(&self) -> Option<u32> {
        self.from
    }

    /// The step from which a model answers.
    pub(crate) fn first_step(&self) -> u32 {
        self.from.unwrap_or(1)
    }

    /// The options with what is decided here.
    pub(crate) fn options(&self, options: Options) -> Options {
        let fork = match self.source {
            SourceArg::Cached => ForkAt::Never,
            SourceArg::Live | SourceArg::Mock => ForkAt::Step(self.from.unwrap_or(1)),
        };
        let on_miss = if self.on_miss == OnMissArg::Fail { OnMiss::Refuse } else { OnMiss::Ask };
        Options { fork, on_miss, ..options }
    }

    /// How the replay is made from its recording, in words.
    pub(crate) fn why(&self) -> String {
        let mut why = match (self.source, self.from) {
            (SourceArg::Cached, _) => "replay".to_owned(),
            (SourceArg::Live, Some(step)) => format!("live replay from step {step}"),
            (SourceArg::Live, None) => "live replay".to_owned(),
            (SourceArg::Mock, Some(step)) => format!("mock replay from step {step}"),
            (SourceArg::Mock, None) => "mock replay".to_owned(),
        };
        match self.on_miss {
            OnMissArg::Live if self.source == SourceArg::Cached => why.push_str(", misses live,"),
            OnMissArg::Mock if self.source == SourceArg::Cached => why.push_str(", misses mocked,"),
            _ => {}
        }
        if let Some(model) = &self.model {
            why.push_str(&format!(" with {model}"));
        }
        why
    }

    /// Who is to be asked, and how much that may cost; `None` if nobody is.
    pub(crate) fn plan(&self, config: &Config, reader: &Reader) -> anyhow::Result<Option<ModelPlan<'_>>> {
        let Some(kind) = self.asked(config)? else { return Ok(None) };
        let (limits, unpriced) = (self.budget.limits(config)?, self.budget.unpriced(config));
        let budget = SharedBudget::continuing(limits, unpriced, reader)?;
        Ok(Some(ModelPlan { args: self, kind, budget, unpriced, model: self.model.clone() }))
    }
}

/// A model to be asked about one trace after the other, all within one budget.
#[derive(Clone, Debug)]
pub(crate) struct ModelPlan<'a> {
    args: &'a SourceArgs,
    kind: ModelKind,
    budget: SharedBudget,
    unpriced: UnpricedCalls,
    /// Asked instead of the recorded one.
    model: Option<String>,
}

impl ModelPlan<'_> {
    pub(crate) fn kind(&self) -> ModelKind {
        self.kind
    }

    /// The same for another model, within the same budget.
    pub(crate) fn of_model(&self, model: &str) -> Self {
        Self { model: Some(model.to_owned()), ..self.clone() }
    }

    /// How a replay with this model is made from its recording, in words.
    pub(crate) fn why(&self) -> String {
        match &self.model {
            Some(model) if self.args.model.is_none() => format!("{} with {model}", self.args.why()),
            _ => self.args.why(),
        }
    }

    /// The same as [`AskedModel::kept_by`], for all traces.
    pub(crate) fn kept_by(&self, store: Option<&ReplayStore>) -> anyhow::Result<()> {
        if self.kind == ModelKind::Live { keep_books(&self.budget, store) } else { Ok(()) }
    }

    /// What live calls came to so far.
    pub(crate) fn spending(&self) -> Option<Spending> {
        (self.kind == ModelKind::Live).then(|| self.budget.spending())
    }

    /// Refuses a model of which no price is known, unless that is allowed: no budget would hold.
    pub(crate) fn has_price(&self, trace: &RecordedTrace) -> anyhow::Result<()> {
        match (&self.model, self.unpriced) {
            (Some(model), UnpricedCalls::Refused) => {
                let prices = self.budget.prices();
                providers(trace).iter().try_for_each(|provider| must_have_price(prices, provider, model))
            }
            _ => Ok(()),
        }
    }

    /// Whoever is to be asked about `trace`.
    pub(crate) fn model(
        &self,
        config: &Config,
        reader: &Reader,
        trace: &RecordedTrace,
        speed: Speed,
    ) -> anyhow::Result<AskedModel> {
        let exchange = |call: &CallFacts| Ok(reader.exchange(trace.row.key, call.seq)?);
        let exchanges: Vec<Exchange> = trace.facts.iter().map(exchange).collect::<anyhow::Result<_>>()?;
        Ok(match self.kind {
            ModelKind::Mock => AskedModel::Mock(Arc::new(self.mock(&exchanges, speed))),
            ModelKind::Live => AskedModel::Live(Arc::new(self.live(config, trace, &exchanges)?)),
        })
    }

    fn mock(&self, exchanges: &[Exchange], speed: Speed) -> MockModel {
        MockModel::new(after_recording(exchanges, self.args.seed.unwrap_or_default()), speed)
    }

    fn live(
        &self,
        config: &Config,
        trace: &RecordedTrace,
        exchanges: &[Exchange],
    ) -> anyhow::Result<LiveModel> {
        self.has_price(trace)?;
        let providers = providers(trace);
        let plain: Vec<_> =
            exchanges.iter().map(|exchange| (plain_request(exchange), plain_answer(exchange))).collect();
        let known = exchanges.iter().zip(&plain).map(|(exchange, (request, answer))| KnownCall {
            wire: wire(exchange),
            method: &exchange.method,
            path: &exchange.path,
            request,
            answer,
        });
        let options = LiveOptions {
            upstreams: record::upstreams(config, &self.args.upstreams)?,
            keys: UpstreamKeys::of(&providers, &|name| std::env::var(name).ok()),
            budget: self.budget.clone(),
            forking: Forking::new(self.model.clone(), known),
            trace: new_trace_id()?,
        };
        let model = LiveModel::new(options).context("the upstream client cannot be set up")?;
        let with_key = exchanges.iter().filter(|e| upstream_keys::carried_key(&e.request_headers, &e.path));
        let keyed: Vec<Provider> = with_key.map(|exchange| exchange.provider.clone()).collect();
        model.is_ready_for(&providers, &keyed)?;
        Ok(model)
    }
}

/// Whom the recorded model calls went to.
fn providers(trace: &RecordedTrace) -> Vec<Provider> {
    let calls = trace.facts.iter().filter(|call| matches!(call.kind, CallKind::Llm(_)));
    let mut providers: Vec<Provider> = calls.map(|call| call.provider.clone()).collect();
    providers.sort();
    providers.dedup();
    providers
}

fn keep_books(budget: &SharedBudget, store: Option<&ReplayStore>) -> anyhow::Result<()> {
    match store {
        Some(store) => budget.kept_by(store.recorder().clone()),
        None if budget.limits().day_usd.is_some() => {
            let message = "a day's budget counts what each run spends, so this replay has to be stored: leave --no-record out, and see that the database can be written";
            return Err(UsageError(message.to_owned()).into());
        }
        None => {}
    }
    Ok(())
}

fn must_have_price(prices: &PriceBook, provider: &Provider, model: &str) -> anyhow::Result<()> {
    if prices.has_price(provider.as_str(), model) {
        return Ok(());
    }
    let nearest = prices.models_like(provider.as_str(), model);
    let nearest =
        if nearest.is_empty() { String::new() } else { format!(" Nearest: {}.", nearest.join(", ")) };
    let message = format!(
        "no price is known for `{model}` at {provider}, so no budget holds.{nearest} --allow-unpriced asks it all the same"
    );
    Err(UsageError(message).into())
}

fn wire(exchange: &Exchange) -> Option<Wire> {
    route::identify(&exchange.provider, &exchange.method, &exchange.path)
}

/// A provider that says what was said in these calls, and takes as long.
pub(crate) fn after_recording(exchanges: &[Exchange], seed: u64) -> AfterRecording {
    let plain: Vec<_> = exchanges.iter().map(plain_request).collect();
    let played = exchanges.iter().zip(&plain).filter_map(|(exchange, request)| {
        let Outcome::Answered(answer) = &exchange.outcome else { return None };
        let (wire, path, sent_us) = (wire(exchange)?, exchange.path.as_str(), exchange.sent_us);
        Some(PlayedCall { wire, path, request, sent_us, answer })
    });
    AfterRecording::new(played, seed)
}

fn plain_request(exchange: &Exchange) -> bytes::Bytes {
    derive::decode_body(&exchange.request_headers, &exchange.request_body, &[]).bytes
}

fn plain_answer(exchange: &Exchange) -> bytes::Bytes {
    match &exchange.outcome {
        Outcome::Answered(answer) => derive::decode_body(&answer.headers, &answer.body, &[]).bytes,
        Outcome::InFlight | Outcome::NoResponse { .. } => bytes::Bytes::new(),
    }
}

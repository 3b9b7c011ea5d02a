//! A recorder with its proxy, and a tape server for what it recorded, inside the test's own process.

use looptape_core::budget::{Limits, UnpricedCalls};
use looptape_core::exchange::{Answer, Ending, Exchange, Outcome};
use looptape_core::facts::CallFacts;
use looptape_core::redact::{self, Credentials, Patterns};
use looptape_core::replay::{CallLabel, Completeness, Options, RecordedCall, Replayer, Summary, Tape};
use looptape_core::{TraceId, derive};
use looptape_proxy::budgets::SharedBudget;
use looptape_proxy::guard::Guard;
use looptape_proxy::server::{Server, bind};
use looptape_proxy::tape_server::{Speed, TapeServer};
use looptape_proxy::upstream::Upstreams;
use looptape_proxy::{RecordingOptions, RecordingProxy};
use looptape_store::workspace::Snapshots;
use looptape_store::{
    Durability, Moment, Reader, Recorder, RecorderOptions, RecorderReport, RecorderThread, Selector, Source,
    TraceRow, TraceSpec, TraceStatus,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The trace of everything that a lab records.
pub(crate) const TRACE: &str = "lab-run";

/// A folder with a database.
#[derive(Debug)]
pub(crate) struct Lab {
    folder: TempDir,
}

/// A recorder and its proxy, running.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) origin: String,
    recorder: Recorder,
    thread: RecorderThread,
    server: Server,
}

/// A trace as it was recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) row: TraceRow,
    pub(crate) facts: Vec<CallFacts>,
    pub(crate) exchanges: Vec<Exchange>,
}

/// A tape server, running.
#[derive(Debug)]
pub(crate) struct Replaying {
    pub(crate) origin: String,
    tape: Arc<TapeServer>,
    server: Server,
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("looptape.db")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Records what is sent to `upstream`, as OpenAI, Anthropic and Gemini.
    pub(crate) async fn record(&self, upstream: &str) -> Recording {
        self.record_as(upstream, |_| {}).await
    }

    pub(crate) async fn record_strictly(&self, upstream: &str) -> Recording {
        self.record_as(upstream, |options| options.durability = Durability::Strict).await
    }

    pub(crate) async fn record_as(
        &self,
        upstream: &str,
        change: impl FnOnce(&mut RecorderOptions),
    ) -> Recording {
        let mut options = RecorderOptions::new(self.database(), Arc::new(Patterns::builtin()));
        change(&mut options);
        let (recorder, thread) = Recorder::start(options).unwrap();
        let run = TraceId::parse(TRACE).unwrap();
        recorder.open_trace(TraceSpec::new(run.clone(), Source::Record, Moment::now()));
        Self::start(upstream, (recorder, thread), Some(run), None, None).await
    }

    /// The same, with an eye on files: `watch` starts what looks at them.
    pub(crate) async fn record_looking_at<T>(
        &self,
        upstream: &str,
        watch: impl FnOnce(&Recorder) -> (Snapshots, T),
    ) -> (Recording, T) {
        let options = RecorderOptions::new(self.database(), Arc::new(Patterns::builtin()));
        let (recorder, thread) = Recorder::start(options).unwrap();
        let run = TraceId::parse(TRACE).unwrap();
        recorder.open_trace(TraceSpec::new(run.clone(), Source::Record, Moment::now()));
        let (snapshots, watching) = watch(&recorder);
        (Self::start(upstream, (recorder, thread), Some(run), None, Some(snapshots)).await, watching)
    }

    /// The same as a gateway: calls belong to traces by what they say.
    pub(crate) async fn serve(&self, upstream: &str, change: impl FnOnce(&mut RecorderOptions)) -> Recording {
        let mut options = RecorderOptions::new(self.database(), Arc::new(Patterns::builtin()));
        change(&mut options);
        let (recorder, thread) = Recorder::start(options).unwrap();
        Self::start(upstream, (recorder, thread), None, None, None).await
    }

    /// A gateway that holds its calls to a budget.
    pub(crate) async fn serve_within(&self, upstream: &str, limits: Limits) -> Recording {
        let options = RecorderOptions::new(self.database(), Arc::new(Patterns::builtin()));
        let (recorder, thread) = Recorder::start(options).unwrap();
        let reader = Reader::open(&self.database()).unwrap();
        let budget = SharedBudget::continuing(limits, UnpricedCalls::Refused, &reader).unwrap();
        budget.kept_by(recorder.clone());
        Self::start(upstream, (recorder, thread), None, Some(budget), None).await
    }

    async fn start(
        upstream: &str,
        (recorder, thread): (Recorder, RecorderThread),
        run: Option<TraceId>,
        budget: Option<SharedBudget>,
        files: Option<Snapshots>,
    ) -> Recording {
        let mut upstreams = Upstreams::default();
        for provider in ["openai", "anthropic", "gemini"] {
            upstreams.add_stated(&format!("{provider}={upstream}")).unwrap();
        }
        let guard = Guard::new(loopback(), None).unwrap();
        let options =
            RecordingOptions { upstreams, guard, run, known: Credentials::none(), budget, telemetry: None };
        let proxy = RecordingProxy::new(options, recorder.clone()).unwrap();
        let proxy = match files {
            Some(files) => proxy.looking_at(files),
            None => proxy,
        };
        let server = Server::start(bind(loopback()).await.unwrap(), Arc::new(proxy)).unwrap();
        Recording { origin: format!("http://{}", server.address()), recorder, thread, server }
    }

    /// The newest trace.
    pub(crate) fn recorded(&self) -> Recorded {
        self.recorded_as("last")
    }

    pub(crate) fn recorded_as(&self, name: &str) -> Recorded {
        let reader = Reader::open(&self.database()).unwrap();
        let row = reader.find(&Selector::parse(name)).unwrap();
        let trace = reader.load(row).unwrap();
        let exchange = |facts: &CallFacts| reader.exchange(trace.row.key, facts.seq).unwrap();
        let exchanges = trace.facts.iter().map(exchange).collect();
        Recorded { row: trace.row, facts: trace.facts, exchanges }
    }
}

impl Recording {
    /// The recorder's handle, to wait for what it was told.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Ends the run as `looptape record` does when its child has ended well.
    pub(crate) async fn finish(self) -> RecorderReport {
        assert!(self.server.drain(Duration::from_secs(20)).await, "connections stay open");
        self.recorder.close_trace(TraceId::parse(TRACE).unwrap(), Moment::now(), Some(0), None);
        drop(self.recorder);
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.finish()).await.unwrap()
    }
}

impl Recorded {
    /// The only call.
    pub(crate) fn only(&self) -> &Exchange {
        assert_eq!(self.exchanges.len(), 1, "{:?}", self.exchanges);
        &self.exchanges[0]
    }

    pub(crate) fn state(&self, seq: usize) -> &'static str {
        self.facts[seq].state.as_str()
    }

    pub(crate) async fn replay(&self) -> Replaying {
        self.replay_with(Options::default()).await
    }

    pub(crate) async fn replay_with(&self, options: Options) -> Replaying {
        self.replay_as(options, Speed::AtOnce).await
    }

    pub(crate) async fn replay_at(&self, speed: Speed) -> Replaying {
        self.replay_as(Options::default(), speed).await
    }

    async fn replay_as(&self, options: Options, speed: Speed) -> Replaying {
        let calls = self.facts.iter().zip(&self.exchanges).map(|(facts, exchange)| {
            let label = CallLabel { seq: facts.seq, step: Some(facts.seq + 1), lane: 0 };
            let body = derive::decode_body(&exchange.request_headers, &exchange.request_body, &[]).bytes;
            RecordedCall::new(label, exchange, facts, body)
        });
        let completeness = match &self.row.status {
            TraceStatus::Complete => Completeness::Complete,
            TraceStatus::Incomplete(reasons) => Completeness::Incomplete { reasons: reasons.clone() },
            TraceStatus::Recording | TraceStatus::Aborted(_) => Completeness::Prefix,
        };
        let tape = Tape::new(calls, completeness, redact::normalise);
        let replayer = Replayer::new(tape, options).unwrap();
        let guard = Guard::new(loopback(), None).unwrap();
        let patterns = Arc::new(Patterns::builtin());
        let tape = TapeServer::new(replayer, self.exchanges.clone(), patterns, guard, [7; 32]);
        let tape = Arc::new(tape.at_speed(speed));
        let server = Server::start(bind(loopback()).await.unwrap(), tape.clone()).unwrap();
        Replaying { origin: format!("http://{}", server.address()), tape, server }
    }
}

impl Replaying {
    pub(crate) async fn finish(self) -> Summary {
        assert!(self.server.drain(Duration::from_secs(20)).await, "connections stay open");
        self.tape.finish().unwrap()
    }
}

/// The answer of a call that got one.
pub(crate) fn answer(exchange: &Exchange) -> &Answer {
    match &exchange.outcome {
        Outcome::Answered(answer) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

pub(crate) fn ending(exchange: &Exchange) -> &Ending {
    match &exchange.outcome {
        Outcome::Answered(answer) => &answer.ending,
        Outcome::NoResponse { ending, .. } => ending,
        Outcome::InFlight => panic!("the call is in flight"),
    }
}

/// The same command behind a shell that runs `script` first.
pub(crate) fn through_shell(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{script}; exec \"$0\" \"$@\""));
    shell.arg(command.get_program()).args(command.get_args()).env_clear().stdin(Stdio::null());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

//! Replays that the page starts: the recorded requests are sent again, as `looptape replay TRACE` does.

use crate::commands::resend::{ResendArgs, Resending};
use crate::commands::sources::{ModelPlan, SourceArgs};
use crate::config::Config;
use crate::replay_trace::ReplayStore;
use crate::session::Global;
use anyhow::Context;
use looptape_core::labels::Labels;
use looptape_core::replay::Options;
use looptape_page::replays::{Answers, Progress, Replayed, RunsReplays, WantedReplay};
use looptape_proxy::tape_server::Speed;
use std::sync::Arc;

/// Runs them in this process, and writes each down beside its recording.
#[derive(Debug)]
pub(super) struct ReplaysHere {
    global: Global,
    config: Config,
}

impl ReplaysHere {
    /// What a replay says on the way has no place on the page's terminal.
    pub(super) fn new(global: &Global, config: Config) -> Self {
        Self { global: Global { quiet: true, ..global.clone() }, config }
    }

    fn replay(&self, wanted: &WantedReplay, progress: &Arc<Progress>) -> anyhow::Result<Replayed> {
        let (global, config) = (&self.global, &self.config);
        let reader = global.reader()?;
        let sources = sources(&wanted.answers).map_err(|why| anyhow::anyhow!(why))?;
        let plan = sources.plan(config, &reader)?;
        let store = ReplayStore::start(global, config, Labels::default())?;
        if let Some(plan) = &plan {
            plan.kept_by(store.as_ref())?;
        }
        let resending = Resending {
            global,
            config,
            reader: &reader,
            traces: std::slice::from_ref(&wanted.trace),
            args: &ResendArgs::once(),
            options: sources.options(Options::default()),
            speed: Speed::new(wanted.speed).context("a speed is 0 or a positive number")?,
            plan: plan.as_ref(),
            why: plan.as_ref().map_or_else(|| sources.why(), ModelPlan::why),
            store: store.as_ref(),
            progress: progress.clone(),
        };
        let report = resending.run();
        store.map(ReplayStore::finish);
        Ok(Replayed { report: serde_json::to_value(report?)? })
    }
}

impl RunsReplays for ReplaysHere {
    fn run(&self, wanted: &WantedReplay, progress: &Arc<Progress>) -> Result<Replayed, String> {
        self.replay(wanted, progress).map_err(|error| format!("{error:#}"))
    }
}

fn sources(answers: &Answers) -> Result<SourceArgs, String> {
    match answers {
        Answers::Recorded => SourceArgs::of_entry((None, None), (None, None, None, None)),
        Answers::Mocked { from } => SourceArgs::of_entry((Some("mock"), None), (*from, None, None, None)),
        Answers::Live { from, model, max_usd } => {
            SourceArgs::of_entry((Some("live"), None), (*from, model.clone(), Some(*max_usd), None))
        }
    }
}

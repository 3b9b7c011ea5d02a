//! The verbs. One file each: arguments, whose doc comment is the help text, then the command.

mod agent_hook;
mod agent_replay;
mod alerting;
mod audit;
mod budget;
mod child_run;
mod demo;
mod diff;
mod doctor;
mod export;
mod gates;
mod import;
mod judge;
mod labels;
mod learn;
mod library;
mod limits;
mod load;
mod ls;
mod matching;
mod mcp;
mod mock;
mod mock_spec;
mod models;
mod prices;
mod prune;
mod pull;
mod record;
mod replay;
mod report_files;
mod resend;
mod restored_workspace;
mod sandboxed;
mod scenario_text;
mod selection;
mod serve;
mod show;
mod sources;
mod stats;
mod test;
mod ui;
mod verify;
mod workspace;

pub(crate) use agent_hook::VERB as AGENT_HOOK;
pub(crate) use alerting::AlertsConfig;
pub(crate) use budget::lines as spending_lines;
pub(crate) use doctor::{Finding, Level};
pub(crate) use export::{Exported, ExportedPage, FormatArg, LARGE_BYTES};
pub(crate) use gates::Score;
pub(crate) use import::{FileImport, Novelty};
pub(crate) use learn::Learned;
pub(crate) use load::{AsRun, Run as LoadRun, Sought, Varied};
pub(crate) use mcp::Checked;
pub(crate) use prices::ModelPrice;
pub(crate) use prune::Pruned;
pub(crate) use pull::Pulled;
pub(crate) use show::{FileChange, FilesView, How, Side, StepChanges};
pub(crate) use sources::{AskedModel, SourceArgs};

use crate::exit::Exit;
use crate::session::Global;
use clap::{Parser, Subcommand};

/// Record every step of an agent's loop. Replay it exactly. Know what it cost, and why.
#[derive(Debug, Parser)]
#[command(name = "looptape", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  looptape demo                                see it work: no key, no network
  looptape record -- python agent.py           record an agent
  looptape show last                           what it did, step by step
  looptape replay last -- python agent.py      run it again from the recording, offline

A trace is named by its id, any unique prefix of it, `last`, or `last~2`, or by the path of a cassette.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Record(record::Args),
    Replay(Box<replay::Args>),
    Serve(serve::Args),
    Ls(ls::Args),
    Show(show::Args),
    Diff(diff::Args),
    Stats(stats::Args),
    Audit(audit::Args),
    Test(test::Args),
    Load(Box<load::Args>),
    Prices(prices::Args),
    Mcp(mcp::Args),
    Mock(Box<mock::Args>),
    Limits(limits::Args),
    Import(import::Args),
    Export(export::Args),
    Pull(pull::Args),
    Learn(learn::Args),
    Ui(ui::Args),
    Verify(verify::Args),
    Prune(prune::Args),
    Doctor(doctor::Args),
    Demo(demo::Args),
    #[command(name = crate::child::sandbox::VERB, hide = true)]
    Sandboxed(sandboxed::Args),
    #[command(name = agent_hook::VERB, hide = true)]
    AgentHook(agent_hook::Args),
}

/// Parses the command line and runs the verb.
pub(crate) fn run() -> anyhow::Result<Exit> {
    let cli = Cli::parse();
    let global = &cli.global;
    match cli.verb {
        Verb::Record(args) => record::run(global, &args),
        Verb::Replay(args) => replay::run(global, &args),
        Verb::Serve(args) => serve::run(global, &args),
        Verb::Ls(args) => ls::run(global, &args),
        Verb::Show(args) => show::run(global, &args),
        Verb::Diff(args) => diff::run(global, &args),
        Verb::Stats(args) => stats::run(global, &args),
        Verb::Audit(args) => audit::run(global, &args),
        Verb::Test(args) => test::run(global, &args),
        Verb::Load(args) => load::run(global, &args),
        Verb::Prices(args) => prices::run(global, &args),
        Verb::Mcp(args) => mcp::run(global, &args),
        Verb::Mock(args) => mock::run(global, &args),
        Verb::Limits(args) => limits::run(global, &args),
        Verb::Import(args) => import::run(global, &args),
        Verb::Export(args) => export::run(global, &args),
        Verb::Pull(args) => pull::run(global, &args),
        Verb::Learn(args) => learn::run(global, &args),
        Verb::Ui(args) => ui::run(global, &args),
        Verb::Verify(args) => verify::run(global, &args),
        Verb::Prune(args) => prune::run(global, &args),
        Verb::Doctor(args) => doctor::run(global, &args),
        Verb::Demo(args) => demo::run(global, &args),
        Verb::Sandboxed(args) => sandboxed::run(&args),
        Verb::AgentHook(args) => agent_hook::run(&args),
    }
}

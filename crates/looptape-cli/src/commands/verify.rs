//! `looptape verify`: whether everything recorded can still be read, bit for bit.

use crate::config::Config;
use crate::exit::Exit;
use crate::named_traces::{Home, NamedTraces};
use crate::render;
use crate::session::{Global, print, print_json, progress, style};
use looptape_store::{Damage, VerifyReport};
use serde_json::{Value, json};

/// Check that everything recorded can still be read, bit for bit
///
/// Every content is decoded and hashed, every chain of messages followed to its beginning, every request put
/// together and compared with the hash that was taken when it was recorded. What is kept of load runs is read, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape verify            the whole database
  looptape verify 4bf92f35   one trace
  looptape verify tests/cassettes/refund
  looptape verify --json

Exit code: 1 if anything is damaged.")]
pub(crate) struct Args {
    /// Only this trace: an id, a prefix of one, `last`, `last~2`, or a cassette's path
    trace: Option<String>,
    /// Print one object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let report = match &args.trace {
        Some(name) => {
            let named = std::slice::from_ref(name);
            let named = NamedTraces::open(global, &Config::load()?, named, Home::Nowhere)?;
            let row = named.row(0)?;
            named.reader.verify_one(row.key, &row.label())?
        }
        None => {
            let reader = global.reader()?;
            let bar = progress(global, 0, "parts");
            let report = reader.verify(|done, total| {
                bar.set_length(total);
                bar.set_position(done);
            });
            bar.finish_and_clear();
            report?
        }
    };
    match args.json {
        true => print_json(&as_json(&report))?,
        false => print(&render::verified::text(&report, style()))?,
    }
    Ok(if report.damage.is_empty() { Exit::Success } else { Exit::Failure })
}

fn as_json(report: &VerifyReport) -> Value {
    let damage: Vec<Value> = report.damage.iter().map(damage).collect();
    json!({
        "ok": report.damage.is_empty(),
        "traces": report.traces,
        "exchanges": report.exchanges,
        "blobs": report.blobs,
        "nodes": report.nodes,
        "load_runs": report.load_runs,
        "damage": damage,
    })
}

fn damage(damage: &Damage) -> Value {
    let text = damage.to_string();
    match damage {
        Damage::File { .. } => json!({ "kind": "file", "text": text }),
        Damage::Bundle { id } => json!({ "kind": "bundle", "id": id, "text": text }),
        Damage::Blob { id, digest } => json!({ "kind": "blob", "id": id, "digest": digest, "text": text }),
        Damage::Node { id } => json!({ "kind": "node", "id": id, "text": text }),
        Damage::LoadRun { id } => json!({ "kind": "load_run", "id": id, "text": text }),
        Damage::Tool { trace, seq } => {
            json!({ "kind": "tool", "trace": trace, "seq": seq, "text": text })
        }
        Damage::Files { trace, path } => {
            json!({ "kind": "files", "trace": trace, "path": path, "text": text })
        }
        Damage::Exchange { trace, seq, .. } => {
            json!({ "kind": "exchange", "trace": trace, "seq": seq, "text": text })
        }
    }
}

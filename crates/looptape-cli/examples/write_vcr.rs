//! Writes a recorded trace as a vcrpy cassette to standard output: how the files of `traces/` are made.
//!
//! ```text
//! cargo run -p looptape-cli --example write_vcr -- DATABASE TRACE > traces/name.yaml
//! ```
//! What the format cannot hold is lost: times, chunk boundaries, endings other than complete. A call without
//! a complete answer in UTF-8 is refused.

use anyhow::{Context, bail};
use looptape_core::exchange::{Ending, Exchange, Outcome};
use looptape_core::headers::RedactedHeaders;
use looptape_store::{Reader, Selector};
use std::fmt::Write;
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, trace] = arguments.as_slice() else { bail!("usage: write_vcr DATABASE TRACE") };
    let reader = Reader::open(Path::new(database))?;
    let row = reader.find(&Selector::parse(trace))?;
    let mut out = String::from("interactions:\n");
    for seq in reader.seqs(row.key)? {
        let exchange = reader.exchange(row.key, seq)?;
        interaction(&mut out, &exchange).with_context(|| format!("call {seq}"))?;
    }
    println!("{out}version: 1");
    Ok(())
}

fn interaction(out: &mut String, exchange: &Exchange) -> anyhow::Result<()> {
    let Outcome::Answered(answer) = &exchange.outcome else { bail!("it has no answer") };
    if answer.ending != Ending::Complete {
        bail!("its answer is not complete");
    }
    let origin = exchange.provider.default_upstream().context("its provider has no public address")?;
    let reason = http::StatusCode::from_u16(answer.status)?.canonical_reason().unwrap_or("Unknown");
    writeln!(out, "- request:")?;
    writeln!(out, "    body: {}", text(&exchange.request_body, "      ")?)?;
    headers(out, &exchange.request_headers)?;
    writeln!(out, "    method: {}", exchange.method)?;
    writeln!(out, "    uri: {}", quoted(&format!("{origin}{}", exchange.path))?)?;
    writeln!(out, "  response:")?;
    writeln!(out, "    body:")?;
    writeln!(out, "      string: {}", text(&answer.body, "        ")?)?;
    headers(out, &answer.headers)?;
    writeln!(out, "    status:")?;
    writeln!(out, "      code: {}", answer.status)?;
    writeln!(out, "      message: {reason}")?;
    Ok(())
}

/// In order of name. Of the machine on which it was made nothing is kept.
fn headers(out: &mut String, headers: &RedactedHeaders) -> anyhow::Result<()> {
    let mut kept: Vec<(&str, &str)> = headers.iter().filter(|(name, _)| !is_of_the_machine(name)).collect();
    kept.sort_by_key(|(name, _)| *name);
    writeln!(out, "    headers:{}", if kept.is_empty() { " {}" } else { "" })?;
    let mut before = None;
    for (name, value) in kept {
        if before.replace(name) != Some(name) {
            writeln!(out, "      {name}:")?;
        }
        writeln!(out, "      - {}", quoted(value)?)?;
    }
    Ok(())
}

fn is_of_the_machine(name: &str) -> bool {
    let client = name.starts_with("x-stainless-") && name != "x-stainless-retry-count";
    client || ["host", "connection", "date"].contains(&name)
}

/// A YAML scalar: a block where the text has lines, else in quotes.
fn text(bytes: &[u8], indent: &str) -> anyhow::Result<String> {
    let text = std::str::from_utf8(bytes).context("a body is not UTF-8 text")?;
    let plain = |c: char| c == '\n' || !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    let has_lines = text.trim_end().contains('\n') && !text.starts_with([' ', '\n']);
    if !has_lines || !text.chars().all(plain) {
        return quoted(text);
    }
    let (mark, body) = match text.strip_suffix('\n') {
        None => ("|-", text),
        Some(line) if line.ends_with('\n') => ("|+", line),
        Some(line) => ("|", line),
    };
    let lines =
        body.split('\n').map(|line| if line.is_empty() { String::new() } else { format!("{indent}{line}") });
    Ok(format!("{mark}\n{}", lines.collect::<Vec<_>>().join("\n")))
}

/// One line, in single quotes if that spares escapes; JSON text is a double-quoted YAML scalar.
fn quoted(text: &str) -> anyhow::Result<String> {
    let spares_escapes = text.contains('"') && text.chars().all(|c| !c.is_control() && c != '\u{feff}');
    Ok(if spares_escapes { format!("'{}'", text.replace('\'', "''")) } else { serde_json::to_string(text)? })
}

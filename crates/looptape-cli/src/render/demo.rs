//! What `demo` says, step by step, to somebody who sees looptape for the first time.

use super::figures::duration;
use super::style::{Style, Tone};
use super::terminal_text::escape;
use super::timeline::timeline;
use looptape_core::audit::Audit;
use looptape_core::metrics::Ms;
use looptape_core::replay::Summary;
use looptape_core::replay::driven::ResentReport;
use looptape_core::view::TraceView;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// What the commands to try next are made of.
pub(crate) struct Next<'a> {
    /// How the user called this program.
    pub(crate) program: String,
    pub(crate) db: Option<&'a Path>,
    pub(crate) id: &'a str,
}

pub(crate) fn opening(style: Style) -> String {
    let mut out = String::from("Everything here happens on this machine: no key, no network, no cost.\n");
    out += &heading(style, 1, "record", "a small travel agent asks a simulated provider");
    out
}

/// What the agent wrote while it was recorded.
pub(crate) fn recorded(style: Style, said: &str, calls: usize) -> String {
    let quoted = said
        .lines()
        .flat_map(|line| wrap(line, style.width.clamp(40, 120) - 8))
        .map(|line| format!("   {} {}\n", style.paint(Tone::Quiet, "│"), line));
    quoted.collect::<String>() + &format!("   {calls} calls recorded, with every byte and its time\n")
}

/// The second run, from the recording.
pub(crate) fn replayed(
    style: Style,
    provider: SocketAddr,
    summary: &Summary,
    differences: &[String],
) -> String {
    let mut out = heading(style, 2, "replay", "the provider is gone, the same agent runs again");
    out += &format!("   {provider} refuses connections\n");
    out += &format!(
        "   {} of {} answers came from the recording, {} of them to byte-identical requests\n",
        summary.served.total(),
        summary.recorded_calls,
        summary.served.bytes
    );
    match differences {
        [] => out += &good(style, "the agent's output is the same, byte for byte"),
        found => found.iter().for_each(|difference| out += &bad(style, difference)),
    }
    out
}

/// The recorded run as a timeline.
pub(crate) fn shown(style: Style, view: &TraceView) -> String {
    let mut out = heading(style, 3, "show", "where the time and the money went");
    out += &timeline(view, style);
    out += "cost: at list price; the simulated provider charges nothing\n";
    out
}

/// The self-check of the recording.
pub(crate) fn checked(style: Style, check: &ResentReport) -> String {
    let mut out = heading(style, 4, "diff", "every recorded request once more, every answer compared");
    let result = format!(
        "diff: {}; {} of {} answers are the same, bit for bit",
        check.differences.len() + check.figures.divergences(),
        check.identical,
        check.calls
    );
    out += &if check.is_as_recorded() { good(style, &result) } else { bad(style, &result) };
    for difference in &check.differences {
        out += &bad(style, &format!("{}: {}", difference.label, difference.what));
    }
    out
}

/// What the money was for, in sentences.
pub(crate) fn audited(style: Style, audit: &Audit) -> String {
    let mut out = heading(style, 5, "audit", "what the money was for");
    for finding in &audit.findings {
        for line in wrap(&escape(&finding.text), 96) {
            out += &format!("   {line}\n");
        }
    }
    out
}

/// Where the trace is, and what to do with it.
pub(crate) fn closing(
    style: Style,
    next: &Next<'_>,
    database: &Path,
    differences: &[String],
    took: Duration,
) -> String {
    let took = duration(Ms::from_us(i64::try_from(took.as_micros()).unwrap_or(i64::MAX)));
    let id = next.id;
    let short: String = id.chars().take(8).collect();
    let program = quoted(&next.program);
    let looptape = match next.db {
        None => program.clone(),
        Some(db) => format!("{program} --db {}", quoted(&db.display().to_string())),
    };
    let mut out = format!("\ntrace: {id}\nin {}, after {took}\n", database.display());
    if !differences.is_empty() {
        return out + &bad(style, "something differed: please report it with the output above");
    }
    out += &style.paint(Tone::Strong, "\nTry next\n");
    for (command, what) in [
        (format!("{looptape} show {short} --step 2"), "what the second step was told, and what it said"),
        (format!("{looptape} replay {short} -- {program} demo --agent"), "the agent once more, offline"),
        (format!("{looptape} audit {short}"), "where each cent of the input went, message by message"),
        (format!("{looptape} stats"), "loops per minute, steps per loop, retries, cost"),
    ] {
        out += &format!("  {command}\n      {}\n", style.paint(Tone::Quiet, what));
    }
    out += "Then your own agent: `looptape record -- python agent.py`\n";
    out
}

fn heading(style: Style, number: u32, verb: &str, what: &str) -> String {
    format!("\n{} {what}\n", style.paint(Tone::Strong, &format!("{number}  {verb}:")))
}

fn good(style: Style, text: &str) -> String {
    format!("   {} {text}\n", style.paint(Tone::Good, "✓"))
}

fn bad(style: Style, text: &str) -> String {
    format!("   {} {}\n", style.paint(Tone::Bad, "✗"), text.trim_end())
}

/// Lines of at most `columns`, broken at spaces. The demo's agent writes nothing wider than its letters.
fn wrap(line: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().expect("there is always one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= columns {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(format!("  {word}"));
        }
    }
    lines
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@~".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

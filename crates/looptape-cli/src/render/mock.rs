//! What `looptape mock` says when it listens and when it stops.

use super::style::{Style, Tone};
use looptape_proxy::simulated_server::MockTally;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(crate) fn listening(
    url: &str,
    environment: &BTreeMap<String, String>,
    seed: u64,
    style: Style,
) -> String {
    let mut text = format!("listening: {url}\n");
    for (name, value) in environment {
        let _ = writeln!(text, "  export {name}={value}");
    }
    let keys = "any key will do; the same requests get the same bytes with";
    let _ =
        writeln!(text, "{}", style.paint(Tone::Quiet, &format!("  {keys} --seed {seed}; Ctrl-C ends it")));
    text
}

pub(crate) fn stopped(tally: &MockTally, style: Style) -> String {
    let mut text = format!("{} calls, {} served\n", tally.calls, tally.served);
    let mut line = |what: &str, count: u64| {
        if count > 0 {
            let _ = writeln!(text, "  {count:>8}  {what}");
        }
    };
    for (limit, count) in &tally.limited {
        line(&format!("refused by {limit}"), *count);
    }
    line("refused because too many waited", tally.overloaded);
    for (fault, count) in &tally.faults {
        let what = match fault.as_str() {
            "broken" => "broken on the way by a fault".to_owned(),
            "dropped" => "closed without an answer by a fault".to_owned(),
            status => format!("refused with {status} by a fault"),
        };
        line(&what, *count);
    }
    line("not understood", tally.not_understood);
    let (input, cached, output) = (tally.input_tokens, tally.cached_tokens, tally.output_tokens);
    let _ = writeln!(
        text,
        "{}",
        style.paint(
            Tone::Quiet,
            &format!("  tokens: {input} in, {cached} of them from the cache, {output} out")
        )
    );
    text
}

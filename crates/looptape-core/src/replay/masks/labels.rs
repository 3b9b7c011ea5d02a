//! Values that are volatile because of the word before them: `pid 4711`, `port 8080`, `took 1.23s`, and
//! what known harnesses write beside a tool's output.
//!
//! The label stays, and so does every other word. A number without its label, or a duration without its
//! unit, counts as it is.

use super::Site;
use super::kind::MaskKind;
use super::places::{Part, port_digits};

/// Labels of numbers that the system hands out.
const PID: &[&str] = &["pid", "ppid", "pgid", "tid"];
const PORT: &[&str] = &["port"];

/// Labels of times that were measured, whatever their unit. A unit must follow the number.
const TAKEN: &[&str] = &["took", "elapsed", "latency"];

/// Labels of what is measured and planned: a film's duration is what it is about. Only seconds, or parts of
/// them, are taken for measured.
const MEASURED: &[&str] = &["duration", "runtime", "time", "real", "user", "sys"];

/// Words before which plans are told more often than measurements: only a fraction or a short unit of seconds
/// makes it a measurement.
const AFTER: &[&str] = &["in", "after"];

/// Endings of labels of measured times.
const TIMES: [&[&str]; 2] = [TAKEN, MEASURED];

/// Units that may end a label: `elapsed_ms`, `wall_time_seconds`.
const UNITS_IN_LABELS: &[&str] = &[
    "s",
    "ms",
    "us",
    "ns",
    "sec",
    "secs",
    "seconds",
    "millis",
    "milliseconds",
    "microseconds",
    "nanoseconds",
];

/// Labels that end in their unit without a joint: `durationMs`.
const JOINED: &[&str] = &["durationms", "elapsedms", "latencyms", "tookms", "timems", "runtimems"];

/// The longest label.
const LABEL_BYTES: usize = 16;

/// With this claude-code begins a system prompt; observed where its base is Anthropic's own.
const ACCOUNTING: &[u8] = b"x-anthropic-billing-header: ";

/// In that header: a checksum of the request, the request before it, and the prompt's id.
const IN_ACCOUNTING: &[&str] = &["cch=", "cc_prev_req=", "cc_prompt_id="];

/// The value behind the label that fills `text[token]`, by its offset from the text's beginning.
pub(super) fn labelled(text: &[u8], token: std::ops::Range<usize>, site: Site) -> Option<Part> {
    let word = &text[token.clone()];
    if word.len() > LABEL_BYTES {
        return None;
    }
    // Most words have no digit behind them: they are done with here.
    let at = separators(text, token.end)?;
    if !text[at].is_ascii_digit() {
        let is_id = word.eq_ignore_ascii_case(b"id") && text[at].is_ascii_hexdigit();
        return if is_id { id_label(text, &token, at, site) } else { None };
    }
    let is = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    let measured = |end: usize| (at..end, MaskKind::Duration);
    let told = |is_measurement: fn(&[u8]) -> bool| {
        let is_told = |&end: &usize| {
            let duration = &text[at..end];
            // What a tool says in whole seconds it may have measured; in a prompt it is part of the task.
            is_measurement(duration) && (site == Site::ToolResult || is_finer_than_a_second(duration))
        };
        duration(text, at).filter(is_told).map(measured)
    };
    if is(PID) {
        integer(text, at, MaskKind::Pid)
    } else if is(PORT) {
        Some((at..at + port_digits(&text[at..])?, MaskKind::Port))
    } else if is(&["id"]) {
        id_label(text, &token, at, site)
    } else if is(AFTER) {
        told(ends_in_short_seconds)
    } else if is(MEASURED) {
        told(ends_in_seconds)
    } else if is(TAKEN) {
        duration(text, at).map(measured)
    } else if site == Site::ToolResult && (names_its_unit(text, &token) || is(JOINED)) {
        Some(measured(at + number(&text[at..])?))
    } else {
        None
    }
}

/// The values in claude-code's accounting header, if the text begins with one, and where it ends: with its line.
pub(super) fn accounting(text: &[u8]) -> Option<(Vec<Part>, usize)> {
    if !text.starts_with(ACCOUNTING) {
        return None;
    }
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
    let text = &text[..end];
    let mut parts: Vec<Part> = Vec::new();
    for label in IN_ACCOUNTING {
        let Some(at) = memchr::memmem::find(text, label.as_bytes()).map(|at| at + label.len()) else {
            continue;
        };
        let length = text[at..].iter().take_while(|&&byte| byte != b';').count();
        if length > 0 && text[at - label.len() - 1] == b' ' {
            parts.push((at..at + length, MaskKind::Harness));
        }
    }
    parts.sort_by_key(|(range, _)| range.start);
    Some((parts, end))
}

/// `process id 4711`, and codex's `Chunk ID: 1515fe`.
fn id_label(text: &[u8], token: &std::ops::Range<usize>, at: usize, site: Site) -> Option<Part> {
    let before = &text[..token.start];
    let follows = |word: &[u8]| {
        let Some(word_at) = before.len().checked_sub(word.len() + 1) else { return false };
        before[word_at..before.len() - 1].eq_ignore_ascii_case(word)
            && matches!(before[before.len() - 1], b' ' | b'_')
    };
    if follows(b"process") {
        return integer(text, at, MaskKind::Pid);
    }
    if site == Site::ToolResult && follows(b"chunk") {
        let length = text[at..].iter().take(64).take_while(|byte| byte.is_ascii_hexdigit()).count();
        let ends = !text.get(at + length).is_some_and(u8::is_ascii_alphanumeric);
        return (length > 0 && ends).then_some((at..at + length, MaskKind::Harness));
    }
    None
}

/// Where the separators behind a label end; there is at least one, and something behind them.
fn separators(text: &[u8], label_end: usize) -> Option<usize> {
    let rest = text.get(label_end..)?;
    let length = rest
        .iter()
        .take(6)
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b':' | b'=' | b'"' | b'\'' | b'\\' | b'(' | b'#'))
        .count();
    (length > 0 && length < rest.len()).then_some(label_end + length)
}

fn integer(text: &[u8], at: usize, kind: MaskKind) -> Option<Part> {
    let length = text[at..].iter().take(11).take_while(|byte| byte.is_ascii_digit()).count();
    let ends = !text.get(at + length).is_some_and(u8::is_ascii_alphanumeric);
    ((1..=10).contains(&length) && ends).then_some((at..at + length, kind))
}

/// Whether the label in `text[token]` is a unit that ends a measured time's name.
fn names_its_unit(text: &[u8], token: &std::ops::Range<usize>) -> bool {
    let word = &text[token.clone()];
    let is_unit = UNITS_IN_LABELS.iter().any(|unit| word.eq_ignore_ascii_case(unit.as_bytes()));
    let Some(before) = text[..token.start].strip_suffix(b"_").filter(|_| is_unit) else { return false };
    let length = before.iter().rev().take(LABEL_BYTES).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let name = &before[before.len() - length..];
    TIMES.into_iter().flatten().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The length of the number with which the text begins: digits, a fraction, an exponent.
fn number(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        text.get(from..)
            .map_or(0, |rest| rest.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count())
    };
    let whole = digits(0);
    if whole == 0 {
        return None;
    }
    let mut end = whole;
    if text.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        if digits(end + 1 + sign) > 0 {
            end += 1 + sign + digits(end + 1 + sign);
        }
    }
    Some(end)
}

/// Units of time, longest spelling first.
const UNITS: &[&str] = &[
    "milliseconds",
    "millisecond",
    "microseconds",
    "microsecond",
    "nanoseconds",
    "nanosecond",
    "seconds",
    "second",
    "minutes",
    "minute",
    "hours",
    "hour",
    "secs",
    "sec",
    "mins",
    "min",
    "hrs",
    "hr",
    "ms",
    "us",
    "µs",
    "μs",
    "ns",
    "s",
    "m",
    "h",
];

/// Units longer than a second.
const LONG_UNITS: &[&str] = &["minutes", "minute", "mins", "min", "m", "hours", "hour", "hrs", "hr", "h"];

/// A second, in short and spelt out.
const SHORT_SECONDS: &[&str] = &["s", "sec", "secs"];
const SPELT_SECONDS: &[&str] = &["seconds", "second"];

/// Where the duration ends that begins at `at`: a number with its unit, and more of them, as in `1m2.5s`.
fn duration(text: &[u8], at: usize) -> Option<usize> {
    let mut end = duration_part(text, at)?;
    // At most hours, minutes, seconds and a fraction of one.
    for _ in 0..3 {
        let blank = usize::from(text.get(end) == Some(&b' '));
        match duration_part(text, end + blank) {
            Some(next) => end = next,
            None => break,
        }
    }
    (!text.get(end).is_some_and(u8::is_ascii_alphanumeric)).then_some(end)
}

fn duration_part(text: &[u8], at: usize) -> Option<usize> {
    let number_end = at + number(text.get(at..)?)?;
    let unit_at = number_end + usize::from(text.get(number_end) == Some(&b' '));
    let rest = text.get(unit_at..)?;
    let unit = UNITS.iter().find(|unit| {
        let is_unit = rest.get(..unit.len()).is_some_and(|word| word.eq_ignore_ascii_case(unit.as_bytes()));
        is_unit && !rest.get(unit.len()).is_some_and(u8::is_ascii_alphabetic)
    })?;
    Some(unit_at + unit.len())
}

/// The unit in which a duration ends.
fn last_unit(duration: &[u8]) -> &[u8] {
    let is_before = |byte: &u8| byte.is_ascii_digit() || *byte == b' ';
    &duration[duration.iter().rposition(is_before).map_or(0, |at| at + 1)..]
}

fn is_one_of(units: &[&str], unit: &[u8]) -> bool {
    units.iter().any(|known| unit.eq_ignore_ascii_case(known.as_bytes()))
}

/// `0.4 seconds`, `12ms`, `3s`, and not `3 seconds`.
fn ends_in_short_seconds(duration: &[u8]) -> bool {
    let is_spelt = is_one_of(SPELT_SECONDS, last_unit(duration));
    ends_in_seconds(duration) && (!is_spelt || duration.contains(&b'.'))
}

fn ends_in_seconds(duration: &[u8]) -> bool {
    !is_one_of(LONG_UNITS, last_unit(duration))
}

/// With a fraction, or in a unit that is one.
fn is_finer_than_a_second(duration: &[u8]) -> bool {
    let unit = last_unit(duration);
    duration.contains(&b'.')
        || ![LONG_UNITS, SHORT_SECONDS, SPELT_SECONDS].iter().any(|units| is_one_of(units, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The masked value behind the first label of a text.
    fn first(text: &str, site: Site) -> Option<(&str, MaskKind)> {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            if end > at
                && let Some((range, kind)) = labelled(bytes, at..end, site)
            {
                return Some((&text[range], kind));
            }
            at = end.max(at) + 1;
        }
        None
    }

    #[test]
    fn labels_and_their_values() {
        for (text, value, kind) in [
            ("pid 4711", "4711", MaskKind::Pid),
            ("PID: 4711, ok", "4711", MaskKind::Pid),
            (r#"{"child_pid": 4711}"#, "4711", MaskKind::Pid),
            (r#"{\"pid\":4711}"#, "4711", MaskKind::Pid),
            ("Process Group PGID: 11409", "11409", MaskKind::Pid),
            ("process id 12", "12", MaskKind::Pid),
            ("listening on port 8080.", "8080", MaskKind::Port),
            ("PORT=43121", "43121", MaskKind::Port),
            ("took 1.23s", "1.23s", MaskKind::Duration),
            ("took 1m2.5s.", "1m2.5s", MaskKind::Duration),
            ("in 0.4 seconds", "0.4 seconds", MaskKind::Duration),
            ("passed in 12ms", "12ms", MaskKind::Duration),
            ("elapsed: 12 ms", "12 ms", MaskKind::Duration),
            ("Wall time: 1.5 seconds", "1.5 seconds", MaskKind::Duration),
            ("took 3 minutes", "3 minutes", MaskKind::Duration),
            ("time=12.3 µs", "12.3 µs", MaskKind::Duration),
            ("real\t0m0.012s", "0m0.012s", MaskKind::Duration),
        ] {
            assert_eq!(first(text, Site::Elsewhere), Some((value, kind)), "{text}");
        }
        for text in [
            "pid none",
            "took 11409",
            // Tasks, not measurements.
            "Cooking time: 30 minutes",
            "duration: 2 hours",
            "runtime: 90 min",
            "flight time 2 h 30 min",
            "user: 3m run",
            "answer in 30s",
            "time: 10 seconds",
            "in 5 minutes",
            "in 3 files",
            "after 30 seconds",
            "port 99999",
            "important 5",
            "support 24",
            "import 3",
            "pid 4711x",
            "took 3 steps",
            "Chunk ID: 1515fe",
            "\"elapsed_ms\": 12",
            "id 12",
        ] {
            assert_eq!(first(text, Site::Elsewhere), None, "{text}");
        }
    }

    #[test]
    fn what_harnesses_write_counts_in_results_only() {
        for (text, value) in [
            ("Chunk ID: 1515fe\nx", "1515fe"),
            ("Chunk ID: fe1515", "fe1515"),
            (r#"{"chunk_id":"a1b2c3"}"#, "a1b2c3"),
            (r#"{"wall_time_seconds":1e-5,"exit_code":0}"#, "1e-5"),
            (r#"{"elapsed_ms": 12}"#, "12"),
            (r#"{"durationMs":0.25}"#, "0.25"),
            ("Wall time: 1 seconds", "1 seconds"),
            ("added 5 packages in 2s", "2s"),
        ] {
            assert_eq!(first(text, Site::ToolResult).map(|(value, _)| value), Some(value), "{text}");
            assert_eq!(first(text, Site::Elsewhere), None, "{text}");
        }
        assert_eq!(first("Chunk ID: none", Site::ToolResult), None);
        for text in ["timeout_ms: 12", "duration: 2 hours", "runtime 90 min", "ready in 5 seconds"] {
            assert_eq!(first(text, Site::ToolResult), None, "{text}");
        }
    }

    #[test]
    fn an_accounting_header() {
        let text = "x-anthropic-billing-header: cc_version=1; cch=eae7b; cc_prompt_id=x-1; cc_entrypoint=cli;\n\ncch=no;";
        let (parts, end) = accounting(text.as_bytes()).expect("it is one");
        assert_eq!(&text[end..], "\n\ncch=no;");
        assert_eq!(parts.into_iter().map(|(range, _)| &text[range]).collect::<Vec<_>>(), ["eae7b", "x-1"]);
        assert_eq!(accounting(b"the flag cch=1;"), None);
    }
}

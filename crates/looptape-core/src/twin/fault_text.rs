//! Faults in words: `fail first 2 with 429`, `outage 60s..120s`, `529 at 5 %`.
//!
//! | words | what they say |
//! |---|---|
//! | a status, `timeout`, `drop`, `latency`, `drip`, `stream_error`, `cut`, `malformed`, `insufficient_quota` | what happens |
//! | `outage` | 503 |
//! | `first 2` | the first attempts of each step |
//! | `at 5 %` | by chance |
//! | `60s..2m30s`, `from 60s`, `until 2m` | in this time after the start |
//! | `loops 1..10`, `step 3`, `attempts 2` | at this place |
//! | `after 300 bytes`, `after 5 tokens`, `after 30s` | when it strikes (cut, stream_error; timeout) |
//! | `x3`, `+2s` | how much slower (latency, drip) |
//! | `retry-after 2s` | what a refusal asks for |
//!
//! `fail`, `with`, `in`, `and` may stand between them.

use super::fault::{FaultError, Written};
use crate::scenario::Span;
use std::str::FromStr;

pub(super) fn read(text: &str) -> Result<Written, FaultError> {
    let mut written = Written::default();
    let mut words = Words { text, rest: words_of(text).collect::<Vec<_>>().into_iter() };
    while let Some(word) = words.rest.next() {
        words.take(word, &mut written)?;
    }
    if written.kind.is_empty() {
        return Err(FaultError::Kind(text.to_owned()));
    }
    Ok(written)
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\t']).filter(|word| !word.is_empty())
}

struct Words<'a> {
    text: &'a str,
    rest: std::vec::IntoIter<&'a str>,
}

impl<'a> Words<'a> {
    fn take(&mut self, word: &str, written: &mut Written) -> Result<(), FaultError> {
        match word {
            "fail" | "with" | "in" | "and" | "%" => {}
            "first" => written.first = Some(self.number()?),
            "at" => written.rate = Some(self.share()?),
            "from" => written.from_s = Some(self.time_s()?),
            "until" => written.until_s = Some(self.time_s()?),
            "loop" | "loops" => written.loops = Some(self.number()?),
            "step" | "steps" => written.steps = Some(self.number()?),
            "attempt" | "attempts" => written.attempts = Some(self.number()?),
            "retry-after" => written.retry_after_s = Some(self.time_s()?),
            "after" => self.after(written)?,
            "outage" => written.kind = "503".to_owned(),
            _ => self.short(word, written)?,
        }
        Ok(())
    }

    /// `x3`, `+2s`, `60s..120s`, or a kind.
    fn short(&self, word: &str, written: &mut Written) -> Result<(), FaultError> {
        if let Some(factor) = word.strip_prefix('x').and_then(|factor| factor.parse().ok()) {
            written.factor = Some(factor);
        } else if let Some(extra) = word.strip_prefix('+') {
            written.extra_ms = Some(seconds(extra).ok_or_else(|| self.unknown(word))? * 1e3);
        } else if let Some((from, until)) = word.split_once("..") {
            let time = |text| seconds(text).ok_or_else(|| self.unknown(word));
            (written.from_s, written.until_s) = (Some(time(from)?), Some(time(until)?));
        } else if written.kind.is_empty() {
            written.kind = word.to_owned();
        } else {
            return Err(self.unknown(word));
        }
        Ok(())
    }

    fn after(&mut self, written: &mut Written) -> Result<(), FaultError> {
        let amount = self.next()?;
        if let Some(after_s) =
            amount.ends_with(|c: char| !c.is_ascii_digit()).then(|| seconds(amount)).flatten()
        {
            written.after_s = Some(after_s);
            return Ok(());
        }
        let amount = amount.parse().map_err(|_| self.unknown(amount))?;
        match self.next()? {
            "byte" | "bytes" => written.after_bytes = Some(amount),
            "token" | "tokens" => written.after_tokens = Some(amount),
            unit => return Err(self.unknown(unit)),
        }
        Ok(())
    }

    fn next(&mut self) -> Result<&'a str, FaultError> {
        let last = words_of(self.text).last().unwrap_or_default();
        let error = self.unknown(last);
        self.rest.next().ok_or(error)
    }

    fn number<T: FromStr>(&mut self) -> Result<T, FaultError> {
        let word = self.next()?;
        word.parse().map_err(|_| self.unknown(word))
    }

    /// `5`, `5%` and `5 %` are shares of a hundred.
    fn share(&mut self) -> Result<f64, FaultError> {
        let word = self.next()?;
        let percent: f64 = word.trim_end_matches('%').parse().map_err(|_| self.unknown(word))?;
        Ok(percent / 100.0)
    }

    fn time_s(&mut self) -> Result<f64, FaultError> {
        let word = self.next()?;
        seconds(word).ok_or_else(|| self.unknown(word))
    }

    fn unknown(&self, word: &str) -> FaultError {
        FaultError::Word { word: word.to_owned(), text: self.text.to_owned() }
    }
}

/// A length of time (`500ms`, `1m30s`), or a number of seconds.
fn seconds(text: &str) -> Option<f64> {
    let number = text.parse().ok().filter(|value: &f64| value.is_finite());
    number.or_else(|| Span::parse(text).ok().map(|span| span.us() as f64 / 1e6))
}

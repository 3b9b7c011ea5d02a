//! Published traces of requests to providers: when each came, how many tokens it had, how many were generated.
//!
//! Columns are found by the file's first line, so that other files of the same kinds are read as well:
//! Azure's (`TIMESTAMP,ContextTokens,GeneratedTokens`), BurstGPT's (`Timestamp,Model,Request tokens,Response tokens,…`),
//! and Mooncake's JSON lines (`{"timestamp": ms, "input_length": …, "output_length": …}`). Blank lines count for
//! nothing; a line that cannot be read is an error with its number, because a trace with holes is another trace.

use super::material::WorkloadCall;
use crate::scenario::WorkloadFormat;
use serde::Deserialize;

/// What is wrong with a workload file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    #[error("it is empty")]
    Empty,
    #[error(
        "line 1 is none that is known: Azure's has TIMESTAMP,ContextTokens,GeneratedTokens, BurstGPT's Timestamp,Request tokens,Response tokens, Mooncake's are JSON objects with timestamp, input_length, output_length"
    )]
    UnknownFormat,
    #[error("line {line}: {what}: {text}")]
    Line { line: usize, what: &'static str, text: String },
    #[error("line 1 has no column `{column}`")]
    NoColumn { column: &'static str },
}

/// Where the columns of a file are.
#[derive(Clone, Copy, Debug)]
struct Columns {
    time: usize,
    input: usize,
    output: usize,
    read_time: fn(&str) -> Option<f64>,
}

#[derive(Deserialize)]
struct MooncakeLine {
    timestamp: f64,
    input_length: u64,
    output_length: u64,
}

/// What is shown of a line that cannot be read.
const SHOWN: usize = 80;

/// The requests of a file, by rising time from its first; `speed` times as fast.
pub fn read(
    text: &str,
    format: Option<WorkloadFormat>,
    speed: f64,
) -> Result<Vec<WorkloadCall>, WorkloadError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).peekable();
    let (_, first) = *lines.peek().ok_or(WorkloadError::Empty)?;
    let format = format.or_else(|| format_of(first)).ok_or(WorkloadError::UnknownFormat)?;
    let mut calls: Vec<(f64, u64, u64)> = match format {
        WorkloadFormat::Mooncake => lines.map(|(at, line)| mooncake(at, line)).collect::<Result<_, _>>()?,
        WorkloadFormat::Azure | WorkloadFormat::Burstgpt => {
            let columns = Columns::of(first, format)?;
            lines.skip(1).map(|(at, line)| columns.read(at, line)).collect::<Result<_, _>>()?
        }
    };
    // What failed at the provider generated nothing: no answer of that length could be asked for.
    calls.retain(|(_, _, output)| *output > 0);
    calls.sort_by(|a, b| a.0.total_cmp(&b.0));
    let start_s = calls.first().map_or(0.0, |(time_s, ..)| *time_s);
    let call = |(time_s, input_tokens, output_tokens): &(f64, u64, u64)| WorkloadCall {
        at_us: ((time_s - start_s) / speed * 1e6).round() as u64,
        input_tokens: *input_tokens,
        output_tokens: *output_tokens,
    };
    Ok(calls.iter().map(call).collect())
}

fn format_of(first: &str) -> Option<WorkloadFormat> {
    let names = first.to_ascii_lowercase();
    if names.trim_start().starts_with('{') {
        return names.contains("input_length").then_some(WorkloadFormat::Mooncake);
    }
    match () {
        () if names.contains("contexttokens") => Some(WorkloadFormat::Azure),
        () if names.contains("request tokens") => Some(WorkloadFormat::Burstgpt),
        () => None,
    }
}

fn mooncake(line: usize, text: &str) -> Result<(f64, u64, u64), WorkloadError> {
    let wrong = |_| wrong(line, "no JSON object with timestamp, input_length, output_length", text);
    let read: MooncakeLine = serde_json::from_str(text).map_err(wrong)?;
    Ok((read.timestamp / 1e3, read.input_length, read.output_length))
}

fn wrong(line: usize, what: &'static str, text: &str) -> WorkloadError {
    WorkloadError::Line { line, what, text: text.chars().take(SHOWN).collect() }
}

impl Columns {
    fn of(header: &str, format: WorkloadFormat) -> Result<Self, WorkloadError> {
        let names: Vec<String> =
            header.split(',').map(|name| name.trim().trim_matches('"').to_ascii_lowercase()).collect();
        let find = |column: &'static str| {
            let place = names.iter().position(|name| name == &column.to_ascii_lowercase());
            place.ok_or(WorkloadError::NoColumn { column })
        };
        let time = find("Timestamp")?;
        Ok(match format {
            WorkloadFormat::Burstgpt => Self {
                time,
                input: find("Request tokens")?,
                output: find("Response tokens")?,
                read_time: |text| text.parse().ok(),
            },
            _ => Self {
                time,
                input: find("ContextTokens")?,
                output: find("GeneratedTokens")?,
                read_time: date_time_s,
            },
        })
    }

    fn read(&self, line: usize, text: &str) -> Result<(f64, u64, u64), WorkloadError> {
        let cells: Vec<&str> = text.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let cell = |place: usize| cells.get(place).copied().unwrap_or_default();
        let count = |place: usize, what| cell(place).parse::<u64>().map_err(|_| wrong(line, what, text));
        let time = (self.read_time)(cell(self.time)).filter(|time| time.is_finite());
        Ok((
            time.ok_or_else(|| wrong(line, "no time", text))?,
            count(self.input, "no number of input tokens")?,
            count(self.output, "no number of output tokens")?,
        ))
    }
}

/// `2023-11-16 18:15:46.6805900`, also with a T, an offset or Z; seconds since the Unix epoch.
fn date_time_s(text: &str) -> Option<f64> {
    let as_instant = || text.parse::<jiff::Timestamp>().ok();
    let as_civil = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    let instant = as_instant().or_else(as_civil)?;
    Some(instant.as_microsecond() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(text: &str) -> Vec<(u64, u64, u64)> {
        let calls = read(text, None, 1.0).unwrap();
        calls.iter().map(|call| (call.at_us, call.input_tokens, call.output_tokens)).collect()
    }

    #[test]
    fn each_format_by_its_first_line() {
        let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
                     2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n";
        assert_eq!(figures(azure), [(0, 374, 44), (4_314_579, 396, 109)]);
        let with_zone = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n\
                         2024-05-10 00:00:00.017335+00:00,2399,6";
        assert_eq!(figures(with_zone), [(0, 2162, 5), (7405, 2399, 6)]);
        let burst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
                     5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,230,1317,Conversation log\n\
                     50,GPT-4,417,0,417,API log\n";
        assert_eq!(figures(burst), [(0, 472, 18), (40_000_000, 1087, 230)]);
        let mooncake = "{\"timestamp\": 27482, \"input_length\": 6955, \"output_length\": 52, \"hash_ids\": [46]}\n\
                        {\"timestamp\": 30535, \"input_length\": 6472, \"output_length\": 26, \"hash_ids\": [46]}\n";
        assert_eq!(figures(mooncake), [(0, 6955, 52), (3_053_000, 6472, 26)]);
        assert_eq!(read(mooncake, None, 2.0).unwrap()[1].at_us, 1_526_500);
    }

    #[test]
    fn mistakes_have_their_line() {
        let message = |text: &str| read(text, None, 1.0).unwrap_err().to_string();
        assert_eq!(message(""), "it is empty");
        assert!(message("a,b\n1,2\n").starts_with("line 1 is none that is known"));
        assert_eq!(
            message(
                "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,374,44\n\n2023-11-16,many,4\n"
            ),
            "line 4: no number of input tokens: 2023-11-16,many,4"
        );
        assert_eq!(
            message("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,3,4\n"),
            "line 2: no time: yesterday,3,4"
        );
        assert_eq!(message("TIMESTAMP,ContextTokens,Tokens\n"), "line 1 has no column `GeneratedTokens`");
        assert!(message("{\"timestamp\": 1, \"input_length\": 5}").starts_with("line 1: no JSON object"));
    }
}

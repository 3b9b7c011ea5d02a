//! `calls/NNNN.json`: what was asked and what came back, without its times.

use super::bodies::{self, AnswerBody, BodyReader, BodyWriter, RequestBody};
use super::error::CassetteError;
use super::files::{FileName, Files};
use super::recording::TapedCall;
use super::timings::CallTimes;
use super::values::{Collector, Named, Part, fill};
use crate::exchange::{Answer, Ending, Exchange, Outcome};
use crate::facts::{AnswerFate, AskedUpstream};
use crate::headers::{RedactedHeaders, latin1_to_string, string_to_latin1};
use crate::provider::Provider;
use crate::replay::{Provenance, Rung};
use serde::{Deserialize, Serialize};

/// Members in order of their names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CallFile {
    call: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    import_index: Option<u32>,
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    loop_hint: Option<String>,
    provider: String,
    /// Of a replay: where the answer came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replayed: Option<ReplayedFile>,
    request: RequestFile,
    /// Null while the call had not ended.
    response: Option<ResponseFile>,
    /// Which of several upstreams was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream: Option<UpstreamFile>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RequestFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<RequestBody>,
    headers: Vec<HeaderFile>,
    method: String,
    path: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ResponseFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<AnswerBody>,
    ending: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderFile>,
    /// Null if no response head came.
    status: Option<u16>,
}

/// `name: value`; as a pair where that would be read otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum HeaderFile {
    Line(String),
    Pair(String, String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct UpstreamFile {
    fate: AnswerFate,
    url: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ReplayedFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recorded_call: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rung: Option<u8>,
    source: String,
}

impl CallFile {
    pub(super) fn write(call: &TapedCall, bodies: &mut BodyWriter, found: &mut Collector) -> Self {
        let Exchange { seq, provider, method, path, request_headers, request_body, outcome, .. } =
            &call.exchange;
        found.begin(*seq, Part::Request);
        let request = RequestFile {
            path: found.template(path),
            headers: headers(request_headers, found),
            body: bodies.request(*seq, request_body, found),
            method: method.clone(),
        };
        found.begin(*seq, Part::Answer);
        Self {
            call: u64::from(*seq) + 1,
            import_index: call.import_index,
            loop_hint: call.loop_hint.clone(),
            provider: provider.to_string(),
            replayed: call.provenance.as_ref().map(replayed),
            request,
            response: response(*seq, outcome, bodies, found),
            upstream: call.upstream.clone().map(|AskedUpstream { url, fate }| UpstreamFile { fate, url }),
        }
    }

    /// The call, with its times.
    pub(super) fn read(
        self,
        name: &FileName,
        times: CallTimes,
        bodies: &mut BodyReader,
        (files, named): (&Files, &Named),
    ) -> Result<TapedCall, CassetteError> {
        let invalid = |detail: String| CassetteError::invalid(name, detail);
        let seq = name.call().filter(|seq| u64::from(*seq) + 1 == self.call);
        let seq = seq.ok_or_else(|| invalid(format!("it says that it is call {}", self.call)))?;
        let RequestFile { body, headers, method, path } = self.request;
        let outcome = match self.response {
            None => Outcome::InFlight,
            Some(response) => response.read(seq, &times, (files, named)).map_err(|error| error.of(name))?,
        };
        let provenance = self.replayed.map(|replayed| {
            let source = replayed.source.clone();
            replayed
                .read()
                .ok_or_else(|| invalid(format!("`{source}` with what it says is no source of answers")))
        });
        Ok(TapedCall {
            loop_hint: self.loop_hint,
            import_index: self.import_index,
            provenance: provenance.transpose()?,
            upstream: self.upstream.map(|UpstreamFile { fate, url }| AskedUpstream { url, fate }),
            exchange: Exchange {
                seq,
                sent_us: times.sent_us,
                sent_unix_us: times.sent_unix_us,
                provider: Provider::parse(&self.provider)
                    .ok_or_else(|| invalid(format!("`{}` is no provider's name", self.provider)))?,
                method,
                path: fill(&path, named).map_err(|error| invalid(error.to_string()))?,
                request_headers: read_headers(headers, named).map_err(invalid)?,
                request_body: bodies.request(seq, body, files, named)?,
                outcome,
            },
        })
    }
}

/// Which file is meant is known where the error is told.
enum ReadError {
    Here(String),
    Elsewhere(CassetteError),
}

impl ReadError {
    fn of(self, name: &FileName) -> CassetteError {
        match self {
            Self::Here(detail) => CassetteError::invalid(name, detail),
            Self::Elsewhere(error) => error,
        }
    }
}

fn response(
    seq: u32,
    outcome: &Outcome,
    bodies: &mut BodyWriter,
    found: &mut Collector,
) -> Option<ResponseFile> {
    let (ending, answer) = match outcome {
        Outcome::InFlight => return None,
        Outcome::NoResponse { ending, .. } => (ending, None),
        Outcome::Answered(answer) => (&answer.ending, Some(answer)),
    };
    let (ending, error) = match ending {
        Ending::Complete => ("complete", None),
        Ending::UpstreamReset { error } => ("upstream_reset", Some(error)),
        Ending::UpstreamUnreachable { error } => ("upstream_unreachable", Some(error)),
        Ending::ClientGone => ("client_gone", None),
    };
    Some(ResponseFile {
        headers: answer.map(|answer| headers(&answer.headers, found)).unwrap_or_default(),
        body: answer.and_then(|answer| bodies.answer(seq, &answer.headers, &answer.body, found)),
        ending: ending.to_owned(),
        error: error.map(|error| found.template(error)),
        status: answer.map(|answer| answer.status),
    })
}

impl ResponseFile {
    fn read(
        self,
        seq: u32,
        times: &CallTimes,
        (files, named): (&Files, &Named),
    ) -> Result<Outcome, ReadError> {
        let error = self.error.map(|error| fill(&error, named)).transpose();
        let error = error.map_err(|error| ReadError::Here(error.to_string()))?.unwrap_or_default();
        let ending = match self.ending.as_str() {
            "complete" => Ending::Complete,
            "upstream_reset" => Ending::UpstreamReset { error },
            "upstream_unreachable" => Ending::UpstreamUnreachable { error },
            "client_gone" => Ending::ClientGone,
            other => return Err(ReadError::Here(format!("`{other}` is no ending"))),
        };
        let no_time =
            |what: &str| ReadError::Here(format!("timings.json does not say when its answer {what}"));
        let end_us = times.end_us.ok_or_else(|| no_time("ended"))?;
        let Some(status) = self.status else { return Ok(Outcome::NoResponse { end_us, ending }) };
        let headers = read_headers(self.headers, named).map_err(ReadError::Here)?;
        let body = bodies::answer(seq, &headers, self.body, files, named).map_err(ReadError::Elsewhere)?;
        Ok(Outcome::Answered(Answer {
            status,
            headers,
            body,
            chunks: times.chunks.clone(),
            head_us: times.head_us.ok_or_else(|| no_time("began"))?,
            end_us,
            ending,
        }))
    }
}

fn headers(headers: &RedactedHeaders, found: &mut Collector) -> Vec<HeaderFile> {
    let file = |(name, value): (&str, &str)| {
        let value = found.header(name, value);
        match name.contains(": ") {
            true => HeaderFile::Pair(name.to_owned(), value),
            false => HeaderFile::Line(format!("{name}: {value}")),
        }
    };
    headers.iter().map(file).collect()
}

/// What a file says is redacted like what a client says: somebody may have written it by hand.
fn read_headers(headers: Vec<HeaderFile>, named: &Named) -> Result<RedactedHeaders, String> {
    let pairs = headers.into_iter().map(|header| {
        let (name, value) = match header {
            HeaderFile::Pair(name, value) => (name, value),
            HeaderFile::Line(line) => {
                let (name, value) = line
                    .split_once(": ")
                    .ok_or_else(|| format!("`{line}` is no header: write `name: value`"))?;
                (name.to_owned(), value.to_owned())
            }
        };
        let value = fill(&value, named).map_err(|error| error.to_string())?;
        let bytes = string_to_latin1(&value);
        // What is no Latin-1 text could not have been recorded.
        match latin1_to_string(&bytes) == value {
            true => Ok((name, bytes)),
            false => Err(format!("the header `{name}` has characters that no header has")),
        }
    });
    let pairs = pairs.collect::<Result<Vec<(String, Vec<u8>)>, String>>()?;
    Ok(RedactedHeaders::redact(pairs.iter().map(|(name, value)| (name.as_str(), value.as_slice()))))
}

fn replayed(provenance: &Provenance) -> ReplayedFile {
    let recorded = provenance.recorded();
    ReplayedFile {
        source: provenance.source().as_str().to_owned(),
        recorded_call: recorded.map(|(seq, _)| u64::from(seq) + 1),
        rung: recorded.map(|(_, rung)| rung.number()),
        reason: provenance.reason().map(str::to_owned),
    }
}

impl ReplayedFile {
    fn read(self) -> Option<Provenance> {
        let seq = self.recorded_call.and_then(|call| u32::try_from(call.checked_sub(1)?).ok());
        let recorded = seq.zip(self.rung.and_then(Rung::of_number));
        Provenance::parse(&self.source, recorded, self.reason.as_deref())
    }
}

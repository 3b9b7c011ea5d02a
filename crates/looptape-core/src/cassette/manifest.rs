//! `manifest.json`: what was recorded and when, the values that are this recording's own, and the root hash.
//!
//! `checksums.txt` lists the files of calls and the timings with their hashes, as `b3sum` writes and checks them;
//! contents have their hashes for names. The root hash is BLAKE3 over the manifest, its own digits as zeros, and
//! that list: whoever knows it knows every byte.

use super::error::CassetteError;
use super::files::{self, CHECKSUMS, FileName, Files, MANIFEST, TOOLS};
use super::json_text::{file_text, sorted};
use super::recording::{TapedEnd, TapedParent, TapedTrace};
use super::shelf;
use super::values::Named;
use crate::assembly::{LoopOutcome, Timing};
use crate::labels::Labels;
use crate::replay::Environment;
use crate::{Digest, TraceId};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// The newest version that is read. 1 knows no tool calls that were measured, 2 no upstreams of which one stands in for
/// another: what has none is written as they are.
pub const VERSION: u64 = 3;

/// The oldest version that says all that is in these files.
fn version_of(files: &Files) -> u64 {
    let says_upstream = |(_, name): (u32, &FileName)| {
        // A member of the file itself: no other line is indented so, and no text has an end of line in it.
        files.get(name).is_some_and(|text| memchr::memmem::find(text, b"\n  \"upstream\": {").is_some())
    };
    match calls(files).any(says_upstream) {
        true => VERSION,
        false if files.contains_key(&FileName::top(TOOLS)) => 2,
        false => 1,
    }
}

/// What the member `format` says.
const FORMAT: &str = "looptape cassette";

/// Digits of a root hash.
const ROOT_DIGITS: usize = 64;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ManifestFile {
    format: String,
    version: u64,
    written_by: String,
    root: String,
    calls: u64,
    trace: TraceFile,
    #[serde(default)]
    pub(super) values: Named,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TraceFile {
    id: TraceId,
    source: String,
    started: WallClock,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    happened: Option<WallClock>,
    timing: String,
    byte_exact: bool,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent_version: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<ParentFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<Environment>,
    /// Null if it was never closed.
    end: Option<EndFile>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    gaps: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ParentFile {
    trace: TraceId,
    why: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct EndFile {
    #[serde(default)]
    idle: bool,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aborted: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

/// µs since 1970, written as people write times where the calendar has them.
#[derive(Clone, Copy, Debug)]
struct WallClock(i64);

impl Serialize for WallClock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Timestamp::from_microsecond(self.0) {
            Ok(time) => serializer.collect_str(&time),
            Err(_) => serializer.serialize_i64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for WallClock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Time(String),
            Us(i64),
        }
        match Written::deserialize(deserializer)? {
            Written::Us(us) => Ok(Self(us)),
            Written::Time(text) => {
                let time = text.parse::<Timestamp>().map_err(serde::de::Error::custom)?;
                Ok(Self(time.as_microsecond()))
            }
        }
    }
}

/// Whether a `manifest.json` is a cassette's.
pub fn is_manifest(text: &[u8]) -> bool {
    serde_json::from_slice::<Value>(text).is_ok_and(|manifest| manifest["format"] == FORMAT)
}

/// The files with their manifest and checksums.
pub(super) fn seal(mut files: Files, calls: u64, trace: &TapedTrace, values: Named) -> Files {
    let checksums = checksums(&files);
    let manifest = ManifestFile {
        format: FORMAT.to_owned(),
        version: version_of(&files),
        written_by: concat!("looptape ", env!("CARGO_PKG_VERSION")).to_owned(),
        root: "0".repeat(ROOT_DIGITS),
        calls,
        trace: TraceFile::of(trace),
        values,
    };
    let manifest = serde_json::to_value(&manifest).expect("a manifest is texts and numbers");
    let text = String::from_utf8(file_text(&sorted(manifest))).expect("JSON is UTF-8");
    let text =
        text.replacen(&root_member(&"0".repeat(ROOT_DIGITS)), &root_member(&root(&text, &checksums)), 1);
    files.insert(FileName::top(MANIFEST), Bytes::from(text));
    files.insert(FileName::top(CHECKSUMS), Bytes::from(checksums));
    files
}

fn checksums(files: &Files) -> String {
    let listed = files.iter().filter(|(name, _)| is_listed(name));
    listed.map(|(name, file)| format!("{}  {name}\n", Digest::of(file).to_hex())).collect()
}

fn is_listed(name: &FileName) -> bool {
    !name.is_content() && ![MANIFEST, CHECKSUMS, files::GIT_ATTRIBUTES].contains(&name.as_str())
}

fn root_member(digits: &str) -> String {
    format!("\"root\": \"{digits}\"")
}

/// The root hash of a manifest whose own digits are zeros.
fn root(manifest: &str, checksums: &str) -> String {
    Digest::of_parts(&[manifest.as_bytes(), checksums.as_bytes()]).to_hex()
}

/// Reads the manifest, and checks every file against it.
pub(super) fn open(files: &Files) -> Result<ManifestFile, CassetteError> {
    let name = FileName::top(MANIFEST);
    if !files.contains_key(&name) {
        return Err(CassetteError::NotACassette { detail: "it has no manifest.json".to_owned() });
    }
    let text = files::text(files, &name)?;
    let manifest = version_checked(text)?;
    let manifest: ManifestFile =
        serde_json::from_value(manifest).map_err(|error| CassetteError::invalid(&name, error))?;
    let checksums = files::text(files, &FileName::top(CHECKSUMS))?;
    let zeros = root_member(&"0".repeat(ROOT_DIGITS));
    let found = root(&text.replacen(&root_member(&manifest.root), &zeros, 1), checksums);
    let listed = check(files, checksums);
    if found != manifest.root {
        // A file that is damaged says more than the list that names it.
        listed?;
        let file = format!("{MANIFEST} (or {CHECKSUMS}, which it covers)");
        return Err(CassetteError::Damaged { file, expected: manifest.root, found });
    }
    listed?;
    let calls = calls(files).count() as u64;
    if calls != manifest.calls {
        let detail = format!("it says {} calls, and there are {calls}", manifest.calls);
        return Err(CassetteError::invalid(&name, detail));
    }
    Ok(manifest)
}

/// The manifest, if it is one of a version that is known.
fn version_checked(text: &str) -> Result<Value, CassetteError> {
    let not = |detail: String| CassetteError::NotACassette { detail };
    let manifest: Value = serde_json::from_str(text)
        .map_err(|error| not(format!("its manifest.json is not JSON ({error})")))?;
    if manifest["format"] != FORMAT {
        return Err(not(format!("its manifest.json does not say `\"format\": \"{FORMAT}\"`")));
    }
    match manifest["version"].as_u64() {
        Some(found) if found > VERSION => Err(CassetteError::Newer { found }),
        Some(1..) => Ok(manifest),
        _ => Err(not("its manifest.json has no version".to_owned())),
    }
}

/// The files of calls, in the order in which they started.
pub(super) fn calls(files: &Files) -> impl Iterator<Item = (u32, &FileName)> {
    let mut calls: Vec<(u32, &FileName)> =
        files.keys().filter_map(|name| Some((name.call()?, name))).collect();
    calls.sort_unstable();
    calls.into_iter()
}

fn check(files: &Files, checksums: &str) -> Result<(), CassetteError> {
    let mut listed = 0;
    for line in checksums.lines() {
        let named = line.split_once("  ").and_then(|(hash, name)| Some((hash, FileName::parse(name)?)));
        let (expected, name) = named.ok_or_else(|| {
            CassetteError::invalid(
                CHECKSUMS,
                format!("`{}` is no hash and file", line.chars().take(80).collect::<String>()),
            )
        })?;
        let found = Digest::of(files::required(files, &name)?).to_hex();
        if found != expected {
            return Err(CassetteError::Damaged {
                file: name.to_string(),
                expected: expected.to_owned(),
                found,
            });
        }
        listed += 1;
    }
    if let Some(stray) =
        files.keys().filter(|name| is_listed(name)).nth(listed).map(|_| stray(files, checksums))
    {
        let detail = format!("{stray} is not in the list");
        return Err(CassetteError::invalid(CHECKSUMS, detail));
    }
    files.iter().filter(|(name, _)| name.is_content()).try_for_each(|(name, file)| shelf::check(name, file))
}

/// A file that nothing lists.
fn stray(files: &Files, checksums: &str) -> String {
    let is_there = |name: &&FileName| checksums.lines().any(|line| line.ends_with(name.as_str()));
    let stray = files.keys().filter(|name| is_listed(name)).find(|name| !is_there(name));
    stray.map_or_else(|| "a file".to_owned(), ToString::to_string)
}

impl ManifestFile {
    /// The trace, which ended then.
    pub(super) fn trace(&self, ended_us: Option<i64>) -> Result<TapedTrace, CassetteError> {
        let file = self.trace.clone();
        let end = file.end.map(|end| {
            let ended_us = ended_us.ok_or_else(|| {
                CassetteError::invalid(files::TIMINGS, "it does not say when the trace ended")
            })?;
            Ok(TapedEnd {
                ended_us,
                idle: end.idle,
                exit_code: end.exit_code,
                aborted: end.aborted,
                outcome: end.outcome.as_deref().and_then(LoopOutcome::parse),
            })
        });
        Ok(TapedTrace {
            id: file.id,
            source: file.source,
            name: file.name,
            labels: Labels { agent: file.agent, agent_version: file.agent_version, tags: file.tags },
            command: file.command,
            parent: file.parent.map(|ParentFile { trace, why }| TapedParent { trace, why }),
            started_unix_us: file.started.0,
            // A word of a later time: what it means is not known, so no time is believed.
            timing: Timing::parse(&file.timing).unwrap_or(Timing::OrderOnly),
            happened_unix_us: file.happened.map(|time| time.0),
            byte_exact: file.byte_exact,
            environment: file.environment,
            end: end.transpose()?,
            gaps: file.gaps,
        })
    }

    pub(super) fn started_unix_us(&self) -> i64 {
        self.trace.started.0
    }
}

impl TraceFile {
    fn of(trace: &TapedTrace) -> Self {
        let trace = trace.clone();
        Self {
            id: trace.id,
            source: trace.source,
            started: WallClock(trace.started_unix_us),
            happened: trace.happened_unix_us.map(WallClock),
            timing: trace.timing.as_str().to_owned(),
            byte_exact: trace.byte_exact,
            name: trace.name,
            agent: trace.labels.agent,
            agent_version: trace.labels.agent_version,
            command: trace.command,
            tags: trace.labels.tags,
            parent: trace.parent.map(|TapedParent { trace, why }| ParentFile { trace, why }),
            environment: trace.environment,
            end: trace.end.map(|end| EndFile {
                idle: end.idle,
                exit_code: end.exit_code,
                aborted: end.aborted,
                outcome: end.outcome.map(|outcome| outcome.as_str().to_owned()),
            }),
            gaps: trace.gaps,
        }
    }
}

//! A folder of recordings that other projects publish, and what each of them is known to hold.
//!
//! The recordings are not part of this repository: [`Corpus::from_env`] finds them where
//! `LOOPTAPE_CORPUS` points (a folder with `expected.json` and `recordings/`). A test that cannot run
//! without them calls [`skipped`] and returns, so that the skip is seen.
//!
//! A corpus that is there but cannot be read is a failure of the set-up: reading panics and says which
//! file.

use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

/// The environment variable that names the folder.
pub const ENV: &str = "LOOPTAPE_CORPUS";

/// The recordings with their expectations.
#[derive(Debug)]
pub struct Corpus {
    root: PathBuf,
    expected: BTreeMap<String, ExpectedCassette>,
}

/// One recording.
#[derive(Debug)]
pub struct Recording<'a> {
    /// Its path below `recordings/`.
    pub name: &'a str,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub expected: &'a ExpectedCassette,
}

/// What a recording holds. Figures are 0 and lists empty where the file holds no HTTP.
#[derive(Clone, Debug, Deserialize)]
pub struct ExpectedCassette {
    /// `vcrpy-yaml`, `vcrpy-yaml+parsed_body`, `go-vcr-v2`, `r-vcr`, `har-polly`, `httprr`, ….
    pub container: String,
    #[serde(rename = "bytes")]
    pub size_bytes: u64,
    /// Of the file, in hex.
    pub sha256: String,
    pub interactions: u32,
    #[serde(default)]
    pub llm_calls: u32,
    /// Model calls with a 2xx status and no error inside.
    #[serde(default)]
    pub llm_calls_ok: u32,
    /// Interaction index and status of failed model calls.
    #[serde(default)]
    pub llm_errors: Vec<(u32, u16)>,
    #[serde(default)]
    pub retryable_errors: u32,
    #[serde(default)]
    pub retried_same_body: u32,
    #[serde(default)]
    pub repeated_identical_requests: u32,
    #[serde(default)]
    pub embedding_calls: u32,
    #[serde(default)]
    pub count_tokens_calls: u32,
    #[serde(default)]
    pub other_http: u32,
    #[serde(default)]
    pub wires: Vec<String>,
    #[serde(default)]
    pub providers: Vec<String>,
    #[serde(default)]
    pub models: Vec<String>,
    #[serde(default)]
    pub streaming_calls: u32,
    #[serde(default)]
    pub tool_calls: u32,
    #[serde(default)]
    pub server_tool_calls: u32,
    #[serde(default)]
    pub max_parallel_tool_calls: u32,
    #[serde(default)]
    pub loop_steps: u32,
    /// Interaction indices of the longest chain of requests that extend each other.
    #[serde(default)]
    pub loop_chain: Vec<u32>,
    #[serde(default)]
    pub loop_tool_calls: u32,
    #[serde(default)]
    pub loop_steps_loose: u32,
    #[serde(default)]
    pub agent_loop: bool,
    /// Sums over all calls, unknown counted as 0.
    #[serde(default)]
    pub totals: ExpectedUsage,
    #[serde(default)]
    pub text_chars: u64,
    /// Every HTTP interaction, in file order.
    #[serde(default)]
    pub calls: Vec<ExpectedInteraction>,
}

/// One HTTP interaction.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub struct ExpectedInteraction {
    pub idx: u32,
    pub method: String,
    pub host: String,
    /// Percent-decoded, without the query.
    pub path: String,
    pub status: u16,
    pub wire: Option<String>,
    /// What the reference program had to do to read it: `gzip-body`, `resp-parsed_body`, ….
    pub notes: Vec<String>,
    /// After content decoding.
    pub request_body_bytes: u64,
    /// After content decoding.
    pub response_body_bytes: u64,
    pub kind: ExpectedKind,
}

/// The fields that every interaction has, whatever it was.
#[derive(Deserialize)]
struct Common {
    idx: u32,
    method: String,
    host: String,
    path: String,
    status: u16,
    wire: Option<String>,
    #[serde(default)]
    notes: Vec<String>,
    request_body_bytes: u64,
    response_body_bytes: u64,
}

/// What an interaction was.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind")]
pub enum ExpectedKind {
    #[serde(rename = "llm")]
    Llm(Box<ExpectedCall>),
    #[serde(rename = "embedding")]
    Embedding,
    #[serde(rename = "count_tokens")]
    CountTokens,
    #[serde(rename = "aux")]
    Auxiliary,
    #[serde(rename = "openai.assistants")]
    OpenAiAssistants,
    #[serde(rename = "other")]
    Other,
}

/// A model call. Text, finish reason and tool calls are those of choice (candidate) 0.
#[derive(Clone, Debug, Deserialize)]
pub struct ExpectedCall {
    pub wire: Option<String>,
    pub status: u16,
    pub provider: String,
    pub request_model: Option<String>,
    pub response_model: Option<String>,
    pub response_id: Option<String>,
    /// Observed in the answer.
    pub stream: bool,
    pub stream_requested: bool,
    pub n_messages: Option<u32>,
    pub n_tool_results_in_request: u32,
    pub n_tools_offered: u32,
    pub previous_response_id: Option<String>,
    /// The provider's own word; a number where the provider writes its enum as one.
    pub finish_reason: Option<Value>,
    pub tool_calls: u32,
    /// Tools that the client executes, in order of appearance.
    pub tool_names: Vec<String>,
    pub server_tool_calls: u32,
    pub server_tool_names: Vec<String>,
    pub n_choices: u32,
    /// Code points.
    pub text_chars: u64,
    /// UTF-8.
    pub text_bytes: u64,
    /// Of the text as UTF-8, in hex.
    pub text_sha256: String,
    pub reasoning_text_chars: u64,
    pub usage_raw: Option<Value>,
    pub usage: ExpectedUsage,
    /// The provider's total less input and output.
    pub usage_total_gap: Option<i64>,
    pub error: Option<Value>,
    pub parse_error: Option<String>,
}

/// Token usage; `None` is "the provider did not say".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ExpectedUsage {
    /// Cache reads and writes included.
    pub input_total: Option<u64>,
    pub input_cached_read: Option<u64>,
    pub input_cache_write: Option<u64>,
    /// Reasoning included.
    pub output_total: Option<u64>,
    pub reasoning: Option<u64>,
}

#[derive(Deserialize)]
struct ExpectedFile {
    schema: u32,
    cassettes: BTreeMap<String, ExpectedCassette>,
}

impl Corpus {
    /// The corpus that `LOOPTAPE_CORPUS` names; `None` if the variable is not set or empty.
    pub fn from_env() -> Option<Self> {
        let root = env::var_os(ENV).filter(|value| !value.is_empty())?;
        Some(Self::open(Path::new(&root)))
    }

    /// Opens a folder that holds `expected.json` and `recordings/`.
    pub fn open(root: &Path) -> Self {
        let path = root.join("expected.json");
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        let file: ExpectedFile =
            serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("cannot parse {}: {e}", path.display()));
        assert_eq!(file.schema, 1, "{}: a schema that this reader does not know", path.display());
        Self { root: root.to_owned(), expected: file.cassettes }
    }

    /// All recordings by name, read one at a time.
    pub fn recordings(&self) -> impl Iterator<Item = Recording<'_>> {
        self.recordings_where(|_, _| true)
    }

    /// The recordings that `keep` accepts, by name and expectation; the others are not read.
    pub fn recordings_where<'a>(
        &'a self,
        keep: impl Fn(&str, &ExpectedCassette) -> bool + 'a,
    ) -> impl Iterator<Item = Recording<'a>> + 'a {
        self.expected.iter().filter(move |(name, expected)| keep(name, expected)).map(|(name, expected)| {
            let path = self.root.join("recordings").join(name);
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
            Recording { name, path, bytes, expected }
        })
    }
}

impl TryFrom<Value> for ExpectedInteraction {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Self, serde_json::Error> {
        let common = Common::deserialize(&value)?;
        Ok(Self {
            idx: common.idx,
            method: common.method,
            host: common.host,
            path: common.path,
            status: common.status,
            wire: common.wire,
            notes: common.notes,
            request_body_bytes: common.request_body_bytes,
            response_body_bytes: common.response_body_bytes,
            kind: ExpectedKind::deserialize(value)?,
        })
    }
}

impl ExpectedCassette {
    /// Whether the file holds HTTP interactions. The others are there to be refused.
    pub fn holds_http(&self) -> bool {
        self.interactions > 0
    }
}

impl ExpectedInteraction {
    /// The model call that this was, if it was one.
    pub fn llm(&self) -> Option<&ExpectedCall> {
        match &self.kind {
            ExpectedKind::Llm(call) => Some(call),
            _ => None,
        }
    }
}

/// Says on the process's own standard error that a test did not run. The test harness captures what the
/// print macros write, but not this.
pub fn skipped(what: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED {what}: {ENV} is not set");
}

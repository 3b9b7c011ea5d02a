//! The clients of `clients.json`, and which of them can run: what `install.sh` left under the folder that
//! `LOOPTAPE_CLIENTS` names.

use crate::env::TestEnv;
use serde::Deserialize;
use std::io::Write;
use std::path::{Path, PathBuf};

const ENV: &str = "LOOPTAPE_CLIENTS";

/// One of `clients.json`; tests/clients/README.md says what the fields mean.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) wire: String,
    command: Vec<String>,
    needs: Vec<String>,
    pub(super) calls: u64,
    #[serde(default)]
    pub(super) script: Play,
    #[serde(default = "three")]
    pub(super) steps: u32,
    #[serde(default = "three")]
    pub(super) tools: u32,
    #[serde(default = "answer_of_the_tool_loop")]
    pub(super) says: String,
    /// Whether no base URL leads it here.
    #[serde(default)]
    pub(super) capture: bool,
    #[serde(default)]
    pub(super) usage: Usage,
    #[serde(default)]
    pub(super) output: Output,
    #[serde(default)]
    pub(super) clock: Clock,
}

/// What the provider plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Play {
    #[default]
    ToolLoop,
    Shell,
    /// One greeting, in a format that the simulated provider does not speak.
    Own,
}

/// Whether the client asks for usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Usage {
    #[default]
    Known,
    NotAskedFor,
}

/// Whether two runs print the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Output {
    #[default]
    Same,
    /// It prints times or paths of its own beside the answer.
    Varies,
}

/// Whether the program asks the C library for the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Clock {
    #[default]
    Shiftable,
    /// It is statically linked.
    Own,
}

impl Client {
    /// The same interpreter with another program.
    pub(super) fn running(&self, program: &str) -> Self {
        let command = vec![self.command[0].clone(), program.to_owned()];
        Self { command, ..self.clone() }
    }

    /// Puts words behind its command line.
    pub(super) fn add(&mut self, words: &[&str]) {
        self.command.extend(words.iter().map(|word| (*word).to_owned()));
    }

    /// Sets a variable, `NAME=VALUE`, for this client alone.
    pub(super) fn tell(&mut self, variable: &str) {
        self.command.splice(0..0, ["env".to_owned(), variable.to_owned()]);
    }
}

fn three() -> u32 {
    3
}

fn answer_of_the_tool_loop() -> String {
    "FINAL Go to Lisbon".to_owned()
}

/// Where the clients are, with the list of all.
pub(super) struct Clients {
    installed: PathBuf,
    pub(super) all: Vec<Client>,
}

pub(super) fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients").canonicalize().unwrap()
}

/// Says on the process's own standard error what did not run, or how much did: the test harness captures
/// what the print macros write, but not this.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl Clients {
    pub(super) fn installed(what: &str) -> Option<Self> {
        let Some(installed) = std::env::var_os(ENV).filter(|value| !value.is_empty()).map(PathBuf::from)
        else {
            say(&format!("SKIPPED {what}: {ENV} is not set (tests/clients/README.md says how)"));
            return None;
        };
        let list = std::fs::read(programs().join("clients.json")).unwrap();
        let all = serde_json::from_slice(&list).unwrap();
        Some(Self { installed: installed.canonicalize().unwrap(), all })
    }

    /// Where they are installed.
    pub(super) fn folder(&self) -> &Path {
        &self.installed
    }

    /// The clients of these names that can run.
    pub(super) fn able(&self, names: &[&str]) -> Vec<Client> {
        let named = |name: &&str| {
            let client = self.all.iter().find(|client| client.name == *name);
            client.unwrap_or_else(|| panic!("no client {name}")).clone()
        };
        names.iter().map(named).filter(|client| self.obstacle(client).is_none()).collect()
    }

    /// Why a group's programs cannot run.
    pub(super) fn missing(&self, group: &str) -> Option<String> {
        let file = |kind: &str| self.installed.join(format!("{group}.{kind}"));
        if file("ready").exists() {
            return None;
        }
        let why = std::fs::read_to_string(file("failed")).unwrap_or_else(|_| "never tried".to_owned());
        Some(format!("{group} is not installed: {why}"))
    }

    /// Why a client cannot run.
    pub(super) fn obstacle(&self, client: &Client) -> Option<String> {
        client.needs.iter().find_map(|group| self.missing(group)).or_else(|| {
            let refuses_folder = client.name == "gemini-cli" && others_may_write_above(&self.installed);
            refuses_folder.then(|| {
                format!("it trusts no settings under a folder that others may write to, as {ENV} is")
            })
        })
    }

    /// The client's command line, with the programs in `tests`. A client that hangs is ended.
    pub(super) fn command(&self, client: &Client, tests: &Path) -> Vec<String> {
        let place = |word: &String| {
            word.replace("{clients}", &self.installed.to_string_lossy())
                .replace("{tests}", &tests.to_string_lossy())
        };
        let patience = ["timeout", "--kill-after=5", "240"].map(str::to_owned);
        patience.into_iter().chain(client.command.iter().map(place)).collect()
    }

    /// An environment whose providers are all at `url`, with a list to count.
    pub(super) fn env(&self, client: &Client, url: &str) -> TestEnv {
        self.env_in("work", client, url)
    }

    /// The same with another name for the working folder.
    pub(super) fn env_in(&self, folder: &str, client: &Client, url: &str) -> TestEnv {
        let mut env = TestEnv::new();
        let list = env.work_in(folder).join("list.txt");
        std::fs::write(list, "one\ntwo\nthree\n").unwrap();
        env.set(ENV, &self.installed.to_string_lossy());
        env.set("XDG_CACHE_HOME", &self.installed.join("cache").to_string_lossy());
        env.set("OPENAI_BASE_URL", &format!("{url}/v1"));
        for name in
            ["ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GROQ_BASE_URL", "OLLAMA_HOST", "CO_API_URL"]
        {
            env.set(name, url);
        }
        if client.name == "azure-openai" {
            env.set("AZURE_OPENAI_ENDPOINT", url);
        }
        for name in KEYS_OF {
            env.set(&format!("{name}_API_KEY"), "test-key-that-nobody-checks");
        }
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            env.set(name, "test-key-that-nobody-checks");
        }
        for (name, value) in QUIET {
            env.set(name, value);
        }
        env
    }
}

const KEYS_OF: [&str; 9] = [
    "OPENAI",
    "ANTHROPIC",
    "GEMINI",
    "GROQ",
    "CO",
    "MISTRAL",
    "AZURE_OPENAI",
    "CODEX",
    "GOOGLE_GENERATIVE_AI",
];

/// What keeps clients from asking people, and hosts other than their provider.
const QUIET: &[(&str, &str)] = &[
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
    ("OPENAI_AGENTS_DISABLE_TRACING", "1"),
    ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("GEMINI_CLI_TRUST_WORKSPACE", "true"),
    ("MSWEA_CONFIGURED", "true"),
    ("MSWEA_COST_TRACKING", "ignore_errors"),
    ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
    ("OPENCODE_DISABLE_DEFAULT_PLUGINS", "1"),
    ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
    ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
];

fn others_may_write_above(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    folder.ancestors().any(|f| std::fs::metadata(f).is_ok_and(|m| m.permissions().mode() & 0o022 != 0))
}

//! Which agents and SDKs are installed, and how being observed changes what they send.

use super::Finding;
use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program, and its observer effect: how a base URL of ours changes its requests.
struct Client {
    program: &'static str,
    effect: Option<&'static str>,
}

const CLIENTS: &[Client] = &[
    Client {
        program: "claude",
        effect: Some(
            "sends another system prompt and other betas once a base URL is set; `record` tells it that the upstream is first-party where it is",
        ),
    },
    Client {
        program: "codex",
        effect: Some(
            "ignores OPENAI_BASE_URL; `record` lays a configuration over its own that leads here, and the folder's path is in its prompt",
        ),
    },
    Client {
        program: "gemini",
        effect: Some(
            "is led here with key authentication only, which `record` selects for it: set GEMINI_API_KEY",
        ),
    },
    Client { program: "opencode", effect: None },
    Client { program: "aider", effect: Some("litellm leaves usage out of streams once a base URL is set") },
    Client {
        program: "mini",
        effect: Some(
            "mini-swe-agent stands on litellm, which leaves usage out of streams once a base URL is set",
        ),
    },
    Client { program: "node", effect: None },
];

/// Python packages with what a base URL changes in them.
const PACKAGES: &[(&str, Option<&str>)] = &[
    ("openai", None),
    ("anthropic", None),
    ("google-genai", None),
    ("langchain-anthropic", None),
    ("langchain-google-genai", None),
    ("ollama", None),
    ("groq", None),
    ("cohere", None),
    ("smolagents", None),
    ("mistralai", Some("takes its address from no variable: Mistral(server_url=…), see docs/clients.md")),
    ("boto3", Some("signs requests over their host: calls to Bedrock cannot be led here by a variable")),
    (
        "claude-agent-sdk",
        Some("brings a claude-code of its own, which sends another prompt once a base URL is set"),
    ),
    (
        "langchain-openai",
        Some("leaves usage out of streams once a base URL is set: ChatOpenAI(stream_usage=True)"),
    ),
    (
        "litellm",
        Some("leaves usage out of streams once a base URL is set: stream_options={\"include_usage\": True}"),
    ),
    (
        "openai-agents",
        Some(
            "drops prompt_cache_key, and sends its tracing straight to the vendor: OPENAI_AGENTS_DISABLE_TRACING=1",
        ),
    ),
    ("pydantic-ai", None),
];

/// How long Python may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn check(path: Option<&OsStr>) -> Vec<Finding> {
    let found = |program: &str| {
        let folders = path.map(std::env::split_paths).into_iter().flatten();
        folders.map(|folder| folder.join(program)).find(|file| file.is_file())
    };
    let mut findings = Vec::new();
    for Client { program, effect } in CLIENTS {
        if found(program).is_some() {
            let effect = effect.map(|effect| format!(": {effect}")).unwrap_or_default();
            findings.push(Finding::ok("client", format!("{program} is installed{effect}")));
        }
    }
    if let Some(python) = ["python3", "python"].into_iter().find_map(found) {
        let installed = packages(python.as_os_str()).unwrap_or_default();
        if !installed.is_empty() {
            let names: Vec<String> =
                installed.iter().map(|(name, version)| format!("{name} {version}")).collect();
            findings.push(Finding::ok("client", format!("python has {}", names.join(", "))));
        }
        for (name, _) in installed {
            if let Some((_, Some(effect))) = PACKAGES.iter().find(|(package, _)| *package == name) {
                findings.push(Finding::ok("client", format!("{name} {effect}")));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("client", "no known client is on PATH; any program on a known SDK works"));
    }
    findings
}

/// Installed packages and their versions; `None` if Python does not say in time.
fn packages(python: &OsStr) -> Option<Vec<(String, String)>> {
    let script = "import sys\nfrom importlib.metadata import version\nfor name in sys.argv[1:]:\n  try: print(name, version(name))\n  except Exception: pass";
    let mut child = Command::new(python)
        .args(["-I", "-c", script])
        .args(PACKAGES.iter().map(|(name, _)| name))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() > deadline {
            child.kill().ok()?;
            child.wait().ok()?;
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pair = |line: &str| line.split_once(' ').map(|(name, version)| (name.to_owned(), version.to_owned()));
    Some(text.lines().filter_map(pair).collect())
}

//! What a hook adds to a tool call: one tool called again and again, plain, recorded and replayed, in turns.
//!
//!     LOOPTAPE_CLIENTS=DIR cargo bench -p looptape-cli --bench tool_hooks                  # 2000 calls, 3 rounds
//!     LOOPTAPE_CLIENTS=DIR cargo bench -p looptape-cli --bench tool_hooks -- calls=500 rounds=1
//!
//! It needs the clients of tests/clients/install.sh (groups venv and node-agents). Each program measures its own calls;
//! the difference of the medians is what the hook costs the agent.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use looptape_core::simulated::Script;
use looptape_proxy::simulated_server::SimulatedServer;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() {
    let Some(clients) = std::env::var_os("LOOPTAPE_CLIENTS").map(PathBuf::from) else {
        println!("SKIPPED: LOOPTAPE_CLIENTS is not set (tests/clients/README.md says how)");
        return;
    };
    let (calls, rounds) = (argument("calls", 2000), argument("rounds", 3));
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (url, _server) = runtime.block_on(SimulatedServer::start(Script::tool_loop())).unwrap();
    let python = [clients.join("venv/bin/python"), programs.join("python/tool_overhead.py")];
    let node = [PathBuf::from("node"), programs.join("node/tool_overhead.mjs")];
    for (name, program) in [("LangChain (Python)", python), ("OpenAI Agents (Node)", node)] {
        let bench =
            Bench { home: tempfile::tempdir().unwrap(), url: &url, program, calls: calls.to_string() };
        for _ in 0..rounds {
            let plain = bench.run(&["record", "--no-tool-hooks", "--upstream"]);
            let recorded = bench.run(&["record", "--upstream"]);
            let replayed = bench.run(&["replay", "last"]);
            println!(
                "{name}: plain {plain:.0} µs a call; recorded +{:.0} µs; replayed +{:.0} µs (medians of {calls})",
                recorded - plain,
                replayed - plain
            );
        }
    }
}

struct Bench<'a> {
    home: tempfile::TempDir,
    url: &'a str,
    program: [PathBuf; 2],
    calls: String,
}

impl Bench<'_> {
    /// The median that the program says, in µs.
    fn run(&self, words: &[&str]) -> f64 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptape"));
        command.args(words);
        if words.last() == Some(&"--upstream") {
            command.arg(format!("openai={}", self.url));
        }
        command.arg("--").args(&self.program).arg(&self.calls);
        command.env("HOME", self.home.path()).env("LOOPTAPE_DB", self.home.path().join("bench.db"));
        let output = command.stderr(Stdio::null()).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        said["p50"].as_f64().unwrap()
    }
}

fn argument(name: &str, usual: u32) -> u32 {
    let value = |word: String| word.strip_prefix(&format!("{name}=")).and_then(|value| value.parse().ok());
    std::env::args().find_map(value).unwrap_or(usual)
}

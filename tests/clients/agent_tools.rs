//! Coding agents' own tools in a replay: a command that would leave a mark leaves none, and the model is told what was
//! recorded.

use super::installed::{Client, Clients};
use super::tool_hooks::record_with;
use super::{NOBODY, Recorded, for_each, record, words};
use crate::env::{Ran, TestEnv};
use looptape_core::simulated::{PlannedCall, Script, Turn};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const AGENTS: [&str; 7] = [
    "claude-code",
    "claude-agent-sdk",
    "codex",
    "opencode-anthropic",
    "opencode-openai",
    "gemini-cli",
    "mini-swe-agent",
];

/// What a command that runs leaves behind.
const MARK: &str = "ran.txt";

/// The shell task, with a first command that leaves a mark.
fn marking() -> Script {
    let mut script = Script::shell_task();
    for call in &mut script.turns[0].calls {
        let marking = call.arguments.to_string().replace("wc -l", &format!("echo x >> {MARK}; wc -l"));
        call.arguments = serde_json::from_str(&marking).unwrap();
    }
    script
}

/// A replay in a folder of its own, with the provider gone.
struct Elsewhere {
    env: TestEnv,
    ran: Ran,
    report: Value,
}

impl Elsewhere {
    fn replay(clients: &Clients, client: &Client, recorded: &Recorded, options: &[&str]) -> Self {
        let mut env = clients.env_in("elsewhere", client, NOBODY);
        env.set("LOOPTAPE_DB", recorded.env.database().to_str().unwrap());
        let report = env.home().join("report.json");
        let first = [&["replay", &recorded.id, "--report", report.to_str().unwrap()], options].concat();
        let ran = env.looptape(&words(&first, &recorded.command));
        let report = fs::read(&report).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        Self { report: serde_json::from_slice(&report).unwrap(), env, ran }
    }

    /// Its verdict with the exit code, and whether the first command ran.
    fn came_to(&self) -> (Option<i32>, &str, bool) {
        let mark = self.env.home().join("elsewhere").join(MARK);
        (self.ran.code, self.report["replay"]["verdict"].as_str().unwrap(), mark.exists())
    }

    fn tools(&self, member: &str) -> u64 {
        self.report["replay"]["tools"][member].as_u64().unwrap_or_default()
    }
}

#[test]
fn no_tool_of_a_coding_agent_runs_in_a_replay_unless_it_is_told_to() {
    let Some(clients) = Clients::installed("coding agents' own tools") else { return };
    for_each(&clients.able(&AGENTS), |client| {
        let recorded = record(&clients, client, Some(marking()));
        assert!(recorded.env.home().join("work").join(MARK).exists(), "the tool ran: {:?}", recorded.ran);
        let tools = u64::from(client.tools);

        let served = Elsewhere::replay(&clients, client, &recorded, &[]);
        assert_eq!(served.came_to(), (Some(0), "replayed", false), "{:?}", served.ran);
        assert_eq!(served.tools("recorded"), tools, "{:#}", served.report["replay"]["tools"]);
        assert!(served.report["replay"]["unused"].as_array().unwrap().is_empty());
        assert!(served.ran.stdout.contains(&client.says), "{:?}", served.ran);
        assert!(!served.ran.stderr.contains("did not ask"), "{:?}", served.ran);

        let live = Elsewhere::replay(&clients, client, &recorded, &["--tools", "live"]);
        assert_eq!(live.came_to(), (Some(0), "replayed", true), "{:?}", live.ran);
        assert_eq!(live.tools("live"), tools, "{:#}", live.report["replay"]["tools"]);
    });
}

#[test]
fn without_hooks_a_coding_agents_tools_run_again() {
    let Some(clients) = Clients::installed("coding agents without hooks") else { return };
    for_each(&clients.able(&["claude-code", "mini-swe-agent"]), |client| {
        let recorded = record_with(&clients, client, marking(), &["--no-tool-hooks"]);
        let alone = Elsewhere::replay(&clients, client, &recorded, &["--no-tool-hooks"]);
        assert_eq!(alone.came_to(), (Some(0), "replayed", true), "{:?}", alone.ran);
        assert!(alone.report["replay"]["tools"].is_null());
    });
}

/// aider's commands are no tools that a model calls; what they gave is known because it was measured.
#[test]
fn aiders_commands_do_not_run_again_and_its_edits_do() {
    let Some(clients) = Clients::installed("aider's commands") else { return };
    for_each(&clients.able(&["aider"]), |client| {
        let mut client = client.clone();
        client.add(&["--auto-test", "--test-cmd", &format!("echo x >> {MARK}")]);
        let mut script = Script::shell_task();
        script.turns.truncate(1);
        script.turns[0].calls.clear();
        let edit = "hello.txt\n```\n<<<<<<< SEARCH\n=======\nhello\n>>>>>>> REPLACE\n```\n";
        script.turns[0].text = format!("I greet Oslo.\n\n{edit}");
        let recorded = record(&clients, &client, Some(script));
        assert!(recorded.env.home().join("work").join(MARK).exists(), "it ran: {:?}", recorded.ran);

        let served = Elsewhere::replay(&clients, &client, &recorded, &[]);
        assert_eq!(served.came_to(), (Some(0), "replayed", false), "{:?}", served.ran);
        assert_eq!(served.tools("recorded"), 1);
        let greeting = fs::read_to_string(served.env.home().join("elsewhere/hello.txt"));
        assert_eq!(greeting.unwrap_or_default(), "hello\n", "{:?}", served.ran);

        let live = Elsewhere::replay(&clients, &client, &recorded, &["--tools", "live"]);
        assert_eq!(live.came_to(), (Some(0), "replayed", true), "{:?}", live.ran);
    });
}

/// What an agent writes, reads and edits, where the file that it wrote is not there.
fn edits(folder: &Path) -> Script {
    let file = folder.join("notes.txt");
    let call = |name: &str, arguments: Value| vec![PlannedCall { name: name.to_owned(), arguments }];
    let turn = |after_tool_results, calls| Turn {
        after_tool_results,
        rejections: Vec::new(),
        text: String::from("I keep notes."),
        calls,
    };
    let write = json!({ "file_path": file, "content": "one\n" });
    let edit = json!({ "file_path": file, "old_string": "one", "new_string": "two" });
    let script = Script::shell_task();
    let turns = vec![
        turn(0, call("Write", write)),
        turn(1, call("Read", json!({ "file_path": file }))),
        turn(2, call("Edit", edit)),
        turn(3, Vec::new()),
    ];
    Script { turns, ..script }
}

#[test]
fn files_are_neither_written_nor_needed_in_a_replay() {
    let Some(clients) = Clients::installed("coding agents' edits") else { return };
    for_each(&clients.able(&["claude-code"]), |client| {
        let notes = tempfile::tempdir().unwrap();
        let file = notes.path().join("notes.txt");
        let mut client = client.clone();
        client.add(&["Write", "Read", "Edit", &format!("--add-dir={}", notes.path().display())]);
        let recorded = record(&clients, &client, Some(edits(notes.path())));
        assert_eq!(fs::read_to_string(&file).unwrap(), "two\n", "{:?}", recorded.ran);
        fs::remove_file(&file).unwrap();

        let served = Elsewhere::replay(&clients, &client, &recorded, &[]);
        assert_eq!(served.came_to(), (Some(0), "replayed", false), "{:?}", served.ran);
        assert!(!file.exists(), "nothing was written");
        assert_eq!((served.tools("recorded"), served.tools("not_asked")), (3, 1), "{:?}", served.ran);
    });
}

//! Tools of real frameworks under hooks: each run of a tool leaves a line in a file, so a test sees whether it ran.

use super::installed::{Client, Clients, programs, say};
use super::upstreams::Provider;
use super::{NOBODY, Recorded, for_each, record, words};
use crate::env::{Ran, TestEnv};
use looptape_core::simulated::Script;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const HOOKED: [&str; 14] = [
    "langgraph-chat",
    "langchain-anthropic",
    "openai-agents-stream",
    "pydantic-ai-chat",
    "smolagents-openai",
    "vercel-ai-responses",
    "vercel-ai-chat-stream",
    "vercel-ai-imported",
    "vercel-ai-4",
    "vercel-ai-4-stream-imported",
    "vercel-ai-5",
    "vercel-ai-5-stream-imported",
    "openai-agents-node",
    "openai-agents-node-imported",
];

/// A client whose tools leave a line in a file for each time they run.
struct Watched {
    client: Client,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Watched {
    fn new(client: &Client) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ran");
        let mut client = client.clone();
        client.tell(&format!("TOOLS_RAN={}", file.display()));
        Self { client, file, _folder: folder }
    }

    /// How often tools ran since this was asked last.
    fn ran(&self) -> usize {
        let lines = fs::read_to_string(&self.file).unwrap_or_default().lines().count();
        let _ = fs::remove_file(&self.file);
        lines
    }
}

fn replayed(recorded: &Recorded, options: &[&str]) -> (Ran, Value) {
    let report = recorded.env.home().join("report.json");
    let first = [&["replay", &recorded.id, "--report", report.to_str().unwrap()], options].concat();
    let ran = recorded.env.looptape(&words(&first, &recorded.command));
    (ran, serde_json::from_slice(&fs::read(report).unwrap()).unwrap())
}

#[test]
fn no_tool_of_a_hooked_framework_runs_in_a_replay() {
    let Some(clients) = Clients::installed("hooked frameworks") else { return };
    for_each(&clients.able(&HOOKED), |client| {
        let watched = Watched::new(client);
        let recorded = record(&clients, &watched.client, None);
        assert_eq!(watched.ran(), client.tools as usize, "the tools ran while recording");
        assert!(!recorded.ran.stderr.contains("tool hooks"), "{}", recorded.ran.stderr);
        let shown = recorded.env.looptape(&["show", &recorded.id, "--json"]);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        let steps = shown["steps"].as_array().unwrap();
        let tools: Vec<&Value> =
            steps.iter().map(|step| &step["tool"]).filter(|tool| !tool.is_null()).collect();
        assert_eq!(tools.len(), client.tools as usize, "no call is counted twice");
        assert!(
            tools.iter().all(|tool| tool["outcome"] == "ok" && tool["source"] == "measured"),
            "{tools:#?}"
        );

        let (ran, report) = replayed(&recorded, &[]);
        assert_eq!((ran.code, watched.ran()), (Some(0), 0), "no tool ran: {ran:?}");
        assert_eq!(ran.stdout, recorded.ran.stdout, "the run is the same");
        assert_eq!(report["replay"]["verdict"], "replayed");

        let (ran, _) = replayed(&recorded, &["--no-tool-hooks"]);
        assert_eq!((ran.code, watched.ran()), (Some(0), client.tools as usize), "{ran:?}");
    });
}

/// A function that a framework's tool runs may be said to looptape by its module as well.
#[test]
fn a_function_that_is_hooked_and_decorated_is_one_call() {
    let Some(clients) = Clients::installed("decorated functions") else { return };
    let names = [
        "langgraph-chat",
        "openai-agents",
        "pydantic-ai-chat",
        "smolagents-openai",
        "vercel-ai-responses",
        "openai-agents-node",
    ];
    for_each(&clients.able(&names), |client| {
        let mut decorated = client.clone();
        decorated.tell("TOOLS_DECORATED=1");
        let watched = Watched::new(&decorated);
        let recorded = record_with(&clients, &watched.client, Script::tool_loop(), &[]);
        let ran = watched.ran();
        let shown = recorded.env.looptape(&["show", &recorded.id, "--json"]);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        let steps = shown["steps"].as_array().unwrap();
        let tools = steps.iter().filter(|step| step["tool"]["source"] == "measured").count();
        assert_eq!((ran, tools), (client.tools as usize, client.tools as usize), "{steps:#?}");

        let (ran, report) = replayed(&recorded, &[]);
        assert_eq!((ran.code, watched.ran()), (Some(0), 0), "{ran:?}");
        assert_eq!(report["replay"]["tools"]["recorded"], client.tools);
        let (ran, report) = replayed(&recorded, &["--tools", "live"]);
        assert_eq!((ran.code, watched.ran()), (Some(0), client.tools as usize), "{ran:?}");
        assert_eq!(report["replay"]["tools"]["live"], client.tools);
    });
}

#[test]
fn what_the_proxy_alone_recorded_answers_hooked_tools() {
    let Some(clients) = Clients::installed("recordings without hooks") else { return };
    let names = [
        "langgraph-responses",
        "openai-agents",
        "pydantic-ai-anthropic",
        "pydantic-ai-google",
        "vercel-ai-anthropic",
    ];
    for_each(&clients.able(&names), |client| {
        let watched = Watched::new(client);
        let recorded = record_with(&clients, &watched.client, Script::tool_loop(), &["--no-tool-hooks"]);
        assert_eq!(watched.ran(), client.tools as usize);
        let (ran, _) = replayed(&recorded, &[]);
        assert_eq!((ran.code, watched.ran()), (Some(0), 0), "no tool ran: {ran:?}");
        assert_eq!(ran.stdout, recorded.ran.stdout);
    });
}

#[test]
fn values_and_errors_come_back_as_they_were() {
    let Some(clients) = Clients::installed("kinds of results") else { return };
    for_each(&clients.able(&["langgraph-chat"]), |client| {
        let watched = Watched::new(&client.running("{tests}/python/tool_results.py"));
        let recorded = record_with(&clients, &watched.client, Script::tool_loop(), &[]);
        let first = &recorded.ran.stdout;
        assert_eq!(watched.ran(), 9, "{first}");
        insta::assert_snapshot!(first, @r#"
        an_object ToolMessage ToolMessage(content='{"z": 0.1, "a": 12345678901234567890, "nested": [{"ü": null, "t": true}]}', name='an_object', tool_call_id='c-an_object')
        nothing ToolMessage ToolMessage(content='null', name='nothing', tool_call_id='c-nothing')
        with_artifact ToolMessage ToolMessage(content='read it', name='with_artifact', tool_call_id='c-with_artifact', artifact={'bytes': 3})
        a_command Command Command(update={'seen': True, 'messages': [ToolMessage(content='done', tool_call_id='c-a_command')]}, goto='next')
        refuses raised Refused ('not today', 7) {'code': 7}
        too_slow raised TimeoutError ('after 3 s',) {}
        of_class ToolMessage ToolMessage(content='(1+2j)', name='of_class', tool_call_id='c-of_class')
        sub_agent ToolMessage ToolMessage(content='You said: Say yes', name='sub_agent', tool_call_id='c-sub_agent')
        interrupts raised GraphInterrupt ((),) {}
        awaited ToolMessage ToolMessage(content='["Oslo", 7.5]', name='awaited', tool_call_id='c-awaited')
        direct dict {'z': 0.1, 'a': 12345678901234567890, 'nested': [{'ü': None, 't': True}]}
        "#);
        let (ran, _) = replayed(&recorded, &[]);
        assert_eq!((ran.code, watched.ran()), (Some(0), 0), "{ran:?}");
        assert_eq!(ran.stdout, *first);
    });
}

#[test]
fn nobody_to_speak_to_harms_no_recorded_agent_and_lets_no_replayed_tool_run() {
    let Some(clients) = Clients::installed("hooks without a server") else { return };
    for_each(&clients.able(&["langgraph-chat", "vercel-ai-responses"]), |client| {
        let watched = Watched::new(client);
        let mut alone = watched.client.clone();
        alone.tell(&format!("LOOPTAPE_URL={NOBODY}"));
        let recorded = record_with(&clients, &alone, Script::tool_loop(), &[]);
        assert_eq!(watched.ran(), client.tools as usize);
        assert!(recorded.ran.stdout.contains(&client.says));
        let (ran, _) = replayed(&recorded, &[]);
        assert_eq!(watched.ran(), 0, "{ran:?}");
        assert_ne!(ran.code, Some(0));
    });
}

pub(super) fn record_with(clients: &Clients, client: &Client, script: Script, options: &[&str]) -> Recorded {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (url, provider) = runtime.block_on(Provider::playing(script));
    let env = clients.env(client, &url);
    let command = clients.command(client, &programs());
    let ran = env.looptape(&words(&[&["record"], options].concat(), &command));
    let calls = runtime.block_on(provider.stop());
    assert_eq!(ran.code, Some(0), "record: {ran:?}");
    Recorded { id: ran.trace().to_owned(), env, command, ran, calls }
}

/// A program beside files of its own, run under `record`; yields what it printed and what was said.
fn run_beside(files: &[(&str, &str)], program: &[&str], variables: &[(&str, &str)]) -> Option<Ran> {
    if std::process::Command::new(program[0]).arg("--version").output().is_err() {
        say(&format!("SKIPPED hooks in {}: it is not installed", program[0]));
        return None;
    }
    let mut env = TestEnv::new();
    for (name, value) in variables {
        env.set(name, &value.replace("{home}", env.home().to_str().unwrap()));
    }
    for (name, text) in files {
        let file = env.home().join(name);
        fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(file, text).unwrap();
    }
    let command: Vec<String> = program.iter().map(|word| (*word).to_owned()).collect();
    let ran = env.looptape(&words(&["record"], &command));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    Some(ran)
}

fn hook_lines(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.contains("tool hooks")).collect()
}

#[test]
fn an_unknown_framework_in_python_is_left_alone_with_one_line() {
    let files = [
        ("agent.py", "from langchain_core.tools.base import BaseTool\nprint(BaseTool().run('x'))\n"),
        ("langchain_core/__init__.py", ""),
        ("langchain_core/tools/__init__.py", ""),
        (
            "langchain_core/tools/base.py",
            "class BaseTool:\n    def run(self, text):\n        return text * 2\n",
        ),
    ];
    let Some(ran) = run_beside(&files, &["python3", "agent.py"], &[]) else { return };
    assert_eq!(ran.stdout, "xx\n");
    insta::assert_snapshot!(hook_lines(&ran).join("\n"), @"looptape: tool hooks: langchain-core is not known (BaseTool.run takes no tool_call_id): its tools are neither recorded nor served");
}

#[test]
fn an_unknown_framework_in_node_is_left_alone_with_one_line() {
    let source = "export async function generateText() { return 'xx'; }\nexport function streamText() {}\n";
    let package = r#"{ "name": "ai", "version": "99.1.0", "type": "module", "exports": "./dist/index.mjs" }"#;
    let files = [
        ("agent.mjs", "import { generateText } from 'ai';\nconsole.log(await generateText());\n"),
        ("node_modules/ai/package.json", package),
        ("node_modules/ai/dist/index.mjs", source),
    ];
    let Some(ran) = run_beside(&files, &["node", "agent.mjs"], &[]) else { return };
    assert_eq!(ran.stdout, "xx\n");
    insta::assert_snapshot!(hook_lines(&ran).join("\n"), @"looptape: tool hooks: ai 99.1.0 is not known (only 4.x, 5.x, 6.x is): its tools are neither recorded nor served");
}

#[test]
fn a_sitecustomize_of_the_users_own_still_runs() {
    let files = [
        ("own/sitecustomize.py", "print('own', __name__, __file__.rsplit('/', 1)[0])\n"),
        ("agent.py", "import sitecustomize\nprint(sitecustomize.__file__.rsplit('/', 2)[1])\n"),
    ];
    let own = [("PYTHONPATH", "{home}/own")];
    let Some(ran) = run_beside(&files, &["python3", "agent.py"], &own) else { return };
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("own sitecustomize ") && lines[0].ends_with("/own"), "{lines:?}");
    assert_eq!(lines[1..], ["own"]);
}

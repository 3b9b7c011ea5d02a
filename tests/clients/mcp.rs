//! Agents and SDKs that speak to a real MCP server: what they start is led here by their configuration alone.

use super::installed::{Client, Clients, programs, say};
use super::upstreams::Provider;
use crate::env::{Ran, TestEnv};
use crate::mcp::HttpServer;
use looptape_core::simulated::{PlannedCall, Script, Turn};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

const SERVER: &str = "mcp/node_modules/@modelcontextprotocol/server-everything/dist/index.js";

/// Where the real server is, if it is installed.
fn server() -> Option<(Clients, PathBuf)> {
    let clients = Clients::installed("clients of MCP servers")?;
    let server = clients.folder().join(SERVER);
    if !server.exists() {
        say("SKIPPED clients of MCP servers: mcp is not installed");
        return None;
    }
    Some((clients, server))
}

/// A model that wants a sum from the server, by the names that agents give its tool, and then is content.
fn script() -> Script {
    let names = ["mcp__everything__get-sum", "mcp__everything__get_sum", "mcp_everything_get-sum", "get-sum"];
    let call = |name: &str| PlannedCall { name: name.to_owned(), arguments: json!({ "a": 20, "b": 22 }) };
    let turn = |after_tool_results, text: &str, calls| Turn {
        after_tool_results,
        rejections: Vec::new(),
        text: text.to_owned(),
        calls,
    };
    let turns = vec![
        turn(0, "I ask for the sum.", names.map(call).to_vec()),
        turn(1, "The sum is what it said.", Vec::new()),
    ];
    Script { turns, ..Script::tool_loop() }
}

fn over<'a>(verb: &[&'a str], command: &'a [String]) -> Vec<&'a str> {
    verb.iter().copied().chain(["--"]).chain(command.iter().map(String::as_str)).collect()
}

#[test]
fn the_python_sdk_speaks_to_a_recording_as_to_the_server() {
    let Some((clients, server)) = server() else { return };
    let env = TestEnv::new();
    let shim = |server: &str| {
        let words = ["venv/bin/python"].map(|file| clients.folder().join(file).display().to_string());
        let client = programs().join("python/mcp_client.py").display().to_string();
        let looptape = env!("CARGO_BIN_EXE_looptape");
        let more = [&client, looptape, "mcp", "--name", "everything", "--", "node", server, "stdio"]
            .map(str::to_owned);
        [words.to_vec(), more.to_vec()].concat()
    };
    let real = shim(&server.display().to_string());
    let recorded = env.looptape(&over(&["record"], &real));
    assert_eq!(recorded.code, Some(0), "{recorded:?}");
    assert!(
        recorded.stdout.contains("get-sum The sum of 2 and 3 is 5.")
            && recorded.stdout.contains("[1.0, 2.0, 3.0]")
    );
    let nowhere = shim("/does/not/exist.js");
    let replayed = env.looptape(&over(&["replay", "last"], &nowhere));
    assert_eq!((replayed.code, &replayed.stdout), (Some(0), &recorded.stdout), "{replayed:?}");
}

/// A server of an agent's: its command, and whether the agent is to wait for it.
struct AgentsServer {
    command: [String; 3],
    is_waited_for: bool,
}

impl AgentsServer {
    /// Writes it down where the agent looks for it, and lets the agent's command use its tools.
    fn configure(&self, name: &str, env: &mut TestEnv, command: &mut Vec<String>) {
        let [program, arguments @ ..] = &self.command;
        let entry = json!({ "mcpServers": { "everything": { "command": program, "args": arguments } } });
        let (file, text) = match name {
            "claude-code" => {
                command.push("mcp__everything".to_owned());
                if self.is_waited_for {
                    env.set("MCP_CONNECTION_NONBLOCKING", "0");
                    env.set("MCP_CONNECT_TIMEOUT_MS", "60000");
                }
                (".claude.json", entry.to_string())
            }
            "codex" => {
                let required = self.is_waited_for;
                let table = format!(
                    "[mcp_servers.everything]\nrequired = {required}\nstartup_timeout_sec = 60\n\
                     command = {program:?}\nargs = {arguments:?}\n"
                );
                (".codex/config.toml", table)
            }
            _ => (".gemini/settings.json", entry.to_string()),
        };
        let file = env.home().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
}

/// Records an agent with a server, and replays it; also what `show --json` says of the recording.
fn recorded_and_replayed(clients: &Clients, client: &Client, server: &AgentsServer) -> (Ran, String, Ran) {
    let runtime = runtime();
    let (url, provider) = runtime.block_on(Provider::playing(script()));
    let mut env = clients.env(client, &url);
    let mut command = clients.command(client, &programs());
    server.configure(&client.name, &mut env, &mut command);
    let recorded = env.looptape(&over(&["record"], &command));
    runtime.block_on(provider.stop());
    assert_eq!(recorded.code, Some(0), "{}: {recorded:?}", client.name);
    let shown = env.looptape(&["show", recorded.trace(), "--json"]).stdout;
    let replayed = env.looptape(&over(&["replay", recorded.trace()], &command));
    (recorded, shown, replayed)
}

/// The servers of these agents stand in files that they read; the agents are run as they always are.
#[test]
fn agents_need_no_change() {
    let Some((clients, server)) = server() else { return };
    let command = ["node".to_owned(), server.display().to_string(), "stdio".to_owned()];
    let server = AgentsServer { command, is_waited_for: true };
    for name in ["claude-code", "codex", "gemini-cli"] {
        for client in clients.able(&[name]) {
            let (recorded, shown, replayed) = recorded_and_replayed(&clients, &client, &server);
            // Codex names a server's tools in a way of its own, in which the simulated model does not ask.
            let said = if name == "claude-code" { "tools/call get-sum" } else { "tools/list" };
            assert!(shown.contains(said), "{name}: {shown}\n{recorded:?}");
            // gemini-cli asks for the list again when the server says that it changed, and asks its model without waiting:
            // which of the two comes first is not the same from run to run, nor is what it then offers the model.
            assert!(name == "gemini-cli" || replayed.code == Some(0), "{name}: {replayed:?}");
            assert!(served_without_a_start(&replayed), "{name}: {replayed:?}");
            let calls = shown.matches("tools/call get-sum").count().min(1);
            let served = format!("{calls} of {calls} recorded tool calls served");
            assert!(name == "gemini-cli" || replayed.stderr.contains(&served), "{name}: {replayed:?}");
            say(&format!("{name}: its MCP server was recorded and replayed"));
        }
    }
}

/// These ask their model while a server still starts. A replay starts none: it must not be quicker than the server was.
#[test]
fn agents_that_do_not_wait_for_a_server_are_told_no_sooner_in_a_replay() {
    let Some((clients, server)) = server() else { return };
    let slowly = format!("sleep 8; exec node '{}' stdio", server.display());
    let server = AgentsServer { command: ["sh".to_owned(), "-c".to_owned(), slowly], is_waited_for: false };
    for client in clients.able(&["claude-code", "codex"]) {
        let (_, _, replayed) = recorded_and_replayed(&clients, &client, &server);
        assert_eq!(replayed.code, Some(0), "{}: {replayed:?}", client.name);
        say(&format!("{}: a slow MCP server was recorded and replayed", client.name));
    }
}

fn served_without_a_start(replayed: &Ran) -> bool {
    replayed.stderr.contains("MCP server everything, not started: ")
}

/// Frameworks whose hooks measure the same calls as the shim and the proxy do.
#[test]
fn what_a_frameworks_hook_and_its_server_measure_is_one_call() {
    let Some(clients) = Clients::installed("frameworks with MCP servers") else { return };
    for client in clients.able(&["openai-agents"]) {
        for (framework, group) in [("openai-agents", "venv"), ("langchain", "langchain-mcp")] {
            let python = |group: &str| clients.folder().join(group).join("bin/python").display().to_string();
            if !clients.folder().join(group).exists() {
                say(&format!("SKIPPED {framework} with an MCP server: {group} is not installed"));
                continue;
            }
            let program = |name: &str| programs().join("python").join(name).display().to_string();
            let mut server = Command::new(python("venv"));
            let http = HttpServer::start(server.args([&program("mcp_weather_server.py"), "http"]));
            let upstream = format!("mcp-weather={}", http.url);
            for transport in ["stdio", "http"] {
                let runtime = runtime();
                let (url, provider) = runtime.block_on(Provider::playing(Script::tool_loop()));
                let env = clients.env(&client, &url);
                let mut command = vec![python(group), program("mcp_agent.py"), framework.to_owned()];
                match transport {
                    "http" => command.push("http".to_owned()),
                    _ => {
                        let shim = [env!("CARGO_BIN_EXE_looptape"), "mcp", "--name", "weather", "--"];
                        command.extend(shim.map(str::to_owned));
                        command.extend([
                            python("venv"),
                            program("mcp_weather_server.py"),
                            "stdio".to_owned(),
                        ]);
                    }
                }
                let recorded = env.looptape(&over(&["record", "--upstream", &upstream], &command));
                runtime.block_on(provider.stop());
                let what = format!("{framework} over {transport}");
                assert_eq!(recorded.code, Some(0), "{what}: {recorded:?}");
                assert_eq!(measured(&env, recorded.trace()), ["1.1 ok", "1.2 ok", "2.1 ok"], "{what}");
                for options in [&[][..], &["--no-tool-hooks"], &["--tools", "live", "--upstream", &upstream]]
                {
                    let verb = [&["replay", recorded.trace()], options].concat();
                    let replayed = env.looptape(&over(&verb, &command));
                    assert_eq!(replayed.code, Some(0), "{what} {options:?}: {replayed:?}");
                    assert_eq!(replayed.stdout, recorded.stdout, "{what} {options:?}");
                    let is_live = options.contains(&"live");
                    assert_eq!(
                        replayed.stderr.contains("get_weather: 2 of 2 as recorded"),
                        is_live,
                        "{what}: {replayed:?}"
                    );
                    let shown = measured(&env, "last-replay");
                    assert_eq!(shown, ["1.1 ok", "1.2 ok", "2.1 ok"], "{what} {options:?}");
                }
            }
            say(&format!("{framework}: each tool call of its MCP server is one entry, and was compared"));
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The tool calls of a trace, by step, with their outcomes.
fn measured(env: &TestEnv, trace: &str) -> Vec<String> {
    let shown = env.looptape(&["show", trace, "--json"]).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let tools = shown["steps"].as_array().unwrap().iter().filter(|step| step["kind"] == "tool");
    let mut tools: Vec<String> = tools
        .map(|tool| {
            format!("{}.{} {}", tool["step"], tool["sub"], tool["tool"]["outcome"].as_str().unwrap_or("none"))
        })
        .collect();
    tools.sort();
    tools
}

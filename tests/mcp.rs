//! MCP servers: recorded as they are, with all their habits, and replayed without being started.

use crate::env::{Ran, TestEnv};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A place with a server in it.
struct Place {
    env: TestEnv,
}

/// A server over HTTP that prints its address, ended when this is dropped.
pub(crate) struct HttpServer {
    child: Child,
    pub(crate) url: String,
}

impl HttpServer {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn message(id: u32, method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string() + "\n"
}

fn call(id: u32, habit: &str) -> String {
    let params = json!({ "name": "do", "arguments": { "habit": habit }, "_meta": { "progressToken": id } });
    message(id, "tools/call", params)
}

/// What a client says first.
fn hello(from: u32) -> String {
    let initialize = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    message(from, "initialize", initialize)
        + "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n"
        + &message(from + 1, "tools/list", json!({}))
}

impl Place {
    fn new() -> Self {
        let mut env = TestEnv::new();
        env.work_in("project");
        Self { env }
    }

    fn started(&self) -> PathBuf {
        self.env.home().join("started")
    }

    /// How often the server was started.
    fn starts(&self) -> usize {
        std::fs::read_to_string(self.started()).unwrap_or_default().lines().count()
    }

    fn server(&self) -> Vec<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/mcp/server.py");
        let words =
            ["python3".to_owned(), script.display().to_string(), self.started().display().to_string()];
        words.to_vec()
    }

    /// A client that says all of this to a server behind `looptape mcp` and closes.
    fn says(&self, options: &[&str], said: &str) -> Ran {
        let server = self.server();
        let mut words = vec!["mcp", "--name", "habits"];
        words.extend(options);
        words.push("--");
        words.extend(server.iter().map(String::as_str));
        self.pipe(&words, said)
    }

    fn pipe(&self, words: &[&str], said: &str) -> Ran {
        let mut command = self.env.command(words);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let said = said.to_owned();
        // A server that has ended takes no more.
        let writing = std::thread::spawn(move || input.write_all(said.as_bytes()).is_ok());
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        Ran::from(output)
    }

    /// How often a tool of the HTTP server was called.
    fn http_calls(&self) -> usize {
        let calls = std::fs::read_to_string(self.env.home().join("http-calls"));
        calls.unwrap_or_default().lines().count()
    }

    fn http_server(&self) -> HttpServer {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/mcp/http_server.py");
        HttpServer::start(Command::new("python3").arg(script).arg(self.env.home().join("http-calls")))
    }

    /// An agent under `record` or `replay` that says all of this to the server over HTTP.
    fn http_agent(&self, verb: &[&str], said: &str) -> Ran {
        let file = self.env.home().join("said");
        std::fs::write(&file, said).unwrap();
        let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/mcp/http_client.py");
        let words = ["--", "python3", client.to_str().unwrap(), file.to_str().unwrap()];
        self.env.looptape(&[verb, &words].concat())
    }

    fn shown(&self, trace: &str) -> Value {
        let ran = self.env.looptape(&["show", trace, "--json"]);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Replays with a report.
    fn reported(&self, replay: impl FnOnce(&[&str]) -> Ran, options: &[&str]) -> (Ran, Value) {
        let report = self.env.home().join("report.json");
        let ran = replay(&[&["replay", "last", "--report", report.to_str().unwrap()], options].concat());
        let report = std::fs::read(&report).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        (ran, serde_json::from_slice(&report).unwrap())
    }

    /// `looptape.toml` in the folder where everything is run.
    fn config(&self, text: &str) {
        std::fs::write(self.env.home().join("project/looptape.toml"), text).unwrap();
    }

    /// The same under `record` or `replay`, the client being a shell.
    fn agent(&self, verb: &[&str], said: &str) -> Ran {
        let file = self.env.home().join("said");
        std::fs::write(&file, said).unwrap();
        let script = format!(
            "{} mcp --name habits -- {} < {}",
            env!("CARGO_BIN_EXE_looptape"),
            self.server().join(" "),
            file.display()
        );
        self.env.looptape(&[verb, &["--", "sh", "-c", &script]].concat())
    }
}

fn ids(text: &str) -> Vec<Value> {
    let read = |line: &str| serde_json::from_str::<Value>(line).ok()?.get("id").cloned();
    text.lines().filter_map(read).collect()
}

/// The lines without their ids, in no order.
fn without_ids(text: &str) -> Vec<String> {
    let strip = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(mut message) => {
            message.as_object_mut().map(|members| members.shift_remove("id"));
            if let Some(params) = message.get_mut("params").and_then(Value::as_object_mut) {
                params.shift_remove("progressToken");
            }
            message.to_string()
        }
        Err(_) => line.to_owned(),
    };
    let mut lines: Vec<String> = text.lines().map(strip).collect();
    lines.sort();
    lines
}

#[test]
fn every_habit_is_recorded_and_replayed_as_what_it_is() {
    let no_id =
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"do","arguments":{"habit":"silent"}}}"#;
    for (what, habits, code) in [
        ("plain", vec![call(5, "one"), call(6, "two"), call(7, "one")], 0),
        ("progress", vec![call(5, "progress")], 0),
        ("an error", vec![call(5, "error")], 0),
        ("garbage", vec![call(5, "garbage"), call(6, "after")], 0),
        ("no id", vec![format!("{no_id}\n"), call(6, "after")], 0),
        ("the same id twice", vec![call(5, "one"), call(5, "two")], 0),
        ("never answered", vec![call(5, "hang"), call(6, "after")], 0),
        ("a crash", vec![call(5, "one"), call(6, "crash"), call(7, "after")], 7),
    ] {
        let place = Place::new();
        let recorded = place.says(&[], &(hello(1) + &habits.concat()));
        assert_eq!(recorded.code, Some(code), "{what}: {recorded:?}");
        assert_eq!(place.starts(), 1);
        // Other ids this time.
        let renumbered: String = (hello(1) + &habits.concat())
            .lines()
            .map(|line| {
                line.replace("\"id\":", "\"id\":10").replace("\"progressToken\":", "\"progressToken\":20")
                    + "\n"
            })
            .collect();
        let replayed = place.says(&["--replay", "last"], &renumbered);
        assert_eq!(replayed.code, Some(code), "{what}: {replayed:?}");
        assert_eq!(place.starts(), 1, "{what}: the server was started by a replay");
        assert_eq!(without_ids(&replayed.stdout), without_ids(&recorded.stdout), "{what}");
        let expected: Vec<Value> =
            ids(&recorded.stdout).iter().map(|id| json!(format!("10{id}").parse::<u32>().unwrap())).collect();
        let (mut got, mut expected) = (ids(&replayed.stdout), expected);
        got.sort_by_key(Value::as_u64);
        expected.sort_by_key(Value::as_u64);
        assert_eq!(got, expected, "{what}");
        assert_eq!(place.env.looptape(&["verify"]).code, Some(0), "{what}");
    }
}

const NO_ID: &str = "{\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{\"name\":\"do\",\"arguments\":{\"habit\":\"silent\"}}}\n";

/// Name, outcome and source of the tool calls in a trace.
fn tools(shown: &Value) -> Vec<String> {
    let steps = shown["steps"].as_array().unwrap().iter();
    let tool = |step: &Value| {
        let tool = step.get("tool").filter(|tool| !tool.is_null())?;
        let word = |key: &str| tool[key].as_str().unwrap_or("none").to_owned();
        Some(format!(
            "{} {} {}",
            tool["arguments"]["habit"].as_str().unwrap(),
            word("outcome"),
            word("source")
        ))
    };
    steps.filter_map(tool).collect()
}

#[test]
fn tool_calls_are_measured_whatever_becomes_of_them() {
    let place = Place::new();
    let said = hello(1) + &call(5, "one") + NO_ID + &call(6, "error") + &call(7, "hang") + &call(8, "crash");
    place.says(&[], &said);
    let all = ["one ok", "silent aborted", "error error", "hang aborted", "crash aborted"];
    let mut measured = tools(&place.shown("last"));
    measured.sort();
    let mut expected = all.map(|tool| format!("{tool} measured")).to_vec();
    expected.sort();
    assert_eq!(measured, expected);
}

/// The same habits as over stdio, in the form that they have over HTTP.
#[test]
fn every_habit_over_http_is_recorded_and_replayed_as_what_it_is() {
    let place = Place::new();
    let server = place.http_server();
    let upstream = format!("mcp-habits={}", server.url);
    let habits = ["one", "one", "progress", "garbage", "error", "never", "hang", "break", "crash", "two"];
    let calls: String = (0..).zip(habits).map(|(nth, habit)| call(5 + nth, habit)).collect();
    // The last two have the id of the first.
    let said = hello(1) + NO_ID + &calls + &call(5, "two") + &call(5, "one");
    let recorded = place.http_agent(&["record", "--upstream", &upstream], &said);
    assert_eq!(recorded.code, Some(0), "{recorded:?}");
    let how = |line: &str| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
    let hows: Vec<String> = recorded.stdout.lines().map(how).collect();
    let ended = "200 ended";
    assert_eq!(
        hows,
        [
            ended,
            "202 ended",
            ended,
            "202 ended",
            ended,
            ended,
            ended,
            ended,
            ended,
            ended,
            "200 timeout",
            "200 broken",
            "None broken",
            ended,
            ended,
            ended
        ],
        "{recorded:?}"
    );
    drop(server);
    let made = place.http_calls();
    let replayed = place.http_agent(&["replay", "last"], &said);
    assert_eq!(replayed.stdout, recorded.stdout, "{replayed:?}");
    assert_eq!((replayed.code, place.http_calls()), (Some(0), made), "{replayed:?}");
    assert!(replayed.stderr.contains("13 of 13 recorded tool calls served"), "{replayed:?}");
    assert_eq!(place.env.looptape(&["verify"]).code, Some(0));

    let outcomes = [
        "silent aborted",
        "one ok",
        "one ok",
        "progress ok",
        "garbage aborted",
        "error error",
        "never aborted",
        "hang aborted",
        "break aborted",
        "crash aborted",
        "two ok",
        "two ok",
        "one ok",
    ];
    let of = |source: &str| outcomes.map(|tool| format!("{tool} {source}")).to_vec();
    assert_eq!(tools(&place.shown("last")), of("measured"), "{:#}", place.shown("last"));
    assert_eq!(tools(&place.shown("last-replay")), of("recorded"));
    let stats = place.env.looptape(&["stats", recorded.trace(), "--json"]).stdout;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert!(stats.to_string().contains("\"do\""), "{stats}");
}

/// A replay leaves what was said to its servers in its own trace, with whence it came; that can be replayed too.
#[test]
fn a_replays_own_trace_holds_what_was_said() {
    let place = Place::new();
    let said = hello(1) + &call(5, "one") + &call(6, "progress");
    place.agent(&["record"], &said);
    let replayed = place.agent(&["replay", "last", "--allow-unused"], &(said.clone() + &call(7, "three")));
    assert_eq!(replayed.code, Some(3), "{replayed:?}");
    let shown = place.shown("last-replay");
    let messages: Vec<String> = shown["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["kind"] == "other")
        .map(|step| format!("{} {}", step["text"].as_str().unwrap(), step["source"]))
        .collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    what it says by itself null
    initialize "cached"
    notifications/initialized "cached"
    tools/list "cached"
    tools/call do "cached"
    tools/call do "cached"
    tools/call do "refused"
    "#);
    assert_eq!(tools(&shown), ["one ok recorded", "progress ok recorded", "three error denied"]);
    let again = place.agent(&["replay", "last-replay"], &(said + &call(7, "three")));
    assert_eq!(again.stdout, replayed.stdout, "{again:?}");
    assert_eq!(place.starts(), 1);
}

#[test]
fn policies_say_who_answers_a_tool() {
    let place = Place::new();
    let said = hello(1) + &call(5, "one") + &call(6, "two");
    let recorded = place.agent(&["record"], &said);
    let replay = |options: &[&str]| place.reported(|verb| place.agent(verb, &said), options);

    // Denied: an error in the protocol's form, and no divergence.
    let (denied, report) = replay(&["--tools", "deny"]);
    assert_eq!(denied.code, Some(0), "{denied:?}");
    let last: Value = serde_json::from_str(denied.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["id"], &last["error"]["data"]["looptape"]), (&json!(6), &json!("DENIED")));
    assert_eq!(report["replay"]["tools"]["denied"].as_array().unwrap().len(), 2);

    // Static, under the name by which models know it.
    place.config("[tools.mcp__habits__do]\npolicy = \"static\"\nresult = \"always this\"\n");
    let (fixed, report) = replay(&[]);
    let last: Value = serde_json::from_str(fixed.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((fixed.code, &last["result"]["content"][0]["text"]), (Some(0), &json!("always this")));
    assert_eq!(report["replay"]["tools"]["static"], 2);
    assert_eq!(tools(&place.shown("last-replay")), ["one ok static", "two ok static"]);
    assert_eq!(place.starts(), 1);

    // Live: the server runs, and is compared; the agent gets what was recorded.
    place.config("[tools.do]\npolicy = \"live\"\n");
    let (live, report) = replay(&[]);
    assert_eq!((live.code, &live.stdout), (Some(0), &recorded.stdout), "{live:?}");
    assert_eq!(place.starts(), 2);
    let drift = &report["replay"]["tools"]["drift"]["do"];
    assert_eq!((&drift["calls"], &drift["different"]), (&json!(2), &json!(2)), "no two results are the same");
    assert_eq!(report["replay"]["mcp"]["habits"]["drift"], json!([]), "it offers the same tools");
    assert!(live.stderr.contains("MCP server habits, started for live calls"), "{live:?}");

    // With --rebind the agent gets it.
    let (kept, _) = replay(&["--rebind"]);
    assert_eq!((kept.code, place.starts()), (Some(0), 3), "{kept:?}");
    assert_ne!(kept.stdout, recorded.stdout);
    let (mut ids_now, mut ids_then) = (ids(&kept.stdout), ids(&recorded.stdout));
    ids_now.sort_by_key(Value::as_u64);
    ids_then.sort_by_key(Value::as_u64);
    assert_eq!(ids_now, ids_then);
}

#[test]
fn what_was_not_recorded_runs_only_if_it_is_said_to_read() {
    let place = Place::new();
    place.agent(&["record"], &(hello(1) + &call(5, "one")));
    let other = hello(1) + &call(5, "one") + &call(6, "three");
    let replay = || place.reported(|verb| place.agent(verb, &other), &[]);
    let (refused, _) = replay();
    assert_eq!((refused.code, place.starts()), (Some(3), 1), "{refused:?}");
    assert!(refused.stderr.contains("`writes = false` under [tools.do] in looptape.toml lets it run"));
    place.config("[tools.do]\nwrites = false\n");
    let (ran, report) = replay();
    assert_eq!((ran.code, place.starts()), (Some(0), 2), "{ran:?}");
    assert!(ran.stdout.lines().last().unwrap().contains("three "), "{ran:?}");
    assert_eq!(report["replay"]["tools"]["drift"]["do"]["not_recorded"], 1);

    // A tool that the server never offered.
    let unknown = hello(1) + &message(5, "tools/call", json!({ "name": "undo", "arguments": {} }));
    let (drifted, report) = place.reported(|verb| place.agent(verb, &unknown), &["--allow-unused"]);
    assert_eq!((drifted.code, place.starts()), (Some(3), 2), "{drifted:?}");
    let codes = report["replay"]["divergences"].as_array().unwrap().iter().map(|it| &it["code"]);
    assert!(codes.clone().any(|code| code == "TOOLS_DRIFT"), "{report:#}");
    assert!(drifted.stderr.contains("It offered do"), "{drifted:?}");
}

/// Bad servers in a replay where a tool runs live: the agent is told what was recorded all the same.
#[test]
fn a_live_server_that_fails_harms_no_agent() {
    let place = Place::new();
    let said = hello(1) + &call(5, "one");
    let recorded = place.agent(&["record"], &said);
    place.config("[tools.do]\npolicy = \"live\"\n");
    let file = place.env.home().join("said");
    let looptape = env!("CARGO_BIN_EXE_looptape");
    for (server, says) in [
        ("/does/not/exist", "cannot be started"),
        ("false", "it ended"),
        ("sh -c 'echo this is no message; exit 1'", "it ended"),
    ] {
        let script = format!("{looptape} mcp --name habits -- {server} < {}", file.display());
        let (ran, report) =
            place.reported(|verb| place.env.looptape(&[verb, &["--", "sh", "-c", &script]].concat()), &[]);
        assert_eq!((ran.code, &ran.stdout), (Some(0), &recorded.stdout), "{server}: {ran:?}");
        let first = report["replay"]["tools"]["drift"]["do"]["first"].to_string();
        assert!(first.contains(says), "{server}: {report:#}");
    }
}

#[test]
fn tools_that_changed_are_reported_by_a_live_replay() {
    let place = Place::new();
    let said = hello(1) + &call(5, "one");
    place.agent(&["record"], &said);
    let script = format!(
        "{} mcp --name habits -- {} 'Does something else' < {}",
        env!("CARGO_BIN_EXE_looptape"),
        place.server().join(" "),
        place.env.home().join("said").display()
    );
    let (ran, report) = place.reported(
        |verb| place.env.looptape(&[verb, &["--", "sh", "-c", &script]].concat()),
        &["--tools", "live"],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(report["replay"]["mcp"]["habits"]["drift"][0]["tool"], "do", "{report:#}");
    let line = "its tools changed: ~ do: description Does [-as it is told-]{+something else+}";
    assert!(ran.stderr.contains(line), "{ran:?}");
}

#[test]
fn a_live_tool_of_an_http_server_is_compared() {
    let place = Place::new();
    let server = place.http_server();
    let upstream = format!("mcp-habits={}", server.url);
    let said = hello(1) + &call(5, "one") + &call(6, "progress") + NO_ID;
    let recorded = place.http_agent(&["record", "--upstream", &upstream], &said);
    assert_eq!(place.http_calls(), 3, "{recorded:?}");
    let replay = |options: &[&str]| place.reported(|verb| place.http_agent(verb, &said), options);
    let (live, report) = replay(&["--tools", "live", "--upstream", &upstream]);
    assert_eq!((live.code, place.http_calls()), (Some(0), 6), "{live:?}");
    assert_eq!(ids(&live.stdout), ids(&recorded.stdout));
    let drift = &report["replay"]["tools"]["drift"]["do"];
    assert_eq!((&drift["calls"], &drift["different"]), (&json!(2), &json!(2)), "{report:#}");
    assert_eq!(report["replay"]["mcp"]["habits"]["drift"], json!([]));
    // Nobody says where it is: it cannot be asked, and the agent is told what was recorded.
    let (lost, report) = replay(&["--tools", "live"]);
    assert_eq!((lost.code, place.http_calls()), (Some(0), 6), "{lost:?}");
    assert!(
        report["replay"]["tools"]["drift"]["do"]["first"].to_string().contains("--upstream mcp-habits=URL")
    );
    let (denied, _) = replay(&["--tools", "deny"]);
    assert!(denied.stdout.contains("\"looptape\":\"DENIED\""), "{denied:?}");
    assert_eq!((denied.code, place.http_calls()), (Some(0), 6));
}

#[test]
fn an_agents_servers_are_part_of_its_trace() {
    let place = Place::new();
    let said = hello(1) + &call(5, "one") + &call(6, "two");
    let recorded = place.agent(&["record"], &said);
    assert_eq!(recorded.code, Some(0), "{recorded:?}");
    let shown = place.env.looptape(&["show", "last"]).stdout;
    assert!(shown.contains("complete, success") && shown.contains("mcp-habits tools/call do"), "{shown}");
    let replayed = place.agent(&["replay", "last"], &said);
    assert_eq!((replayed.code, &replayed.stdout), (Some(0), &recorded.stdout), "{replayed:?}");
    assert!(replayed.stderr.contains("2 of 2 recorded tool calls served"), "{replayed:?}");
    assert_eq!(place.starts(), 1);

    // One that was not recorded, and one that was not made.
    let other = place
        .agent(&["replay", recorded.trace(), "--report", "report.json"], &(hello(1) + &call(5, "three")));
    assert_eq!(other.code, Some(3), "{other:?}");
    let refused = other.stdout.lines().last().unwrap();
    assert!(refused.contains("NEVER_RECORDED") && refused.contains("\"id\":5"), "{refused}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(place.env.home().join("project/report.json")).unwrap())
            .unwrap();
    let codes: Vec<&str> = report["replay"]["divergences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["NEVER_RECORDED", "UNUSED_RECORDING"]);
    assert_eq!(report["replay"]["mcp"]["habits"]["unused"].as_array().unwrap().len(), 2);
    let fewer = place.agent(&["replay", recorded.trace()], &(hello(1) + &call(5, "one")));
    assert_eq!(fewer.code, Some(4), "{fewer:?}");
    assert_eq!(place.starts(), 1);
}

#[test]
fn a_server_runs_without_its_recorder_and_a_replay_starts_none_without_its_own() {
    let mut place = Place::new();
    place.env.set("LOOPTAPE_URL", "http://127.0.0.1:9");
    place.env.set("LOOPTAPE_TRACE", "t");
    let recorded = place.says(&[], &hello(1));
    assert_eq!((recorded.code, recorded.stdout.lines().count()), (Some(0), 2), "{recorded:?}");
    assert!(recorded.stderr.contains("runs, and is not recorded"), "{recorded:?}");
    place.env.set("LOOPTAPE_MODE", "replay");
    let replayed = place.says(&[], &hello(1));
    assert_eq!((replayed.code, replayed.stdout.as_str()), (Some(1), ""), "{replayed:?}");
    assert!(replayed.stderr.contains("no looptape answers at http://127.0.0.1:9"), "{replayed:?}");
    assert_eq!(place.starts(), 1);
}

#[test]
fn changed_tools_are_reported() {
    let place = Place::new();
    place.says(&[], &hello(1));
    let server = place.server();
    let check = |more: &[&str]| {
        let words = ["mcp", "--name", "habits", "--check", "last", "--"].into_iter();
        place.env.looptape(
            &words.chain(server.iter().map(String::as_str)).chain(more.iter().copied()).collect::<Vec<_>>(),
        )
    };
    let same = check(&[]);
    assert_eq!(same.code, Some(0), "{same:?}");
    let drifted = check(&["Does something else"]);
    assert_eq!(drifted.code, Some(3), "{drifted:?}");
    assert!(
        drifted.stdout.contains("~ do: description Does [-as it is told-]{+something else+}"),
        "{drifted:?}"
    );
    let other = place.env.looptape(&["mcp", "--name", "other", "--check", "last", "--", "true"]);
    assert_eq!(other.code, Some(1));
    assert!(other.stderr.contains("It holds habits"), "{other:?}");
}

#[test]
fn mistakes_are_named() {
    let place = Place::new();
    for (words, code, says) in [
        (vec!["mcp", "--", "node"], 2, "add --name NAME"),
        (vec!["mcp", "--", "/does/not/exist"], 127, "cannot be started"),
        (vec!["mcp", "--name", "--", "x"], 2, "name"),
        (vec!["mcp", "--replay", "nothing", "--", "files"], 1, "nothing"),
        (vec!["mcp", "--json", "--", "files"], 2, "--check"),
    ] {
        let ran = place.pipe(&words, "");
        assert_eq!(ran.code, Some(code), "{words:?} {ran:?}");
        assert!(ran.stderr.contains(says), "{words:?} {ran:?}");
    }
}

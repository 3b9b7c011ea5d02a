//! MCP servers: recorded as they are, with all their habits, and replayed without being started.

use crate::env::{Ran, TestEnv};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A place with a server in it.
struct Place {
    env: TestEnv,
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
        Self { env: TestEnv::new() }
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
        serde_json::from_slice(&std::fs::read(place.env.home().join("report.json")).unwrap()).unwrap();
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

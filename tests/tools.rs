//! Tools: measured while an agent is recorded, answered from the recording while it is replayed.

use crate::env::{Ran, TestEnv};
use looptape_core::simulated::Script;
use looptape_proxy::simulated_server::{SimulatedServer, SimulatedServerHandle};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python-hooks/agent.py");
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/node-hooks/agent.mjs");
const WITHOUT_HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python-stdlib/agent.py");

/// A provider that is there while it is recorded. What tools do to the world is a line in a file.
struct Bench {
    env: TestEnv,
    _provider: SimulatedServerHandle,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let (url, provider) = SimulatedServer::start(Script::tool_loop()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut env = TestEnv::new();
        env.set("OPENAI_API_KEY", "sk-real-0123456789abcdefghij");
        env.set("OPENAI_BASE_URL", &format!("{url}/v1"));
        env.set("BOOKINGS", folder.path().join("bookings.txt").to_str().unwrap());
        Self { env, _provider: provider, folder }
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.env.command(arguments);
        tokio::task::spawn_blocking(move || Ran::from(command.output().unwrap())).await.unwrap()
    }

    async fn record(&self, agent: &[&str]) {
        let ran = self.run(&[&["record", "--"], agent].concat()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    /// Replays, and reads the report.
    async fn replay(&self, options: &[&str], agent: &[&str]) -> (Ran, Value) {
        let report = self.folder.path().join("report.json");
        let with_report = ["replay", "last", "--report", report.to_str().unwrap()];
        let ran = self.run(&[&with_report, options, &["--"], agent].concat()).await;
        let report = std::fs::read(&report).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        (ran, serde_json::from_slice(&report).unwrap())
    }

    async fn shown(&self, trace: &str) -> Value {
        let ran = self.run(&["show", trace, "--json"]).await;
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    fn bookings(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("bookings.txt"))
            .map_or(0, |file| file.lines().count())
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn tools(shown: &Value) -> Vec<&Value> {
    shown["steps"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "tool").collect()
}

/// What an agent's tools did is measured, and does not happen again.
async fn are_measured_and_then_answered(agent: &[&str], via: &str) {
    let bench = Bench::new().await;
    bench.record(agent).await;
    assert_eq!(bench.bookings(), 1);
    let shown = bench.shown("last").await;
    let mut numbers: Vec<String> =
        tools(&shown).iter().map(|tool| format!("{}.{}", tool["step"], tool["sub"])).collect();
    // Two that run side by side may have begun in either order.
    numbers.sort();
    assert_eq!(numbers, ["1.1", "1.2", "2.1"]);
    for tool in tools(&shown) {
        let said = &tool["tool"];
        assert_eq!(
            (&said["source"], &said["via"], &said["outcome"]),
            (&json!("measured"), &json!(via), &json!("ok"))
        );
        assert!(said["call_id"].is_string() && tool["duration_ms"].is_number(), "{tool}");
    }
    let metrics = &shown["trace"]["metrics"];
    let ms = |name: &str| (metrics[name].as_f64().unwrap() * 1000.0).round() as i64;
    let parts = ["llm_ms", "tool_ms", "overlap_ms", "overhead_ms"].map(ms);
    assert_eq!(parts.iter().sum::<i64>(), ms("duration_ms"), "{metrics}");
    assert_eq!(metrics["by_loop"][0]["name"], "weekend");

    let (ran, report) = bench.replay(&[], agent).await;
    assert_eq!((ran.code, bench.bookings()), (Some(0), 1), "no booking was made: {ran:?}");
    assert_eq!(report["replay"]["tools"]["recorded"], 3, "{report}");
    let replayed = bench.shown("last-replay").await;
    assert!(tools(&replayed).iter().all(|tool| tool["tool"]["source"] == "recorded"), "{replayed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_tools_are_measured_and_then_answered() {
    are_measured_and_then_answered(&["python3", PYTHON], "python").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_tools_are_measured_and_then_answered() {
    if std::process::Command::new("node").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr().lock(), "SKIPPED hooks in Node: there is no node");
        return;
    }
    are_measured_and_then_answered(&["node", NODE], "node").await;
}

/// The example of the Rust library, which a build of all targets leaves beside the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_tools_are_measured_and_then_answered() {
    let targets = std::env::current_exe().unwrap();
    let example = targets.parent().and_then(Path::parent).unwrap().join("examples/hooks");
    if !example.exists() {
        let _ = writeln!(
            std::io::stderr().lock(),
            "SKIPPED hooks in Rust: build the example `hooks` of looptape"
        );
        return;
    }
    are_measured_and_then_answered(&[example.to_str().unwrap()], "rust").await;
}

/// A test's own policies stand in for those of all tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_can_have_policies_of_its_own() {
    let mut bench = Bench::new().await;
    let project = bench.env.work_in("project").to_owned();
    bench.record(&["python3", PYTHON]).await;
    let judged = |name: &str, policy: &str| {
        format!(
            "[[test]]\nname = \"{name}\"\ntrace = \"last\"\ncommand = [\"python3\", {PYTHON:?}]\n\
             tools = {{ convert_currency = \"{policy}\" }}\n"
        )
    };
    let of_all = "[tools.convert_currency]\npolicy = \"deny\"\n";
    let config = [of_all, &judged("served", "recorded"), &judged("refused", "deny")].concat();
    std::fs::write(project.join("looptape.toml"), config).unwrap();
    let ran = bench.run(&["test", "--json"]).await;
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let verdicts: Vec<_> =
        report["tests"].as_array().unwrap().iter().map(|test| (&test["name"], &test["verdict"])).collect();
    assert_eq!(verdicts[0], (&json!("served"), &json!("passed")), "{report}");
    assert_ne!(verdicts[1].1, &json!("passed"), "{report}");
}

/// Any trace can answer its tools: the requests carry the results.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_of_the_proxy_alone_answers_its_tools() {
    let bench = Bench::new().await;
    bench.record(&["python3", WITHOUT_HOOKS]).await;
    assert!(tools(&bench.shown("last").await).iter().all(|tool| tool["tool"]["source"] == "inferred"));
    let asks = bench.script(
        "asks.py",
        r#"
import json, os, urllib.request
def say(message):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    url = f"{os.environ['LOOPTAPE_URL']}/t/{os.environ['LOOPTAPE_TRACE']}/_looptape/v1/tool"
    try:
        return json.load(urllib.request.urlopen(urllib.request.Request(url, body)))
    except urllib.error.HTTPError as error:
        return {"status": error.code}
ask = lambda name, arguments, **more: say({"phase": "ask", "name": name, "arguments": arguments, **more})
print(json.dumps([
    ask("get_weather", {"city": "Lisbon"}),
    ask("get_weather", {"city": "Lisbon"}),
    ask("get_weather", {"city": "Bergen"}, writes=False),
    ask("send_mail", {"to": "all"}),
    say(b"\x00garbage"),
    say(b" " * (17 << 20)),
]))
"#,
    );
    let (ran, report) = bench.replay(&["--allow-unused"], &["python3", &asks]).await;
    let said: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let given = [&said[0]["result"], &said[0]["from"], &said[0]["step"]];
    assert_eq!(given, [&json!("sunny, 24 °C"), &json!("history"), &json!(1)], "{said}");
    assert_eq!((&said[1]["code"], &said[2]["verdict"]), (&json!("EXHAUSTED"), &json!("run")), "{said}");
    assert_eq!(said[3]["code"], "NEVER_RECORDED");
    assert_eq!((&said[4]["status"], &said[5]["status"]), (&json!(400), &json!(413)));
    assert_eq!(ran.code, Some(3), "a call that was not recorded is another run: {ran:?}");
    let codes = report["replay"]["divergences"].as_array().unwrap().iter().map(|report| &report["code"]);
    assert!(
        codes.clone().any(|code| code == "NEVER_RECORDED") && codes.clone().any(|code| code == "EXHAUSTED")
    );
}

/// Live results are compared; the agent is told what was recorded, so its requests are the recorded ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_tools_are_compared() {
    let bench = Bench::new().await;
    bench.record(&["python3", PYTHON]).await;
    let changed = std::fs::read_to_string(PYTHON).unwrap().replace("sunny, 24 °C", "snow, -3 °C");
    let changed =
        changed.replace("pathlib.Path(__file__).parents[2]", &format!("pathlib.Path({PYTHON:?}).parents[2]"));
    let agent = bench.script("changed.py", &changed);
    let (ran, report) = bench.replay(&["--tools", "live"], &["python3", &agent]).await;
    assert_eq!((ran.code, bench.bookings()), (Some(0), 2), "it ran: {ran:?}");
    let drift = &report["replay"]["tools"]["drift"];
    assert_eq!(
        (&drift["get_weather"]["same"], &drift["get_weather"]["different"]),
        (&json!(1), &json!(1)),
        "{drift}"
    );
    assert_eq!(drift["convert_currency"]["same"], 1);
    assert_eq!(report["replay"]["served"]["bytes"], 3, "the model was told what was recorded");
    assert!(ran.stderr.contains("get_weather: 1 of 2 gave something else than recorded"), "{}", ran.stderr);
    let (kept, _) = bench.replay(&["--tools", "live", "--rebind"], &["python3", &agent]).await;
    assert_eq!(kept.code, Some(3), "the model is told what the tool gave now: {kept:?}");
    assert!(kept.stderr.contains("VOLATILE_TOOL_RESULT"), "{}", kept.stderr);
}

/// A policy of `looptape.toml`, and outcomes other than a result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_and_policies() {
    let bench = Bench::new().await;
    let sdk = Path::new(PYTHON).parent().unwrap().join("../../sdk/python");
    let text = format!(
        r#"
import os, sys, urllib.request
sys.path.insert(0, {sdk:?})
import looptape
@looptape.tool
def fails(kind):
    print("ran", kind, file=sys.stderr)
    raise {{"time": TimeoutError, "key": KeyError, "own": type("Own", (Exception,), {{}})}}[kind](f"no {{kind}}")
@looptape.tool
def nothing(): print("ran nothing", file=sys.stderr)
@looptape.tool
def pair(): return (1, b"x" * 2)[0], 2
for kind in ("time", "key", "own"):
    try: fails(kind)
    except Exception as error: print(type(error).__name__ if kind != "own" else "own", error)
print(nothing(), pair())
body = b'{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"hi"}}]}}'
urllib.request.urlopen(urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, {{"content-type": "application/json"}})).read()
"#
    );
    let agent = bench.script("outcomes.py", &text);
    let recorded = bench.run(&["record", "--", "python3", &agent]).await;
    assert_eq!(
        recorded.stdout, "TimeoutError no time\nKeyError 'no key'\nown no own\nNone (1, 2)\n",
        "{recorded:?}"
    );
    let shown = bench.shown("last").await;
    // They took less than a report's way does, so they need not stand in their order.
    let outcome = |tool: &&Value| tool["tool"]["outcome"].as_str().unwrap().to_owned();
    let mut outcomes: Vec<String> = tools(&shown).iter().map(outcome).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["error", "error", "null", "ok", "timeout"]);
    assert!(tools(&shown).iter().all(|tool| tool["step"].is_null()), "no step asked for them: {shown}");
    let (replayed, report) = bench.replay(&[], &["python3", &agent]).await;
    assert!(!replayed.stderr.contains("ran"), "{replayed:?}");
    assert_eq!((replayed.code, report["replay"]["tools"]["recorded"].as_u64()), (Some(0), Some(5)));
    assert_eq!(replayed.stdout, recorded.stdout);
    let (denied, _) = bench.replay(&["--tools", "deny"], &["python3", &agent]).await;
    assert!(denied.stdout.contains("Denied looptape: a replay does not call fails"), "{denied:?}");
}

/// Some agents tell the model of results as they come: in a replay, where no tool takes any time, they come as they came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_tools_at_once_come_in_recorded_order() {
    let bench = Bench::new().await;
    let sdk = Path::new(PYTHON).parent().unwrap().join("../../sdk/python");
    let text = format!(
        r#"
import json, os, sys, threading, urllib.request
sys.path.insert(0, {sdk:?})
import looptape
told = {{city: threading.Event() for city in ("Oslo", "Lisbon")}}
@looptape.tool
def get_weather(city):
    print("ran", city, file=sys.stderr)
    # Lisbon is asked for last and known first.
    if city == "Oslo": told["Lisbon"].wait(60)
    return city
@looptape.tool
def convert_currency(**_): return "much"
FUNCTIONS = {{"get_weather": get_weather, "convert_currency": convert_currency}}
def complete(history):
    body = json.dumps({{"model": "gpt-4o-mini", "messages": history, "tools": TOOLS}}).encode()
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, {{"content-type": "application/json"}})
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]
TOOLS = [{{"type": "function", "function": {{"name": name, "parameters": {{"type": "object"}}}}}} for name in FUNCTIONS]
history, lock = [{{"role": "user", "content": "Oslo or Lisbon?"}}], threading.Lock()
def run(call):
    arguments = json.loads(call["function"]["arguments"])
    with looptape.call_id(call["id"]):
        result = FUNCTIONS[call["function"]["name"]](**arguments)
    with lock:
        history.append({{"role": "tool", "tool_call_id": call["id"], "content": result}})
    if "city" in arguments: told[arguments["city"]].set()
while True:
    answer = complete(history)
    history.append(answer)
    if not answer.get("tool_calls"): break
    threads = [threading.Thread(target=run, args=(call,)) for call in answer["tool_calls"]]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print([message["content"] for message in history if message["role"] == "tool"])
"#
    );
    let agent = bench.script("as_they_come.py", &text);
    let recorded = bench.run(&["record", "--", "python3", &agent]).await;
    assert_eq!(recorded.stdout, "['Lisbon', 'Oslo', 'much']\n", "{recorded:?}");
    let (replayed, report) = bench.replay(&[], &["python3", &agent]).await;
    assert_eq!((replayed.code, &replayed.stdout), (Some(0), &recorded.stdout), "{replayed:?}");
    assert!(!replayed.stderr.contains("ran"), "{replayed:?}");
    assert_eq!(report["replay"]["served"]["bytes"], 3, "{report}");
}

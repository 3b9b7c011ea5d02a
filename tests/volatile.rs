//! Two runs of one program on two machines, on two days: what differs without meaning anything is tolerated
//! and listed, and nothing else is.

use crate::env::{Ran, TestEnv};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;

/// An agent that writes into its requests what agents write there. The word after its name is the task.
pub(crate) const AGENT: &str = r#"
import datetime, getpass, json, os, platform, socket, sys, tempfile, time, urllib.error, urllib.request, uuid
base = os.environ["OPENAI_BASE_URL"].rstrip("/")
run, work = uuid.uuid4(), tempfile.mkdtemp(prefix="agent-")
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
system = f"""You work in {os.getcwd()}. Home: {os.environ["HOME"]}. User: {getpass.getuser()}.
Host {socket.gethostname()}, Linux {platform.release()}. Today is {datetime.date.today():%A, %B %d, %Y}."""
messages = [{"role": "system", "content": system}, {"role": "user", "content": f"{sys.argv[1]} (run {run})"}]
def ask():
    body = json.dumps({"model": "m", "messages": messages}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer x"}
    request = urllib.request.Request(base + "/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        messages.append(json.load(response)["choices"][0]["message"])
try:
    ask()
    messages.append({"role": "tool", "tool_call_id": "a", "content":
        f"{sys.argv[2]} files of run {run} in {work}/out.csv at {datetime.datetime.now().isoformat()} "
        f"(epoch {time.time()}), pid {os.getpid()} on 127.0.0.1:{port}, took {time.perf_counter() % 9:.3f}s"})
    ask()
    print(messages[-1]["content"])
except urllib.error.HTTPError as error:
    print(error.code, error.headers["x-looptape-divergence"])
"#;

/// The first answer asks for a tool and names the recorded run, the second is the end.
pub(crate) async fn upstream() -> ScriptedUpstream {
    ScriptedUpstream::answering(|request| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let messages = body["messages"].as_array().unwrap();
        let task = messages[1]["content"].as_str().unwrap();
        let message = match messages.len() {
            2 => serde_json::json!({"role": "assistant", "content": format!("I look into: {task}"), "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}),
            _ => serde_json::json!({"role": "assistant", "content": "done"}),
        };
        Answer::json(serde_json::json!({"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).to_string())
    })
    .await
    .unwrap()
}

pub(crate) async fn run(env: &TestEnv, arguments: &[&str]) -> Ran {
    let mut command = env.command(arguments);
    tokio::task::spawn_blocking(move || Ran::from(command.output().unwrap())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machine_and_another_run_replay() {
    let upstream = upstream().await;
    let mut env = TestEnv::new();
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
    env.set("USER", "alice-the-first");
    let agent = env.home().join("agent.py");
    let agent = agent.to_str().unwrap();
    std::fs::write(agent, AGENT).unwrap();
    env.work_in("first-project");
    let ran = run(&env, &["record", "--", "python3", agent, "count", "3"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "done\n"), "{ran:?}");
    let trace = ran.trace().to_owned();

    let other_home = env.home().join("elsewhere");
    std::fs::create_dir(&other_home).unwrap();
    env.set("HOME", other_home.to_str().unwrap());
    env.set("USER", "bob");
    env.work_in("second");
    let report = other_home.join("report.json");
    let replay = |more: &[&'static str]| -> Vec<String> {
        let report = report.to_str().unwrap().to_owned();
        let mut all: Vec<String> = ["replay", &trace, "--report", &report].map(str::to_owned).to_vec();
        all.extend(more.iter().map(|word| (*word).to_owned()));
        all
    };
    let replayed = |arguments: Vec<String>, task: &'static str, files: &'static str| {
        let env = &env;
        async move {
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(env, &[&words[..], &["--", "python3", agent, task, files]].concat()).await
        }
    };
    let same = replayed(replay(&[]), "count", "3").await;
    assert_eq!((same.code, same.stdout.as_str()), (Some(0), "done\n"), "{same:?}");
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(result["replay"]["served"]["masked"], 2, "{result:#}");
    let masks = result["replay"]["masks"].as_array().unwrap();
    for kind in [
        "uuid",
        "working_folder",
        "home",
        "user",
        "temporary_path",
        "date_time",
        "epoch",
        "pid",
        "host",
        "duration",
    ] {
        let used = masks.iter().find(|mask| mask["kind"] == kind);
        assert!(used.is_some_and(|m| m["recorded"] != m["live"]), "{kind}: {result:#}");
    }
    let compared = run(&env, &["diff", &trace, "last-replay", "--exit-code"]).await;
    assert_eq!(compared.code, Some(0), "the replay ran elsewhere, and is the same run: {compared:?}");
    assert!(compared.stdout.starts_with("same run"), "{compared:?}");

    let other_task = replayed(replay(&[]), "list", "3").await;
    assert_eq!(other_task.code, Some(3), "{other_task:?}");
    let other_result = replayed(replay(&[]), "count", "4").await;
    assert_eq!(other_result.stdout, "422 VOLATILE_TOOL_RESULT\n", "{other_result:?}");
    assert!(other_result.stderr.contains("[-3-]{+4+} files of run [uuid]"), "{}", other_result.stderr);
    let strict = replayed(replay(&["--max-rung", "2"]), "count", "3").await;
    assert_eq!(strict.code, Some(3), "{strict:?}");
    let no_uuids = replayed(replay(&["--no-mask", "uuid"]), "count", "3").await;
    assert_eq!(no_uuids.code, Some(3), "{no_uuids:?}");
    let unknown = replayed(replay(&["--no-mask", "uid"]), "count", "3").await;
    assert!(unknown.stderr.contains("no kind of mask called `uid`"), "{}", unknown.stderr);
    assert_eq!(upstream.requests().len(), 2, "a replay reached the provider");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_names_its_own_masks() {
    let upstream = upstream().await;
    let mut env = TestEnv::new();
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
    let agent = env.home().join("agent.py");
    let agent = agent.to_str().unwrap();
    std::fs::write(agent, AGENT).unwrap();
    let folder = env.work_in("project").to_owned();
    let ran = run(&env, &["record", "--", "python3", agent, "count", "3"]).await;
    let trace = ran.trace().to_owned();
    let replay = ["replay", &trace, "--", "python3", agent, "count", "4"];
    assert_eq!(run(&env, &replay).await.code, Some(3));
    let settings = folder.join("looptape.toml");
    let mask = "[[mask]]\npointer = \"/messages/*/content\"\npattern = '^(\\d+) files'\n";
    std::fs::write(&settings, mask).unwrap();
    let replayed = run(&env, &replay).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    assert!(replayed.stderr.contains("masked configured at step 2"), "{}", replayed.stderr);
    std::fs::write(&settings, "[[mask]]\npointer = \"messages\"\n").unwrap();
    let refused = run(&env, &replay).await;
    assert!(refused.stderr.contains("a JSON pointer begins with `/`"), "{}", refused.stderr);
}

/// An agent that counts its own runs, and says the count.
const COUNTING: &str = r#"
import json, os, sys, urllib.request
base = os.environ["OPENAI_BASE_URL"].rstrip("/")
messages = [{"role": "user", "content": f"run #{sys.argv[1]}: greet {sys.argv[2]}"}]
body = json.dumps({"model": "m", "messages": messages}).encode()
request = urllib.request.Request(base + "/chat/completions", body, {"content-type": "application/json"})
urllib.request.urlopen(request, timeout=20).read()
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masks_are_learned_written_and_enough() {
    let answer = r#"{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    let upstream = ScriptedUpstream::answering(move |_| Answer::json(answer)).await.unwrap();
    let mut env = TestEnv::new();
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
    let agent = env.home().join("agent.py");
    let agent = agent.to_str().unwrap();
    std::fs::write(agent, COUNTING).unwrap();
    let folder = env.work_in("project").to_owned();
    let settings = folder.join("looptape.toml");
    std::fs::write(&settings, "# ours\n[retention]\nmax_age = \"30d\" # a month\n").unwrap();
    for (trace, number, who) in [("a", "17", "Ann"), ("b", "18", "Ann"), ("c", "18", "Bob")] {
        let ran = run(&env, &["record", "--trace", trace, "--", "python3", agent, number, who]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let replay = ["replay", "a", "--", "python3", agent, "19", "Ann"];
    let diverged = run(&env, &replay).await;
    assert_eq!(diverged.code, Some(3), "{diverged:?}");
    assert!(diverged.stderr.contains("pattern = "), "{}", diverged.stderr);

    let other = run(&env, &["learn", "b", "c"]).await;
    assert_eq!(other.code, Some(3), "{other:?}");
    assert!(
        other.stdout.contains("no masks are proposed") && other.stdout.contains("[-Ann-]{+Bob+}"),
        "{other:?}"
    );
    let same = run(&env, &["learn", "a", "a"]).await;
    assert!(same.stdout.starts_with("nothing to learn"), "{same:?}");

    let learned = run(&env, &["learn", "a", "b", "--write"]).await;
    assert_eq!(learned.code, Some(0), "{learned:?}");
    let written = std::fs::read_to_string(&settings).unwrap();
    assert!(
        written.starts_with("# ours\n[retention]\nmax_age = \"30d\" # a month\n\n[[mask]]\n"),
        "{written}"
    );
    assert!(written.contains(r"pattern = 'run #(\d+):'"), "{written}");
    assert_eq!(run(&env, &replay).await.code, Some(0));
    let again: serde_json::Value =
        serde_json::from_str(&run(&env, &["learn", "a", "b", "--json"]).await.stdout).unwrap();
    assert_eq!((&again["enough"], &again["masks"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(run(&env, &["replay", "a", "--", "python3", agent, "19", "Bob"]).await.code, Some(3));
}

/// An agent that asks what it should look at, and says it; the answer comes in pieces.
const FOLLOWING: &str = r#"
import json, os, sys, tempfile, urllib.request
base = os.environ["OPENAI_BASE_URL"].rstrip("/")
work = tempfile.mkdtemp(prefix="agent-")
messages = [{"role": "user", "content": f"work in {work}"}]
def ask():
    body = json.dumps({"model": "m", "stream": True, "messages": messages}).encode()
    request = urllib.request.Request(base + "/chat/completions", body, {"content-type": "application/json"})
    text = ""
    for line in urllib.request.urlopen(request, timeout=20):
        if line.startswith(b"data: {"):
            text += json.loads(line[6:])["choices"][0]["delta"].get("content", "")
    return text
messages.append({"role": "assistant", "content": ask()})
messages.append({"role": "user", "content": "and then?"})
last = ask()
print("own" if f"in {work}/out.csv" in last else last)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_name_the_live_folder_if_wanted() {
    let upstream = ScriptedUpstream::answering(|request| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let task = body["messages"][0]["content"].as_str().unwrap();
        let said = format!("look in {}/out.csv", task.trim_start_matches("work in "));
        let (one, two) = said.split_at(20);
        let event = |text: &str| {
            format!(
                "data: {}\n\n",
                serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}}]})
            )
        };
        Answer::status(200)
            .header("content-type", "text/event-stream")
            .piece(event(one))
            .piece(event(two))
            .piece("data: [DONE]\n\n")
    })
    .await
    .unwrap();
    let mut env = TestEnv::new();
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
    let agent = env.home().join("agent.py");
    let agent = agent.to_str().unwrap();
    std::fs::write(agent, FOLLOWING).unwrap();
    let ran = run(&env, &["record", "--", "python3", agent]).await;
    assert_eq!(ran.stdout, "own\n", "{ran:?}");
    let trace = ran.trace().to_owned();
    let as_recorded = run(&env, &["replay", &trace, "--", "python3", agent]).await;
    assert_eq!(as_recorded.code, Some(0), "{as_recorded:?}");
    assert!(as_recorded.stdout.starts_with("look in /tmp/"), "{as_recorded:?}");
    let rebound = run(&env, &["replay", &trace, "--rebind", "--", "python3", agent]).await;
    assert_eq!((rebound.code, rebound.stdout.as_str()), (Some(0), "own\n"), "{rebound:?}");
    assert!(rebound.stderr.contains("looptape:   rebound /tmp/agent-"), "{}", rebound.stderr);
}

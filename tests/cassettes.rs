//! `export`, `import` of cassettes, `pull`, and cassettes in the place of traces.

use crate::env::{Ran, TestEnv};
use crate::gateway::agent::{chat, send};
use crate::gateway::process::Gateway;
use looptape_core::simulated::Script;
use looptape_proxy::simulated_server::SimulatedServer;
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::Value;
use std::path::Path;

/// The demo's agent: two turns with tools, a 429, an answer.
const AGENT: [&str; 3] = [env!("CARGO_BIN_EXE_looptape"), "demo", "--agent"];

/// The agent against a simulated provider that is gone afterwards, recorded into the database of `env`; its trace.
async fn recorded(env: &mut TestEnv) -> String {
    let (url, _provider) = SimulatedServer::start(Script::demo()).await.unwrap();
    env.set("OPENAI_API_KEY", "sk-real-0123456789abcdefghij");
    env.set("OPENAI_BASE_URL", &format!("{url}/v1"));
    let ran = run(env, &[&["record", "--"][..], &AGENT].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.trace().to_owned()
}

/// Runs without blocking the runtime that serves.
async fn run(env: &TestEnv, arguments: &[&str]) -> Ran {
    let mut command = env.command(arguments);
    tokio::task::spawn_blocking(move || Ran::from(command.output().unwrap())).await.unwrap()
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path().is_dir() {
            true => files.extend(files_below(&entry.path())),
            false => files.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap())),
        }
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_out_and_comes_in_elsewhere() {
    let (mut here, there) = (TestEnv::new(), TestEnv::new());
    let trace = recorded(&mut here).await;
    let (folder, file) = (here.home().join("k"), here.home().join("k.looptape"));
    for path in [&folder, &file] {
        let ran = here.looptape(&["export", "last", "-o", path.to_str().unwrap(), "--json"]);
        let exported = json(&ran);
        assert_eq!((&exported["trace"], &exported["calls"]), (&Value::from(trace.as_str()), &Value::from(4)));
        assert_eq!(exported["missing"].as_array().map(Vec::len), Some(0));
    }
    let before = files_below(&folder);
    assert!(before.iter().all(|(_, file)| !String::from_utf8_lossy(file).contains("sk-real")));
    let show = |env: &TestEnv| json(&env.looptape(&["show", &trace, "--json", "--messages"]));
    let shown = show(&here);
    let first = there.looptape(&["import", folder.to_str().unwrap(), "--json"]);
    assert_eq!(json(&first)[0]["already_imported"], false, "{first:?}");
    let again = there.looptape(&["import", file.to_str().unwrap(), folder.to_str().unwrap()]);
    assert_eq!((again.code, again.stdout.matches("already imported").count()), (Some(0), 2), "{again:?}");
    assert_eq!(show(&there), shown);
    assert_eq!(there.looptape(&["verify"]).code, Some(0));
    let ran = there.looptape(&["export", &trace, "-o", "same"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let relative = |files: Vec<(String, Vec<u8>)>, root: &Path| {
        let root = root.to_str().unwrap().to_owned();
        files.into_iter().map(move |(name, file)| (name.replace(&root, ""), file)).collect::<Vec<_>>()
    };
    let same = there.home().join("same");
    assert_eq!(relative(files_below(&same), &same), relative(before, &folder));
    let agent = [&["replay", &trace, "--"][..], &AGENT].concat();
    assert_eq!(run(&there, &agent).await.code, Some(0));
}

/// No database is there before or after; the agent runs, and a changed one diverges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cassette_replays_without_a_database() {
    let (mut here, there) = (TestEnv::new(), TestEnv::new());
    recorded(&mut here).await;
    let path = here.home().join("k");
    let path = path.to_str().unwrap();
    assert_eq!(here.looptape(&["export", "last", "-o", path]).code, Some(0));
    let ran = run(&there, &[&["replay", path, "--no-record", "--"][..], &AGENT].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("4 of 4 recorded calls served (4 byte for byte)"), "{ran:?}");
    let itself = there.looptape(&["replay", path, "--no-record", "--json"]);
    assert_eq!((itself.code, &json(&itself)["identical"]), (Some(0), &Value::from(4)), "{itself:?}");
    let unused = run(&there, &["replay", path, "--no-record", "--", "true"]).await;
    assert_eq!(unused.code, Some(4), "{unused:?}");
    for (arguments, said) in [
        (&["diff", path, path][..], "same run"),
        (&["show", path], "3 steps"),
        (&["verify", path], "intact: 1 trace, 4 calls"),
        (&["learn", path, path], ""),
        (&["stats", path], "1 trace"),
        (&["audit", path], "3 steps"),
        (&["export", path, "-o", "copy.looptape"], "copy.looptape: trace"),
    ] {
        let ran = there.looptape(arguments);
        assert!(ran.code == Some(0) && ran.stdout.contains(said), "{arguments:?}: {ran:?}");
    }
    assert!(!there.database().exists(), "nothing was stored");

    let stored = run(&there, &[&["replay", path, "--"][..], &AGENT].concat()).await;
    assert!(stored.code == Some(0) && stored.stderr.contains("stored as"), "{stored:?}");
    let child = json(&there.looptape(&["show", "last-replay", "--json"]));
    assert_eq!(
        child["trace"]["parent"]["trace"],
        json(&there.looptape(&["show", path, "--json"]))["trace"]["id"]
    );
    assert_eq!(there.looptape(&["diff", "last-replay", "--exit-code"]).code, Some(0));
    let mixed = there.looptape(&["diff", path, "last", "--exit-code"]);
    assert_eq!(mixed.code, Some(0), "{mixed:?}");
}

/// What a reviewer sees of the same agent recorded once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_recording_is_a_small_diff() {
    let mut env = TestEnv::new();
    let export = |env: &TestEnv| {
        let ran = env.looptape(&["export", "last", "-o", "k"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        files_below(&env.home().join("k"))
    };
    recorded(&mut env).await;
    let first = export(&env);
    recorded(&mut env).await;
    let second = export(&env);
    let changed = first.iter().zip(&second).filter(|(a, b)| a != b);
    let changed: Vec<&str> = changed.map(|((name, _), _)| name.rsplit('/').next().unwrap()).collect();
    assert_eq!(
        (changed, first.len()),
        (vec!["checksums.txt", "manifest.json", "timings.json"], second.len())
    );
    // Git must not touch what was recorded.
    assert!(first.iter().any(|(name, file)| name.ends_with("/.gitattributes") && file == b"* -text\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_cassettes_are_refused_by_name() {
    let mut env = TestEnv::new();
    recorded(&mut env).await;
    env.looptape(&["export", "last", "-o", "k"]);
    env.looptape(&["export", "last", "-o", "whole.looptape"]);
    let home = env.home().to_owned();
    let archive = std::fs::read(home.join("whole.looptape")).unwrap();
    std::fs::write(home.join("cut.looptape"), &archive[..archive.len() / 2]).unwrap();
    std::fs::write(home.join("text.looptape"), "hello").unwrap();
    std::fs::write(home.join("empty.looptape"), "").unwrap();
    let sse = home.join("k/calls/0001.sse");
    std::fs::write(&sse, std::fs::read_to_string(&sse).unwrap().replacen("Let", "Bet", 1)).unwrap();
    let verbs = [&["import"][..], &["show"], &["verify"], &["replay"], &["export"]];
    for (path, said) in [
        ("./k", "calls/0001.sse is damaged or was changed by hand: its BLAKE3 hash is"),
        ("./cut.looptape", "is cut off or damaged"),
        ("text.looptape", "is no looptape cassette: it is not compressed with zstd"),
        ("empty.looptape", "is no looptape cassette"),
        ("./none", "there is no"),
    ] {
        for verb in verbs {
            let ran = env.looptape(&[verb, &[path]].concat());
            assert!(ran.code == Some(1) && ran.stderr.contains(said), "{verb:?} {path}: {ran:?}");
        }
    }
    let manifest = home.join("k/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"version\": 1", "\"version\": 9")).unwrap();
    let ran = env.looptape(&["import", "k"]);
    assert!(ran.stderr.contains("a newer looptape (cassette version 9") && ran.code == Some(1), "{ran:?}");
    let ran = env.looptape(&["export", "last", "-o", "recordings"]);
    assert!(ran.stderr.contains("recordings holds looptape.db") && ran.code == Some(1), "{ran:?}");
    let ran = env.looptape(&["export", "last", "--format", "folder", "-o", "-"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    // One bad cassette holds up no other.
    let ran = env.looptape(&["import", "k", "whole.looptape"]);
    assert!(ran.code == Some(1) && ran.stdout.contains("already imported"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_pulled_from_a_gateway() {
    let (remote, mut here) = (TestEnv::new(), TestEnv::new());
    let upstream = ScriptedUpstream::answering(|_| Answer::json("{}")).await.unwrap();
    let gateway = Gateway::start(&remote, &upstream.url(), &["--token", "t0ken-0123456789"]).await;
    let url = gateway.url.clone();
    let url = url.as_str();
    let base = format!("{url}/k/t0ken-0123456789");
    let ask = async |path: &str, headers: &[(&str, &str)], body: &str| {
        send(url, &format!("/k/t0ken-0123456789{path}"), headers, body).await.head.status
    };
    for body in ["one", "two"] {
        assert_eq!(ask("/t/job-17/openai/v1/chat/completions", &[], &chat(body)).await, 200);
    }
    let refused = run(&here, &["pull", url, "job"]).await;
    assert!(
        refused.code == Some(1) && refused.stderr.contains("wants its token: add --token"),
        "{refused:?}"
    );
    let unknown = run(&here, &["pull", &base, "jab"]).await;
    assert!(unknown.stderr.contains("there is no trace `jab`"), "{unknown:?}");
    let running = json(&run(&here, &["pull", url, "job", "--token", "t0ken-0123456789", "--json"]).await);
    assert_eq!((&running["trace"], &running["calls"]), (&Value::from("job-17"), &Value::from(2)));
    assert_eq!(ask("/_looptape/v1/traces/job-17/end", &[], "").await, 200);
    gateway.recordings.complete("job-17").await;
    // Since then it has ended, so it is another recording; pulled once more it is the same.
    for already_here in [false, true] {
        let again = json(&run(&here, &["pull", &base, "last", "--json"]).await);
        assert_eq!(
            (&again["trace"], &again["already_here"]),
            (&Value::from("job-17"), &Value::from(already_here))
        );
    }
    here.set("LOOPTAPE_TOKEN", "t0ken-0123456789");
    let cassette = run(&here, &["pull", url, "job-17#1", "-o", "pulled"]).await;
    assert!(cassette.stdout.starts_with("pulled: trace job-17, 2 calls"), "{cassette:?}");
    assert_eq!(here.looptape(&["verify", "./pulled"]).code, Some(0));
    assert_eq!(here.looptape(&["replay", "job-17"]).code, Some(0));
    // The same guard as everywhere.
    let cassette = "/_looptape/v1/traces/last/cassette";
    assert_eq!(ask(cassette, &[("origin", "https://evil.example")], "").await, 403);
    assert_eq!(ask(cassette, &[], "").await, 405, "it is not sent to");
    gateway.stop().await;
    let gone = run(&here, &["pull", url, "job"]).await;
    assert!(gone.stderr.contains("no gateway answers at") && gone.code == Some(1), "{gone:?}");
    let no_gateway = run(&here, &["pull", &upstream.url(), "job"]).await;
    assert!(no_gateway.code == Some(1), "{no_gateway:?}");
    assert_eq!(run(&here, &["pull", "gateway:4100", "job"]).await.code, Some(2));
}

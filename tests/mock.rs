//! `looptape mock`, and `looptape limits fit` on what was recorded against it.

use crate::env::TestEnv;
use crate::gateway::process::Gateway;
use looptape_testkit::raw_client::RawClient;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};

/// A running mock; dropping it kills it.
pub(crate) struct Mock {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Mock {
    pub(crate) fn start(env: &TestEnv, arguments: &[&str]) -> Self {
        let mut all = vec!["mock", "--listen", "127.0.0.1:0", "--json", "--speed", "0"];
        all.extend(arguments);
        let mut child = env.command(&all).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let listening: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(listening["event"], "listening");
        Self { child, stdout, url: listening["url"].as_str().unwrap().to_owned() }
    }

    /// All bytes of an answer, head and body, until the server closes the connection.
    fn raw(&self, path: &str, body: &Value) -> Vec<u8> {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        let body = body.to_string();
        write!(
            socket,
            "POST {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        // A script that cuts an answer may reset the connection: what came until then counts.
        let _ = socket.read_to_end(&mut answer);
        answer
    }

    /// Ctrl-C; what it says about what it answered.
    pub(crate) fn stop(mut self) -> Value {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&rest).unwrap()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Questions in all formats, whole and streamed, some of them twice.
fn questions() -> Vec<(&'static str, Value)> {
    let said = json!([{ "role": "user", "content": "hello" }]);
    let tools = json!([{ "type": "function", "function": { "name": "look", "parameters": { "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } } } }]);
    let chat = json!({ "model": "m", "messages": said, "tools": tools });
    let streamed = json!({ "model": "m", "messages": said, "stream": true });
    let contents = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }] });
    vec![
        ("/openai/v1/chat/completions", chat.clone()),
        ("/openai/v1/chat/completions", chat),
        ("/v1/chat/completions", streamed),
        ("/v1/responses", json!({ "model": "m", "input": "hello", "stream": true })),
        ("/v1/messages", json!({ "model": "m", "max_tokens": 30, "messages": said, "stream": true })),
        ("/v1beta/models/g:streamGenerateContent?alt=sse", contents.clone()),
        ("/v1beta/models/g:streamGenerateContent", contents.clone()),
        ("/v1beta/models/g:generateContent", contents),
        ("/v1/embeddings", json!({})),
    ]
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let env = TestEnv::new();
    let faults =
        ["--fault", "500 at 20 %", "--fault", "cut after 400 bytes at 20 %", "--fault", "malformed at 20 %"];
    let traffic = |seed: &str| -> Vec<Vec<u8>> {
        let mock = Mock::start(&env, &[&["--seed", seed][..], &faults].concat());
        questions().iter().map(|(path, body)| mock.raw(path, body)).collect()
    };
    let first = traffic("7");
    assert!(first.iter().zip(traffic("7")).all(|(one, other)| *one == other));
    assert_ne!(first, traffic("8"));
}

#[test]
fn a_cut_answer_ends_where_it_was_cut() {
    let env = TestEnv::new();
    let mock = Mock::start(&env, &["--seed", "1", "--fault", "cut after 300 bytes"]);
    for (path, body) in &questions()[..4] {
        let answer = String::from_utf8(mock.raw(path, body)).unwrap();
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(!answer.ends_with("0\r\n\r\n") && rest.len() >= 300 && rest.len() < 700, "{path}: {answer}");
    }
    assert!(mock.stop()["faults"]["broken"] == 4);
}

#[test]
fn it_ends_with_a_summary() {
    let env = TestEnv::new();
    let mock = Mock::start(&env, &["--limit", "rpm=3", "--fault", "drop step 2", "--text", "fine"]);
    for (path, body) in &questions()[..5] {
        mock.raw(path, body);
    }
    let summary = mock.stop();
    assert_eq!(
        (&summary["event"], &summary["calls"], &summary["served"]),
        (&json!("stopped"), &json!(5), &json!(3))
    );
    assert_eq!(summary["limited"], json!({ "rpm": 2 }));
}

#[test]
fn answers_come_from_a_file_of_turns() {
    let env = TestEnv::new();
    let script = env.home().join("script.toml");
    std::fs::write(&script, "[[turn]]\ntext = \"You said: {user}\"\n").unwrap();
    let mock = Mock::start(&env, &["--script", script.to_str().unwrap()]);
    let answer =
        String::from_utf8(mock.raw("/v1/responses", &json!({ "model": "m", "input": "hello" }))).unwrap();
    assert!(answer.contains("You said: hello"), "{answer}");
}

#[test]
fn what_is_wrong_is_said_before_it_listens() {
    let env = TestEnv::new();
    let file = |name: &str, text: &str| {
        let path = env.home().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let unknown_key = file("twin.toml", "[twin]\nttft_ms = 5\n[twin.limits]\ntmp = 5\n");
    let no_turn = file("script.toml", "turn = []\n");
    let cases: [(&[&str], i32, &str); 8] = [
        (&["--listen", "0.0.0.0:4101"], 2, "serves this machine only"),
        (&["--twin", &unknown_key], 2, "unknown field `tmp`"),
        (&["--twin", "nowhere.toml"], 1, "nowhere.toml cannot be read"),
        (&["--script", &no_turn], 1, "at least one [[turn]]"),
        (&["--fault", "explode"], 2, "no kind of fault"),
        (&["--limit", "tpm=0"], 2, "a limit is 1 to 100 billion"),
        (&["--speed", "-1"], 2, "write 0 for no waiting"),
        (&["--from", "0123abcd"], 1, "looptape"),
    ];
    for (arguments, code, says) in cases {
        let listen: &[&str] = if arguments[0] == "--listen" { &[] } else { &["--listen", "127.0.0.1:0"] };
        let ran = env.looptape(&[&["mock"], listen, arguments].concat());
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{arguments:?}: {}", ran.stderr);
    }
    let mock = Mock::start(&env, &[]);
    let taken = env.looptape(&["mock", "--listen", mock.url.strip_prefix("http://").unwrap()]);
    assert_eq!(taken.code, Some(1));
    assert!(taken.stderr.contains("in use"), "{}", taken.stderr);
}

#[tokio::test]
async fn limits_come_back_from_what_was_recorded() {
    let env = TestEnv::new();
    let mock = Mock::start(&env, &["--limit", "rpm=20", "--limit", "tpm=6K"]);
    let gateway = Gateway::start(&env, &mock.url, &[]).await;
    for n in 0..12 {
        let text = format!("{n} {}", "word ".repeat(50));
        let body = json!({ "model": "gpt-4o-mini", "max_tokens": 700, "messages": [{ "role": "user", "content": text }] });
        let url = format!("{}/t/job/openai/v1/chat/completions", gateway.url);
        RawClient::post_json(&url, &body.to_string()).await.unwrap();
    }
    let recordings = gateway.recordings.path.to_str().unwrap().to_owned();
    gateway.stop().await;
    let fit = env.looptape(&["limits", "fit", "job", "--db", &recordings]);
    assert_eq!(fit.code, Some(0), "{fit:?}");
    let read: toml::Table = toml::from_str(&fit.stdout).unwrap();
    let limits = &read["twin"]["limits"];
    assert_eq!(
        (limits["rpm"].as_integer(), limits["tpm"].as_integer()),
        (Some(20), Some(6_000)),
        "{}",
        fit.stdout
    );
    let json = env.looptape(&["limits", "fit", "job", "--db", &recordings, "--json"]);
    let account = &serde_json::from_str::<Value>(&json.stdout).unwrap()["accounts"][0];
    assert_eq!((&account["calls"], &account["limits"]["tpm"]["headers"]), (&json!(12), &json!(12)));
    assert!(account["refused"].as_u64().unwrap() >= 3, "{account}");
    // What it prints is what a mock takes.
    let twin = env.home().join("fitted.toml");
    std::fs::write(&twin, &fit.stdout).unwrap();
    Mock::start(&env, &["--twin", twin.to_str().unwrap()]);
}

/// The provider of a scenario, with its faults and the sizes of its traffic.
#[test]
fn a_scenario_says_what_kind_of_provider_it_is() {
    let env = &TestEnv::new();
    let path =
        env.scenario("traffic.output_tokens = 7\n[twin]\nfaults = ['insufficient_quota until 1h30m']\n");
    let mock = Mock::start(env, &["--scenario", &path]);
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hello" }] });
    let refused = String::from_utf8(mock.raw("/v1/chat/completions", &body)).unwrap();
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("insufficient_quota"), "{refused}");
    assert_eq!(mock.stop()["faults"]["insufficient_quota"], 1);
    std::fs::write(&path, "traffic.output_tokens = 7\n").unwrap();
    let mock = Mock::start(env, &["--scenario", &path]);
    let served = String::from_utf8(mock.raw("/v1/chat/completions", &body)).unwrap();
    assert!(served.contains("\"completion_tokens\":7"), "{served}");
    let wrong = env.looptape(&["mock", "--scenario", "preset:outag"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("there are baseline, ramp"), "{}", wrong.stderr);
}

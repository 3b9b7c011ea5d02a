//! Calls to hosts to which no base URL leads: captured, answered again with the host gone, and kept in.

use crate::env::{Ran, TestEnv};
use crate::gateway::process::Gateway;
use bytes::Bytes;
use http_body_util::Full;
use looptape_testkit::tls_upstream::{TlsAnswer, TlsRequest, TlsUpstream};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

/// A host that nobody resolves: recorded runs are led to the test's upstream in its place.
const HOST: &str = "api-weather-test";

/// An upstream behind TLS that says what it was asked, and the environment in which it is trusted.
struct Weather {
    env: TestEnv,
    upstream: TlsUpstream,
    runtime: Runtime,
}

impl Weather {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let upstream = runtime.block_on(TlsUpstream::answering(&["h2", "http/1.1"], echo)).unwrap();
        let mut env = TestEnv::new();
        let authority = env.home().join("company.pem");
        fs::write(&authority, upstream.authority_pem()).unwrap();
        env.set("SSL_CERT_FILE", authority.to_str().unwrap());
        Self { env, upstream, runtime }
    }

    fn record(&self, command: &[&str]) -> Ran {
        let upstream = format!("{HOST}={}", self.upstream.url());
        let record = ["record", "--capture-egress", "--upstream", &upstream, "--"];
        let ran = self.env.looptape(&[&record[..], command].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    }

    /// Ends the upstream; what it was asked.
    fn end(self) -> (TestEnv, Vec<TlsRequest>) {
        let requests = self.upstream.requests();
        drop((self.upstream, self.runtime));
        (self.env, requests)
    }
}

fn echo(request: &TlsRequest) -> TlsAnswer {
    let path = request.target.split("&key=").next();
    let said = json!({ "path": path, "body": String::from_utf8_lossy(&request.body) });
    let mut answer = TlsAnswer::new(Full::from(Bytes::from(said.to_string())));
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}

fn shown(env: &TestEnv) -> Value {
    serde_json::from_str(&env.looptape(&["show", "last", "--json"]).stdout).unwrap()
}

fn report(env: &TestEnv) -> Value {
    serde_json::from_slice(&fs::read(env.home().join("r.json")).unwrap()).unwrap()
}

fn replay(env: &TestEnv, options: &[&str], command: &[&str]) -> Ran {
    let all = [&["replay", "last", "--report", "r.json"], options, &["--"], command].concat();
    env.looptape(&all)
}

const AGENT: &str = r#"
import json, sys, urllib.error, urllib.request
def ask(url, body=None):
    try:
        with urllib.request.urlopen(url, data=body, timeout=20) as answer:
            print(json.load(answer))
    except urllib.error.HTTPError as error:
        print(error.code, error.headers["x-looptape-divergence"])
ask("https://api.weather.test/v1/oslo?units=c&key=" + 3 * "hunter2")
ask("https://api.weather.test/v1/notes", sys.argv[1].encode())
"#;

#[test]
fn what_tools_ask_of_hosts_is_recorded_and_answered_with_the_host_gone() {
    let weather = Weather::start();
    let recorded = weather.record(&["python3", "-c", AGENT, "umbrella"]);
    let (env, asked) = weather.end();
    let asked: Vec<(&str, &str)> = asked.iter().map(|r| (r.method.as_str(), r.target.as_str())).collect();
    assert_eq!(asked, [("GET", "/v1/oslo?units=c&key=hunter2hunter2hunter2"), ("POST", "/v1/notes")]);

    let shown = shown(&env);
    let calls: Vec<(&Value, &Value, &Value)> =
        shown["steps"].as_array().unwrap().iter().map(|c| (&c["kind"], &c["endpoint"], &c["wire"])).collect();
    let (other, none) = (json!("other"), Value::Null);
    let (get, post) =
        (json!("GET https://api.weather.test/v1/oslo"), json!("POST https://api.weather.test/v1/notes"));
    assert_eq!(calls, [(&other, &get, &none), (&other, &post, &none)]);
    let stored = fs::read(env.database()).unwrap();
    assert!(!stored.windows(14).any(|bytes| bytes == b"hunter2hunter2"), "keys are not stored");

    let same = replay(&env, &[], &["python3", "-c", AGENT, "umbrella"]);
    assert_eq!((same.code, &same.stdout), (Some(0), &recorded.stdout), "{same:?}");
    assert_eq!(report(&env)["guarantees"]["egress"], "answered");
    assert!(same.stderr.contains("were answered from the recording or refused"), "{}", same.stderr);
    let check = env.looptape(&["replay", "last"]);
    assert_eq!(check.code, Some(0), "the recorded requests themselves: {check:?}");

    let other = replay(&env, &["--allow-unused"], &["python3", "-c", AGENT, "sunscreen"]);
    assert_eq!(other.code, Some(3), "{other:?}");
    assert!(other.stdout.ends_with("422 LIVE_EGRESS_BLOCKED\n"), "{}", other.stdout);
    let blocked = &report(&env)["replay"]["divergences"][0];
    assert_eq!(blocked["code"], "LIVE_EGRESS_BLOCKED");
    assert_eq!(blocked["endpoint"], "POST https://api.weather.test/v1/notes");
    assert!(other.stderr.contains("umbrella") && other.stderr.contains("sunscreen"), "{}", other.stderr);
}

/// A cassette holds what was captured too.
#[test]
fn captured_calls_go_with_their_cassette() {
    let weather = Weather::start();
    let recorded = weather.record(&["python3", "-c", AGENT, "umbrella"]);
    let (env, _) = weather.end();
    let exported = env.looptape(&["export", "last", "-o", "weather"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let replay = ["replay", "weather", "--no-record", "--", "python3", "-c", AGENT, "umbrella"];
    let replayed = env.looptape(&replay);
    assert_eq!((replayed.code, &replayed.stdout), (Some(0), &recorded.stdout), "{replayed:?}");
}

const AGENT_WITH_A_TOOL: &str = r#"
import json, os, sys, urllib.request
sys.path.insert(0, sys.argv[1])
import looptape
@looptape.tool
def look(city):
    with urllib.request.urlopen("https://api.weather.test/v1/" + city, timeout=20) as answer:
        return json.load(answer)
print(look("oslo"))
with urllib.request.urlopen("https://api.weather.test/v1/own", timeout=20) as answer:
    print(json.load(answer))
"#;

/// A tool that is answered does not run, so what it asked of a host is not missed; what the agent asks itself is.
#[test]
fn a_tools_calls_are_not_missed_where_the_tool_does_not_run() {
    let weather = Weather::start();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python");
    let agent = ["python3", "-c", AGENT_WITH_A_TOOL, sdk.to_str().unwrap()];
    let recorded = weather.record(&agent);
    let (env, _) = weather.end();
    let shown = shown(&env);
    let kinds: Vec<&Value> = shown["steps"].as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, [&json!("tool"), &json!("other"), &json!("other")], "one tool, not two: {shown}");
    let replayed = replay(&env, &[], &agent);
    assert_eq!((replayed.code, &replayed.stdout), (Some(0), &recorded.stdout), "{replayed:?}");
    assert!(replayed.stderr.contains("1 captured call was not made"), "{}", replayed.stderr);
    let run_again = replay(&env, &["--tools", "live"], &agent);
    assert_eq!((run_again.code, &run_again.stdout), (Some(0), &recorded.stdout), "{run_again:?}");
    assert_eq!(report(&env)["replay"]["served"]["bytes"], 2);
}

/// `replay --listen` answers captured calls to clients that have it as their proxy: by their bytes as often as they come,
/// by the trace that the proxy's user names each once.
#[test]
fn a_standing_server_answers_captured_calls() {
    let weather = Weather::start();
    let recorded = weather.record(&["python3", "-c", AGENT, "umbrella"]);
    let (env, _) = weather.end();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let said = runtime.block_on(async {
        let serve = env.command(&["replay", "last", "--listen", "127.0.0.1:0", "--report", "r.json"]);
        let mut server = Gateway::spawn(&env, serve).await;
        let certificates = server.line("  SSL_CERT_FILE=").await;
        let certificates = certificates.split_once('=').unwrap().1.to_owned();
        let ask = async |proxy: &str, note: &str| {
            let mut python = std::process::Command::new("python3");
            python.args(["-c", AGENT, note]).env("SSL_CERT_FILE", &certificates).env("HTTPS_PROXY", proxy);
            let ran = tokio::task::spawn_blocking(move || python.output().unwrap()).await.unwrap();
            String::from_utf8(ran.stdout).unwrap()
        };
        for _ in 0..2 {
            assert_eq!(ask(&server.url, "umbrella").await, recorded.stdout);
        }
        let other = ask(&server.url, "sunscreen").await;
        assert!(other.ends_with("422 LIVE_EGRESS_BLOCKED\n"), "{other}");
        let by_name = server.url.replacen("://", &format!("://{}:x@", recorded.trace()), 1);
        assert_eq!(ask(&by_name, "umbrella").await, recorded.stdout);
        let again = ask(&by_name, "umbrella").await;
        assert_eq!(again, "422 EXHAUSTED\n422 EXHAUSTED\n");
        server.signal(Signal::TERM);
        server.ended().await.1
    });
    assert!(said.contains("POST https://api.weather.test/v1/notes"), "{said}");
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients").canonicalize().unwrap()
}

/// HTTP clients that are there, each with its program.
fn http_clients() -> Vec<(String, Vec<String>)> {
    let python = |interpreter: &Path, library: &str| {
        let program = programs().join("python/captured_http.py").display().to_string();
        let command = vec![interpreter.display().to_string(), program, library.to_owned()];
        (format!("{library} of {}", interpreter.display()), command)
    };
    let node = |interpreter: &Path| {
        let program = programs().join("node/captured_http.mjs").display().to_string();
        let command = vec![interpreter.display().to_string(), program];
        (interpreter.display().to_string(), command)
    };
    let mut clients = vec![python(Path::new("python3"), "urllib")];
    let is_there = |name: &str| std::process::Command::new(name).arg("--version").output().is_ok();
    clients.extend(is_there("node").then(|| node(Path::new("node"))));
    let Some(installed) = std::env::var_os("LOOPTAPE_CLIENTS").map(PathBuf::from) else { return clients };
    if installed.join("captured.ready").exists() {
        let own = installed.join("captured/bin/python");
        clients.extend([python(&own, "requests"), python(&own, "httpx")]);
    }
    if installed.join("captured-node.ready").exists() {
        clients.push(node(&installed.join("captured-node/node_modules/.bin/node")));
    }
    clients
}

#[test]
fn http_clients_of_python_and_node_are_captured_and_replayed() {
    for (name, command) in http_clients() {
        let command: Vec<&str> =
            ["timeout", "120"].into_iter().chain(command.iter().map(String::as_str)).collect();
        let weather = Weather::start();
        let recorded = weather.record(&command);
        let (env, asked) = weather.end();
        let lines = recorded.stdout.lines().count();
        assert_eq!(asked.len(), lines, "{name}: each call went to its host once: {}", recorded.stdout);
        let replayed = replay(&env, &[], &command);
        assert_eq!((replayed.code, &replayed.stdout), (Some(0), &recorded.stdout), "{name}: {replayed:?}");
        assert_eq!(report(&env)["replay"]["recorded_calls"], lines, "{name}");
    }
}

/// Asks the forward proxy for a tunnel, and speaks through it what is not HTTP.
const TUNNEL: &str = r#"
import os, socket, sys, urllib.parse
proxy = urllib.parse.urlparse(os.environ["HTTPS_PROXY"])
link = socket.create_connection((proxy.hostname, proxy.port), timeout=20)
link.sendall(f"CONNECT {sys.argv[1]} HTTP/1.1\r\nHost: {sys.argv[1]}\r\n\r\n".encode())
print(link.recv(100).split()[1].decode())
link.sendall(b"\x00hello")
print(link.recv(100))
"#;

#[test]
fn what_is_not_http_passes_unrecorded_and_is_refused_in_a_replay() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = [0; 6];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(&heard[1..]).unwrap();
    });
    let weather = Weather::start();
    let program = format!("{AGENT}{TUNNEL}").replace("sys.argv[1].encode()", "b\"umbrella\"");
    let recorded = weather.record(&["python3", "-c", &program, &address]);
    assert!(recorded.stdout.ends_with("200\nb'hello'\n"), "{recorded:?}");
    assert!(recorded.stderr.contains("it was passed on, and not recorded"), "{}", recorded.stderr);
    answering.join().unwrap();
    let (env, _) = weather.end();
    let replayed = replay(&env, &[], &["python3", "-c", &program, &address]);
    assert_eq!(replayed.code, Some(3), "{replayed:?}");
    assert!(replayed.stdout.ends_with("200\nb''\n"), "{}", replayed.stdout);
    let said = format!("LIVE_EGRESS_BLOCKED: The agent tried to reach {address} past the replay");
    assert!(replayed.stderr.contains(&said), "{}", replayed.stderr);
}

/// A client that does not trust the run's authority is not led astray in silence.
#[test]
fn a_client_with_certificates_of_its_own_is_named() {
    let program = r#"
import ssl, urllib.error, urllib.request
try:
    urllib.request.urlopen("https://api.weather.test/", context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), timeout=20)
except urllib.error.URLError as error:
    print(type(error.reason).__name__)
"#;
    let weather = Weather::start();
    let recorded = weather.record(&["python3", "-c", program]);
    assert_eq!(recorded.stdout, "SSLCertVerificationError\n");
    let said = "a client of api.weather.test:443 broke off before it sent anything";
    assert!(recorded.stderr.contains(said), "{}", recorded.stderr);
    assert_eq!(weather.end().1, [], "nothing was sent");
}

/// Many clients know NO_PROXY, some do not: what is for looptape itself is never taken for another host's.
#[test]
fn calls_by_base_url_are_theirs_whichever_way_they_come() {
    let program = r#"
import os, urllib.request
proxy = urllib.request.ProxyHandler({"http": os.environ["LOOPTAPE_URL"]})
os.environ.pop("no_proxy"); os.environ.pop("NO_PROXY")
request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", data=b'{"model": "m", "messages": []}')
print(urllib.request.build_opener(proxy).open(request, timeout=20).read().decode())
"#;
    let weather = Weather::start();
    let upstream = format!("openai={}", weather.upstream.url());
    let ran = weather.env.looptape(&[
        "record",
        "--capture-egress",
        "--upstream",
        &upstream,
        "--",
        "python3",
        "-c",
        program,
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (env, asked) = weather.end();
    assert_eq!(asked[0].target, "/v1/chat/completions");
    let shown = shown(&env);
    assert_eq!(shown["steps"][0]["endpoint"], "POST /v1/chat/completions");
    assert_eq!(shown["steps"][0]["kind"], "llm");
}

/// Tries to get out by itself, then does what was recorded.
const ESCAPES: &str = r#"
import os, socket, sys
host, port = sys.argv[2].split(":")
for where in [(host, int(port)), ("192.0.2.1", 443)]:
    try: socket.create_connection(where, timeout=5); print("out")
    except OSError as error: print(type(error).__name__)
print(os.getuid())
"#;

#[test]
fn in_a_sandbox_nothing_but_the_replay_can_be_reached() {
    if !permits_sandboxes() {
        let _ = writeln!(
            std::io::stderr().lock(),
            "SKIPPED the sandbox: network namespaces are not permitted here"
        );
        return;
    }
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = outside.local_addr().unwrap().to_string();
    let weather = Weather::start();
    let recorded = weather.record(&["python3", "-c", AGENT, "umbrella"]);
    let (env, _) = weather.end();
    let program = format!("{ESCAPES}{AGENT}");
    let ran = replay(&env, &["--sandbox"], &["python3", "-c", &program, "umbrella", &address]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let user = rustix::process::getuid().as_raw();
    let expected = format!("ConnectionRefusedError\nOSError\n{user}\n{}", recorded.stdout);
    assert_eq!(ran.stdout, expected);
    assert_eq!(report(&env)["guarantees"]["egress"], "sandboxed");
    assert!(ran.stderr.contains("Unix sockets were not cut off"), "{}", ran.stderr);

    let unused = ["--sandbox", "--allow-unused"];
    assert_eq!(replay(&env, &unused, &["sh", "-c", "exit 7"]).code, Some(7));
    let missing = replay(&env, &unused, &["no-such-program"]);
    assert_eq!(missing.code, Some(127), "{missing:?}");
    assert!(missing.stderr.contains("`no-such-program` was not found"), "{}", missing.stderr);
    let own = env.home().join("plain.txt");
    fs::write(&own, "x").unwrap();
    assert_eq!(replay(&env, &unused, &[own.to_str().unwrap()]).code, Some(126));
    let killed = replay(&env, &unused, &["sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.code, Some(137), "{killed:?}");
}

/// Where the system does not permit it, nothing runs, and it is said what is missing.
#[test]
fn a_sandbox_that_is_not_permitted_is_refused() {
    if !permits_sandboxes() {
        let _ = writeln!(
            std::io::stderr().lock(),
            "SKIPPED the refused sandbox: it takes a user namespace to forbid one"
        );
        return;
    }
    let weather = Weather::start();
    weather.record(&["python3", "-c", AGENT, "umbrella"]);
    let (env, _) = weather.end();
    let forbidding = "echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_net_namespaces; exec \"$@\"";
    let looptape = env!("CARGO_BIN_EXE_looptape");
    let replay = [looptape, "replay", "last", "--sandbox", "--", "touch", "ran"];
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", forbidding, "sh"]).args(replay);
    command.envs(env.command(&[]).get_envs().filter_map(|(n, v)| Some((n, v?)))).current_dir(env.home());
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr
            .contains("--sandbox: a network namespace is not permitted here, user.max_user_namespaces is 0"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("--block-egress"), "{}", ran.stderr);
    assert!(!env.home().join("ran").exists());
}

fn permits_sandboxes() -> bool {
    let unshared =
        std::process::Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).output();
    unshared.is_ok_and(|output| output.status.success())
}

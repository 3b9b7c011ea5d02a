//! The API beneath the page, and who may ask it; no browser is needed.

use super::ServedPage;
use crate::env::TestEnv;
use crate::gateway::process::{Gateway, command};
use crate::views;
use looptape_testkit::raw_client::{RawClient, RawResponse};
use serde_json::Value;

const TOKEN: &str = "t0ken-of-the-gateway-0123456789";

async fn get_with(origin: &str, path: &str, headers: &[(&str, &str)]) -> RawResponse {
    let mut client = RawClient::connect(origin).await.expect("it accepts");
    client.request("GET", path, headers, b"").await.expect("it reads");
    client.response().await.expect("it answers")
}

async fn get(page: &ServedPage, path: &str) -> RawResponse {
    get_with(page.address.trim_end_matches("/ui"), &format!("/ui{path}"), &[]).await
}

pub(super) async fn json(page: &ServedPage, path: &str) -> Value {
    let answer = get(page, &format!("/api{path}")).await;
    let text = answer.text();
    assert_eq!(answer.head.status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}

/// Sends what does more than read, with the token; what is answered.
pub(super) async fn post(page: &ServedPage, path: &str, body: &str) -> Value {
    let headers = [("content-type", "application/json"), ("x-looptape-page-token", page.token())];
    let mut client = RawClient::connect(page.address.trim_end_matches("/ui")).await.expect("it accepts");
    client.request("POST", &format!("/ui/api{path}"), &headers, body.as_bytes()).await.expect("it reads");
    let answer = client.response().await.expect("it answers");
    let text = answer.text();
    assert!((200..300).contains(&answer.head.status), "{path}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}

#[test]
fn the_api_answers_what_the_command_line_prints() {
    let recorded = views::recorded();
    let env = &recorded.env;
    let page = ServedPage::of(env, &env.database());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let json = |path: &str| runtime.block_on(json(&page, path));
    let printed = |arguments: &[&str]| views::json(&views::good(env, arguments));

    let (listed, printed_list) = (json("/traces"), printed(&["ls", "--json"]));
    for (name, value) in printed_list[0].as_object().unwrap() {
        assert_eq!(&listed["traces"][0][name], value, "{name}");
    }
    assert_eq!(
        (&listed["more"], &listed["traces"][0]["label"]),
        (&false.into(), &recorded.id.as_str().into())
    );
    assert_eq!(
        json("/traces?agent=traveller&outcome=success&tag=env=test&text=TRAVEL")["traces"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for nothing in [
        "agent=x",
        "outcome=failure",
        "tag=env=x",
        "text=nowhere",
        "model=gpt-4",
        "status=aborted",
        "before=5",
    ] {
        assert_eq!(json(&format!("/traces?{nothing}"))["traces"], Value::Array(Vec::new()), "{nothing}");
    }

    // In a question, in a tool's result, in an answer; the first step that says it.
    for (said, step) in [("FOR%20THE%20weekend", 1), ("rain%2C%207", 2), ("Go%20to%20Lisbon", 3)] {
        let found = json(&format!("/search?text={said}"));
        assert_eq!((&found["found"][0]["step"], &found["next"]), (&step.into(), &Value::Null), "{found}");
        assert_eq!(found["found"][0]["label"], recorded.id.as_str());
    }
    let nothing = json("/search?text=nobody%20said%20this");
    assert_eq!((&nothing["found"], &nothing["looked_at"]), (&serde_json::json!([]), &1.into()));

    let shown = printed(&["show", "last", "--json"]);
    let head = json("/traces/last");
    assert_eq!(head["trace"]["id"], shown["trace"]["id"]);
    assert_eq!(head["trace"]["metrics"]["cost_usd"], shown["trace"]["metrics"]["cost_usd"]);
    assert_eq!(head["entries"], 6);
    let rows = json("/traces/last/rows");
    for (at, entry) in shown["steps"].as_array().unwrap().iter().enumerate() {
        let row = &rows["rows"][at];
        for name in ["step", "sub", "kind", "text", "tool_calls", "tool", "attempts", "duration_ms", "cost"] {
            assert_eq!(row[name], entry[name], "{name} of row {at}");
        }
    }
    // One by one they are made without the others.
    for (at, entry) in shown["steps"].as_array().unwrap().iter().enumerate() {
        let alone = json(&format!("/traces/last/rows/{at}"));
        for (name, value) in entry.as_object().unwrap() {
            let is_left_out = ["composition", "messages"].contains(&name.as_str());
            assert!(is_left_out || &alone[name] == value, "{name} of row {at} alone: {alone}");
        }
    }
    assert_eq!(json("/traces/last/rows?from=4&limit=1")["rows"][0]["at"], 4);
    let series = json("/traces/last/series");
    assert_eq!(
        (&series["step"], &series["at"]),
        (&serde_json::json!([1, 2, 3]), &serde_json::json!([0, 3, 5]))
    );

    let mut step = json("/traces/last/steps/2?composition=true");
    step.as_object_mut().unwrap().remove("cut");
    assert_eq!(step, printed(&["show", "last", "--step", "2", "--json"]));
    let heat = json("/traces/last/heat");
    let audit = printed(&["audit", "last", "--json"]);
    let cost = |messages: &Value| -> f64 {
        messages.as_array().unwrap().iter().map(|message| message["usd"].as_f64().unwrap()).sum()
    };
    assert_eq!(heat["input_usd"], audit["input_usd"]);
    assert!((cost(&heat["messages"]) - audit["input_usd"].as_f64().unwrap()).abs() < 1e-11, "{heat}");

    let stats = json("/stats?over_time=auto");
    let over_time = &stats["over_time"];
    assert_eq!((&over_time["unit"], &over_time["traces"]), (&"minute".into(), &serde_json::json!([1])));
    let of_one = &over_time["metrics"];
    for (metric, figure) in
        [("cost_usd", "cost_usd"), ("retry_rate", "retry_rate"), ("input_tokens", "tokens.input_total")]
    {
        let figure = figure.split('.').fold(&stats, |value, name| &value[name]);
        assert_eq!(of_one[metric]["figure"][0].as_f64(), figure.as_f64(), "{metric}");
        assert!(figure.is_number(), "{metric}");
    }
    for metric in ["loop_duration_ms", "step_latency_ms", "steps_per_loop"] {
        assert_eq!(of_one[metric]["p95"][0], stats[metric]["p95"], "{metric}");
    }
    let whole_day = json("/stats?over_time=day")["over_time"]["stretches"][0].clone();
    let length = whole_day["end_unix_us"].as_i64().unwrap() - whole_day["start_unix_us"].as_i64().unwrap();
    assert_eq!(length, 86_400_000_000, "UTC has no shorter days");

    let call = &rows["rows"][3]["attempts"][0]["call"];
    assert_eq!(json(&format!("/traces/last/calls/{call}"))["response"]["status"], 429);
    let bytes = runtime.block_on(get(&page, "/api/traces/last/calls/0/request")).body();
    let raw = env.command(&["show", "last", "--step", "1", "--raw", "request"]).output().unwrap().stdout;
    assert_eq!(bytes, raw);
}

#[test]
fn what_is_wrong_is_said() {
    let recorded = views::recorded();
    let page = ServedPage::of(&recorded.env, &recorded.env.database());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (path, status, code) in [
        ("/traces/nobody", 404, "no_such_trace"),
        ("/traces/last/steps/77", 404, "no_such_step"),
        ("/traces/last/rows/77", 404, "no_such_step"),
        ("/traces/last/calls/77", 400, "invalid"),
        ("/traces/last/calls/0/neither", 400, "invalid"),
        ("/traces/last/steps/1/text?pointer=/nowhere", 400, "invalid"),
        ("/traces?outcome=great", 400, "invalid"),
        ("/traces?sort=colour", 400, "invalid"),
        ("/traces?tag==x", 400, "invalid"),
        ("/traces?limit=many", 400, "invalid"),
        ("/stats?over_time=week", 400, "invalid"),
        ("/write-access", 403, "token_missing"),
        ("/nowhere", 404, "unknown_path"),
    ] {
        let answer = runtime.block_on(get(&page, &format!("/api{path}")));
        let said: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
        assert_eq!((answer.head.status, &said["error"]["code"]), (status, &code.into()), "{path}: {said}");
        assert!(
            said["error"]["message"].as_str().is_some_and(|message| message.len() > 10),
            "{path}: {said}"
        );
    }
}

#[tokio::test]
async fn every_address_is_described_and_guarded() {
    let env = TestEnv::new();
    let page = ServedPage::of(&env, &env.home().join("none.db"));
    assert_eq!(json(&page, "/traces").await["traces"], Value::Array(Vec::new()), "there is no database yet");
    assert_eq!(json(&page, "/changes").await["mark"], Value::Null);
    let described = json(&page, "/openapi.json").await;
    let paths: Vec<&String> = described["paths"].as_object().unwrap().keys().collect();
    for path in ["/traces", "/traces/{trace}", "/traces/{trace}/rows", "/traces/{trace}/calls/{call}/{which}"]
    {
        assert!(paths.iter().any(|known| *known == path), "{path}: {paths:?}");
    }
    for path in ["", "/trace/last?step=3", "/assets/page.js", "/api/traces"] {
        let answer = get(&page, path).await;
        assert_eq!(answer.head.status, 200, "{path}");
        let policy = answer.head.header("content-security-policy").unwrap_or_default().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.head.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    let origin = page.address.trim_end_matches("/ui").to_owned();
    for header in
        [("host", "evil.example"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")]
    {
        let answer = get_with(&origin, "/ui/api/traces", &[header]).await;
        assert_eq!(answer.head.status, 403, "{header:?}");
    }
}

#[tokio::test]
async fn a_gateway_has_it_behind_its_token() {
    let env = TestEnv::new();
    let mut command = command(&env, &["--listen", "0.0.0.0:0"]);
    command.env("LOOPTAPE_TOKEN", TOKEN);
    let gateway = Gateway::spawn(&env, command).await;
    let url = gateway.url.replace("0.0.0.0", "127.0.0.1");
    let host = [("host", "gateway.internal")];
    assert_eq!(get_with(&url, "/ui", &host).await.head.status, 401);
    assert_eq!(get_with(&url, "/ui/api/traces", &host).await.head.status, 401);
    let page = get_with(&url, &format!("/k/{TOKEN}/ui/trace/last"), &host).await;
    assert!(page.head.status == 200 && page.text().contains("src=\"../assets/page.js\""), "{}", page.text());
    let listed = get_with(&url, &format!("/k/{TOKEN}/ui/api/traces"), &host).await;
    assert_eq!(listed.head.status, 200, "{}", listed.text());
    let write = get_with(&url, &format!("/k/{TOKEN}/ui/api/write-access"), &host).await;
    assert_eq!(write.head.status, 403);
    assert!(write.text().contains("read_only"), "{}", write.text());
    let said = gateway.stop().await;
    assert!(said.contains("/k/TOKEN/ui"), "{said}");
}

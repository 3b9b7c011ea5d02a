//! What a gateway tells of itself: `/metrics`, and alerts.

use crate::env::TestEnv;
use crate::gateway::process::{Gateway, command, refused};
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::raw_client::{RawClient, RawResponse};
use looptape_testkit::upstream::{ReceivedRequest, ScriptedUpstream};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CHAT: &str = "/t/job/openai/v1/chat/completions";

fn chat(model: &str, text: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": text}]}).to_string()
}

/// 1,000 tokens in, of them 600 cached; 100 out. In the model's own name. The first request that says `again` fails.
fn completion(request: &ReceivedRequest, failed: &mut bool) -> Answer {
    let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if request.contains("again") && !std::mem::replace(failed, true) {
        return Answer::status(429).header("content-type", "application/json").piece("{}");
    }
    Answer::json(
        json!({"model": asked["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
                "prompt_tokens_details": {"cached_tokens": 600}}})
        .to_string(),
    )
}

async fn provider() -> ScriptedUpstream {
    let mut failed = false;
    ScriptedUpstream::answering(move |request| completion(request, &mut failed)).await.unwrap()
}

async fn get(gateway: &Gateway, path: &str) -> RawResponse {
    let mut client = RawClient::connect(&gateway.url).await.unwrap();
    client.request("GET", path, &[], b"").await.unwrap();
    client.response().await.unwrap()
}

async fn post(gateway: &Gateway, path: &str, body: &str) -> u16 {
    RawClient::post_json(&format!("{}{path}", gateway.url), body).await.unwrap().head.status
}

/// Samples by name and labels, after a look at the format: every sample has a type, and is a number.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram", "untyped"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end));
            let is_histogram =
                of_histogram.is_some_and(|name| types.get(name).is_some_and(|t| t == "histogram"));
            assert!(is_histogram || types.contains_key(family), "no type: {line}");
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
            assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

async fn scraped(gateway: &Gateway) -> BTreeMap<String, f64> {
    let response = get(gateway, "/metrics").await;
    assert_eq!(response.head.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    samples(&response.text())
}

/// Waits until so many calls were written down.
async fn after_calls(gateway: &Gateway, calls: f64) -> BTreeMap<String, f64> {
    loop {
        let samples = scraped(gateway).await;
        let seen: f64 =
            samples.iter().filter(|(name, _)| name.starts_with("looptape_calls_total")).map(|(_, n)| n).sum();
        if seen >= calls {
            return samples;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn metrics_have_the_names_of_opentelemetry_and_the_figures_of_the_calls() {
    let (env, upstream) = (TestEnv::new(), provider().await);
    let gateway =
        Gateway::start(&env, &upstream.url(), &["--max-usd-per-day", "1", "--allow-unpriced"]).await;
    assert_eq!(post(&gateway, CHAT, &chat("gpt-4o", "one")).await, 200);
    for expected in [429, 200] {
        assert_eq!(post(&gateway, CHAT, &chat("gpt-4o", "again")).await, expected);
    }
    assert_eq!(post(&gateway, CHAT, &chat("acme-1", "two")).await, 200);
    assert_eq!(get(&gateway, "/t/job/openai/v1/models").await.head.status, 200);
    assert_eq!(post(&gateway, "/_looptape/v1/traces/job/end", r#"{"outcome":"success"}"#).await, 200);
    let samples = after_calls(&gateway, 5.0).await;
    let of = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("no {name} in {samples:#?}"));

    let model = r#"gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o",gen_ai_response_model="gpt-4o""#;
    assert_eq!(of(&format!(r#"gen_ai_client_token_usage_sum{{{model},gen_ai_token_type="input"}}"#)), 2000.0);
    assert_eq!(of(&format!(r#"gen_ai_client_token_usage_count{{{model},gen_ai_token_type="output"}}"#)), 2.0);
    let input = format!(r#"{model},gen_ai_token_type="input""#);
    let bucket = |le: &str| of(&format!(r#"gen_ai_client_token_usage_bucket{{{input},le="{le}"}}"#));
    assert_eq!(
        [bucket("256"), bucket("1024"), bucket("6.7108864e+07"), bucket("+Inf")],
        [0.0, 2.0, 2.0, 2.0]
    );
    let duration = format!(r#"{model},error_type="""#);
    assert_eq!(of(&format!("gen_ai_client_operation_duration_seconds_count{{{duration}}}")), 2.0);
    assert!(
        of(&format!(r#"gen_ai_client_operation_duration_seconds_bucket{{{duration},le="81.92"}}"#)) == 2.0
    );
    let failed = r#"gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o",gen_ai_response_model="",error_type="429""#;
    assert_eq!(of(&format!("gen_ai_client_operation_duration_seconds_count{{{failed}}}")), 1.0);

    assert_eq!(
        of(r#"looptape_calls_total{provider="openai",kind="llm",state="complete",status="2xx"}"#),
        3.0
    );
    assert_eq!(
        of(r#"looptape_calls_total{provider="openai",kind="other",state="complete",status="2xx"}"#),
        1.0
    );
    assert_eq!(of(r#"looptape_retries_total{provider="openai",model="gpt-4o"}"#), 1.0);
    assert_eq!(of(r#"looptape_tokens_total{provider="openai",model="gpt-4o",leaf="cache_read"}"#), 1200.0);
    // 400 at 2.50 and 600 at 1.25 a million, twice.
    let cost = |leaf: &str| {
        of(&format!(r#"looptape_cost_usd_total{{provider="openai",model="gpt-4o",leaf="{leaf}"}}"#))
    };
    assert!((cost("uncached_input") - 0.002).abs() < 1e-12 && (cost("cache_read") - 0.0015).abs() < 1e-12);
    assert_eq!(of(r#"looptape_unpriced_calls_total{reason="unknown_model"}"#), 1.0);
    let loops: f64 =
        samples.iter().filter(|(n, _)| n.starts_with("looptape_loops_total{")).map(|(_, n)| n).sum();
    assert!(loops >= 1.0, "{samples:#?}");
    assert_eq!(of("looptape_calls_in_flight"), 0.0);
    assert!(of("looptape_recorder_queue_limit_bytes") > 0.0);
    assert_eq!(of(r#"looptape_budget_limit_usd{scope="day"}"#), 1.0);
    let spent = of(r#"looptape_budget_spent_usd{scope="day"}"#);
    assert!((spent - 2.0 * (0.001 + 0.00075 + 0.001)).abs() < 1e-9, "{spent}");
    assert!(of(r#"looptape_body_bytes_total{direction="request"}"#) > 100.0);
    gateway.stop().await;
}

#[tokio::test]
async fn names_that_clients_make_up_are_bounded() {
    let (env, upstream) = (TestEnv::new(), provider().await);
    let gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    for n in 0..80 {
        let model = format!("m{n}\"}} evil 1\n# TYPE");
        assert_eq!(post(&gateway, CHAT, &chat(&model, "x")).await, 200);
    }
    let samples = after_calls(&gateway, 80.0).await;
    let steps: Vec<f64> = samples
        .iter()
        .filter(|(name, _)| name.starts_with("looptape_steps_total"))
        .map(|(_, n)| *n)
        .collect();
    assert_eq!((steps.len(), steps.iter().sum::<f64>()), (65, 80.0));
    gateway.stop().await;
}

#[tokio::test]
async fn metrics_want_the_token_and_nothing_but_a_get() {
    let (env, upstream) = (TestEnv::new(), provider().await);
    let gateway = Gateway::start(&env, &upstream.url(), &["--token", "0123456789abcdef"]).await;
    assert_eq!(get(&gateway, "/metrics").await.head.status, 401);
    assert_eq!(get(&gateway, "/k/0123456789abcdef/metrics").await.head.status, 200);
    assert_eq!(post(&gateway, "/k/0123456789abcdef/metrics", "{}").await, 404);
    gateway.stop().await;
}

fn configure(env: &mut TestEnv, alerts: &str) {
    let project = env.work_in("project").to_owned();
    std::fs::write(project.join("looptape.toml"), alerts).unwrap();
}

#[tokio::test]
async fn an_alert_is_told_once_and_posted() {
    let (mut env, upstream) = (TestEnv::new(), provider().await);
    let hook = ScriptedUpstream::answering(|_| Answer::json("{}")).await.unwrap();
    configure(&mut env, &format!("[alerts]\ntrace_cost = 0.004\nwebhook = \"{}/hook?x=1\"\n", hook.url()));
    let mut gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    // 0.00275 each.
    for n in 0..4 {
        assert_eq!(post(&gateway, CHAT, &chat("gpt-4o", &n.to_string())).await, 200);
    }
    let line = gateway.line("looptape: alert: ").await;
    assert_eq!(
        line,
        "looptape: alert: trace_cost: the trace has cost $0.0055 (limit $0.004), gpt-4o, trace job"
    );
    let posted = hook.wait_for_requests(1).await;
    let body: Value = serde_json::from_slice(&posted[0].body).unwrap();
    assert_eq!(
        (posted[0].target.as_str(), &body["rule"], &body["state"]),
        ("/hook?x=1", &json!("trace_cost"), &json!("firing"))
    );
    assert_eq!(
        (&body["value"], &body["threshold"], &body["unit"]),
        (&json!(0.0055), &json!(0.004), &json!("usd"))
    );
    assert_eq!((&body["trace"], &body["model"]), (&json!("job"), &json!("gpt-4o")));
    let samples = after_calls(&gateway, 4.0).await;
    assert_eq!(samples[r#"looptape_alerts_total{rule="trace_cost"}"#], 1.0);
    gateway.stop().await;
    assert_eq!(hook.requests().len(), 1);
}

#[tokio::test]
async fn a_full_context_is_told_with_its_model_and_trace() {
    let mut env = TestEnv::new();
    let answer = json!({"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 102_400, "completion_tokens": 1}});
    let upstream = ScriptedUpstream::answering(move |_| Answer::json(answer.to_string())).await.unwrap();
    configure(&mut env, "[alerts]\ncontext = 0.75\n");
    let mut gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    for n in 0..3 {
        assert_eq!(post(&gateway, CHAT, &chat("gpt-4o", &n.to_string())).await, 200);
    }
    let line = gateway.line("looptape: alert: ").await;
    let told =
        "looptape: alert: context: 80 % of the model's input limit are used (limit 75 %), gpt-4o, trace job";
    assert_eq!(line, told);
    let samples = after_calls(&gateway, 3.0).await;
    let of_model = r#"provider="openai",model="gpt-4o""#;
    let bucket =
        |le: &str| samples[&format!(r#"looptape_context_used_ratio_bucket{{{of_model},le="{le}"}}"#)];
    assert_eq!((bucket("0.75"), bucket("0.9")), (0.0, 3.0));
    let said = gateway.stop().await;
    assert_eq!(said.matches("alert: context").count(), 1, "{said}");
}

/// A webhook that does not answer is waited for by nobody.
#[tokio::test]
async fn a_webhook_is_in_no_calls_way() {
    let (mut env, upstream) = (TestEnv::new(), provider().await);
    let hook =
        ScriptedUpstream::answering(|_| Answer::json("{}").wait(&Gate::closed()).stalled(&Gate::closed()))
            .await
            .unwrap();
    configure(&mut env, &format!("[alerts]\ntrace_cost = 0.001\nwebhook = \"{}\"\n", hook.url()));
    let gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    for n in 0..80 {
        let path = format!("/t/job{n}/openai/v1/chat/completions");
        assert_eq!(post(&gateway, &path, &chat("gpt-4o", "x")).await, 200);
    }
    let samples = after_calls(&gateway, 80.0).await;
    assert_eq!(samples[r#"looptape_alerts_total{rule="trace_cost"}"#], 80.0);
    let said = gateway.stop().await;
    assert_eq!(said.matches("looptape: alert: trace_cost").count(), 80, "{said}");
    assert!(said.contains("too many alerts wait for the webhook"), "{said}");
}

#[tokio::test]
async fn failed_tools_are_seen_in_the_requests_that_carry_them() {
    let (mut env, upstream) = (TestEnv::new(), provider().await);
    configure(&mut env, "[alerts]\ntool_failures = 0.5\n");
    let mut gateway = Gateway::start(&env, &upstream.url(), &[]).await;
    let result = |n: u32, is_error: bool| json!({"type": "tool_result", "tool_use_id": format!("t{n}"), "content": "no", "is_error": is_error});
    let results: Vec<Value> = (0..6).map(|n| result(n, n > 1)).collect();
    let body = json!({"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": [
        {"role": "user", "content": "go"}, {"role": "assistant", "content": "tools"}, {"role": "user", "content": results}]});
    assert_eq!(post(&gateway, "/t/job/anthropic/v1/messages", &body.to_string()).await, 200);
    let line = gateway.line("looptape: alert: ").await;
    assert_eq!(line, "looptape: alert: tool_failures: 67 % of the tool results are failures (limit 50 %)");
    let samples = after_calls(&gateway, 1.0).await;
    assert_eq!((samples["looptape_tool_results_total"], samples["looptape_tool_errors_total"]), (6.0, 4.0));
    assert_eq!(samples[r#"looptape_alerts_firing{rule="tool_failures"}"#], 1.0);
    gateway.stop().await;
}

#[tokio::test]
async fn wrong_rules_are_named_before_anything_listens() {
    let mut env = TestEnv::new();
    configure(&mut env, "[alerts]\nttft = 0.5\n");
    let (code, said) = refused(command(&env, &[])).await;
    assert!(code == Some(1) && said.contains("write a number above 1"), "{said}");
}

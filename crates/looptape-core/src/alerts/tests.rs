use super::*;

const WINDOW_US: i64 = 60_000_000;

struct Scene {
    alerts: Alerts,
    now: i64,
    trace: TraceId,
}

impl Scene {
    fn new(rules: Rules) -> Self {
        Self { alerts: Alerts::new(rules, WINDOW_US), now: 0, trace: TraceId::parse("job").unwrap() }
    }

    /// So many calls in a window, and then the next one begins.
    fn window(&mut self, calls: u32, change: impl Fn(u32, &mut EndedCall<'_>)) -> Vec<String> {
        for n in 0..calls {
            let mut call = EndedCall {
                at_unix_us: self.now + i64::from(n),
                trace: &self.trace,
                model: Some("m"),
                tokens: 100,
                ttft_ms: Some(200.0),
                tpot_ms: Some(10.0),
                cost: Usd::ZERO,
                context_used: None,
                attempt: Attempt::First,
            };
            change(n, &mut call);
            self.alerts.call(&call);
        }
        self.now += WINDOW_US;
        self.alerts.tick(self.now);
        self.alerts.take().iter().map(Alert::to_string).collect()
    }
}

#[test]
fn a_regression_is_told_once_and_is_over_once() {
    let mut scene = Scene::new(Rules { ttft: Some(2.0), tpot: Some(2.0), ..Rules::default() });
    let slow = |_: u32, call: &mut EndedCall<'_>| call.ttft_ms = Some(500.0);
    assert_eq!(scene.window(30, slow), [""; 0], "nothing is usual yet");
    for _ in 0..5 {
        assert_eq!(scene.window(30, |_, _| {}), [""; 0]);
    }
    assert_eq!(scene.window(10, slow), [""; 0], "too few to say");
    insta::assert_snapshot!(scene.window(30, slow).join("\n"), @"ttft: p95 of the time to the first token is 500 ms, 2.5 times what is usual (limit 2.0)");
    assert_eq!(scene.window(30, slow), [""; 0], "it was told");
    assert_eq!(scene.window(30, |_, _| {}), ["ttft: over"], "a whole window has passed without it");
    assert_eq!(scene.window(30, slow).len(), 1, "and again");
}

#[test]
fn an_unusual_rate_of_tokens_is_seen_while_it_happens() {
    let mut scene = Scene::new(Rules { token_rate: Some(4.0), ..Rules::default() });
    for _ in 0..3 {
        scene.window(10, |_, _| {});
        scene.now += 5 * WINDOW_US;
    }
    let said = scene.window(50, |_, _| {});
    assert_eq!(said, ["token_rate: 4100 tokens a minute, 4.1 times what is usual (limit 4.0)"]);
}

#[test]
fn rates_want_a_sample() {
    let mut scene = Scene::new(Rules { retry_rate: Some(0.1), tool_failures: Some(0.2), ..Rules::default() });
    let every = |n: u32| {
        move |i: u32, call: &mut EndedCall<'_>| {
            call.attempt = if i.is_multiple_of(n) { Attempt::Retry } else { Attempt::First };
        }
    };
    assert_eq!(scene.window(4, every(2)), [""; 0]);
    assert_eq!(scene.window(40, every(40)), [""; 0]);
    assert_eq!(scene.window(40, every(4)), ["retry_rate: 40 retries for 100 steps (limit 10 %)"]);
    scene.alerts.tools(scene.now, ToolResults { all: 4, failed: 4 });
    assert_eq!(scene.alerts.take(), []);
    scene.alerts.tools(scene.now, ToolResults { all: 4, failed: 0 });
    let said: Vec<String> = scene.alerts.take().iter().map(Alert::to_string).collect();
    assert_eq!(said, ["tool_failures: 50 % of the tool results are failures (limit 20 %)"]);
}

#[test]
fn a_trace_is_told_once_and_its_name_may_come_again() {
    let rules = Rules { trace_cost: Usd::from_f64(1.0), context: Some(0.75), ..Rules::default() };
    let mut scene = Scene::new(rules);
    let dear = |n: u32, call: &mut EndedCall<'_>| {
        call.cost = Usd::from_f64(0.4).unwrap();
        call.context_used = (n == 3).then_some(0.8);
    };
    let expected = [
        "trace_cost: the trace has cost $1.20 (limit $1.00), m, trace job",
        "context: 80 % of the model's input limit are used (limit 75 %), m, trace job",
    ];
    assert_eq!(scene.window(5, dear), expected);
    assert_eq!(scene.window(5, dear), [""; 0]);
    scene.alerts.trace_ended(&TraceId::parse("job").unwrap());
    assert_eq!(scene.window(5, dear), expected);
}

#[test]
fn an_hour_is_an_hour() {
    let mut scene = Scene::new(Rules { cost_per_hour: Usd::from_f64(2.0), ..Rules::default() });
    let dear = |_: u32, call: &mut EndedCall<'_>| call.cost = Usd::from_f64(0.5).unwrap();
    assert_eq!(scene.window(4, dear), [""; 0]);
    scene.now += 59 * WINDOW_US;
    assert_eq!(scene.window(4, dear), [""; 0], "the first ones are an hour old");
    assert_eq!(scene.window(1, dear), ["cost_per_hour: the last hour cost $2.50 (limit $2.00)"]);
    scene.now += 61 * WINDOW_US;
    assert_eq!(scene.window(1, dear), ["cost_per_hour: over"]);
}

use super::*;
use crate::load::Gauge;
use crate::metrics::{Distribution, Percent};
use crate::scenario;
use proptest::prelude::*;

const AT: i64 = 1_767_225_600_000_000;

fn run(text: &str) -> LoadReport {
    run_with(text, &Material::default())
}

fn run_with(text: &str, material: &Material) -> LoadReport {
    let scenario = scenario::read(text, &[]).unwrap();
    simulate(&scenario, material, &PriceBook::default(), AT, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// One queue with exponential service: a loop is one call, a token takes no time, and there are `slots` servers.
fn queue(slots: u32, arrivals_per_s: f64, service_ms: f64, duration_s: u32) -> String {
    format!(
        "[traffic]\nsteps = 1\noutput_tokens = 1\nsystem_tokens = 0\n\
         [[phase]]\nexecutor = \"constant-arrival-rate\"\nrate = {arrivals_per_s}\nduration = \"{duration_s}s\"\n\
         arrival = \"poisson\"\nmax_vus = 1000000\n\
         [twin]\nslots = {slots}\nttft_ms = {{ exponential = {service_ms} }}\ntpot_ms = 0\nprefill_ms_per_1k = 0\n"
    )
}

#[test]
fn one_server_waits_as_the_theory_says() {
    // M/M/1 with λ = 0.5/s, μ = 1/s: a customer spends 1/(μ−λ) in the system, exponentially distributed.
    let report = run(&queue(1, 0.5, 1000.0, 400_000));
    let (took, expected) = (&report.total.stats.loop_duration_ms, 2000.0);
    let (mean, p95) = (took.mean().unwrap(), took.p95().unwrap().value);
    // 200,000 customers whose times hang together: the standard error of the mean is 0.6 %.
    assert!((mean / expected - 1.0).abs() < 0.03, "{mean} {expected}");
    assert!((p95 / (expected * 20_f64.ln()) - 1.0).abs() < 0.04, "{p95}");
    let at_once = report.total.stats.concurrency.unwrap().loops_mean;
    assert!((at_once - 1.0).abs() < 0.03, "{at_once}");
}

#[test]
fn many_servers_wait_as_erlang_says() {
    // M/M/c with c = 4, λ = 3/s, μ = 1/s: P(wait) by Erlang's C formula, the mean wait P/(cμ−λ).
    let report = run(&queue(4, 3.0, 1000.0, 40_000));
    let (a, c): (f64, i32) = (3.0, 4);
    let term = |k: i32| a.powi(k) / (1..=k).map(f64::from).product::<f64>();
    let last = term(c) * f64::from(c) / (f64::from(c) - a);
    let erlang_c = last / ((0..c).map(term).sum::<f64>() + last);
    let expected = 1000.0 * (1.0 + erlang_c / (f64::from(c) - a));
    let mean = report.total.stats.loop_duration_ms.mean().unwrap();
    assert!((mean / expected - 1.0).abs() < 0.04, "{mean} {expected}");
}

#[test]
fn loops_at_once_are_the_rate_times_their_time_exactly() {
    let report = run("seed = 3\n[twin]\nslots = 4\n");
    let figures = &report.total;
    let took = &figures.successful_loop_duration_ms;
    let window_s = figures.stats.window_s.unwrap();
    let rate = f64::from(figures.stats.loops.completed) / window_s;
    let at_once = figures.stats.concurrency.unwrap().loops_mean;
    assert_eq!(figures.stats.loops.completed, figures.stats.loops.started);
    let littles = rate * took.mean().unwrap() / 1000.0;
    assert!((at_once / littles - 1.0).abs() < 1e-9, "{at_once} {littles}");
}

#[test]
fn tokens_flow_at_the_rate_of_their_limit() {
    // Far more is offered than 60,000 tokens a minute let through, and the client never gives up.
    let text = "[traffic]\nsteps = 1\nsystem_tokens = 0\ninput_tokens = 900\noutput_tokens = 100\n\
                [retry]\nmax = 1000\n\
                [[phase]]\nexecutor = \"constant-vus\"\nvus = 20\nduration = \"30m\"\n\
                [twin.limits]\ntpm = 60000\n";
    let report = run(text);
    let stats = &report.total.stats;
    let tokens = stats.of_steps.tokens;
    let per_min = (tokens.input_total.unwrap() + tokens.output_total.unwrap()) as f64
        / (stats.window_s.unwrap() / 60.0);
    // A full bucket is there at the start; the rest comes at the limit's rate.
    assert!((per_min / 60_000.0 - 1.0).abs() < 0.05, "{per_min}");
    assert!(report.total.limited["tokens_per_min"] > 1000 && stats.loops.failure == 0);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let json = |text: &str| serde_json::to_string(&run(text)).unwrap();
    let text = scenario::preset("spike-x10").unwrap();
    assert_eq!(json(text), json(text));
    assert_ne!(json(text), json(&format!("seed = 2\n{text}")));
}

#[test]
fn counts_and_sums_of_phases_add_up() {
    let report = run(scenario::preset("outage").unwrap());
    let sum = |of: fn(&crate::metrics::Stats) -> u32| -> u32 {
        report.phases.iter().map(|phase| of(&phase.figures.stats)).sum()
    };
    let total = &report.total.stats;
    assert_eq!(sum(|s| s.loops.started), total.loops.started);
    assert_eq!(sum(|s| s.loops.failure), total.loops.failure);
    assert_eq!(sum(|s| s.of_steps.attempts), total.of_steps.attempts);
    let cost = |stats: &crate::metrics::Stats| stats.cost.usd.unwrap();
    assert_eq!(report.phases.iter().map(|phase| cost(&phase.figures.stats)).sum::<Usd>(), cost(total));
    let steps = |segments: &[crate::metrics::Segment<crate::metrics::PricedSteps>]| -> u32 {
        segments.iter().map(|segment| segment.figures.steps.steps).sum()
    };
    for segments in
        [&report.segments.by_model, &report.segments.by_input_tokens, &report.segments.by_output_tokens]
    {
        assert_eq!(steps(segments), total.of_steps.steps);
    }
    // A minute without a provider: nearly all loops that were under way in it are lost, none of those after.
    assert!(total.loops.failure > 30, "{:?}", total.loops);
    assert_eq!(report.phases[2].figures.stats.loops.failure, 0);
    assert!(report.total.stats.errors.0["http_503"] > 90);
}

#[test]
fn a_failed_loop_is_longer_than_any_other() {
    let text = "retry.max = 0\ntwin.faults = [\"500 at 5 %\"]\n[traffic]\nsteps = 4\n";
    let report = run(text);
    let took = &report.total.stats.loop_duration_ms;
    let failed = report.total.stats.loops.failure;
    assert!(failed > 50 && took.endless() == u64::from(failed), "{failed}");
    assert_eq!(took.p99().unwrap().value, f64::INFINITY);
    assert!(report.total.successful_loop_duration_ms.p99().unwrap().value.is_finite());
    assert!(report.total.wasted.tokens > 0 && report.total.wasted.usd.unwrap() > Usd::ZERO);
}

#[test]
fn retries_save_loops_and_are_counted() {
    let faults = "twin.faults = [\"fail first 2 with 529\"]\n[traffic]\nsteps = 3\n";
    let saved = run(&format!("retry.max = 2\n{faults}")).total.stats;
    assert_eq!(
        (saved.loops.failure, saved.of_steps.retry_rate, saved.amplification),
        (0, Some(2.0), Some(9.0))
    );
    // Half a second and a second, less a quarter at most.
    let lost_ms = saved.retry_wasted_ms.unwrap().as_f64() / f64::from(saved.of_steps.steps);
    assert!((1125.0..1500.0).contains(&lost_ms), "{lost_ms}");
    let lost = run(&format!("retry.max = 1\n{faults}")).total.stats;
    assert_eq!((lost.loops.success, lost.of_steps.steps), (0, lost.loops.started));
}

#[test]
fn an_overloaded_provider_says_so_in_its_own_words_and_bills_nothing() {
    for (wire, word) in [("openai.chat", "http_503"), ("anthropic.messages", "http_529")] {
        let text =
            format!("twin.faults = [\"fail first 1 with 529\"]\n[traffic]\nsteps = 2\nwire = \"{wire}\"\n");
        let stats = run(&text).total.stats;
        assert_eq!(stats.errors.0.keys().collect::<Vec<_>>(), [word]);
        assert_eq!((stats.of_steps.retry_rate, stats.retry_wasted_usd), (Some(1.0), Some(Usd::ZERO)));
    }
}

#[test]
fn tool_calls_are_those_that_answers_make() {
    let text = "[traffic]\nsteps = 3\n[twin]\nfaults = [\"malformed loop 1\"]\n[retry]\nmax = 0\n";
    let stats = run(text).total.stats;
    assert_eq!((stats.loops.failure, stats.tool_calls), (1, 2 * stats.loops.success));
    let mut like = recorded(&[(2000, 10, 0), (1000, 10, 0)]);
    (like.steps[0].tool_calls, like.steps[1].history) = (4, crate::metrics::History::Trimmed);
    let material = Material { models: vec!["gpt-4o".to_owned()], loops: vec![like], ..Material::default() };
    let stats = run_with("traffic.traces = [\"a\"]\n", &material).total.stats;
    let loops = stats.loops.success;
    assert_eq!((stats.tool_calls, stats.of_steps.context.trims), (4 * loops, loops));
}

#[test]
fn a_call_that_the_second_provider_is_not_paid_for_has_ended() {
    let text = "failover = {}\ntwin.faults = [\"outage 0s..10m\"]\nbudget.max_usd = 0.0000001\n\
                [[phase]]\nexecutor = \"per-vu-iterations\"\n";
    let (scenario, material) = (scenario::read(text, &[]).unwrap(), Material::default());
    let models = super::super::models(&scenario, &material).unwrap();
    let book = PriceBook::default();
    let prices = Prices::new(&book, "openai", &models, AT).and(&book, "openai", &models, AT);
    let mut run = Run::new(&scenario, &material, &models, &prices);
    run.run_out(&mut |_| ControlFlow::Continue(()));
    assert!(matches!(run.ended, Ended::OverBudget { .. }));
    assert_eq!((run.tally.calls_gauge().now(), run.tally.loops_gauge().now()), (0, 0));
    let report = run.tally.report(&scenario, RunTime::Virtual, run.ended, &prices);
    let stats = &report.total.stats;
    assert_eq!((stats.loops.unknown, stats.of_steps.attempts, stats.errors.0["stopped"]), (1, 1, 1));
}

#[test]
fn the_budget_ends_a_run_before_it_is_exceeded() {
    let whole = run("").total.stats.cost.usd.unwrap();
    let half = Usd::from_units(whole.units() / 2);
    let report = run(&format!("budget.max_usd = {}", half.as_f64()));
    let spent = report.total.stats.cost.usd.unwrap();
    assert!(spent <= half && spent.as_f64() > half.as_f64() * 0.99, "{spent} {half}");
    assert!(matches!(report.ended, Ended::OverBudget { .. }));
    assert!(report.total.stats.loops.unknown > 0, "what ran is stopped");
    let unpriced = scenario::read("budget.max_usd = 1\ntraffic.model = \"nobodys\"", &[]).unwrap();
    let error = simulate(&unpriced, &Material::default(), &PriceBook::default(), AT, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert!(error.to_string().contains("no price is known of nobodys"), "{error}");
}

#[test]
fn a_run_that_is_ended_reports_what_ran() {
    let scenario = scenario::read(&queue(1, 0.5, 100.0, 40_000), &[]).unwrap();
    let mut told = Vec::new();
    let report = simulate(&scenario, &Material::default(), &PriceBook::default(), AT, &mut |progress| {
        told.push(progress);
        ControlFlow::Break(())
    });
    let report = report.unwrap();
    assert!(matches!(report.ended, Ended::Interrupted { .. }));
    assert!((4096..4200).contains(&report.total.stats.loops.started), "{told:?}");
}

/// The gate fails when the outage begins to tell; the run ends soon after, and says which gate it was.
#[test]
fn a_gate_ends_a_run_when_it_fails_and_not_before_its_delay() {
    let ended_at = |delay: &str| {
        let text = format!(
            "twin.faults = [\"outage 60s..120s\"]\n[gates]\nretry_rate = \"value<0.01\"\n\
             loops_failed = {{ threshold = \"count<1\", abort_on_fail = true, delay_abort_eval = \"{delay}\" }}\n"
        );
        let report = run(&text);
        let Ended::GateFailed { at_s, gate, figure } = report.ended else { panic!("{:?}", report.ended) };
        assert_eq!(gate, "loops_failed: count<1");
        assert!(figure >= Some(1.0) && report.total.stats.loops.unknown > 0);
        at_s
    };
    let soon = ended_at("0s");
    assert!((60.0..70.0).contains(&soon), "{soon}");
    let later = ended_at("5m");
    assert!((300.0..310.0).contains(&later), "{later}");
    let never = run("[gates]\nloops_failed = { threshold = \"count<1\", abort_on_fail = true }\n");
    assert_eq!(never.ended, Ended::Completed);
}

#[test]
fn a_phase_stops_its_loops_when_it_says_so() {
    let text = "[traffic]\nsteps = 50\n[[phase]]\nexecutor = \"constant-vus\"\nvus = 5\nduration = \"20s\"\ngraceful_stop = \"5s\"\n";
    let stats = run(text).total.stats;
    assert_eq!((stats.loops.started, stats.loops.unknown, stats.loops.completed), (5, 5, 0));
    assert_eq!((stats.window_s, stats.loop_duration_ms.unknown()), (Some(25.0), 5));
    assert_eq!(stats.concurrency.unwrap().loops_mean, 5.0);
}

#[test]
fn a_client_loses_patience() {
    let text = "retry = { max = 1, timeout = \"10s\", first_wait = \"1s\" }\ntwin.ttft_ms = 30000\n\
                [traffic]\nsteps = 1\n[[phase]]\nexecutor = \"per-vu-iterations\"\n";
    let stats = run(text).total.stats;
    assert_eq!((stats.loops.failure, stats.errors.0["timed_out"]), (1, 2));
    assert!(stats.of_steps.tokens.at_least && stats.cost.at_least, "nobody knows what was paid");
}

#[test]
fn a_cache_makes_later_steps_cheaper() {
    let text =
        |ttl: u32| format!("[traffic]\nsteps = 8\nsystem_tokens = \"4K\"\n[twin.cache]\nttl_s = {ttl}\n");
    let (warm, none) = (run(&text(300)).total.stats, run(&text(0)).total.stats);
    assert!(warm.of_steps.cache_hit_ratio.unwrap() > 0.6 && none.of_steps.cache_hit_ratio == Some(0.0));
    assert!(warm.cost.usd < none.cost.usd);
    assert_eq!(warm.of_steps.tokens.input_total, none.of_steps.tokens.input_total);
}

fn recorded(steps: &[(u64, u64, u64)]) -> crate::load::RecordedLoop {
    let step = |(input_tokens, output_tokens, then_us): &(u64, u64, u64)| crate::load::RecordedStep {
        model: 0,
        input_tokens: *input_tokens,
        output_tokens: *output_tokens,
        then_us: *then_us,
        tool_calls: 0,
        history: crate::metrics::History::Whole,
        stream: true,
        at: crate::load::RecordedAt { trace: 0, seq: 0, wire: Wire::OpenAiChat },
    };
    crate::load::RecordedLoop { weight: 1.0, shared_tokens: 0, steps: steps.iter().map(step).collect() }
}

#[test]
fn recorded_loops_come_by_their_weights_with_their_own_times() {
    let short = recorded(&[(2000, 10, 0)]);
    let long = crate::load::RecordedLoop { weight: 3.0, ..recorded(&[(2000, 10, 2_000_000), (3000, 20, 0)]) };
    let material =
        Material { models: vec!["gpt-4o".to_owned()], loops: vec![short, long], ..Material::default() };
    let text =
        "traffic.traces = [\"a\", \"b\"]\ntwin = { ttft_ms = 100, tpot_ms = 0, prefill_ms_per_1k = 0 }\n";
    let stats = run_with(text, &material).total.stats;
    let share = f64::from(stats.of_steps.steps - stats.loops.started) / f64::from(stats.loops.started);
    assert!((share - 0.75).abs() < 0.06, "{share}");
    let at = |percent: f64| stats.loop_duration_ms.percentile(Percent::new(percent).unwrap()).unwrap().value;
    assert_eq!((at(10.0), at(90.0)), (100.0, 2200.0));
    assert!(stats.of_steps.cache_hit_ratio.unwrap() > 0.3, "the second prompt carries on from the first");
    let scenario = scenario::read(text, &[]).unwrap();
    let none = simulate(&scenario, &Material::default(), &PriceBook::default(), AT, &mut |_| {
        ControlFlow::Continue(())
    });
    assert_eq!(none.unwrap_err(), LoadError::NoLoops);
}

#[test]
fn a_workload_comes_when_its_file_says() {
    let call = |at_us, input_tokens| crate::load::WorkloadCall { at_us, input_tokens, output_tokens: 1 };
    let material = Material { calls: vec![call(0, 10), call(5_000_000, 20)], ..Material::default() };
    let text = "traffic.workload = { file = \"w.csv\" }\ntwin.ttft_ms = 0\n";
    let report = run_with(text, &material);
    assert_eq!((report.phases[0].executor, report.total.stats.loops.completed), ("file-times", 2));
    assert_eq!(report.total.stats.of_steps.tokens.input_total, Some(30));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Little's law, with failures, retries, drops and closed users in it.
    #[test]
    fn the_area_under_the_loops_is_the_sum_of_their_times(seed in 0u64..1000, vus in 1u32..30, errors in 0u32..40) {
        let text = format!(
            "seed = {seed}\ntwin = {{ slots = 3, faults = [\"500 at {errors} %\"] }}\n[traffic]\nsteps = {{ p50 = 2, p95 = 5 }}\n\
             [[phase]]\nexecutor = \"constant-vus\"\nvus = {vus}\nduration = \"60s\"\n\
             [[phase]]\nexecutor = \"constant-arrival-rate\"\nrate = 2\nduration = \"30s\"\nmax_vus = 10\n");
        let scenario = scenario::read(&text, &[]).unwrap();
        let material = Material::default();
        let models = super::super::models(&scenario, &material).unwrap();
        let prices = Prices::new(&PriceBook::default(), "openai", &models, AT);
        let mut run = Run::new(&scenario, &material, &models, &prices);
        run.run_out(&mut |_| ControlFlow::Continue(()));
        let (ended, offered) = run.tally.progress();
        let gauge: Gauge = run.tally.loops_gauge();
        prop_assert_eq!(gauge.now(), 0);
        let report = run.tally.report(&scenario, RunTime::Virtual, run.ended, &prices);
        let loops = &report.total.stats.loops;
        prop_assert_eq!(u64::from(loops.started), ended);
        prop_assert_eq!(loops.offered.unwrap(), loops.started + loops.dropped.unwrap());
        prop_assert_eq!(u64::from(loops.offered.unwrap()), offered);
        let finite = |of: &Distribution| of.sum();
        // Loops that failed have no finite time in the distribution; without them the law holds to the µs.
        if loops.failure == 0 {
            let sum_us = (finite(&report.total.stats.loop_duration_ms) * 1e3).round() as u128;
            prop_assert_eq!(gauge.area_us(), sum_us);
        }
    }
}

//! `load` as its users call it, in virtual time.

use crate::env::{Ran, TestEnv};
use crate::views::{Recorded, good, json, recorded};
use looptape_testkit::corpus;

fn load(env: &TestEnv, arguments: &[&str]) -> Ran {
    let all: Vec<&str> = ["load"].iter().chain(arguments).copied().collect();
    env.looptape(&all)
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
    let env = &TestEnv::new();
    let run =
        |seed: &str| good(env, &["load", "preset:outage", "--virtual", "--json", "--seed", seed]).stdout;
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7"), run("8"));
    let report = json(&good(env, &["load", "preset:outage", "--virtual", "--json"]));
    assert_eq!(
        (&report["format"], &report["time"], &report["ended"]["why"]),
        (&1.into(), &"virtual".into(), &"completed".into())
    );
    let names: Vec<&str> =
        report["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["before", "outage", "after"]);
    assert!(report["total"]["loop_duration_ms"]["endless"].as_u64() > Some(0));
    assert!(
        report["figures"]["retry_rate"]["value"].as_f64() > Some(0.0),
        "a later run can take it for its baseline"
    );
}

#[test]
fn gates_are_those_of_the_scenario_and_of_the_command() {
    let env = &TestEnv::new();
    let path = env.scenario("[traffic]\nsteps = 2\n[gates]\nretry_rate = \"value==0\"\n");
    let good_run = good(env, &["load", &path, "--virtual", "--gate", "loops_failed: count==0"]);
    assert!(good_run.stdout.contains("✓ retry_rate: value==0"), "{}", good_run.stdout);
    assert!(good_run.stdout.contains("all 2 gates hold"), "{}", good_run.stdout);
    let failed = load(env, &[&path, "--virtual", "--set", "twin.faults=[\"500 at 10 %\"]"]);
    assert_eq!(failed.code, Some(99), "{}", failed.stderr);
    assert!(failed.stdout.contains("✗ retry_rate: value==0"), "{}", failed.stdout);
    let varied = load(env, &[&path, "--virtual", "--vary", "twin.faults=[],[\"500 at 10 %\"]"]);
    assert_eq!(varied.code, Some(99));
    assert!(varied.stdout.contains("hold") && varied.stdout.contains("1 failed"), "{}", varied.stdout);
    let endless = load(
        env,
        &[
            &path,
            "--virtual",
            "--set",
            "twin.faults=[\"400 at 10 %\"]",
            "--gate",
            "loop_duration_ms: p(99)<60000",
        ],
    );
    assert!(endless.stdout.contains("missed: too many loops failed"), "{}", endless.stdout);
}

#[test]
fn values_are_varied_in_all_combinations() {
    let env = &TestEnv::new();
    let arguments = [
        "load",
        "preset:baseline",
        "--virtual",
        "--json",
        "--vary",
        "limits.tpm=500k,2M",
        "--vary",
        "retry.max=0,2",
    ];
    let runs = json(&good(env, &arguments));
    let runs = runs["runs"].as_array().unwrap();
    let settings: Vec<String> = runs.iter().map(|run| run["settings"].to_string()).collect();
    assert_eq!(settings[1], "{\"limits.tpm\":\"500k\",\"retry.max\":\"2\"}");
    assert_eq!(settings.len(), 4);
    let calls = |at: usize| runs[at]["total"]["amplification"].as_f64().unwrap();
    assert!(calls(1) > calls(0), "retries make calls");
    let alone = json(&good(
        env,
        &[
            "load",
            "preset:baseline",
            "--virtual",
            "--json",
            "--set",
            "limits.tpm=500k",
            "--set",
            "retry.max=2",
        ],
    ));
    assert_eq!(runs[1]["total"], alone["total"], "a run among others is what it is alone");
    let text = good(env, &["load", "preset:baseline", "--virtual", "--vary", "limits.tpm=500k,2M"]).stdout;
    assert!(text.contains("successful loops/min") && text.contains("█"), "{text}");
}

#[test]
fn the_capacity_is_where_something_gives() {
    let env = &TestEnv::new();
    let path = env.scenario(
        "[traffic]\nsteps = 1\noutput_tokens = 1\nsystem_tokens = 0\n\
         [twin]\nslots = 1\nttft_ms = { exponential = 1000 }\nprefill_ms_per_1k = 0\n",
    );
    // One server that takes a second each: of a queue, p95 is 3 s / (1 − ρ), which 6 s makes 30 a minute.
    let slo = ["--slo", "loop_duration_ms: p(95)<6000", "--step", "60m"];
    let arguments = ["load", &path, "--virtual", "--find-capacity", "--json"];
    let found = json(&good(env, &[&arguments[..], &slo].concat()));
    let per_min = found["loops_per_min"].as_f64().unwrap();
    assert!((25.0..35.0).contains(&per_min), "{per_min}");
    // Without a bound on the time the server itself is the limit: 60 a minute.
    let text = good(env, &["load", &path, "--virtual", "--find-capacity", "--step", "60m"]).stdout;
    let knee =
        text.split("the knee: at ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(knee.is_some_and(|knee| (57.0..75.0).contains(&knee)), "{text}");
    assert!(text.contains("its queue grows"), "{text}");
    let never = load(env, &[&path, "--virtual", "--find-capacity", "--slo", "loop_duration_ms: max<1"]);
    assert_eq!(never.code, Some(99));
    assert!(never.stdout.contains("does not even take"), "{}", never.stdout);
}

#[test]
fn recorded_loops_are_put_under_load() {
    let Recorded { env, id, .. } = &recorded();
    let path = env.scenario(&format!("traffic.traces = [\"{}\"]\ntwin.limits.rpm = 1000\n", &id[..8]));
    let report = json(&good(env, &["load", &path, "--virtual", "--json"]));
    let steps = &report["total"]["steps_per_loop"];
    assert_eq!((&steps["min"], &steps["max"]), (&3.0.into(), &3.0.into()));
    assert_eq!(report["prices"][0]["model"], "gpt-4o-mini");
    let unknown = load(env, &[&env.scenario("traffic.traces = [\"ffffffff\"]\n"), "--virtual"]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("ffffffff"), "{}", unknown.stderr);
    let untagged = load(env, &[&env.scenario("traffic.tag = \"nightly\"\n"), "--virtual"]);
    assert!(untagged.stderr.contains("no recorded trace has the tag nightly"), "{}", untagged.stderr);
}

#[test]
fn a_workload_file_lies_beside_its_scenario() {
    let env = &TestEnv::new();
    let path = env.scenario("traffic.workload = { file = \"azure.csv\", speed = 2 }\n");
    let missing = load(env, &[&path, "--virtual"]);
    assert!(
        missing.stderr.contains("azure.csv, which the scenario names, cannot be read"),
        "{}",
        missing.stderr
    );
    let header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let write = |rows: &str| std::fs::write(env.home().join("azure.csv"), format!("{header}{rows}")).unwrap();
    write("2023-11-16 18:15:46.68,374,44\n2023-11-16 18:16:46.68,396,109\n");
    let report = json(&good(env, &["load", &path, "--virtual", "--json"]));
    assert_eq!(report["total"]["loops"]["completed"], 2);
    assert_eq!(report["total"]["tokens"]["input_total"], 770);
    assert!(report["total"]["window_s"].as_f64() > Some(30.0), "at twice the speed");
    write("2023-11-16 18:15:46.68,374\n");
    let cut = load(env, &[&path, "--virtual"]);
    assert!(cut.stderr.contains("line 2: no number of output tokens"), "{}", cut.stderr);
    write("");
    assert!(load(env, &[&path, "--virtual"]).stderr.contains("the workload has no requests"));
}

#[test]
fn published_workloads_are_read() {
    let Some(root) = std::env::var_os(corpus::ENV).filter(|root| !root.is_empty()) else {
        return eprintln!("skipped: {} is not set", corpus::ENV);
    };
    let folder = std::path::Path::new(&root).join("workloads/AzurePublicDataset/data");
    for (file, requests) in
        [("AzureLLMInferenceTrace_code.csv", 8819), ("AzureLLMInferenceTrace_conv.csv", 19366)]
    {
        let env = &TestEnv::new();
        let path = env.scenario(&format!("traffic.workload.file = {:?}\n", folder.join(file)));
        let report = json(&good(env, &["load", &path, "--virtual", "--json"]));
        assert_eq!(report["total"]["loops"]["offered"], requests);
    }
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    let env = &TestEnv::new();
    let refused = |text: &str, more: &[&str]| {
        let path = env.scenario(text);
        let ran = load(env, &[&[path.as_str(), "--virtual"], more].concat());
        assert!(ran.code == Some(1) || ran.code == Some(2), "{}", ran.stdout);
        assert_eq!(ran.stdout, "");
        ran.stderr
    };
    assert!(
        refused("seeed = 1\n", &[]).contains("line 1, column 1: unknown key `seeed`: did you mean `seed`?")
    );
    assert!(refused("budget.max_usd = 0\n", &[]).contains("no call could be made"));
    assert!(refused("traffic.traces = []\n", &[]).contains("`traces` is empty"));
    assert!(refused("", &["--vary", "limits.tmp=3"]).contains("did you mean `tpm`?"));
    assert!(refused("", &["--set", "seed=1,2"]).contains("--vary takes several"));
    assert!(refused("", &["--slo", "errors: count==0"]).contains("--find-capacity"));
    assert!(refused("", &["--gate", "loop_duration: p(95)<1"]).contains("nearest: loop_duration_ms"));
    assert!(
        refused("budget.max_usd = 1\ntraffic.model = \"nobodys\"\n", &[])
            .contains("no price is known of nobodys")
    );
    assert!(load(env, &["preset:baselin", "--virtual"]).stderr.contains("there are baseline, ramp"));
    assert!(load(env, &["baseline", "--virtual"]).stderr.contains("the preset is preset:baseline"));
    let text = good(env, &["load", "preset:ramp", "--print-scenario"]).stdout;
    assert!(text.contains("executor = \"ramping-arrival-rate\""), "{text}");
}

#[test]
fn a_stand_in_costs_the_cache_and_other_prices() {
    let env = &TestEnv::new();
    let text = "[traffic]\nsystem_tokens = '4K'\n[[phase]]\nexecutor = 'constant-arrival-rate'\nrate = 2\nduration = '5m'\n\
                [twin]\nfaults = ['outage 2m..3m']\n";
    let path = env.scenario(text);
    let run = |more: &[&str]| {
        let arguments = [&["load", &path, "--virtual", "--json"], more].concat();
        json(&good(env, &arguments))["outage"].clone()
    };
    let alone = run(&[]);
    assert!(alone["loops_lost"].as_u64() > Some(50) && alone["stood_in"].is_null(), "{alone}");
    assert!(alone["recovered_after_s"].as_f64() < Some(30.0), "{alone}");
    let dear = run(&["--set", "failover={ model = 'gpt-4o', failures = 2 }"]);
    assert_eq!((&dear["loops_lost"], &dear["recovered_after_s"]), (&0.into(), &0.0.into()), "{dear}");
    let stood_in = &dear["stood_in"];
    assert!(stood_in["calls"].as_u64() > Some(300), "{stood_in}");
    assert!(stood_in["lost_cache_usd"].as_f64() > Some(0.0), "{stood_in}");
    let other = |outage: &serde_json::Value| outage["stood_in"]["other_prices_usd"].as_f64().unwrap();
    assert!(other(&dear) > 0.0);
    assert_eq!(
        other(&run(&["--set", "failover={ failures = 2 }"])),
        0.0,
        "at the same prices only the cache is lost"
    );
    let text = good(env, &["load", &path, "--virtual", "--set", "failover={ model = 'gpt-4o' }"]).stdout;
    assert!(
        text.contains("as before from its end on; 0 loops lost") && text.contains("for the lost cache"),
        "{text}"
    );
    let none = json(&good(env, &["load", "preset:baseline", "--virtual", "--json"]));
    assert!(none["outage"].is_null());
}

/// `--abort-on-fail` holds for each of several runs, and a gate that says itself when it ends a run keeps to that.
#[test]
fn gates_end_runs_when_they_are_to() {
    let env = &TestEnv::new();
    let text = "[traffic]\nsteps = 1\n[retry]\nmax = 0\n[twin]\nfaults = ['500 at 50 %']\n[gates]\n\
                loops_failed = { threshold = 'count<1', abort_on_fail = true, delay_abort_eval = '60s' }\n";
    let path = env.scenario(text);
    let ended = |arguments: &[&str]| {
        let ran = load(env, &[&[path.as_str(), "--virtual", "--json"], arguments].concat());
        assert_eq!(ran.code, Some(99), "{}", ran.stderr);
        json(&ran)
    };
    let at = |report: &serde_json::Value| {
        assert_eq!(report["ended"]["why"], "gate_failed", "{}", report["ended"]);
        (report["ended"]["gate"].as_str().unwrap().to_owned(), report["ended"]["at_s"].as_f64().unwrap())
    };
    let own = ("loops_failed: count<1".to_owned(), 60.0..63.0);
    for arguments in [&[][..], &["--abort-on-fail"]] {
        let (gate, at_s) = at(&ended(arguments));
        assert!(gate == own.0 && own.1.contains(&at_s), "{arguments:?}: {gate} {at_s}");
    }
    let errors = ["--abort-on-fail", "--gate", "errors: count<1"];
    let (gate, at_s) = at(&ended(&errors));
    assert!(gate == "errors: count<1" && at_s < 10.0, "{gate} {at_s}");
    let (gate, at_s) = at(&ended(&[&errors[..], &["--delay-abort-eval", "30s"]].concat()));
    assert!(gate == "errors: count<1" && (30.0..33.0).contains(&at_s), "{gate} {at_s}");

    let varied = ended(&[&errors[..], &["--vary", "twin.faults=[],['500 at 50 %']"]].concat());
    let runs = varied["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[0]["ended"]["why"]), (2, &"completed".into()));
    assert!(at(&runs[1]).1 < 10.0, "{}", runs[1]["ended"]);
}

//! What `load` writes besides the terminal: JSON, a page with plots, and the forms of other tools.

use crate::env::{Ran, TestEnv};
use crate::page::Looking;
use crate::views::{good, json};
use serde_json::Value;
use std::path::PathBuf;

fn load(env: &TestEnv, arguments: &[&str]) -> Ran {
    let all: Vec<&str> = ["load"].iter().chain(arguments).copied().collect();
    env.looptape(&all)
}

/// The text of a file that a run writes with this flag.
fn written(env: &TestEnv, flag: &str, arguments: &[&str]) -> String {
    let file = env.home().join("report");
    let path = file.display().to_string();
    good(env, &[&["load"], arguments, &[flag, &path]].concat());
    std::fs::read_to_string(file).unwrap()
}

/// The data of a page's plots.
fn plots(page: &str) -> Vec<Value> {
    let data = page.split("id=\"plots\">").nth(1).and_then(|rest| rest.split("</script>").next()).unwrap();
    serde_json::from_str(data).unwrap()
}

fn titles(page: &str) -> Vec<&str> {
    let captions = page.split("<figcaption>").skip(1);
    captions.map(|rest| rest.split('<').next().unwrap_or_default()).collect()
}

#[test]
fn a_page_has_every_plot_and_its_table() {
    let env = &TestEnv::new();
    let run = ["preset:outage", "--virtual", "--gate", "retry_rate: value<0.9"];
    let page = written(env, "--html", &run);
    let expected = [
        "what had to hold",
        "Loops offered and completed",
        "Loops in flight",
        "Loop duration",
        "Time to first token",
        "Step latency, retries included",
        "Calls",
        "Retry rate",
        "Spent so far",
        "Loop duration by phase",
        "Time to first token by phase",
        "Duration of the loops that succeeded",
        "loops by phase",
        "steps by phase",
        "cost by phase",
        "steps by input tokens",
        "steps by output tokens",
    ];
    assert_eq!(titles(&page), expected);
    let plots = plots(&page);
    assert_eq!(plots.len(), 9);
    assert_eq!(page.matches("data-plot=").count(), 9);
    assert_eq!(page.matches("<summary>Table</summary>").count(), 9);
    let marks = plots[0]["marks"].as_array().unwrap();
    assert_eq!(
        marks.iter().map(|mark| mark["label"].as_str().unwrap()).collect::<Vec<_>>(),
        ["before", "outage", "after"]
    );

    // The plots draw what the report says.
    let report: Value = serde_json::from_str(&written(env, "--report", &run)).unwrap();
    let series = &report["series"];
    let bucket_s = series["bucket_s"].as_f64().unwrap();
    let offered: f64 = series["offered"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
    let drawn: f64 =
        plots[0]["lines"][0]["values"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
    assert!((drawn * bucket_s / 60.0 / offered - 1.0).abs() < 1e-4, "{drawn} {offered}");
    assert_eq!(report["total"]["loops"]["offered"].as_f64(), Some(offered));
    for count in ["steps", "attempts", "retries"] {
        let sum: u64 = series[count].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
        assert_eq!(Some(sum), report["total"][count].as_u64(), "{count}");
    }
    let spent: f64 = series["cost_usd"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
    assert!((spent / report["total"]["cost_usd"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{spent}");
    let last = plots[7]["lines"][0]["values"].as_array().unwrap().last().and_then(Value::as_f64).unwrap();
    assert!((last / spent - 1.0).abs() < 1e-4, "{last} {spent}");
}

#[test]
fn the_same_run_writes_the_same_bytes_and_names_no_host() {
    let env = &TestEnv::new();
    let page = || written(env, "--html", &["preset:baseline", "--virtual", "--seed", "3"]);
    let text = page();
    assert_eq!(text, page());
    let own = text.replace("https://github.com/leeoniya/uPlot", "");
    assert!(!own.contains("http://") && !own.contains("https://"));
    assert!(text.contains("default-src &#39;none&#39;") || text.contains("default-src 'none'"));
    let report = || written(env, "--report", &["preset:baseline", "--virtual", "--seed", "3"]);
    assert_eq!(
        serde_json::from_str::<Value>(&report()).unwrap(),
        json(&good(env, &["load", "preset:baseline", "--virtual", "--seed", "3", "--json"]))
    );
}

#[test]
fn hostile_names_stay_text() {
    let env = &TestEnv::new();
    let path = env.home().join("hostile.toml");
    let name = "</script><img src=x onerror=alert(1)>\\u202e";
    let scenario = format!(
        "name = \"{name}\"\n[[phase]]\nname = \"{name}\"\nexecutor = \"shared-iterations\"\nvus = 1\niterations = 3\n[[phase]]\nname = \"b\"\nexecutor = \"shared-iterations\"\nvus = 1\niterations = 3\n"
    );
    std::fs::write(&path, scenario).unwrap();
    let page = written(env, "--html", &[&path.display().to_string(), "--virtual"]);
    assert!(!page.contains("<img"), "{page}");
    assert!(!page.contains('\u{202e}'), "direction is not turned");
    assert_eq!(page.matches("</script>").count(), 3, "the library, the plots' script and their data");
}

#[test]
fn searches_and_variations_have_their_pages() {
    let env = &TestEnv::new();
    let vary = ["preset:baseline", "--virtual", "--vary", "limits.tpm=500k,1M,2M", "--vary", "retry.max=0,2"];
    let page = written(env, "--html", &vary);
    let over: Vec<&str> =
        titles(&page).into_iter().filter(|title| title.contains("over limits.tpm")).collect();
    // The 95th percentile of the durations has no end at any of these limits: there is nothing to draw.
    assert_eq!(over.len(), 3, "{over:?}");
    assert_eq!(page.matches("<details class=\"section\">").count(), 6, "each run has its own");
    assert_eq!(plots(&page)[0]["xs"], serde_json::json!([500_000.0, 1_000_000.0, 2_000_000.0]));

    let search = ["preset:sustained-peak", "--virtual", "--find-capacity"];
    let page = written(env, "--html", &search);
    let found: Value = serde_json::from_str(&written(env, "--report", &search)).unwrap();
    let goodput = &plots(&page)[0];
    let marks: Vec<&str> =
        goodput["marks"].as_array().unwrap().iter().filter_map(|mark| mark["label"].as_str()).collect();
    assert_eq!(marks, ["holds", "knee"]);
    assert_eq!(goodput["marks"][1]["at"].as_f64(), found["knee_per_min"].as_f64());
    assert_eq!(
        page.matches("<details class=\"section\">").count(),
        found["probes"].as_array().unwrap().len()
    );
}

#[test]
fn a_run_in_real_time_says_whether_the_client_kept_up() {
    let env = &TestEnv::new();
    let path = env.home().join("quick.toml");
    std::fs::write(&path, "[traffic]\nsteps = 2\ntool_ms = 1\n[[phase]]\nexecutor = 'shared-iterations'\nvus = 2\niterations = 4\n[twin]\nttft_ms = 1\ntpot_ms = 0\n").unwrap();
    let page = written(env, "--html", &[&path.display().to_string(), "--no-record"]);
    assert!(page.contains("real time, 4 loops"), "{page}");
    assert!(page.contains("late in the worst of a hundred"), "{page}");
}

#[test]
fn what_cannot_be_written_is_said_before_anything_runs() {
    let env = &TestEnv::new();
    let nowhere: PathBuf = env.home().join("none/page.html");
    let ran = load(env, &["preset:baseline", "--html", &nowhere.display().to_string()]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("there is no folder"), "{}", ran.stderr);
    let ran = load(env, &["preset:baseline", "--report", &env.home().display().to_string()]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("is a folder: name a file"), "{}", ran.stderr);
}

#[test]
fn other_tools_find_their_own_forms() {
    let env = &TestEnv::new();
    let run = ["preset:outage", "--virtual", "--gate", "retry_rate: value<0.9"];
    let summary: Value = serde_json::from_str(&written(env, "--k6-summary", &run)).unwrap();
    assert_eq!(summary["metrics"]["retry_rate"]["thresholds"]["value<0.9"]["ok"], true);
    assert!(summary["metrics"]["http_req_failed"]["values"]["passes"].as_u64() > Some(0), "{summary}");
    let export: Value = serde_json::from_str(&written(env, "--k6-export", &run)).unwrap();
    assert_eq!(export["metrics"]["retry_rate"]["thresholds"]["value<0.9"], false, "it was not crossed");
    assert_eq!(export["metrics"]["http_reqs"]["count"], summary["metrics"]["http_reqs"]["values"]["count"]);

    let prefix = env.home().join("out");
    good(env, &["load", "preset:outage", "--virtual", "--locust-csv", &prefix.display().to_string()]);
    let file = |ending: &str| std::fs::read_to_string(env.home().join(format!("out_{ending}.csv"))).unwrap();
    let stats = file("stats");
    let names: Vec<&str> = stats.lines().map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(names, ["Name", "openai.chat", "before", "outage", "after", "Aggregated"]);
    assert!(file("failures").contains("LOOP,outage,the loop failed,"), "{}", file("failures"));
    assert!(file("stats_history").lines().count() > 50);
    let refused = load(env, &["preset:outage", "--virtual", "--find-capacity", "--k6-summary", "x.json"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
}

#[test]
fn pages_are_drawn_in_a_browser() {
    let env = &TestEnv::new();
    let search = ["--find-capacity", "--slo", "loop_duration_ms: p(95)<180000"];
    // What is seen at once, and at which widths.
    let runs: [(&str, &[&str], &[&str]); 3] = [
        ("run", &["preset:outage"], &["9", "1280", "390"]),
        ("capacity", &[&["preset:sustained-peak"], &search[..]].concat(), &["4", "390"]),
        ("vary", &["preset:baseline", "--vary", "limits.tpm=2M,3M,4M"], &["4", "1280"]),
    ];
    for (name, arguments, seen) in runs {
        let file = env.home().join(name).with_extension("html").display().to_string();
        let hostile =
            ["--set", "name=<img src=x onerror='window.ran=1'>", "--virtual", "--no-record", "--html", &file];
        good(env, &[&["load"], arguments, &hostile].concat());
        let Some(looking) = Looking::at(&format!("file://{file}"), "load_report.mjs", seen) else {
            return;
        };
        looking.ends_well();
    }
}

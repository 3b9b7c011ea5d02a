//! Diff, audit, numbers and load runs in a browser; a trace as one file.

use super::{Looking, ServedPage, recordings};
use crate::env::TestEnv;
use crate::gateway::agent::send;
use crate::lab::Lab;
use crate::views::{good, json};
use serde_json::Value;
use std::path::Path;

/// Two recordings of one task by different programs, the same in steps and different in words; their ids.
pub(super) fn two_recordings(env: &TestEnv) -> [String; 2] {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces");
    ["python-openai", "rust-agent"].map(|name| {
        let imported = json(&good(env, &["import", traces.join(name).to_str().unwrap(), "--json"]));
        imported[0]["traces"][0].as_str().unwrap().to_owned()
    })
}

#[test]
fn traces_are_compared_audited_and_measured() {
    let env = TestEnv::new();
    let [trace, other] = two_recordings(&env);
    let page = ServedPage::of(&env, &env.database());
    let Some(looking) = Looking::at(&page.address, "compare.mjs", &[&trace, &other]) else { return };
    looking.ends_well();
}

/// Runs a load in virtual time; what it is called.
fn load_run(env: &TestEnv, arguments: &[&str]) -> String {
    let ran = env.looptape(&[&["load"], arguments, &["--virtual"]].concat());
    let line = ran.stderr.lines().find_map(|line| line.strip_prefix("run: "));
    let id = line.unwrap_or_else(|| panic!("{}{}", ran.stdout, ran.stderr)).split(' ').next();
    id.unwrap().to_owned()
}

#[test]
fn load_runs_are_looked_at() {
    let env = TestEnv::new();
    let one_server = env.home().join("one-server.toml");
    let text = "name = \"one server\"\n[traffic]\nsteps = 1\noutput_tokens = 1\nsystem_tokens = 0\n\
                [twin]\nslots = 1\nttft_ms = { exponential = 1000 }\nprefill_ms_per_1k = 0\n";
    std::fs::write(&one_server, text).unwrap();
    let one_server = one_server.to_str().unwrap();
    let run = load_run(&env, &["preset:spike-x3", "--gate", "loops_offered: count<1"]);
    let search = load_run(&env, &[one_server, "--find-capacity", "--step", "60m"]);
    let vary = load_run(&env, &[one_server, "--vary", "retry.max=0,2"]);
    let page = ServedPage::of(&env, &env.database());
    let Some(looking) = Looking::at(&page.address, "loads.mjs", &[&run, &search, &vary]) else { return };
    looking.ends_well();
}

#[test]
fn what_came_of_a_load_is_kept_unless_it_is_not_wanted() {
    let env = TestEnv::new();
    let run = load_run(&env, &["preset:burst"]);
    let unwanted = env.looptape(&["load", "preset:burst", "--virtual", "--no-record"]);
    assert!(unwanted.code == Some(0) && !unwanted.stderr.contains("run: "), "{}", unwanted.stderr);
    let page = ServedPage::of(&env, &env.database());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let asked = |path: &str| runtime.block_on(super::api::json(&page, path));
    let listed = asked("/load-runs");
    assert_eq!((listed.as_array().map(Vec::len), listed[0]["id"].as_str()), (Some(1), Some(run.as_str())));
    assert_eq!((&listed[0]["kind"], &listed[0]["time"]), (&"run".into(), &"virtual".into()));
    let printed: Value = json(&good(&env, &["load", "preset:burst", "--virtual", "--no-record", "--json"]));
    let kept = asked("/load-runs/last");
    assert_eq!(kept["report"], printed, "what --json prints, to the figure");

    assert_eq!(json(&good(&env, &["ls", "--load-runs", "--json"])), listed);
    assert_eq!(json(&good(&env, &["show", &run[..6], "--json"])), kept);
    let table = good(&env, &["ls", "--load-runs"]).stdout;
    let shown = good(&env, &["show", &run]).stdout;
    let offered = printed["total"]["loops"]["offered"].to_string();
    assert!(table.contains(&run) && table.contains("run, virtual") && table.contains(&offered), "{table}");
    let all = shown.lines().find(|line| line.starts_with("all ")).expect("a line for the whole");
    assert_eq!(all.split_whitespace().nth(1), Some(offered.as_str()), "{shown}");
    for (arguments, code, says) in [
        (&["show", "ffffffff"][..], 1, "there is no trace `ffffffff`"),
        (&["show", &run, "--step", "1"], 2, "its steps are those of its loops"),
        (&["ls", "--load-runs", "--tag", "x"], 2, "leave them out with --load-runs"),
    ] {
        let ran = env.looptape(arguments);
        assert!(ran.code == Some(code) && ran.stderr.contains(says), "{arguments:?}: {ran:?}");
    }
}

/// Exports a trace into the environment's home; the file's address.
fn exported(env: &TestEnv, trace: &str, database: Option<&Path>, more: &[&str]) -> String {
    let file = env.home().join(format!("trace-{}.html", more.len()));
    let mut arguments = vec!["export", trace, "-o", file.to_str().unwrap()];
    arguments.extend(more);
    let database = database.map(|path| path.to_str().unwrap());
    arguments.extend(database.iter().flat_map(|path| ["--db", path]));
    let said = good(env, &arguments).stdout;
    assert!(said.contains("KB") && said.contains(trace), "its size is said: {said}");
    format!("file://{}", file.display())
}

#[test]
fn a_trace_is_one_file() {
    let env = TestEnv::new();
    let [trace, _] = two_recordings(&env);
    let whole = exported(&env, &trace, None, &[]);
    let without = exported(&env, &trace, None, &["--without-bodies"]);
    let text = |address: &str| std::fs::read_to_string(address.strip_prefix("file://").unwrap()).unwrap();
    assert!(text(&whole).contains("Lisbon"));
    assert!(!text(&without).contains("Lisbon"), "nothing that was said is in it");
    for address in [&whole, &without] {
        let text = text(address);
        let policy = text.split("Content-Security-Policy").nth(1).unwrap().split('>').next().unwrap();
        assert!(policy.contains("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    let Some(looking) = Looking::at(&whole, "file.mjs", &["whole", "2"]) else { return };
    looking.ends_well();
    let Some(looking) = Looking::at(&without, "file.mjs", &["without", "2"]) else { return };
    looking.ends_well();
}

#[test]
fn what_a_file_cannot_be_is_said() {
    let env = TestEnv::new();
    let [trace, _] = two_recordings(&env);
    for (arguments, code, says) in [
        (&["-o", "x", "--without-bodies"][..], 2, "--without-bodies goes with --format html"),
        (&["-o", "x.html", "--without-environment"], 2, "leave --without-environment out"),
        (&["-o", "nowhere/x.html"], 1, "nowhere/x.html cannot be written"),
    ] {
        let ran = env.looptape(&[&["export", trace.as_str()], arguments].concat());
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{arguments:?}: {}", ran.stderr);
    }
    let piped = good(&env, &["export", &trace, "--format", "html", "-o", "-"]).stdout;
    assert!(piped.starts_with("<!DOCTYPE html>") && piped.trim_end().ends_with("</html>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_trace_is_one_harmless_file() {
    let env = TestEnv::new();
    let lab = Lab::new();
    let upstream = recordings::hostile_upstream().await;
    let recording = lab.serve(&upstream.url(), |_| {}).await;
    let headers = [
        ("x-looptape-trace", "hostile"),
        ("x-looptape-agent", "</script><script>window.ran = 1</script><!--"),
    ];
    let question = recordings::growing_chat(1, recordings::HOSTILE);
    send(&recording.origin, "/openai/v1/chat/completions", &headers, &question).await;
    send(&recording.origin, "/_looptape/v1/traces/hostile/end", &[], "").await;
    recording.finish().await;
    tokio::task::spawn_blocking(move || {
        let file = exported(&env, "hostile", Some(&lab.database()), &[]);
        let bytes = std::fs::metadata(file.strip_prefix("file://").unwrap()).unwrap().len();
        assert!(bytes < 5_000_000, "twenty megabytes of text are cut: {bytes}");
        let Some(looking) = Looking::at(&file, "file.mjs", &["hostile", "1"]) else { return };
        looking.ends_well();
    })
    .await
    .unwrap();
}

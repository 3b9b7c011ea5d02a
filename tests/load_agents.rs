//! `load` with a command: an agent for each loop, started when the loop is due, and nothing of it left running.

use crate::env::{Ran, TestEnv};
use crate::load_real::agree;
use crate::views::{good, json};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Two agents at a time, three each; the provider answers nearly at once.
const SCENARIO: &str = "\
name = 'agents'
[[phase]]
name = 'all'
executor = 'per-vu-iterations'
vus = 2
iterations = 3
[twin]
ttft_ms = 1
tpot_ms = 0
";

/// An example agent, as it stands.
fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name).display().to_string()
}

fn load(env: &TestEnv, options: &[&str], command: &[&str]) -> Ran {
    let all = [&["load"], options, &["--"], command].concat();
    env.looptape(&all)
}

#[test]
fn an_agent_runs_each_loop_and_its_calls_are_the_figures() {
    let env = &TestEnv::new();
    let path = env.scenario(SCENARIO);
    let agent = example("python-stdlib/agent.py");
    let ran = load(env, &[&path, "--json", "--gate", "loops_failed: count==0"], &["python3", &agent]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let report = json(&ran);
    assert_eq!((&report["time"], &report["ended"]["why"]), (&"real".into(), &"completed".into()));
    assert!(report["command"].as_str().unwrap().starts_with("python3 "), "{}", report["command"]);
    let total = &report["total"];
    let counts = ["started", "success", "failure"].map(|key| total["loops"][key].as_u64());
    assert_eq!(counts, [6, 6, 0].map(Some), "{}", total["loops"]);
    assert_eq!((&total["steps"], &total["attempts"], &total["retries"]), (&18.into(), &18.into(), &0.into()));
    assert_eq!(report["prices"][0]["model"], "gpt-4o-mini");
    assert!(total["concurrency"]["loops_mean"].as_f64() > Some(0.5), "{}", total["concurrency"]);

    let run = ran.stderr.lines().find_map(|line| line.strip_prefix("run: ")).unwrap();
    let tag = format!("load={}", run.split_whitespace().next().unwrap());
    let stats = json(&good(env, &["stats", "--json", "--tag", &tag]));
    agree(&stats, total);
    assert!(total["tool_calls"].as_u64() > Some(0), "{}", total["tool_calls"]);
    let rows = json(&good(env, &["ls", "--json", "--tag", &tag]));
    assert!(rows.as_array().unwrap().iter().all(|row| row["status"] == "complete"), "{rows:#}");
}

/// The twin refuses first attempts, and the agent tries again by itself: its retries are in the figures.
#[test]
fn what_an_agent_tries_again_is_counted() {
    let env = &TestEnv::new();
    let path = env.scenario(&format!("{SCENARIO}faults = ['fail first 1 with 429']\n"));
    let agent = example("python-stdlib/agent.py");
    let ran = load(env, &[&path, "--json", "--no-record"], &["python3", &agent]);
    let total = &json(&ran)["total"];
    assert_eq!((&total["loops"]["success"], &total["retries"]), (&6.into(), &18.into()), "{}", ran.stderr);
    assert_eq!(total["errors"]["http_429"], 18);
    assert!(!env.database().exists(), "nothing was to be kept");
}

#[test]
fn a_command_is_told_which_loop_it_is_and_its_code_is_the_outcome() {
    let env = &TestEnv::new();
    let path = env.scenario(SCENARIO);
    let script = "test -n \"$LOOPTAPE_TRACE\" && echo \"$LOOPTAPE_LOOP_INDEX $LOOPTAPE_LOOP_PHASE\" >> seen; \
                  test $LOOPTAPE_LOOP_INDEX -ne 2";
    let ran = load(env, &[&path, "--json"], &["sh", "-c", script]);
    let loops = &json(&ran)["total"]["loops"];
    assert_eq!((&loops["success"], &loops["failure"]), (&5.into(), &1.into()), "{loops}");
    let seen = std::fs::read_to_string(env.home().join("seen")).unwrap();
    let mut seen: Vec<&str> = seen.lines().collect();
    seen.sort_unstable();
    assert_eq!(seen, ["1 all", "2 all", "3 all", "4 all", "5 all", "6 all"]);
}

#[test]
fn a_command_that_does_not_run_ends_the_run() {
    let env = &TestEnv::new();
    let path = env.scenario(SCENARIO);
    let many = ["--set", "phase.all.iterations=100"];
    let ran = load(env, &[&[path.as_str()], &many[..]].concat(), &["no-such-agent"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains("`no-such-agent` was not found"), "{}", ran.stdout);
    let ran =
        load(env, &[&[path.as_str(), "--json"], &many[..]].concat(), &["sh", "-c", "echo no key; exit 3"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let ended = &json(&ran)["ended"];
    assert_eq!((&ended["why"], &ended["loops"]), (&"command_failed".into(), &10.into()), "{ended}");
    assert_eq!(ended["error"], "it ended with code 3: no key");
    let ran = load(env, &[&path, "--virtual"], &["true"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}

/// The child's own child ignores what it is told, and is gone all the same.
#[test]
fn ctrl_c_leaves_nothing_running() {
    let env = &TestEnv::new();
    let path = env.scenario(SCENARIO);
    let script = "trap '' INT TERM; sleep 1000 & echo $! > pid.$LOOPTAPE_LOOP_INDEX.new; \
                  mv pid.$LOOPTAPE_LOOP_INDEX.new pid.$LOOPTAPE_LOOP_INDEX; wait";
    let mut command = env.command(&["load", &path, "--json", "--", "sh", "-c", script]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pids: Vec<Pid> = ["pid.1", "pid.2"].map(|name| pid_in(&env.home().join(name))).into();
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let report = json(&ran);
    assert_eq!(
        (&report["ended"]["why"], &report["total"]["loops"]["unknown"]),
        (&"interrupted".into(), &2.into())
    );
    for pid in pids {
        // Whoever adopted it may take a moment to notice that it has ended.
        wait_until(|| is_gone(pid), &format!("process {pid:?} still runs"));
    }
}

#[test]
fn what_an_agent_leaves_behind_ends_with_it() {
    let env = &TestEnv::new();
    let path = env.scenario(&SCENARIO.replace("vus = 2\niterations = 3", "vus = 1\niterations = 1"));
    let file = env.home().join("left.pid");
    let script = format!("sleep 1000 & echo $! > '{}'", file.display());
    let ran = load(env, &[&path, "--json"], &["sh", "-c", &script]);
    assert_eq!(json(&ran)["total"]["loops"]["started"], 1, "{ran:?}");
    let pid = pid_in(&file);
    wait_until(|| is_gone(pid), &format!("process {pid:?} still runs"));
}

fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    test_kill_process(pid).is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
}

fn pid_in(path: &Path) -> Pid {
    wait_until(|| path.exists(), &format!("{} is not there", path.display()));
    Pid::from_raw(std::fs::read_to_string(path).unwrap().trim().parse().unwrap()).unwrap()
}

fn wait_until(holds: impl Fn() -> bool, else_say: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "{else_say}");
        std::thread::yield_now();
    }
}

#[test]
fn a_gate_ends_the_run_as_soon_as_it_fails() {
    let env = &TestEnv::new();
    let gates =
        "[gates]\nloops_failed = { threshold = 'count<1', abort_on_fail = true }\nretry_rate = 'value<1'\n";
    let path = env.scenario(&format!("{SCENARIO}{gates}"));
    let script = "exit $(( LOOPTAPE_LOOP_INDEX == 1 ))";
    let ran = load(env, &[&path, "--json", "--set", "phase.all.iterations=10000"], &["sh", "-c", script]);
    assert_eq!(ran.code, Some(99), "{}", ran.stderr);
    let report = json(&ran);
    assert_eq!(
        (&report["ended"]["why"], &report["ended"]["gate"]),
        (&"gate_failed".into(), &"loops_failed: count<1".into())
    );
    assert!(report["total"]["loops"]["started"].as_u64() < Some(20_000), "{}", report["total"]["loops"]);
}

//! `looptape demo`: it works on an empty machine, and what it promises can be repeated.

use crate::env::TestEnv;
use std::net::TcpListener;

#[test]
fn the_demo_records_replays_and_differs_in_nothing() {
    let mut env = TestEnv::new();
    // A proxy that answers nothing: whoever asks it fails.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        env.set(name, &format!("http://{}", proxy.local_addr().unwrap()));
    }
    // A key of the user's has no part in it.
    env.set("OPENAI_API_KEY", "sk-proj-aUsersOwnKeyThatMustNotBeSeen1");
    let ran = env.looptape(&["demo"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stderr, "");
    for said in [
        "(refused with 429, trying again)",
        "assistant: Go to Lisbon",
        "4 calls recorded",
        "refuses connections",
        "4 of 4 answers came from the recording",
        "the agent's output is the same, byte for byte",
        "→ framework retry",
        "diff: 0; 4 of 4 answers are the same, bit for bit",
        "Try next",
    ] {
        assert!(ran.stdout.contains(said), "`{said}` is missing:\n{}", ran.stdout);
    }
    proxy.set_nonblocking(true).unwrap();
    assert!(proxy.accept().is_err(), "nothing asked the proxy");

    let id = ran.stdout.lines().find_map(|line| line.strip_prefix("trace: ")).unwrap();
    let again = env.looptape(&["replay", &id[..8], "--", env!("CARGO_BIN_EXE_looptape"), "demo", "--agent"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("assistant: Go to Lisbon"), "{again:?}");
    assert!(again.stderr.contains("4 of 4 recorded calls served (4 byte for byte)"), "{again:?}");
    assert_eq!(env.looptape(&["replay", id]).code, Some(0), "the self-check");
}

#[test]
fn the_demos_agent_alone_says_how_it_is_run() {
    let ran = TestEnv::new().looptape(&["demo", "--agent"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("`looptape record`"), "{ran:?}");
}

//! Private by default: who may talk to a listener, where calls can go, and who may read the files.

use crate::env::TestEnv;
use crate::lab::{Lab, through_shell};
use looptape_testkit::answer::Answer;
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const CHAT: &str = "/openai/v1/chat/completions";

async fn status(origin: &str, request: &str) -> u16 {
    let mut client = RawClient::connect(origin).await.unwrap();
    client.send(request.as_bytes()).await.unwrap();
    client.head().await.map(|head| head.status).unwrap_or(0)
}

#[tokio::test]
async fn web_pages_reach_neither_server() {
    let upstream = ScriptedUpstream::answering(|_| Answer::json("{}")).await.unwrap();
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let url = format!("{}{CHAT}", recording.origin);
    RawClient::post_json(&url, "{}").await.unwrap();
    recording.recorder().flush();
    let recorded = lab.recorded();
    let replaying = recorded.replay().await;
    let bad = [
        "host: evil.example",
        "host: evil.example:80",
        "host: 127.0.0.1.evil.example",
        "host: 10.1.2.3",
        "host: localhost\r\norigin: https://evil.example",
        "host: localhost\r\norigin: null",
        "host: localhost\r\nsec-fetch-site: cross-site",
    ];
    for headers in bad {
        for origin in [&recording.origin, &replaying.origin] {
            let request = format!("POST {CHAT} HTTP/1.1\r\n{headers}\r\ncontent-length: 2\r\n\r\n{{}}");
            assert_eq!(status(origin, &request).await, 403, "{headers}");
        }
    }
    assert_eq!(upstream.requests().len(), 1, "a refused request went on");
    recording.finish().await;
    let summary = replaying.finish().await;
    assert_eq!(summary.unused.len(), 1, "a refused request was answered from the tape");
    assert_eq!(lab.recorded().exchanges.len(), 1, "a refused request was recorded");
}

/// Whatever host a request names, the configured upstream gets it, or nobody.
#[tokio::test]
async fn a_request_cannot_choose_the_host() {
    let evil = ScriptedUpstream::answering(|_| Answer::json("{}")).await.unwrap();
    let upstream = ScriptedUpstream::answering(|_| Answer::json("{}")).await.unwrap();
    let lab = Lab::new();
    let recording = lab.record(&format!("{}/tenant-a", upstream.url())).await;
    let to = evil.url();
    let authority = to.strip_prefix("http://").unwrap();
    let targets = [
        format!("POST {to}/v1/chat/completions"),
        format!("POST {to}{CHAT}"),
        format!("POST //{authority}/v1/chat/completions"),
        format!("POST /openai//{authority}/v1/chat/completions"),
        format!("POST /openai/{to}/v1/chat/completions"),
        format!("POST /openai@{authority}/v1/chat/completions"),
        format!("POST /openai:@{authority}/v1/chat/completions"),
        format!("POST /openai?@{authority}/v1/chat/completions"),
        format!("POST /openai/../../v1/chat/completions?u={to}"),
        "POST /openai/v1/../../tenant-b/chat/completions".to_owned(),
        "POST /openai/v1/%2e%2e/%2E%2e/tenant-b/chat/completions".to_owned(),
        "POST /openai/v1/..%2f..%2ftenant-b".to_owned(),
        "POST /openai/v1/..\\..\\tenant-b".to_owned(),
        format!("CONNECT {authority}"),
        "OPTIONS *".to_owned(),
    ];
    for target in &targets {
        for host in ["localhost", authority] {
            let request = format!("{target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2\r\n\r\n{{}}");
            let status = status(&recording.origin, &request).await;
            assert!(status == 0 || (200..500).contains(&status), "{target}: {status}");
        }
    }
    assert_eq!(evil.connections(), 0);
    for request in upstream.requests() {
        assert!(request.target.starts_with("/tenant-a/"), "{} left the upstream's base", request.target);
    }
    recording.finish().await;
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_are_the_owners_alone() {
    let env = TestEnv::new();
    std::fs::create_dir(env.home().join("project")).unwrap();
    std::fs::create_dir(env.home().join("project/.git")).unwrap();
    let mut command = env.command(&["record", "--", "sh", "-c", "stat -c '%a %n' .looptape/*"]);
    command.current_dir(env.home().join("project"));
    command = through_shell("umask 000; unset LOOPTAPE_DB", &command);
    let output = command.output().unwrap();
    let while_open = String::from_utf8(output.stdout).unwrap();
    assert_eq!(while_open.lines().count(), 3, "{while_open} {}", String::from_utf8_lossy(&output.stderr));
    assert!(while_open.lines().all(|line| line.starts_with("600 ")), "{while_open}");
    let folder = env.home().join("project/.looptape");
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("looptape.db")), 0o600);
    let ignore = std::fs::read_to_string(folder.join(".gitignore")).unwrap();
    assert!(ignore.lines().any(|line| line == "*"), "{ignore}");
}

#[test]
fn a_database_that_others_could_read_is_closed_to_them() {
    let env = TestEnv::new();
    let database = env.database();
    std::fs::create_dir_all(database.parent().unwrap()).unwrap();
    std::fs::write(&database, "").unwrap();
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(env.looptape(&["record", "--", "true"]).code, Some(0));
    assert_eq!(mode(&database), 0o600);
}

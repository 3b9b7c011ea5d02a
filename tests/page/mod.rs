//! The page in a browser: `looptape ui`, looked at by programs of this folder with headless Chromium.
//!
//! Where there is no Chromium, or its driver is not installed (tests/clients/README.md), a line says that it is skipped.
//! Pictures go to target/page.

mod api;
mod numbers;
mod recordings;
mod replays;

use crate::clients::say;
use crate::env::TestEnv;
use crate::gateway::agent::send;
use crate::lab::{Lab, TRACE};
use crate::views;
use looptape_testkit::raw_client::RawClient;
use recordings::{growing_chat, hostile_upstream, plain_upstream};
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

/// A page that is served; dropping it ends it.
pub(crate) struct ServedPage {
    process: Child,
    /// Kept open: the process may have more to say.
    _stderr: Lines<BufReader<ChildStderr>>,
    pub(crate) address: String,
    token: String,
}

/// A browser program that runs; dropping it ends it.
pub(crate) struct Looking {
    process: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl ServedPage {
    pub(crate) fn of(env: &TestEnv, database: &Path) -> Self {
        let database = database.to_str().expect("a UTF-8 path");
        let arguments = ["ui", "--no-open", "--listen", "127.0.0.1:0", "--db", database];
        let mut process = env.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut lines = stderr.by_ref().map(|line| line.unwrap());
        let address = lines.find_map(|line| line.strip_prefix("page: ").map(str::to_owned));
        let address = address.expect("it says where it is");
        let token = lines.find_map(|line| Some(line.split_once("#token=")?.1.to_owned()));
        let token = token.expect("it says what lets it write");
        Self { process, _stderr: stderr, address, token }
    }
}

impl ServedPage {
    /// What the terminal says is needed to do more than read.
    fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for ServedPage {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Looking {
    /// Runs `program` of this folder on a page; `None`, and said, where there is no browser.
    pub(crate) fn at(address: &str, program: &str, arguments: &[&str]) -> Option<Self> {
        let (clients, chromium) = match browser() {
            Ok(found) => found,
            Err(why) => {
                say(&format!("SKIPPED the page in a browser, {program}: {why}"));
                return None;
            }
        };
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/page");
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "180", "node"]).arg(here.join(program)).arg(address).args(arguments);
        command.env("LOOPTAPE_CLIENTS", clients).env("CHROMIUM", chromium);
        command.env("SCREENSHOTS", Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("page"));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        Some(Self { process, stdout })
    }

    /// Waits until it prints this line.
    pub(crate) fn says(&mut self, expected: &str) {
        let found = self.stdout.by_ref().map(|line| line.unwrap()).any(|line| line == expected);
        assert!(found, "it ended without saying `{expected}`");
    }

    /// Waits until it ends, well.
    pub(crate) fn ends_well(mut self) {
        self.stdout.by_ref().for_each(drop);
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}: what is wrong is on stderr");
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where the driver's packages are, and the browser; or what is missing.
fn browser() -> Result<(PathBuf, PathBuf), String> {
    let clients = std::env::var_os("LOOPTAPE_CLIENTS").filter(|value| !value.is_empty());
    let clients = clients.map(PathBuf::from).ok_or("LOOPTAPE_CLIENTS is not set")?;
    if !clients.join("page.ready").exists() {
        return Err("the group `page` is not installed".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let places = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    let found = places.into_iter().find(|place| place.exists()).ok_or("there is no Chromium")?;
    Ok((clients, found))
}

#[test]
fn a_trace_is_looked_at() {
    let recorded = views::recorded();
    let page = ServedPage::of(&recorded.env, &recorded.env.database());
    let Some(looking) = Looking::at(&page.address, "trace.mjs", &[&recorded.id]) else { return };
    looking.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hostile_acts() {
    let env = TestEnv::new();
    let lab = Lab::new();
    let upstream = hostile_upstream().await;
    let recording = lab.serve(&upstream.url(), |_| {}).await;
    let headers = [
        ("x-looptape-trace", "hostile"),
        ("x-looptape-agent", r#"<img src=x onerror="window.ran = 1">"#),
        ("x-looptape-tag", "\u{202e}gat=<b>bold</b>"),
    ];
    let question = growing_chat(1, recordings::HOSTILE);
    send(&recording.origin, "/openai/v1/chat/completions", &headers, &question).await;
    send(&recording.origin, "/_looptape/v1/traces/hostile/end", &[], "").await;
    recording.finish().await;
    let page = ServedPage::of(&env, &lab.database());
    let Some(looking) = Looking::at(&page.address, "hostile.mjs", &["hostile"]) else { return };
    tokio::task::spawn_blocking(|| looking.ends_well()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_appears_while_it_is_made() {
    let env = TestEnv::new();
    let lab = Lab::new();
    let page = ServedPage::of(&env, &lab.database());
    let Some(mut looking) = Looking::at(&page.address, "live.mjs", &[]) else { return };
    let mut looking = tokio::task::spawn_blocking(move || {
        looking.says("ready");
        looking
    })
    .await
    .unwrap();
    let upstream = plain_upstream().await;
    let recording = lab.record(&upstream.url()).await;
    let chat = format!("{}/openai/v1/chat/completions", recording.origin);
    RawClient::post_json(&chat, &growing_chat(1, "hello")).await.unwrap();
    let looking = tokio::task::spawn_blocking(move || {
        looking.says("begun");
        looking
    })
    .await
    .unwrap();
    for turns in [2, 3] {
        RawClient::post_json(&chat, &growing_chat(turns, "hello")).await.unwrap();
    }
    recording.finish().await;
    tokio::task::spawn_blocking(|| looking.ends_well()).await.unwrap();
    assert_eq!(lab.recorded_as(TRACE).facts.len(), 3);
}

//! A gateway of the built binary, and what it has recorded.

use crate::env::TestEnv;
use looptape_core::metrics::TraceMetrics;
use looptape_store::{Reader, Selector, TraceFilter, TraceRow, TraceStatus};
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway; dropping it kills it.
pub(crate) struct Gateway {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    /// What it has said so far.
    said: String,
    pub(crate) url: String,
    pub(crate) recordings: Recordings,
}

/// The database of a test.
#[derive(Clone)]
pub(crate) struct Recordings {
    pub(crate) path: PathBuf,
}

/// A way to start a gateway.
pub(crate) fn command(env: &TestEnv, arguments: &[&str]) -> std::process::Command {
    let recordings = Recordings::of(env);
    let mut all = vec!["serve", "--db", recordings.path.to_str().expect("a UTF-8 path")];
    if !arguments.contains(&"--listen") {
        all.extend(["--listen", "127.0.0.1:0"]);
    }
    all.extend(arguments);
    env.command(&all)
}

/// Runs a gateway that is expected to refuse; its exit code, and what it said.
pub(crate) async fn refused(command: std::process::Command) -> (Option<i32>, String) {
    let ended = tokio::time::timeout(PATIENCE, Command::from(command).kill_on_drop(true).output()).await;
    let output = ended.expect("it ends in time").expect("the built binary starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Gateway {
    /// Starts one whose openai and anthropic are at `upstream`, and waits until it listens.
    pub(crate) async fn start(env: &TestEnv, upstream: &str, arguments: &[&str]) -> Self {
        let (openai, anthropic) = (format!("openai={upstream}"), format!("anthropic={upstream}"));
        let mut all = vec!["--upstream", &openai, "--upstream", &anthropic];
        all.extend(arguments);
        Self::spawn(env, command(env, &all)).await
    }

    pub(crate) async fn spawn(env: &TestEnv, command: std::process::Command) -> Self {
        let mut command = Command::from(command);
        command.stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the built binary starts");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let stderr = BufReader::new(stderr).lines();
        let recordings = Recordings::of(env);
        let mut gateway = Self { child, stderr, said: String::new(), url: String::new(), recordings };
        let line = gateway.line("listening: ").await;
        gateway.url = line.strip_prefix("listening: ").expect("the line begins so").to_owned();
        gateway
    }

    /// Waits for a line of standard error that begins with `start`.
    pub(crate) async fn line(&mut self, start: &str) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.stderr.next_line()).await;
            match line.expect("a line in time").expect("UTF-8 on standard error") {
                Some(line) => {
                    self.said += &format!("{line}\n");
                    if line.starts_with(start) {
                        return line;
                    }
                }
                None => panic!("no line `{start}…` but:\n{}", self.said),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(pid.expect("it runs"), signal).expect("it can be signalled");
    }

    /// Waits for its end; its exit code, and all that it said.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        while let Ok(Some(line)) = self.stderr.next_line().await {
            self.said += &format!("{line}\n");
        }
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        (status.expect("it ends in time").expect("it can be waited for").code(), self.said)
    }

    /// Stops it and waits for a proper end.
    pub(crate) async fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (code, said) = self.ended().await;
        assert_eq!(code, Some(0), "{said}");
        said
    }
}

impl Recordings {
    pub(crate) fn of(env: &TestEnv) -> Self {
        Self { path: env.home().join("gateway").join("recordings.db") }
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.path).expect("the database can be read")
    }

    /// All traces, oldest first.
    pub(crate) fn all(&self) -> Vec<TraceRow> {
        let mut rows = self.reader().traces(&TraceFilter::default()).expect("traces can be listed");
        rows.reverse();
        rows
    }

    /// `id#run` and the number of calls of every trace, sorted.
    pub(crate) fn calls_by_trace(&self) -> Vec<(String, usize)> {
        let calls = |row: &TraceRow| self.reader().seqs(row.key).expect("calls can be listed").len();
        let mut found: Vec<_> =
            self.all().iter().map(|row| (format!("{}#{}", row.id, row.run), calls(row))).collect();
        found.sort();
        found
    }

    pub(crate) fn find(&self, name: &str) -> TraceRow {
        self.reader().find(&Selector::parse(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn metrics(&self, row: TraceRow) -> TraceMetrics {
        self.reader().load(row).expect("the trace can be read").measure().metrics
    }

    /// Waits until the newest trace named `name` is complete.
    pub(crate) async fn complete(&self, name: &str) -> TraceRow {
        eventually(&format!("{name} is complete"), || {
            let row = self.reader().find(&Selector::parse(name)).ok()?;
            (row.status == TraceStatus::Complete).then_some(row)
        })
        .await
    }

    /// Whether any file of the database holds these bytes.
    pub(crate) fn holds(&self, bytes: &str) -> bool {
        let folder = self.path.parent().expect("it lies in a folder");
        std::fs::read_dir(folder).expect("the folder can be read").any(|entry| {
            let content = std::fs::read(entry.expect("an entry").path()).expect("its files can be read");
            content.windows(bytes.len()).any(|window| window == bytes.as_bytes())
        })
    }
}

/// Waits for a condition.
pub(crate) async fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

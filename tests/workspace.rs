//! An agent's files: kept at each step while it is recorded, shown as what each step changed, laid out again for a
//! replay.

use crate::env::{Ran, TestEnv};
use looptape_store::workspace::{SnapshotOptions, Snapshots};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Asks three times and changes files in between; the third question tells of a file.
const AGENT: &str = r#"
import json, os, sys, urllib.request
def ask(text):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps(body).encode(), {"content-type": "application/json", "authorization": "Bearer test"})
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]
print(sorted(name for name in os.listdir(".")), os.getcwd() == os.environ["LOOPTAPE_WORKSPACE"], flush=True)
ask("one")
with open("list.txt", "w") as file: file.write("one\n2\nthree\n")
os.makedirs("made/by", exist_ok=True)
with open("made/by/agent.txt", "w") as file: file.write("made\n" * 60)
ask("two")
if os.path.exists("gone.txt"): os.remove("gone.txt")
with open("image.bin", "wb") as file: file.write(bytes(range(9)))
os.chmod("list.txt", 0o600)
ask("three: " + open("list.txt").read())
with open(".env", "w") as file: file.write("TOKEN=hunter2")
"#;

fn answered() -> Answer {
    Answer::json(
        json!({"id": "c", "model": "gpt-4o-mini", "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
               "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "go on"}}]})
        .to_string(),
    )
}

/// A project with an agent, and its recording.
struct Project {
    env: TestEnv,
    folder: PathBuf,
    recorded: Ran,
}

impl Project {
    fn recorded() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let upstream = runtime.block_on(ScriptedUpstream::answering(|_| answered())).unwrap();
        let mut env = TestEnv::new();
        env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
        let folder = env.work_in("project").canonicalize().unwrap();
        fs::write(folder.join("list.txt"), "one\ntwo\nthree\n").unwrap();
        fs::write(folder.join("gone.txt"), "gone").unwrap();
        fs::write(folder.join(".gitignore"), "*.log\n").unwrap();
        fs::write(folder.join("noise.log"), "noise").unwrap();
        fs::write(folder.join("agent.py"), AGENT).unwrap();
        let recorded = env.looptape(&["record", "--workspace", ".", "--", "python3", "agent.py"]);
        assert_eq!(recorded.code, Some(0), "{recorded:?}");
        Self { env, folder, recorded }
    }

    fn files(&self, more: &[&str]) -> String {
        let shown = self.env.looptape(&[&["show", "last", "--files"], more].concat());
        assert_eq!(shown.code, Some(0), "{shown:?}");
        shown.stdout.replace(self.recorded.trace(), "TRACE").replace(&self.recorded.trace()[..8], "TRACE")
    }

    /// Replays from another folder; the fresh one, and what the agent printed.
    fn restored(&self, how: &[&str]) -> (PathBuf, Ran) {
        let elsewhere = tempfile::tempdir().unwrap();
        let replay = [&["replay", "last"], how, &["--", "python3", "agent.py"]].concat();
        let temporary = self.env.home().join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let mut command = self.env.command(&replay);
        let ran =
            Ran::from(command.current_dir(elsewhere.path()).env("TMPDIR", &temporary).output().unwrap());
        let line = ran.stderr.lines().find(|line| line.starts_with("looptape: workspace:"));
        let folder = line.and_then(|line| line.split(", ").nth(1)?.strip_prefix("in "));
        (PathBuf::from(folder.unwrap_or_else(|| panic!("{ran:?}"))), ran)
    }
}

#[test]
fn each_step_tells_what_it_changed() {
    let project = Project::recorded();
    let shown = project.files(&[]).replace(&*project.folder.to_string_lossy(), "PROJECT");
    let shown = shown.replace(&"      +made\n".repeat(39), "      (39 times the same)\n");
    insta::assert_snapshot!(shown, @r"
    trace TRACE
    PROJECT · 4 files, 1.0 kB

    step 1: 2 files changed
      M list.txt  +1 −1
          @@ -1,3 +1,3 @@
           one
          -two
          +2
           three
      A made/by/agent.txt  +60
          @@ -0,0 +1,60 @@
          (39 times the same)
          … 21 more lines: `looptape show TRACE --files --step 1` has all

    step 2: 3 files changed
      D gone.txt  −1
          @@ -1 +0,0 @@
          -gone
          \ No newline at end of file
      A image.bin  binary, 9 B
      M list.txt  mode 644 → 600

    step 3: 1 file changed
      A .env  left out, since it holds secrets
    ");
    assert!(project.files(&["--step", "1"]).contains("A made/by/agent.txt  +60"));
    assert_eq!(project.files(&["--step", "1"]).matches("+made").count(), 60, "one step is shown in full");
    let json: Value = serde_json::from_str(&project.files(&["--json"])).unwrap();
    let changed: Vec<(Option<u64>, usize)> = json["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["step"].as_u64(), step["files"].as_array().unwrap().len()))
        .collect();
    assert_eq!(changed, [(None, 0), (Some(1), 2), (Some(2), 3), (Some(3), 1)]);
    assert_eq!(json["changes"][2]["files"][2]["before"]["mode"], "644");
    let said = format!("looptape show {} --files", &project.recorded.trace()[..8]);
    assert!(project.recorded.stderr.contains(&said), "{}", project.recorded.stderr);
    let database = fs::read(project.env.database()).unwrap();
    assert!(!database.windows(7).any(|window| window == b"hunter2"), "what `.env` holds is not read");
    assert_eq!(project.env.looptape(&["verify"]).code, Some(0));
}

#[test]
fn a_replay_finds_the_files_as_they_were() {
    let project = Project::recorded();
    let before = fs::read_to_string(project.folder.join("list.txt")).unwrap();
    // Without a step: as they were before the agent did anything.
    let (folder, ran) = project.restored(&["--restore-workspace"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "['.gitignore', 'agent.py', 'gone.txt', 'list.txt'] True\n"),
        "{ran:?}"
    );
    assert!(folder.ends_with("project") && folder != project.folder, "{}", folder.display());
    assert_eq!(fs::read_to_string(folder.join("list.txt")).unwrap(), "one\n2\nthree\n", "it worked there");
    // At the step of a fork.
    let (folder, ran) = project.restored(&["--from", "3", "--source", "mock", "--restore-workspace"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, "['.gitignore', 'agent.py', 'image.bin', 'list.txt', 'made'] True\n");
    assert!(folder.join("made/by/agent.txt").exists());
    // At a step of one's own choice.
    let (_, ran) = project.restored(&["--from", "3", "--source", "mock", "--restore-workspace=1"]);
    assert_eq!(ran.stdout, "['.gitignore', 'agent.py', 'gone.txt', 'list.txt'] True\n", "{ran:?}");
    assert_eq!(
        fs::read_to_string(project.folder.join("list.txt")).unwrap(),
        before,
        "the project is as it was"
    );
}

#[test]
fn what_cannot_be_done_is_said_before_anything_runs() {
    let project = Project::recorded();
    let env = &project.env;
    let refused = |arguments: &[&str], code: i32, why: &str| {
        let ran = env.looptape(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{ran:?}");
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    };
    let echo = ["--", "echo", "it ran"];
    let with_echo = |arguments: &[&'static str]| [arguments, &echo].concat();
    refused(&with_echo(&["replay", "last", "--restore-workspace=9"]), 2, "has no step 9: it has 3 steps");
    refused(&with_echo(&["record", "--workspace", "nowhere"]), 2, "--workspace nowhere: No such file");
    refused(&with_echo(&["record", "--workspace", "list.txt"]), 2, "it is no folder");
    refused(&["replay", "last", "--restore-workspace"], 2, "required");
    assert_eq!(env.looptape(&["record", "--", "python3", "-c", ""]).code, Some(0));
    refused(&["show", "last", "--files"], 1, "record --workspace DIR");
    refused(&with_echo(&["replay", "last~0", "--restore-workspace"]), 1, "record --workspace DIR");
}

#[tokio::test]
async fn a_call_that_is_not_to_a_model_takes_no_snapshot_and_lanes_share_one() {
    let lab = crate::lab::Lab::new();
    let upstream = ScriptedUpstream::answering(|_| answered()).await.unwrap();
    let folder = lab.folder().join("files");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a"), "one").unwrap();
    let options = |folder: &Path| SnapshotOptions {
        folder: folder.canonicalize().unwrap(),
        own_files: Vec::new(),
        patterns: std::sync::Arc::new(looptape_core::redact::Patterns::builtin()),
        known: looptape_core::redact::Credentials::none(),
        limits: looptape_core::workspace::Limits::default(),
    };
    let url = upstream.url();
    let recording = lab.record_looking_at(&url, |recorder| {
        let id = looptape_core::TraceId::parse(crate::lab::TRACE).unwrap();
        recorder.describe_workspace(id, folder.display().to_string());
        Snapshots::start(recorder.clone(), options(&folder)).unwrap()
    });
    let (recording, thread) = recording.await;
    let post = async |path: &str| {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        let url = format!("{}/openai/v1/{path}", recording.origin);
        looptape_testkit::raw_client::RawClient::post_json(&url, body).await.unwrap().head.status
    };
    assert_eq!(post("embeddings").await, 200);
    let both = tokio::join!(post("chat/completions"), post("chat/completions"));
    assert_eq!(both, (200, 200));
    recording.finish().await;
    thread.finish();
    let reader = looptape_store::Reader::open(&lab.database()).unwrap();
    let row = reader.find(&looptape_store::Selector::parse(crate::lab::TRACE)).unwrap();
    let snapshots = reader.workspace(row.key).unwrap().unwrap().snapshots;
    let seqs: Vec<_> = snapshots.iter().map(|snapshot| snapshot.at).collect();
    use looptape_core::workspace::SnapshotAt::Call;
    assert_eq!(seqs, [Call(1), Call(2)]);
    assert_eq!(snapshots[0].root, snapshots[1].root);
}

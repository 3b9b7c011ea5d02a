//! `[[test]]` of `looptape.toml`: a test as the file writes it ([`TestEntry`]), and as it is run ([`Test`]).
//!
//! Everything that can be wrong with an entry is said when it is read, before any test runs.

use crate::child::capture::Egress;
use crate::child::surroundings::Clock;
use crate::child::tool_hooks::FrameworkTools;
use crate::commands::SourceArgs;
use crate::config::{Config, parse_duration};
use looptape_core::gates::Gate;
use looptape_core::tools::ToolPolicy;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A test as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TestEntry {
    name: Option<String>,
    cassette: Option<PathBuf>,
    trace: Option<String>,
    command: Option<CommandEntry>,
    mode: Option<Mode>,
    folder: Option<PathBuf>,
    env: BTreeMap<String, String>,
    timeout: Option<String>,
    max_rung: Option<u8>,
    allow_unused: bool,
    allow_incomplete: bool,
    block_egress: Option<bool>,
    tool_hooks: Option<bool>,
    sandbox: bool,
    capture_egress: bool,
    clock: Clock,
    source: Option<String>,
    on_miss: Option<String>,
    from: Option<u32>,
    model: Option<String>,
    max_usd: Option<f64>,
    seed: Option<u64>,
    gates: Vec<Gate>,
    verify: Option<String>,
    tags: BTreeSet<String>,
    tools: BTreeMap<String, ToolPolicy>,
    retries: u32,
}

/// An agent's command line.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum CommandEntry {
    /// For a shell.
    Line(String),
    /// The program and its arguments.
    Words(Vec<String>),
}

/// What drives a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// The agent itself.
    Agent,
    /// The recorded requests.
    TeacherForced,
    /// A built-in loop, with the recorded tools.
    Free,
}

/// A test, checked.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) recording: TestRecording,
    pub(crate) drive: Drive,
    /// 0 to 3.
    pub(crate) max_rung: u8,
    pub(crate) allow_unused: bool,
    pub(crate) allow_incomplete: bool,
    pub(crate) sources: SourceArgs,
    pub(crate) gates: Vec<Gate>,
    /// A shell command that judges the run.
    pub(crate) verify: Option<String>,
    pub(crate) tags: BTreeSet<String>,
    /// How often a failed test is run again.
    pub(crate) retries: u32,
    /// Where commands run.
    pub(crate) folder: PathBuf,
}

/// What is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TestRecording {
    /// A file or folder, in full; and as it was written.
    Cassette { path: PathBuf, written: PathBuf },
    /// In the database.
    Trace(String),
}

/// What sends the requests.
#[derive(Clone, Debug)]
pub(crate) enum Drive {
    Agent(Agent),
    TeacherForced,
    Free,
}

/// How an agent is run.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) command: Vec<OsString>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) timeout: Duration,
    pub(crate) block_egress: bool,
    pub(crate) tools: FrameworkTools,
    /// In the place of those of `[tools.NAME]`.
    pub(crate) tool_policies: BTreeMap<String, ToolPolicy>,
    pub(crate) sandbox: bool,
    /// Of its recording.
    pub(crate) capture_egress: Egress,
    pub(crate) clock: Clock,
}

/// How long an agent may take if its test does not say.
const TIMEOUT: Duration = Duration::from_secs(120);

impl Drive {
    pub(crate) fn mode(&self) -> Mode {
        match self {
            Self::Agent(_) => Mode::Agent,
            Self::TeacherForced => Mode::TeacherForced,
            Self::Free => Mode::Free,
        }
    }
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::TeacherForced => "teacher-forced",
            Self::Free => "free",
        }
    }
}

impl TestRecording {
    /// Where it is on disk; of a trace nowhere.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Cassette { path, .. } => path,
            Self::Trace(_) => Path::new(""),
        }
    }

    /// As it was written.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Cassette { written, .. } => written.display().to_string(),
            Self::Trace(name) => name.clone(),
        }
    }
}

/// Checks all entries of a file in this folder; what is wrong with one names it.
pub(crate) fn check(config: &Config, folder: &Path) -> Result<Vec<Test>, String> {
    let mut tests: Vec<Test> = Vec::new();
    for (place, entry) in (1..).zip(&config.test) {
        let name = entry.name().unwrap_or_else(|| format!("number {place}"));
        let test = entry.check(config, folder).map_err(|why| format!("[[test]] {name}: {why}"))?;
        if tests.iter().any(|other| other.name == test.name) {
            return Err(format!(
                "[[test]] {name}: there are two tests of that name; give each its own `name`"
            ));
        }
        tests.push(test);
    }
    Ok(tests)
}

impl TestEntry {
    fn name(&self) -> Option<String> {
        let of_cassette = || Some(self.cassette.as_ref()?.file_stem()?.to_string_lossy().into_owned());
        self.name.clone().or_else(of_cassette).or_else(|| self.trace.clone())
    }

    fn check(&self, config: &Config, folder: &Path) -> Result<Test, String> {
        let recording = match (&self.cassette, &self.trace) {
            (Some(written), None) => {
                TestRecording::Cassette { path: folder.join(written), written: written.clone() }
            }
            (None, Some(name)) => TestRecording::Trace(name.clone()),
            (None, None) => {
                return Err("it names no recording: add `cassette = \"…\"` or `trace = \"…\"`".into());
            }
            (Some(_), Some(_)) => return Err("it names a `cassette` and a `trace`: keep one of them".into()),
        };
        let name = self.name().filter(|name| !name.trim().is_empty()).ok_or("its `name` is empty")?;
        let max_rung = self.max_rung.unwrap_or(3);
        if max_rung > 3 {
            return Err(format!("`max_rung = {max_rung}`: rungs are 0 to 3"));
        }
        let drive = self.drive()?;
        self.tools.iter().try_for_each(|(tool, policy)| can_be_kept(tool, *policy, drive.mode()))?;
        Ok(Test {
            name,
            recording,
            drive,
            max_rung,
            allow_unused: self.allow_unused,
            allow_incomplete: self.allow_incomplete,
            sources: self.sources(config)?,
            gates: self.gates.clone(),
            verify: self.verify.clone(),
            tags: self.tags.clone(),
            retries: self.retries,
            folder: self.folder.as_ref().map_or_else(|| folder.to_owned(), |own| folder.join(own)),
        })
    }

    fn drive(&self) -> Result<Drive, String> {
        let command = self.command.as_ref().map(CommandEntry::words).transpose()?;
        let usual = if command.is_some() { Mode::Agent } else { Mode::TeacherForced };
        match (self.mode.unwrap_or(usual), command) {
            (Mode::Agent, Some(command)) => Ok(Drive::Agent(Agent {
                command,
                env: self.env.clone(),
                timeout: match &self.timeout {
                    None => TIMEOUT,
                    Some(text) => {
                        Duration::from_secs(parse_duration(text).map_err(|why| format!("`timeout`: {why}"))?)
                    }
                },
                block_egress: self.block_egress.unwrap_or(true),
                tools: match self.tool_hooks {
                    Some(false) => FrameworkTools::LeftAlone,
                    None | Some(true) => FrameworkTools::Hooked,
                },
                tool_policies: self.tools.clone(),
                sandbox: self.sandbox,
                capture_egress: if self.capture_egress { Egress::Captured } else { Egress::Unseen },
                clock: self.clock,
            })),
            (Mode::Agent, None) => Err("an agent is run by its `command`, and there is none".into()),
            (mode, Some(_)) => {
                let mode = mode.as_str();
                Err(format!("`mode = \"{mode}\"` sends the recorded requests itself: leave `command` out"))
            }
            (mode, None) => {
                let of_agents = [
                    ("env", !self.env.is_empty()),
                    ("timeout", self.timeout.is_some()),
                    ("block_egress", self.block_egress.is_some()),
                    ("tool_hooks", self.tool_hooks.is_some()),
                    ("sandbox", self.sandbox),
                    ("capture_egress", self.capture_egress),
                    ("clock", self.clock != Clock::Real),
                ];
                if let Some((key, _)) = of_agents.iter().find(|(_, is_set)| *is_set) {
                    return Err(format!("`{key}` is about an agent, and there is no `command`"));
                }
                Ok(if mode == Mode::Free { Drive::Free } else { Drive::TeacherForced })
            }
        }
    }

    fn sources(&self, config: &Config) -> Result<SourceArgs, String> {
        let sources = SourceArgs::of_entry(
            (self.source.as_deref(), self.on_miss.as_deref()),
            (self.from, self.model.clone(), self.max_usd, self.seed),
        )?;
        sources.asked(config).map_err(|error| format!("of its sources: {error}"))?;
        Ok(sources)
    }
}

impl CommandEntry {
    fn words(&self) -> Result<Vec<OsString>, String> {
        let words: Vec<OsString> = match self {
            Self::Line(line) if line.trim().is_empty() => Vec::new(),
            Self::Line(line) => ["/bin/sh", "-c", line].map(OsString::from).to_vec(),
            Self::Words(words) => words.iter().map(OsString::from).collect(),
        };
        if words.is_empty() { Err("its `command` is empty".into()) } else { Ok(words) }
    }
}

/// Without an agent nothing runs, and a policy has no room for an answer of its own.
fn can_be_kept(tool: &str, policy: ToolPolicy, mode: Mode) -> Result<(), String> {
    match (policy, mode) {
        (ToolPolicy::Static, Mode::Agent) => {
            Err(format!("`tools`: {tool}: what a static tool gives is said in [tools.{tool}], for all tests"))
        }
        (_, Mode::Agent) | (ToolPolicy::Recorded, Mode::Free | Mode::TeacherForced) => Ok(()),
        (_, Mode::Free | Mode::TeacherForced) => Err(format!(
            "`tools`: {tool}: without an agent, results are the recorded ones, so its policy can only be `recorded`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Vec<Test>, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        check(&config, Path::new("/project"))
    }

    #[test]
    fn what_an_entry_does_not_say_has_a_default() {
        let tests = checked(
            "[[test]]\ncassette = \"cassettes/refund.yaml\"\ncommand = [\"python3\", \"agent.py\"]\n",
        );
        let [test] = &tests.unwrap()[..] else { panic!("one test") };
        assert_eq!((test.name.as_str(), test.max_rung, test.retries), ("refund", 3, 0));
        assert_eq!(test.folder, Path::new("/project"));
        let Drive::Agent(agent) = &test.drive else { panic!("{test:?}") };
        assert!(agent.block_egress && agent.timeout == TIMEOUT);
        let TestRecording::Cassette { path, .. } = &test.recording else { panic!("{test:?}") };
        assert_eq!(path, Path::new("/project/cassettes/refund.yaml"));
        let forced = checked("[[test]]\ntrace = \"4bf9\"").unwrap();
        assert_eq!((forced[0].name.as_str(), forced[0].drive.mode()), ("4bf9", Mode::TeacherForced));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("", "names no recording"),
            ("cassette = \"a\"\ntrace = \"b\"", "keep one of them"),
            ("trace = \"a\"\nmode = \"agent\"", "there is none"),
            ("trace = \"a\"\nmode = \"free\"\ncommand = \"x\"", "leave `command` out"),
            ("trace = \"a\"\ncommand = []", "is empty"),
            ("trace = \"a\"\nmax_rung = 7", "rungs are 0 to 3"),
            ("trace = \"a\"\ntimeout = \"1h\"", "`timeout` is about an agent"),
            ("trace = \"a\"\ncommand = \"x\"\ntimeout = \"soon\"", "not a duration"),
            ("trace = \"a\"\nsource = \"live\"", "--max-usd"),
            ("trace = \"a\"\nsource = \"tape\"", "cached, live or mock"),
            ("trace = \"a\"\ncommand = \"x\"\ntools = { search = \"static\" }", "is said in [tools.search]"),
            ("trace = \"a\"\ntools = { search = \"live\" }", "can only be `recorded`"),
            ("trace = \"a\"\ngates = [\"cost: max<1\"]", "nearest: cost_usd"),
            ("trace = \"a\"\ntool = {}", "unknown field `tool`"),
        ] {
            let error = checked(&format!("[[test]]\nname = \"refund\"\n{text}\n")).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let twice = checked("[[test]]\ntrace = \"a\"\n[[test]]\ntrace = \"a\"\n").unwrap_err();
        assert!(twice.contains("two tests of that name"), "{twice}");
    }
}

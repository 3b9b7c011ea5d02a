//! One task, several models: how each of them ended, what it took, and what somebody says of the result.
//!
//! A row is made of a run's own metrics. What a verify command says is taken as it is: its exit code is the
//! verdict, its last line may be a score.

use crate::cost::Usd;
use crate::metrics::{Ms, TraceMetrics};
use serde::Serialize;

/// What a verify command said of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Nobody was asked.
    NotAsked,
    Pass {
        score: Option<f64>,
    },
    Fail {
        score: Option<f64>,
        exit_code: i32,
    },
    /// The command could not be run, or a signal ended it.
    Broken {
        why: String,
    },
}

impl Verdict {
    /// Of a command that ended: 0 is a pass. The last line of what it wrote is the score, if it is a number
    /// from 0 to 1.
    pub fn of_command(exit_code: i32, stdout: &str) -> Self {
        let last = stdout.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let score =
            last.and_then(|line| line.parse::<f64>().ok()).filter(|score| (0.0..=1.0).contains(score));
        match exit_code {
            0 => Self::Pass { score },
            exit_code => Self::Fail { score, exit_code },
        }
    }

    /// `pass`, `pass 0.92`, `FAIL (exit 2)`.
    pub fn as_words(&self) -> String {
        let with_score = |word: &str, score: &Option<f64>| match score {
            Some(score) => format!("{word} {score}"),
            None => word.to_owned(),
        };
        match self {
            Self::NotAsked => "–".to_owned(),
            Self::Pass { score } => with_score("pass", score),
            Self::Fail { score, exit_code } => format!("{} (exit {exit_code})", with_score("FAIL", score)),
            Self::Broken { why } => format!("not verified: {why}"),
        }
    }
}

/// How the run of a model ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "ended", rename_all = "snake_case")]
pub enum ModelEnd {
    /// The agent's own exit code.
    Agent { exit_code: i32 },
    /// A free run's loops, in words.
    Loops { how: String },
    /// Nothing ran.
    NotRun { why: String },
}

impl ModelEnd {
    pub fn as_words(&self) -> String {
        match self {
            Self::Agent { exit_code } => format!("exit {exit_code}"),
            Self::Loops { how } => how.clone(),
            Self::NotRun { why } => format!("not run: {why}"),
        }
    }
}

/// One model's run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelRow {
    pub model: String,
    /// The trace that was recorded of it.
    pub trace: Option<String>,
    #[serde(flatten)]
    pub end: ModelEnd,
    #[serde(flatten)]
    pub verdict: Verdict,
    #[serde(flatten)]
    pub figures: Option<ModelFigures>,
}

/// What a run took. Costs are what was really paid: answers from the recording cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ModelFigures {
    pub steps: u32,
    pub tool_calls: u32,
    pub retries: u32,
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub tokens_at_least: bool,
    pub cost_usd: Option<Usd>,
    pub cost_at_least: bool,
    pub duration_ms: Option<Ms>,
    pub loops: u32,
    /// Loops that came to their end, over the duration.
    pub loops_per_min: Option<f64>,
}

impl ModelFigures {
    pub fn of(metrics: &TraceMetrics) -> Self {
        let minutes = metrics.time.duration_ms.map(|ms| ms.as_seconds() / 60.0).filter(|m| *m > 0.0);
        Self {
            steps: metrics.steps,
            tool_calls: metrics.tool_calls,
            retries: metrics.retries,
            input_tokens: metrics.tokens.input_total,
            output_tokens: metrics.tokens.output_total,
            tokens_at_least: metrics.tokens.at_least,
            cost_usd: metrics.cost_usd,
            cost_at_least: metrics.cost_at_least,
            duration_ms: metrics.time.duration_ms,
            loops: metrics.completed_loops,
            loops_per_min: minutes.map(|minutes| f64::from(metrics.completed_loops) / minutes),
        }
    }
}

/// All models, in the order in which they were named.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelComparison {
    pub format: u32,
    pub trace: String,
    /// The step from which the models were asked.
    pub from_step: u32,
    pub models: Vec<ModelRow>,
}

impl ModelComparison {
    /// Whether every model ran, and nobody says that a result is wrong.
    pub fn all_well(&self) -> bool {
        let is_well = |row: &ModelRow| {
            matches!(row.verdict, Verdict::NotAsked | Verdict::Pass { .. })
                && !matches!(row.end, ModelEnd::NotRun { .. })
        };
        self.models.iter().all(is_well)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_pass_or_fail_and_perhaps_a_score() {
        for (code, stdout, expected, words) in [
            (0, "", Verdict::Pass { score: None }, "pass"),
            (0, "checked\n0.92\n\n", Verdict::Pass { score: Some(0.92) }, "pass 0.92"),
            (0, "92", Verdict::Pass { score: None }, "pass"),
            (0, "0.5\nwell done", Verdict::Pass { score: None }, "pass"),
            (0, "NaN", Verdict::Pass { score: None }, "pass"),
            (2, "0", Verdict::Fail { score: Some(0.0), exit_code: 2 }, "FAIL 0 (exit 2)"),
        ] {
            let verdict = Verdict::of_command(code, stdout);
            assert_eq!(verdict, expected, "{stdout}");
            assert_eq!(verdict.as_words(), words);
        }
    }

    #[test]
    fn rows_are_flat_in_json() {
        let row = ModelRow {
            model: "m".to_owned(),
            trace: Some("t".to_owned()),
            end: ModelEnd::Agent { exit_code: 0 },
            verdict: Verdict::Fail { score: Some(0.5), exit_code: 1 },
            figures: None,
        };
        let all = ModelComparison { format: 1, trace: "r".to_owned(), from_step: 1, models: vec![row] };
        assert!(!all.all_well());
        let json = serde_json::to_value(&all.models[0]).unwrap();
        assert_eq!(json["verdict"], "fail");
        assert_eq!((&json["ended"], &json["score"]), (&"agent".into(), &0.5.into()));
    }
}

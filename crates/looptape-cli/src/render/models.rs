//! Several models in one table.

use super::figures::{count, duration};
use super::style::{Style, Tone};
use super::table;
use super::terminal_text::escape;
use looptape_core::metrics::Ms;
use looptape_core::replay::comparison::{ModelComparison, ModelFigures, ModelRow, Verdict};

const TITLES: [&str; 9] =
    ["model", "verdict", "ended", "steps", "tokens in", "out", "cost", "time", "loops/min"];
/// Columns that are read from the left; figures are read from the right.
const WORDS: usize = 3;

/// A line for each model, in the order in which they were named.
pub(crate) fn table(comparison: &ModelComparison, style: Style) -> String {
    let rows: Vec<[String; 9]> = comparison.models.iter().map(cells).collect();
    let mut lines = table::lines(TITLES, WORDS, &rows).into_iter();
    let mut out = style.paint(Tone::Quiet, &lines.next().unwrap_or_default()) + "\n";
    for (line, model) in lines.zip(&comparison.models) {
        let tone = match model.verdict {
            Verdict::Pass { .. } => Some(Tone::Good),
            Verdict::Fail { .. } | Verdict::Broken { .. } => Some(Tone::Bad),
            Verdict::NotAsked => None,
        };
        out += &tone.map_or(line.clone(), |tone| style.paint(tone, &line));
        out.push('\n');
    }
    for model in &comparison.models {
        if let Some(trace) = &model.trace {
            out += &format!("trace of {}: {trace}\n", escape(&model.model));
        }
    }
    out
}

fn cells(row: &ModelRow) -> [String; 9] {
    let unknown = || "–".to_owned();
    let figure = |show: &dyn Fn(&ModelFigures) -> Option<String>| {
        row.figures.as_ref().and_then(show).unwrap_or_else(unknown)
    };
    let bound = |at_least: bool, text: String| if at_least { format!("≥{text}") } else { text };
    [
        escape(&row.model),
        escape(&row.verdict.as_words()),
        escape(&row.end.as_words()),
        figure(&|f| Some(f.steps.to_string())),
        figure(&|f| Some(bound(f.tokens_at_least, count(f.input_tokens?)))),
        figure(&|f| Some(bound(f.tokens_at_least, count(f.output_tokens?)))),
        figure(&|f| Some(bound(f.cost_at_least, f.cost_usd?.to_string()))),
        figure(&|f| f.duration_ms.map(|ms: Ms| duration(ms))),
        figure(&|f| Some(format!("{:.1}", f.loops_per_min?))),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::style::Color;
    use super::*;
    use looptape_core::cost::Usd;
    use looptape_core::replay::comparison::ModelEnd;

    #[test]
    fn one_line_a_model() {
        let figures = ModelFigures {
            steps: 7,
            tool_calls: 6,
            retries: 0,
            input_tokens: Some(12_345),
            output_tokens: Some(678),
            tokens_at_least: false,
            cost_usd: Usd::from_f64(0.0123),
            cost_at_least: true,
            duration_ms: Some(Ms::from_us(20_000_000)),
            loops: 1,
            loops_per_min: Some(3.0),
        };
        let row = |model: &str, verdict, end, figures| ModelRow {
            model: model.to_owned(),
            trace: None,
            end,
            verdict,
            figures,
        };
        let comparison = ModelComparison {
            format: 1,
            trace: "t".to_owned(),
            from_step: 3,
            models: vec![
                row(
                    "large",
                    Verdict::Pass { score: Some(0.9) },
                    ModelEnd::Agent { exit_code: 0 },
                    Some(figures),
                ),
                row(
                    "small",
                    Verdict::Fail { score: None, exit_code: 1 },
                    ModelEnd::Loops { how: "finished".to_owned() },
                    None,
                ),
            ],
        };
        let style = Style { color: Color::Off, width: 110 };
        insta::assert_snapshot!(table(&comparison, style), @r"
        model  verdict        ended     steps  tokens in  out      cost     time  loops/min
        large  pass 0.9       exit 0        7      12.3k  678  ≥$0.0123  20.00 s        3.0
        small  FAIL (exit 1)  finished      –          –    –         –        –          –
        ");
    }
}

//! What calls may cost: flags, `[budgets]` of looptape.toml, and the line that says what came of it. Common to the
//! verbs that send calls to providers.

use crate::config::Config;
use crate::session::Global;
use looptape_core::budget::{Limits, Spending, UnpricedCalls};
use looptape_core::cost::Usd;
use looptape_proxy::budgets::SharedBudget;
use looptape_store::Recorder;

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "What calls may cost")]
pub(crate) struct BudgetArgs {
    /// The most that the calls of this run may cost, in US dollars: a call that could cost more than what is left is
    /// not sent [default: run of [budgets] in looptape.toml]
    #[arg(long, value_name = "USD", allow_negative_numbers = true, value_parser = parse_usd)]
    max_usd: Option<Usd>,
    /// The same for each trace [default: trace of [budgets]]
    #[arg(long, value_name = "USD", allow_negative_numbers = true, value_parser = parse_usd)]
    max_usd_per_trace: Option<Usd>,
    /// The same for each day (UTC), with what earlier runs on this database spent [default: day of [budgets]]
    #[arg(long, value_name = "USD", allow_negative_numbers = true, value_parser = parse_usd)]
    max_usd_per_day: Option<Usd>,
    /// Send calls of which no price is known; they are not counted
    #[arg(long)]
    allow_unpriced: bool,
}

pub(crate) fn parse_usd(text: &str) -> Result<Usd, String> {
    let dollars = text.trim_start_matches('$').parse().ok().and_then(Usd::from_f64);
    dollars.ok_or_else(|| "an amount is a number of US dollars, such as 0.50".to_owned())
}

impl BudgetArgs {
    /// What the calls of a run may cost, and nothing else.
    pub(crate) fn of_run(max_usd: Option<Usd>) -> Self {
        Self { max_usd, ..Self::default() }
    }

    /// Flags, else the file.
    pub(crate) fn limits(&self, config: &Config) -> anyhow::Result<Limits> {
        let file = config.budgets.limits().map_err(|error| config.not_valid(error))?;
        Ok(Limits {
            run_usd: self.max_usd.or(file.run_usd),
            trace_usd: self.max_usd_per_trace.or(file.trace_usd),
            day_usd: self.max_usd_per_day.or(file.day_usd),
        })
    }

    /// Whether a flag of these was given.
    pub(crate) fn are_given(&self) -> bool {
        let limits = [self.max_usd, self.max_usd_per_trace, self.max_usd_per_day];
        limits.iter().any(Option::is_some) || self.allow_unpriced
    }

    pub(crate) fn unpriced(&self, config: &Config) -> UnpricedCalls {
        match self.allow_unpriced || config.budgets.allow_unpriced {
            true => UnpricedCalls::Allowed,
            false => UnpricedCalls::Refused,
        }
    }

    /// The budget that recorded calls are held to; `None` if nothing limits them. It goes on with what the recorder's
    /// database says was spent, and the recorder writes down what is.
    pub(crate) fn recorded_by(
        &self,
        global: &Global,
        config: &Config,
        recorder: &Recorder,
    ) -> anyhow::Result<Option<SharedBudget>> {
        let limits = self.limits(config)?;
        if limits.is_none() {
            return Ok(None);
        }
        let budget = SharedBudget::continuing(limits, self.unpriced(config), &global.reader()?)?;
        budget.kept_by(recorder.clone());
        Ok(Some(budget))
    }
}

/// What is limited, in words.
pub(crate) fn words(limits: Limits) -> String {
    let limit = |usd: Option<Usd>, what: &str| usd.map(|usd| format!("{usd} {what}"));
    let words = [
        limit(limits.run_usd, "for this run"),
        limit(limits.trace_usd, "for each trace"),
        limit(limits.day_usd, "for each day (UTC)"),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What a run spent, in lines for people.
pub(crate) fn lines(spending: &Spending) -> Vec<String> {
    let calls = if spending.calls == 1 { "call" } else { "calls" };
    let of = spending.limit_usd.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let more = match spending.unaccounted_usd {
        Usd::ZERO => String::new(),
        most => format!(", and up to {most} more: some answers did not say what they used"),
    };
    let mut lines =
        vec![format!("spent {}{of} on {} live {calls}{more}", spending.spent_usd, spending.calls)];
    if spending.unpriced_calls > 0 {
        lines.push(format!("{} of them have no known price and are not counted", spending.unpriced_calls));
    }
    if spending.refused_calls > 0 {
        let calls = if spending.refused_calls == 1 { "call was" } else { "calls were" };
        lines.push(format!("{} {calls} refused because of the budget", spending.refused_calls));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let units = |text| parse_usd(text).map(Usd::units);
        assert_eq!((units("0.5"), units("$2")), (Ok(500_000_000_000), Ok(2_000_000_000_000)));
        for wrong in ["", "-1", "much", "nan", "1e20", "1,5"] {
            assert!(parse_usd(wrong).is_err(), "{wrong}");
        }
    }
}

//! Limits as TOML, with what speaks for them.

use super::terminal_text::escape;
use looptape_core::limits::{Basis, FittedAccount, FittedLimit, LimitRange};
use std::fmt::Write;

/// `[twin.limits]` of the account with most calls; those of the others as comments.
pub(crate) fn toml(accounts: &[FittedAccount]) -> String {
    let mut text = String::new();
    let known = accounts.iter().filter(|account| !account.limits.is_empty());
    for (place, account) in known.enumerate() {
        let (between, mark) = if place == 0 { ("", "") } else { ("\n", "# ") };
        let _ = writeln!(
            text,
            "{between}# {}: {} calls, {} of them refused with 429\n{mark}[twin.limits]",
            escape(&account.account),
            account.calls,
            account.refused
        );
        for limit in &account.limits {
            let line = format!("{mark}{} = {}", limit.which.as_str(), limit.limit);
            let _ = writeln!(text, "{line:<24}# {}", evidence(limit));
        }
    }
    text
}

/// What speaks for a limit.
pub(crate) fn evidence(limit: &FittedLimit) -> String {
    let shown = limit.range.map(|range| format!("; {}", shown(range)));
    said(limit.basis) + &shown.unwrap_or_default()
}

/// How exactly the calls show it.
fn shown(LimitRange { low, high, agree, of }: LimitRange) -> String {
    let between = if low == high { format!("of {low}") } else { format!("between {low} and {high}") };
    format!("{agree} of {of} calls fared as under it, and 95 % as under one {between}")
}

fn said(basis: Basis) -> String {
    match basis {
        Basis::Stated { headers, refusals, others, figures, figures_that_fit } => {
            let mut parts = vec![format!("named by {headers} answers' headers and {refusals} refusals")];
            if others > 0 {
                parts.push(format!("{others} name another figure"));
            }
            if figures > 0 {
                parts.push(format!(
                    "{figures_that_fit} of {figures} figures fit a bucket that refills all the time"
                ));
            }
            parts.join("; ")
        }
        Basis::Inferred { refusals } => {
            format!("inferred from {refusals} refusals: no answer names it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use looptape_core::limits::Limited;

    #[test]
    fn limits_can_be_pasted() {
        let stated = |which, limit, refusals| FittedLimit {
            which,
            limit,
            basis: Basis::Stated {
                headers: 80,
                refusals,
                others: 0,
                figures: 80 + refusals,
                figures_that_fit: 80,
            },
            range: None,
        };
        let account =
            |account: &str, limits| FittedAccount { account: account.into(), calls: 80, refused: 12, limits };
        let inferred = FittedLimit {
            which: Limited::Concurrent,
            limit: 4,
            basis: Basis::Inferred { refusals: 3 },
            range: None,
        };
        let text = toml(&[
            account(
                "openai gpt-4o",
                vec![
                    stated(Limited::Requests, 60, 0),
                    FittedLimit {
                        range: Some(LimitRange { low: 19_870, high: 20_110, agree: 79, of: 80 }),
                        ..stated(Limited::Tokens, 20_000, 12)
                    },
                ],
            ),
            account("nothing known", vec![]),
            account("anthropic claude", vec![inferred]),
        ]);
        insta::assert_snapshot!(text, @r#"
        # openai gpt-4o: 80 calls, 12 of them refused with 429
        [twin.limits]
        rpm = 60                # named by 80 answers' headers and 0 refusals; 80 of 80 figures fit a bucket that refills all the time
        tpm = 20000             # named by 80 answers' headers and 12 refusals; 80 of 92 figures fit a bucket that refills all the time; 79 of 80 calls fared as under it, and 95 % as under one between 19870 and 20110

        # anthropic claude: 80 calls, 12 of them refused with 429
        # [twin.limits]
        # concurrent = 4        # inferred from 3 refusals: no answer names it
        "#);
        let read: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(read["twin"]["limits"]["tpm"].as_integer(), Some(20_000));
    }
}

//! What the simulated provider says, turn by turn.
//!
//! A script knows nothing of wire formats. Its turns are keyed on how many tool results the history
//! holds, the one measure of progress that every format has, so a script needs no memory.

use super::conversation::Conversation;
use crate::limits::{Blocked, Limited, Standing, Standings};
use crate::twin::{Refusal, RefusalWhy};
use serde_json::{Value, json};

/// A whole conversation as the provider plays it.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// In ascending order of [`Turn::after_tool_results`]; the last one that the history has reached plays.
    pub turns: Vec<Turn>,
    pub pace: Pace,
    pub cache: PromptCache,
}

/// One model turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The number of tool results in the history from which on this turn plays.
    pub after_tool_results: usize,
    /// Answers that come instead of this turn, one for each occurrence of the same request, before the
    /// turn itself; then they come again, so that one server can play a script several times.
    pub rejections: Vec<Rejection>,
    pub text: String,
    /// Tools to call in parallel; those that the request does not offer are left out.
    pub calls: Vec<PlannedCall>,
}

/// A tool call that a turn asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedCall {
    pub name: String,
    pub arguments: Value,
}

/// A refusal instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// 429 with `retry-after`.
    RateLimited { retry_after_s: u32 },
}

/// How fast answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Before the first piece.
    pub first_us: u64,
    /// Before each further piece.
    pub between_us: u64,
}

/// When a prompt's repeated prefix counts as read from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptCache {
    /// Shorter prefixes are not cached.
    pub min_tokens: u64,
    /// Prefixes are cached in whole blocks.
    pub block_tokens: u64,
}

impl PromptCache {
    /// What OpenAI documents: 1024 tokens and more, in steps of 128.
    pub const PUBLISHED: Self = Self { min_tokens: 1024, block_tokens: 128 };
    /// Small enough for a short conversation to show cache reads.
    pub const SMALL: Self = Self { min_tokens: 128, block_tokens: 64 };

    pub(crate) fn cached_of(self, prefix_tokens: u64) -> u64 {
        if prefix_tokens < self.min_tokens {
            return 0;
        }
        prefix_tokens / self.block_tokens * self.block_tokens
    }
}

impl Script {
    /// The demo: two parallel tool calls, one 429 in the second turn, one more tool call, the answer.
    /// Offered tools: `get_weather(city)` and `convert_currency(amount, source, target)`.
    pub fn demo() -> Self {
        let mut script = Self::tool_loop();
        script.pace = Pace { first_us: 120_000, between_us: 15_000 };
        script.turns[1].rejections = vec![Rejection::RateLimited { retry_after_s: 1 }];
        script
    }

    /// The demo's conversation without its 429 and without waiting, for clients that do not retry.
    pub fn tool_loop() -> Self {
        let weather =
            |city: &str| PlannedCall { name: "get_weather".into(), arguments: json!({ "city": city }) };
        Self {
            turns: vec![
                Turn {
                    after_tool_results: 0,
                    rejections: Vec::new(),
                    text: "Let me look at the weather in both cities first.".into(),
                    calls: vec![weather("Oslo"), weather("Lisbon")],
                },
                Turn {
                    after_tool_results: 2,
                    rejections: Vec::new(),
                    text: "Lisbon is the warmer one. Now the budget in the local currency.".into(),
                    calls: vec![PlannedCall {
                        name: "convert_currency".into(),
                        arguments: json!({ "amount": 2500, "source": "NOK", "target": "EUR" }),
                    }],
                },
                Turn {
                    after_tool_results: 3,
                    rejections: Vec::new(),
                    text: "Go to Lisbon: it is sunny and 24 °C there, while Oslo has rain at 7 °C. \
                           Your 2500 kroner are about 215 euros, enough for two days of museums and food."
                        .into(),
                    calls: Vec::new(),
                },
            ],
            pace: Pace { first_us: 1_000, between_us: 100 },
            cache: PromptCache::SMALL,
        }
    }

    /// A task for coding agents: two shell commands, then the answer. Each agent has its own name for its
    /// shell, and a call that it does not offer is left out, so that each gets its own. The second command
    /// is how mini-swe-agent hands its work in; to the others it is one more command.
    pub fn shell_task() -> Self {
        let turn = |after_tool_results, text: &str, command: &str| Turn {
            after_tool_results,
            rejections: Vec::new(),
            text: text.into(),
            calls: shells(command),
        };
        let hand_in = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo three lines";
        Self {
            turns: vec![
                turn(0, "I count the lines of the list first.", "wc -l < list.txt"),
                turn(1, "Now I hand the work in.", hand_in),
                Turn {
                    after_tool_results: 2,
                    rejections: Vec::new(),
                    text: "The list has three lines.".into(),
                    calls: Vec::new(),
                },
            ],
            ..Self::tool_loop()
        }
    }

    /// A task whose context grows: two searches at the same time, page after page, the first search once more,
    /// one 429, the answer. Offered tools: `search(query)` and `open_page(title)`.
    pub fn research() -> Self {
        let search =
            |query: &str| PlannedCall { name: "search".into(), arguments: json!({ "query": query }) };
        let open =
            |title: &str| PlannedCall { name: "open_page".into(), arguments: json!({ "title": title }) };
        let turn = |after_tool_results, text: &str, calls: Vec<PlannedCall>| Turn {
            after_tool_results,
            rejections: Vec::new(),
            text: text.into(),
            calls,
        };
        let costs = "heat pump running costs";
        let mut turns = vec![
            turn(
                0,
                "I look for measurements and for prices.",
                vec![search("heat pump cold climate"), search(costs)],
            ),
            turn(2, "The field test comes first.", vec![open("Field test, 14 houses")]),
            turn(3, "Now the laboratory.", vec![open("Laboratory, minus 25 degrees")]),
            turn(4, "And what the electricity costs.", vec![open("Electricity prices")]),
            turn(5, "The houses differ in their insulation.", vec![open("Insulation survey")]),
            turn(6, "I look at the costs once more.", vec![search(costs)]),
            turn(7, "Last, what owners say.", vec![open("Owners after three winters")]),
            turn(
                8,
                "A heat pump pays in eleven of the fourteen houses: at minus 25 degrees it still gives 1.9 kWh of heat \
                     for each kWh. The three others have to be insulated first.",
                Vec::new(),
            ),
        ];
        turns[4].rejections = vec![Rejection::RateLimited { retry_after_s: 1 }];
        Self { turns, cache: PromptCache::PUBLISHED, ..Self::tool_loop() }
    }

    /// The turn that the conversation has reached, with the calls that the client can execute. A client
    /// that offers none of the tools gets its own prompt back, so concurrent requests can be told apart.
    pub(crate) fn turn_for(&self, conversation: &Conversation) -> Turn {
        let reached = self.turns.iter().rfind(|t| t.after_tool_results <= conversation.tool_results);
        let echo = || Turn {
            after_tool_results: 0,
            rejections: Vec::new(),
            text: format!("You said: {}", conversation.last_user_text),
            calls: Vec::new(),
        };
        let Some(turn) = reached else { return echo() };
        let mut playable = turn.clone();
        playable.calls.retain(|c| conversation.tools.contains(&c.name));
        if playable.calls.is_empty() && !turn.calls.is_empty() { echo() } else { playable }
    }
}

/// The tier that a script's account is on.
pub(crate) const REQUESTS_PER_MIN: u64 = 500;
pub(crate) const TOKENS_PER_MIN: u64 = 30_000;

/// The account's limits after a request that took so many tokens. A script has no memory: before it all was full.
pub(crate) fn account(tokens: u64) -> Standings {
    let standing = |limit: u64, taken: u64| {
        let remaining = limit.saturating_sub(taken);
        Some(Standing { limit, remaining, reset_us: (limit - remaining) * 60_000_000 / limit })
    };
    Standings {
        requests: standing(REQUESTS_PER_MIN, 1),
        tokens: standing(TOKENS_PER_MIN, tokens),
        ..Standings::default()
    }
}

impl Rejection {
    /// A refusal whose figures give the wait.
    pub(crate) fn refusal(self, conversation: &Conversation) -> Refusal {
        let Self::RateLimited { retry_after_s } = self;
        let requested = conversation.input_tokens.min(TOKENS_PER_MIN);
        let used = TOKENS_PER_MIN + u64::from(retry_after_s) * TOKENS_PER_MIN / 60 - requested;
        let wait_us = Some(u64::from(retry_after_s) * 1_000_000);
        let why = RefusalWhy::Limit(Blocked {
            which: Limited::Tokens,
            limit: TOKENS_PER_MIN,
            used,
            requested,
            wait_us,
        });
        Refusal { at_us: 0, why }
    }
}

/// One command for the shell of each agent; tools and arguments as the agents' own requests offer them.
fn shells(command: &str) -> Vec<PlannedCall> {
    let described = json!({ "command": command, "description": "Looks at the list" });
    [
        // claude-code, opencode with mini-swe-agent, gemini-cli.
        ("Bash", described.clone()),
        ("bash", described.clone()),
        ("run_shell_command", described),
        // codex, by model.
        ("exec_command", json!({ "cmd": command })),
        ("shell_command", json!({ "command": command })),
        ("shell", json!({ "command": ["bash", "-c", command] })),
    ]
    .into_iter()
    .map(|(name, arguments)| PlannedCall { name: name.into(), arguments })
    .collect()
}

impl Turn {
    /// The refusal due at this occurrence of the same request, if any.
    pub(crate) fn rejection(&self, occurrence: u32) -> Option<Rejection> {
        let round = self.rejections.len() + 1;
        let place = usize::try_from(occurrence).unwrap_or(usize::MAX) % round;
        self.rejections.get(place).copied()
    }
}

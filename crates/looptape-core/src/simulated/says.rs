//! What the mock provider says: made up, the same every time, by a script, or after a recording.

use super::conversation::{Conversation, WantsTools, schema, tools};
use super::reply::{Finish, call_tokens, output_tokens};
use super::script::{PlannedCall, Script, Turn};
use super::{AfterRecording, Format, SimRequest, json_arguments, sample_text, stream};
use crate::draws::Draws;
use crate::spread::Spread;
use serde_json::Value;

/// Where the mock provider takes its answers from.
#[derive(Clone, Debug)]
pub enum Says {
    /// Text that means nothing, of so many tokens; calls of the tools that are offered, by their schemas.
    Generated(Generated),
    /// This text, with `{user}` (the newest thing that the user said), `{model}` and `{step}` filled in.
    Text(String),
    Script(Script),
    Recording(AfterRecording),
}

/// How much is made up.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Of each answer.
    pub output_tokens: Spread,
    /// Of a loop to which tools are offered: all but the last call tools.
    pub steps: Spread,
    /// How many tools it calls at the same time.
    pub tool_calls: Spread,
}

/// What is said to one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) turn: Turn,
    pub(crate) finish: Finish,
    pub(crate) output_tokens: u64,
}

/// Where a request stands, for what is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SayingPlace {
    /// The same in all steps of a loop.
    pub(crate) in_loop: Draws,
    pub(crate) in_step: Draws,
    pub(crate) step: u32,
}

const STEPS: u64 = 0;
const TOKENS: u64 = 1;
const CALLS: u64 = 2;
const TOOL: u64 = 3;
const TEXT: u64 = 4;

impl Default for Generated {
    fn default() -> Self {
        Self {
            output_tokens: Spread::log_normal(120.0, 480.0).expect("both are above 0 and in order"),
            steps: Spread::always(3.0),
            tool_calls: Spread::always(1.0),
        }
    }
}

impl Says {
    pub(super) fn answer(
        &self,
        conversation: &Conversation,
        (body, wish): (&Value, &Wish),
        request: &SimRequest<'_>,
        place: SayingPlace,
    ) -> Said {
        let said = match self {
            Self::Generated(generated) => generated.answer(conversation, body, wish, place),
            Self::Text(template) => Said::of(spoken(filled(template, conversation, place.step))),
            Self::Script(script) => {
                let turn = script.turn_for(conversation);
                Said::of(Turn { text: filled(&turn.text, conversation, place.step), ..turn })
            }
            Self::Recording(recording) => Said::of(
                recording.turn_for(conversation.format.wire(), request, conversation).unwrap_or_else(|| {
                    spoken("The recording holds no answer that could be taken after.".to_owned())
                }),
            ),
        };
        match conversation.max_output_tokens {
            Some(most) if said.output_tokens > most => said.cut_to(most),
            _ => said,
        }
    }
}

impl Generated {
    fn answer(&self, conversation: &Conversation, body: &Value, wished: &Wish, place: SayingPlace) -> Said {
        let tokens =
            wished.output_tokens.unwrap_or_else(|| self.output_tokens.count(place.in_step.unit(TOKENS)));
        let calls = self.calls(conversation, body, place, wished);
        let mut turn = Turn { calls, ..spoken(String::new()) };
        let said_by_calls = if turn.calls.is_empty() { 0 } else { call_tokens(&turn) };
        // Something is always said: an answer without text and calls is none.
        let words = tokens.saturating_sub(said_by_calls).max(u64::from(turn.calls.is_empty()));
        turn.text = sample_text::words(place.in_step.at(TEXT), words);
        let finish = if turn.calls.is_empty() { Finish::Said } else { Finish::CallsTools };
        Said { output_tokens: words + said_by_calls, turn, finish }
    }

    fn calls(
        &self,
        conversation: &Conversation,
        body: &Value,
        place: SayingPlace,
        wished: &Wish,
    ) -> Vec<PlannedCall> {
        let offered: Vec<&Value> =
            tools(conversation.format, body).filter(|tool| tool["name"].is_string()).collect();
        let is_due = u64::from(place.step) < self.steps.count(place.in_loop.unit(STEPS));
        let count = match (&conversation.wants_tools, wished.tool_calls) {
            (WantsTools::Never, _) => 0,
            (_, Some(count)) => count,
            (WantsTools::Always | WantsTools::This(_), None) => 1,
            (WantsTools::AsTheModelLikes, None) if is_due => {
                self.tool_calls.count(place.in_step.unit(CALLS)).max(1)
            }
            (WantsTools::AsTheModelLikes, None) => 0,
        };
        let among: Vec<&Value> = match &conversation.wants_tools {
            WantsTools::This(name) => {
                offered.iter().copied().filter(|tool| tool["name"] == name.as_str()).collect()
            }
            _ => offered,
        };
        if among.is_empty() {
            return Vec::new();
        }
        let call = |number: u64| {
            let draws = place.in_step.at(TOOL).at(number);
            let tool = among[usize::try_from(draws.number(0) % among.len() as u64).unwrap_or(0)];
            PlannedCall {
                name: tool["name"].as_str().unwrap_or_default().to_owned(),
                arguments: json_arguments::arguments(schema(tool), draws),
            }
        };
        (0..count.min(64)).map(call).collect()
    }
}

/// What a client asks the mock for: `output_tokens=150, tool_calls=1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    output_tokens: Option<u64>,
    tool_calls: Option<u64>,
}

impl Wish {
    /// In its newest message: `[[looptape: output_tokens=150, tool_calls=1]]`.
    pub(super) fn of(format: Format, body: &Value) -> Self {
        let text = Conversation::newest_text(format, body);
        let written = text.rsplit_once("[[looptape:").and_then(|(_, rest)| rest.split_once("]]"));
        Self::read(written.map_or("", |(inside, _)| inside))
    }

    pub(super) fn read(words: &str) -> Self {
        let mut wish = Self::default();
        for pair in words.split([',', ' ']) {
            match pair.split_once('=').map(|(name, value)| (name.trim(), value.trim().parse().ok())) {
                Some(("output_tokens", tokens)) => wish.output_tokens = tokens,
                Some(("tool_calls", calls)) => wish.tool_calls = calls,
                _ => {}
            }
        }
        wish
    }
}

impl Said {
    fn of(turn: Turn) -> Self {
        let finish = if turn.calls.is_empty() { Finish::Said } else { Finish::CallsTools };
        Self { output_tokens: output_tokens(&turn), turn, finish }
    }

    /// What is left of it within the client's bound: the first words, and no call, since half a call is none.
    fn cut_to(mut self, most: u64) -> Self {
        let pieces = stream::words(&self.turn.text);
        let size = pieces.len() as u64;
        let kept: String = match size {
            0 => sample_text::words(Draws::new(0), most),
            _ => {
                // As many words as the bound is of the whole.
                let words =
                    (u128::from(size) * u128::from(most) / u128::from(self.output_tokens.max(1))).max(1);
                pieces.into_iter().take(usize::try_from(words).unwrap_or(usize::MAX)).collect()
            }
        };
        self.turn.text = kept.trim_end().to_owned();
        self.turn.calls.clear();
        Self { turn: self.turn, finish: Finish::Length, output_tokens: most }
    }
}

fn spoken(text: String) -> Turn {
    Turn { after_tool_results: 0, rejections: Vec::new(), text, calls: Vec::new() }
}

fn filled(template: &str, conversation: &Conversation, step: u32) -> String {
    template
        .replace("{model}", &conversation.model)
        .replace("{step}", &step.to_string())
        .replace("{input_tokens}", &conversation.input_tokens.to_string())
        .replace("{user}", &conversation.last_user_text)
}

//! What a loop of generated traffic says: the bodies of its requests, in the format of its provider.
//!
//! A conversation has a system prompt, a first message, and results of one tool, each as long as planned, by the rule of
//! thumb of four bytes a token. Its text means nothing and is made of plain words, so that it compresses and is counted
//! like text. The newest message says what answer is wanted ([[looptape: …]]): the simulated provider keeps to it, a
//! model takes it for a remark.
//!
//! Invariants: what was sent before is sent again byte for byte, as agents do, so that prompt caches see a prefix; two
//! loops differ from their first message on.

use super::plans::{LoopPlan, StepInput, StepPlan};
use crate::draws::Draws;
use crate::scenario::Traffic;
use crate::simulated::sample_text;
use crate::wire::{ResponseView, Wire};
use serde_json::{Value, json};

/// A conversation as it grows.
#[derive(Clone, Debug)]
pub struct Talk {
    wire: Wire,
    model: String,
    stream: bool,
    max_output_tokens: Option<u64>,
    loop_key: u64,
    system: String,
    /// Of the array of messages, without its brackets.
    messages: String,
    /// Calls of the last answer that wait for their results: id and name.
    waiting: Vec<(String, String)>,
}

/// A request, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TalkRequest {
    /// With the version of the provider's API.
    pub path: String,
    pub body: Vec<u8>,
    /// The bound that it sets for the answer.
    pub max_output_tokens: Option<u64>,
}

/// The tool that is offered.
const TOOL: &str = "look_up";
const TOOL_IS_FOR: &str = "Looks something up and says what is known of it.";

/// What a message costs in tokens beside its text: its role and punctuation.
const MESSAGE_TOKENS: u64 = 14;

const BYTES_A_TOKEN: u64 = 4;

/// What a client that must name a bound names, where the scenario has none.
const USUAL_MAX_OUTPUT_TOKENS: u64 = 4_096;

impl Talk {
    /// Before its first request.
    pub fn new(traffic: &Traffic, model: &str, plan: &LoopPlan, system_tokens: u64) -> Self {
        let talk = Self {
            wire: traffic.wire,
            model: model.to_owned(),
            stream: traffic.stream,
            max_output_tokens: traffic.max_output_tokens,
            loop_key: plan.loop_key,
            system: filler(0, system_tokens.saturating_sub(TOOL_TOKENS)),
            messages: String::new(),
            waiting: Vec::new(),
        };
        if talk.wire == Wire::OpenAiChat && !talk.system.is_empty() {
            let system = json!({ "role": "system", "content": talk.system });
            return Self { messages: system.to_string(), ..talk };
        }
        talk
    }

    /// The request of the next step, whose prompt is as long as planned.
    pub fn request(&mut self, n: u32, step: &StepPlan) -> TalkRequest {
        let tokens = match step.input {
            StepInput::Longer { added_tokens } => added_tokens,
            StepInput::Whole { tokens } => {
                if tokens < self.tokens() {
                    // It was shortened in between: it begins anew.
                    (self.messages, self.waiting) = (String::new(), Vec::new());
                }
                tokens.saturating_sub(self.tokens())
            }
        };
        self.say(n, tokens.saturating_sub(MESSAGE_TOKENS), step);
        let max_output_tokens = self.bound(step.output_tokens);
        TalkRequest { path: self.path(), body: self.body(max_output_tokens).into_bytes(), max_output_tokens }
    }

    /// The model's answer, as the next request carries it.
    pub fn answered(&mut self, said: &ResponseView) {
        let calls = said.tool_calls.iter().enumerate();
        let id = |at: usize, id: &Option<String>| id.clone().unwrap_or_else(|| format!("call_{at}"));
        let calls: Vec<(String, &str, &Value)> =
            calls.map(|(at, call)| (id(at, &call.id), call.name.as_str(), &call.arguments)).collect();
        for message in self.answer(&said.text, &calls) {
            self.push(&message);
        }
        self.waiting = calls.into_iter().map(|(id, name, _)| (id, name.to_owned())).collect();
    }

    /// Of all that is sent again.
    fn tokens(&self) -> u64 {
        let system = if self.wire == Wire::OpenAiChat { 0 } else { self.system.len() };
        (system + self.messages.len()) as u64 / BYTES_A_TOKEN
    }

    fn push(&mut self, message: &Value) {
        if !self.messages.is_empty() {
            self.messages.push(',');
        }
        self.messages.push_str(&message.to_string());
    }

    /// The new message: results of what was called, else what the user says.
    fn say(&mut self, n: u32, tokens: u64, step: &StepPlan) {
        let StepPlan { output_tokens, tool_calls, .. } = step;
        let wish = format!("[[looptape: output_tokens={output_tokens}, tool_calls={tool_calls}]]");
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            let text = format!("Task {:016x}, part {n}. ", self.loop_key);
            let text = self.filled(text, n, tokens, &wish);
            return self.push(&self.user(&text));
        }
        let each = tokens / waiting.len() as u64;
        let last = waiting.len() - 1;
        let results: Vec<(&(String, String), String)> = waiting
            .iter()
            .enumerate()
            .map(|(at, call)| {
                let text = self.filled(String::new(), n, each, if at == last { &wish } else { "" });
                (call, text)
            })
            .collect();
        for message in self.results(&results) {
            self.push(&message);
        }
    }

    /// A text that begins and ends so, of so many tokens.
    fn filled(&self, beginning: String, n: u32, tokens: u64, end: &str) -> String {
        let taken = (beginning.len() + end.len()) as u64 / BYTES_A_TOKEN;
        let place = Draws::new(self.loop_key).number(u64::from(n));
        format!("{beginning}{}{end}", filler(place, tokens.saturating_sub(taken)))
    }

    fn user(&self, text: &str) -> Value {
        match self.wire {
            Wire::GeminiGenerate => json!({ "role": "user", "parts": [{ "text": text }] }),
            Wire::AnthropicMessages => {
                json!({ "role": "user", "content": [{ "type": "text", "text": text }] })
            }
            _ => json!({ "role": "user", "content": text }),
        }
    }

    fn results(&self, results: &[(&(String, String), String)]) -> Vec<Value> {
        let each = results.iter();
        match self.wire {
            Wire::AnthropicMessages => {
                let blocks: Vec<Value> = each
                    .map(|((id, _), text)| json!({ "type": "tool_result", "tool_use_id": id, "content": text }))
                    .collect();
                vec![json!({ "role": "user", "content": blocks })]
            }
            Wire::GeminiGenerate => {
                let parts: Vec<Value> = each
                    .map(|((_, name), text)| json!({ "functionResponse": { "name": name, "response": { "result": text } } }))
                    .collect();
                vec![json!({ "role": "user", "parts": parts })]
            }
            Wire::OpenAiResponses => each
                .map(|((id, _), text)| json!({ "type": "function_call_output", "call_id": id, "output": text }))
                .collect(),
            _ => each
                .map(|((id, _), text)| json!({ "role": "tool", "tool_call_id": id, "content": text }))
                .collect(),
        }
    }

    fn answer(&self, text: &str, calls: &[(String, &str, &Value)]) -> Vec<Value> {
        let each = calls.iter();
        match self.wire {
            Wire::AnthropicMessages => {
                let said = (!text.is_empty()).then(|| json!({ "type": "text", "text": text }));
                let calls = each.map(
                    |(id, name, input)| json!({ "type": "tool_use", "id": id, "name": name, "input": input }),
                );
                vec![
                    json!({ "role": "assistant", "content": said.into_iter().chain(calls).collect::<Vec<_>>() }),
                ]
            }
            Wire::GeminiGenerate => {
                let said = (!text.is_empty()).then(|| json!({ "text": text }));
                let calls =
                    each.map(|(_, name, args)| json!({ "functionCall": { "name": name, "args": args } }));
                vec![json!({ "role": "model", "parts": said.into_iter().chain(calls).collect::<Vec<_>>() })]
            }
            Wire::OpenAiResponses => {
                let content = json!([{ "type": "output_text", "text": text, "annotations": [] }]);
                let said = (!text.is_empty())
                    .then(|| json!({ "type": "message", "role": "assistant", "content": content }));
                let calls = each.map(|(id, name, arguments)| {
                    json!({ "type": "function_call", "call_id": id, "name": name, "arguments": arguments.to_string() })
                });
                said.into_iter().chain(calls).collect()
            }
            _ => {
                let mut message = json!({ "role": "assistant", "content": text });
                if !calls.is_empty() {
                    let call = |(id, name, arguments): &(String, &str, &Value)| {
                        let function = json!({ "name": name, "arguments": arguments.to_string() });
                        json!({ "id": id, "type": "function", "function": function })
                    };
                    message["tool_calls"] = each.map(call).collect();
                }
                vec![message]
            }
        }
    }

    fn path(&self) -> String {
        match self.wire {
            Wire::AnthropicMessages => "/v1/messages".to_owned(),
            Wire::OpenAiResponses => "/v1/responses".to_owned(),
            Wire::GeminiGenerate => {
                let verb = if self.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                format!("/v1beta/models/{}:{verb}", self.model)
            }
            _ => "/v1/chat/completions".to_owned(),
        }
    }

    /// Anthropic's clients have to name one.
    fn bound(&self, output_tokens: u64) -> Option<u64> {
        let usual = || USUAL_MAX_OUTPUT_TOKENS.max(output_tokens);
        self.max_output_tokens.or_else(|| (self.wire == Wire::AnthropicMessages).then(usual))
    }

    /// What stands around the messages, which are not parsed again.
    fn body(&self, max_output_tokens: Option<u64>) -> String {
        let parameters =
            json!({ "type": "object", "properties": { "what": { "type": "string" } }, "required": ["what"] });
        let mut around = json!({});
        let field = match self.wire {
            Wire::AnthropicMessages => {
                around["model"] = json!(self.model);
                around["max_tokens"] = json!(max_output_tokens);
                around["stream"] = json!(self.stream);
                let cached = json!({ "type": "ephemeral" });
                around["cache_control"] = cached.clone();
                if !self.system.is_empty() {
                    around["system"] =
                        json!([{ "type": "text", "text": self.system, "cache_control": cached }]);
                }
                around["tools"] =
                    json!([{ "name": TOOL, "description": TOOL_IS_FOR, "input_schema": parameters }]);
                "messages"
            }
            Wire::OpenAiResponses => {
                around["model"] = json!(self.model);
                around["stream"] = json!(self.stream);
                if !self.system.is_empty() {
                    around["instructions"] = json!(self.system);
                }
                if let Some(most) = max_output_tokens {
                    around["max_output_tokens"] = json!(most);
                }
                around["tools"] = json!([{ "type": "function", "name": TOOL, "description": TOOL_IS_FOR, "parameters": parameters }]);
                "input"
            }
            Wire::GeminiGenerate => {
                if !self.system.is_empty() {
                    around["systemInstruction"] = json!({ "parts": [{ "text": self.system }] });
                }
                if let Some(most) = max_output_tokens {
                    around["generationConfig"] = json!({ "maxOutputTokens": most });
                }
                around["tools"] = json!([{ "functionDeclarations": [
                    { "name": TOOL, "description": TOOL_IS_FOR, "parameters": parameters }] }]);
                "contents"
            }
            _ => {
                around["model"] = json!(self.model);
                around["stream"] = json!(self.stream);
                if self.stream {
                    around["stream_options"] = json!({ "include_usage": true });
                }
                if let Some(most) = max_output_tokens {
                    around["max_completion_tokens"] = json!(most);
                }
                around["tools"] = json!([{ "type": "function", "function":
                    { "name": TOOL, "description": TOOL_IS_FOR, "parameters": parameters } }]);
                "messages"
            }
        };
        let around = around.to_string();
        format!("{},\"{field}\":[{}]}}", &around[..around.len() - 1], self.messages)
    }
}

/// What the tool's description takes of the system prompt's tokens.
const TOOL_TOKENS: u64 = 50;

/// So many tokens of words, from some place of them on; the same place gives the same words.
fn filler(place: u64, tokens: u64) -> String {
    sample_text::of_bytes(place, usize::try_from(tokens.saturating_mul(BYTES_A_TOKEN)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::{Arrivals, Due, Material, Plans};
    use super::*;
    use crate::scenario;
    use crate::wire::ToolCall;

    const WIRES: [&str; 4] = ["openai.chat", "openai.responses", "anthropic.messages", "gemini.generate"];

    /// The first two requests of a loop whose first answer calls the tool.
    fn two_requests(wire: &str) -> Vec<TalkRequest> {
        let text = format!(
            "[traffic]\nwire = '{wire}'\nsteps = 2\nsystem_tokens = 500\ninput_tokens = 300\nadded_tokens = 200\noutput_tokens = 40"
        );
        let scenario = scenario::read(&text, &[]).unwrap();
        let material = Material::default();
        let plans = Plans::new(&scenario, &material);
        let mut arrivals = Arrivals::new(&scenario.phases, material.times_us(), scenario.seed);
        let start = loop {
            match arrivals.take(u64::MAX).unwrap() {
                Due::Loop(start) => break start,
                _ => continue,
            }
        };
        let plan = plans.plan(&start);
        let mut talk = Talk::new(
            &scenario.traffic,
            scenario.traffic.model(),
            &plan,
            plans.conversation(&plan).system_tokens(),
        );
        let first = talk.request(1, &plans.step(&plan, 1));
        let call =
            ToolCall { id: Some("c1".into()), name: "look_up".into(), arguments: json!({ "what": "x" }) };
        talk.answered(&ResponseView {
            text: "I look.".into(),
            tool_calls: vec![call],
            ..ResponseView::default()
        });
        vec![first, talk.request(2, &plans.step(&plan, 2))]
    }

    #[test]
    fn every_format_is_read_back_with_what_was_planned() {
        for name in WIRES {
            let wire = Wire::parse(name).unwrap();
            let requests = two_requests(name);
            let bodies: Vec<Value> =
                requests.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
            let views: Vec<_> = requests
                .iter()
                .zip(&bodies)
                .map(|(request, body)| wire.decode_request(request.path.split('?').next().unwrap(), body))
                .collect();
            assert_eq!(views[0].tools.len(), 1, "{name}");
            assert!(views[1].messages.len() > views[0].messages.len(), "{name}");
            let tokens: Vec<usize> = requests.iter().map(|request| request.body.len() / 4).collect();
            assert!((780..1000).contains(&tokens[0]), "{name}: {tokens:?}");
            assert!((tokens[1] - tokens[0]).abs_diff(200) < 60, "{name}: {tokens:?}");
            let said = String::from_utf8(requests[1].body.clone()).unwrap();
            assert!(said.contains("[[looptape: output_tokens=40, tool_calls=0]]"), "{name}");
        }
    }

    /// As agents do: what was sent is sent again, byte for byte.
    #[test]
    fn the_second_request_extends_the_first() {
        for name in WIRES {
            let [first, second] = two_requests(name).try_into().unwrap();
            let (first, second) = (first.body, second.body);
            let common = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
            assert_eq!(common, first.len() - 2, "{name}");
        }
    }
}

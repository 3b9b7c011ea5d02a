//! What an agent sends: one small call, or a history that grows with each step.

use std::fmt::Write;

/// New text in each request, and the text of each reply.
const REQUEST_BYTES: usize = 2048;
pub(crate) const REPLY_BYTES: usize = 1024;

/// Steps of a loop. The last one sends about 150 KiB.
const LOOP_STEPS: usize = 50;

/// How a streamed request begins.
pub(crate) const STREAMED: &[u8] = br#"{"stream":true,"#;

/// Where the text of a reply stands in it.
const CHAT_TEXT: &str = r#""role":"assistant","content":""#;
const MESSAGES_TEXT: &str = r#""type":"text","text":""#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// 2 KiB, each call a conversation of its own (OpenAI chat).
    Small,
    /// 50 calls, each sending all before it (OpenAI chat).
    Loop,
    /// The same with a cache marker on the newest message, which moves every step (Anthropic).
    MarkedLoop,
    /// One small call, answered token by token (OpenAI chat).
    PacedStream,
}

impl Shape {
    pub(crate) fn steps(self) -> usize {
        match self {
            Self::Small | Self::PacedStream => 1,
            Self::Loop | Self::MarkedLoop => LOOP_STEPS,
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::MarkedLoop => "/v1/messages",
            Self::Small | Self::Loop | Self::PacedStream => "/v1/chat/completions",
        }
    }
}

/// One agent's history.
pub(crate) struct Conversation {
    shape: Shape,
    words: Words,
    /// The messages so far, with commas between them.
    history: String,
}

impl Conversation {
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, words: Words::new(seed), history: String::new() }
    }

    /// The next request's body.
    pub(crate) fn request(&mut self) -> Vec<u8> {
        let text = self.words.text(REQUEST_BYTES);
        if !self.history.is_empty() {
            self.history.push(',');
        }
        if self.shape == Shape::MarkedLoop {
            let history = &self.history;
            let body = format!(
                r#"{{"model":"claude-sonnet-4-5","max_tokens":1024,"system":"You are a careful agent.","messages":[{history}{{"role":"user","content":[{{"type":"text","text":"{text}","cache_control":{{"type":"ephemeral"}}}}]}}]}}"#
            );
            let _ =
                write!(self.history, r#"{{"role":"user","content":[{{"type":"text","text":"{text}"}}]}}"#);
            return body.into_bytes();
        }
        // Writing to a string cannot fail.
        let _ = write!(self.history, r#"{{"role":"user","content":"{text}"}}"#);
        let opening = match self.shape {
            Shape::PacedStream => std::str::from_utf8(STREAMED).unwrap_or_default(),
            _ => "{",
        };
        format!(
            r#"{opening}"model":"gpt-4o-mini","messages":[{{"role":"system","content":"You are a careful agent."}},{}]}}"#,
            self.history
        )
        .into_bytes()
    }

    /// Takes a whole reply into the history.
    pub(crate) fn reply(&mut self, body: &str) -> Option<()> {
        let mark = if self.shape == Shape::MarkedLoop { MESSAGES_TEXT } else { CHAT_TEXT };
        let start = body.find(mark)? + mark.len();
        let text = body[start..].split('"').next()?;
        // Writing to a string cannot fail.
        let _ = write!(self.history, r#",{{"role":"assistant","content":"{text}"}}"#);
        Some(())
    }
}

/// Text without meaning that compresses about as words do.
pub(crate) struct Words(u64);

impl Words {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    /// Exactly `bytes` of it, free of quotes.
    pub(crate) fn text(&mut self, bytes: usize) -> String {
        const SYLLABLES: [&str; 16] = [
            "an", "the ", "or", "ist ", "re", "con", "ing ", "ta", "mo", "del ", "st", "ep ", "qu", "ery ",
            "lo", "op ",
        ];
        let mut text = String::with_capacity(bytes + 8);
        while text.len() < bytes {
            // xorshift64
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            text.extend((0..12).map(|i| SYLLABLES[(self.0 >> (4 * i) & 15) as usize]));
        }
        text.truncate(bytes);
        text
    }
}

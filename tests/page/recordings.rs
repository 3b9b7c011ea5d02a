//! What is recorded for the page to show.

use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::{Value, json};

/// Markup, a script, characters that act on terminals, and some that turn text around or hide in it.
pub(super) const HOSTILE: &str = "<script>window.ran = 1</script><img src=x onerror=\"window.ran = 1\"> \u{1b}[2J\u{7} \
    \u{202e}detrevni\u{202c} ze\u{200b}ro \u{2066}isolated\u{2069} javascript:window.ran=1 </textarea></style>";

/// A chat of so many turns, each saying `text`.
pub(super) fn growing_chat(turns: usize, text: &str) -> String {
    let turn = |at: usize| {
        let (role, said) =
            if at.is_multiple_of(2) { ("user", text.to_owned()) } else { ("assistant", answer_text(at / 2)) };
        json!({"role": role, "content": said})
    };
    let messages: Vec<Value> = (0..2 * turns - 1).map(turn).collect();
    json!({"model": "gpt-4o-mini", "messages": messages, "user": text}).to_string()
}

fn answer_text(at: usize) -> String {
    format!("answer {at}")
}

fn completion(message: &Value, finish: &str) -> Answer {
    let choice = json!({"index": 0, "finish_reason": finish, "message": message});
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12});
    Answer::json(
        json!({"id": HOSTILE, "model": "gpt-4o-mini", "choices": [choice], "usage": usage}).to_string(),
    )
}

/// Answers each turn of [`growing_chat`].
pub(super) async fn plain_upstream() -> ScriptedUpstream {
    let mut turn = 0;
    ScriptedUpstream::answering(move |_| {
        let text = answer_text(turn);
        turn += 1;
        completion(&json!({"role": "assistant", "content": text}), "stop")
    })
    .await
    .expect("the upstream starts")
}

/// Answers with a text of more than twenty megabytes, and calls a tool with a hostile name.
pub(super) async fn hostile_upstream() -> ScriptedUpstream {
    ScriptedUpstream::answering(|_| {
        let text = format!("{HOSTILE}{}the end", "lorem ipsum ".repeat(1_750_000));
        let call = json!({"id": HOSTILE, "type": "function",
            "function": {"name": HOSTILE, "arguments": json!({HOSTILE: HOSTILE}).to_string()}});
        let message = json!({"role": "assistant", "content": text, "tool_calls": [call]});
        completion(&message, HOSTILE)
    })
    .await
    .expect("the upstream starts")
}

//! An agent whose tools say what they do: measured when it is recorded, answered when it is replayed.
//!
//! ```text
//! looptape record -- cargo run -q -p looptape --example hooks
//! looptape replay last -- cargo run -q -p looptape --example hooks
//! ```
//!
//! `convert_currency` has an effect: it appends a line to the file that BOOKINGS names. In a replay it does not run.

use looptape::{InLoop, Loop, tool};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::{Value, json};
use std::env;
use std::io::Write;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    Loop::new("weekend").run(agent()).await
}

async fn agent() -> Result<(), Failure> {
    let client = ClientBuilder::new(reqwest::Client::new()).with(InLoop).build();
    let question = "Oslo or Lisbon for the weekend? I have 2500 kroner to spend.";
    let mut history = vec![json!({ "role": "user", "content": question })];
    loop {
        let answer = complete(&client, &history).await?;
        history.push(answer.clone());
        let Some(calls) = answer["tool_calls"].as_array() else {
            println!("{}", answer["content"].as_str().unwrap_or_default());
            return Ok(());
        };
        for call in calls {
            let result = run_tool(call).await?;
            println!("tool: {result}");
            history.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": result }));
        }
    }
}

async fn run_tool(call: &Value) -> Result<String, Failure> {
    let (id, name) =
        (call["id"].as_str().unwrap_or_default(), call["function"]["name"].as_str().unwrap_or_default());
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap_or_default())?;
    let this = tool(name, &arguments).call_id(id);
    Ok(match name {
        "get_weather" => this.reads_only().run(|| async { get_weather(&arguments) }).await?,
        _ => this.run(|| async { convert_currency(&arguments) }).await?,
    })
}

fn get_weather(arguments: &Value) -> Result<String, std::io::Error> {
    Ok(match arguments["city"].as_str() {
        Some("Oslo") => "rain, 7 °C".to_owned(),
        Some("Lisbon") => "sunny, 24 °C".to_owned(),
        _ => "unknown".to_owned(),
    })
}

fn convert_currency(arguments: &Value) -> Result<String, std::io::Error> {
    let bookings = env::var("BOOKINGS").unwrap_or_else(|_| "bookings.txt".to_owned());
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(bookings)?;
    writeln!(file, "{}", arguments["amount"])?;
    Ok(format!("{:.2} {}", arguments["amount"].as_f64().unwrap_or_default() * 0.086, arguments["target"]))
}

async fn complete(client: &ClientWithMiddleware, history: &[Value]) -> Result<Value, Failure> {
    let base = env::var("OPENAI_BASE_URL").unwrap_or_else(|_| "https://api.openai.com/v1".to_owned());
    let definition = |name: &str, properties: Value| {
        let parameters = json!({ "type": "object", "properties": properties });
        json!({ "type": "function", "function": { "name": name, "parameters": parameters } })
    };
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "number" }));
    let currency = json!({ "amount": number, "source": text, "target": text });
    let tools =
        json!([definition("get_weather", json!({ "city": text })), definition("convert_currency", currency)]);
    let request = client
        .post(format!("{}/chat/completions", base.trim_end_matches('/')))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", env::var("OPENAI_API_KEY").unwrap_or_default()))
        .body(json!({ "model": "gpt-4o-mini", "messages": history, "tools": tools }).to_string());
    let answer = request.send().await?;
    let (status, body) = (answer.status(), answer.text().await?);
    if !status.is_success() {
        return Err(format!("the provider answered {status}: {body}").into());
    }
    Ok(serde_json::from_str::<Value>(&body)?["choices"][0]["message"].clone())
}

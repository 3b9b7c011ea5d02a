//! The agent's two tools. They are deterministic and take as long as a quick look-up would.

use serde_json::{Value, json};
use std::time::Duration;

/// The tools as the provider is told of them.
pub(crate) fn definitions() -> Value {
    let tool = |name: &str, description: &str, properties: Value, required: &[&str]| {
        json!({ "type": "function", "function": {
            "name": name,
            "description": description,
            "parameters": { "type": "object", "properties": properties, "required": required },
        }})
    };
    let amount = json!({
        "amount": { "type": "number" },
        "source": { "type": "string", "description": "ISO 4217 code" },
        "target": { "type": "string", "description": "ISO 4217 code" },
    });
    json!([
        tool("get_weather", "Today's weather in a city.", json!({ "city": { "type": "string" } }), &["city"]),
        tool("convert_currency", "Converts an amount of money.", amount, &["amount", "source", "target"]),
    ])
}

/// Runs a tool. What goes wrong is told to the model, which can act on it.
pub(crate) async fn run(name: String, arguments: String) -> String {
    let Ok(arguments) = serde_json::from_str::<Value>(&arguments) else {
        return format!("error: the arguments of {name} are not JSON");
    };
    match name.as_str() {
        "get_weather" => get_weather(arguments["city"].as_str().unwrap_or_default()).await,
        "convert_currency" => convert_currency(&arguments).await,
        _ => format!("error: there is no tool {name}"),
    }
}

async fn get_weather(city: &str) -> String {
    tokio::time::sleep(Duration::from_millis(60)).await;
    match city {
        "Oslo" => "rain, 7 °C, wind 9 m/s".to_owned(),
        "Lisbon" => "sunny, 24 °C, wind 3 m/s".to_owned(),
        _ => format!("error: no weather station in {city:?}"),
    }
}

async fn convert_currency(arguments: &Value) -> String {
    tokio::time::sleep(Duration::from_millis(40)).await;
    let (source, target) = (arguments["source"].as_str(), arguments["target"].as_str());
    match (arguments["amount"].as_f64(), source, target) {
        (Some(amount), Some("NOK"), Some("EUR")) => format!("{:.2} EUR", amount * 0.086),
        (Some(amount), Some("EUR"), Some("NOK")) => format!("{:.2} NOK", amount / 0.086),
        _ => format!("error: cannot convert {arguments}"),
    }
}

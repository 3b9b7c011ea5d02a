//! Runs the agent against the provider that `OPENAI_BASE_URL` and `OPENAI_API_KEY` name.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let base_url =
        std::env::var("OPENAI_BASE_URL").unwrap_or_else(|_| "https://api.openai.com/v1".to_owned());
    let api_key = std::env::var("OPENAI_API_KEY").unwrap_or_default();
    match looptape_example_agent::run(&base_url, &api_key, &mut std::io::stdout()).await {
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("agent: {e}");
            ExitCode::FAILURE
        }
    }
}

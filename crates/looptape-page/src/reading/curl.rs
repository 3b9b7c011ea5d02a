//! A recorded request as a command for a shell.

use looptape_core::exchange::Exchange;
use looptape_core::headers::REDACTED;

/// Headers that curl makes itself, or that belong to one connection.
const CURLS_OWN: &[&str] =
    &["host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect", "keep-alive"];

/// What sends the request again. Credentials were never stored: `$API_KEY` stands in their places. `base` is where the provider
/// is. A body that is no text is to be read from a file.
pub fn curl(exchange: &Exchange, base: &str) -> String {
    let url = match exchange.path.contains("://") {
        true => exchange.path.clone(),
        false => format!("{}{}", base.trim_end_matches('/'), exchange.path),
    };
    let mut command = format!("curl -sS -X {} {}", exchange.method, quoted(&url));
    for (name, value) in exchange.request_headers.iter() {
        if CURLS_OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            continue;
        }
        command.push_str(" \\\n  -H ");
        match value.contains(REDACTED) {
            // In double quotes, so that the shell puts the key there.
            true => {
                let scheme = if name.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
                command.push_str(&format!("\"{name}: {scheme}$API_KEY\""));
            }
            false => command.push_str(&quoted(&format!("{name}: {value}"))),
        }
    }
    if exchange.request_body.is_empty() {
        return command + "\n";
    }
    match std::str::from_utf8(&exchange.request_body) {
        Ok(body) if !body.contains('\0') => {
            let end = delimiter(body);
            format!("{command} \\\n  --data-binary @- <<'{end}'\n{body}\n{end}\n")
        }
        _ => format!("{command} \\\n  --data-binary @request.body\n"),
    }
}

/// A line that the body does not have.
fn delimiter(body: &str) -> String {
    let mut end = "BODY".to_owned();
    while body.lines().any(|line| line == end) {
        end.push('_');
    }
    end
}

/// For a shell, as one word that means itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use looptape_core::exchange::Outcome;
    use looptape_core::headers::RedactedHeaders;
    use looptape_core::provider::Provider;

    fn exchange(body: &'static [u8]) -> Exchange {
        let headers =
            [("Authorization", "Bearer sk-secret"), ("content-type", "application/json"), ("x-note", "it's")];
        Exchange {
            seq: 0,
            sent_us: 0,
            sent_unix_us: 0,
            provider: Provider::OPENAI,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            request_headers: RedactedHeaders::redact(headers.iter().map(|(n, v)| (*n, v.as_bytes()))),
            request_body: Bytes::from_static(body),
            outcome: Outcome::InFlight,
        }
    }

    #[test]
    fn a_request_as_a_command() {
        insta::assert_snapshot!(curl(&exchange(b"{\"a\":\"it's $HOME\"}\nBODY"), "https://api.openai.com"), @r#"
        curl -sS -X POST 'https://api.openai.com/v1/chat/completions' \
          -H "authorization: Bearer $API_KEY" \
          -H 'content-type: application/json' \
          -H 'x-note: it'\''s' \
          --data-binary @- <<'BODY_'
        {"a":"it's $HOME"}
        BODY
        BODY_
        "#);
        let binary = curl(&exchange(b"\xff\x00"), "https://api.openai.com");
        assert!(binary.ends_with("--data-binary @request.body\n"), "{binary}");
    }
}

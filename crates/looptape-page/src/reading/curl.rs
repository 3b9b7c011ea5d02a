//! A recorded request as a command for a shell.

use looptape_core::exchange::Exchange;
use looptape_core::headers::REDACTED;

/// Headers that curl makes itself, or that belong to one connection.
const CURLS_OWN: &[&str] =
    &["host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect", "keep-alive"];

/// What sends the request again. Nothing that was recorded means anything to the shell. Credentials were never stored: `$API_KEY` stands in their places. `base` is where the provider
/// is. A body that is no text is to be read from a file.
pub fn curl(exchange: &Exchange, base: &str) -> String {
    // A captured call has its whole address.
    let url = match exchange.path.starts_with('/') {
        true => format!("{}{}", base.trim_end_matches('/'), exchange.path),
        false => exchange.path.clone(),
    };
    let method = &exchange.method;
    let is_plain = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let method = if is_plain { method.clone() } else { quoted(method) };
    let mut command = format!("curl -sS -X {method} {}", quoted(&url));
    for (name, value) in exchange.request_headers.iter() {
        if CURLS_OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            continue;
        }
        command.push_str(" \\\n  -H ");
        match value.contains(REDACTED) {
            // The key alone is in double quotes, so that the shell puts it there.
            true => {
                let scheme = if name.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
                command.push_str(&quoted(&format!("{name}: {scheme}")));
                command.push_str("\"$API_KEY\"");
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
          -H 'authorization: Bearer '"$API_KEY" \
          -H 'content-type: application/json' \
          -H 'x-note: it'\''s' \
          --data-binary @- <<'BODY_'
        {"a":"it's $HOME"}
        BODY
        BODY_
        "#);
        let elsewhere =
            |path: &str| curl(&Exchange { path: path.into(), ..exchange(b"") }, "https://api.openai.com");
        let line = |path: &str| elsewhere(path).lines().next().unwrap_or_default().to_owned();
        assert_eq!(
            line("/fetch?url=https://example.com"),
            "curl -sS -X POST 'https://api.openai.com/fetch?url=https://example.com' \\"
        );
        assert_eq!(line("https://example.com/a"), "curl -sS -X POST 'https://example.com/a' \\");
        let binary = curl(&exchange(b"\xff\x00"), "https://api.openai.com");
        assert!(binary.ends_with("--data-binary @request.body\n"), "{binary}");
    }
    #[test]
    fn nothing_that_was_recorded_is_read_by_the_shell() {
        let headers =
            [("x-`touch header`-key", &b"sk-secret"[..]), ("authorization", b"Bearer $(touch value)")];
        let hostile = Exchange {
            method: "GET; touch method #".into(),
            path: "/a'; touch path; '".into(),
            request_headers: RedactedHeaders::redact(headers),
            ..exchange(b"")
        };
        let folder = tempfile::tempdir().unwrap();
        // In the place of curl: what the shell makes of the words.
        let script =
            format!("curl() {{ printf '%s\\n' \"$@\"; }}\n{}", curl(&hostile, "https://api.openai.com"));
        let ran = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("API_KEY", "the key")
            .current_dir(folder.path())
            .output()
            .unwrap();
        let words = String::from_utf8(ran.stdout).unwrap();
        assert!(words.contains("GET; touch method #\nhttps://api.openai.com/a'; touch path; '\n"), "{words}");
        assert!(words.contains("authorization: Bearer the key\n"), "{words}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{words}");
    }
}

//! Attempts to get a secret past the redaction, and ordinary text that it must leave alone.

use super::builtin::SECRETS;
use super::decoded::plain_value;
use super::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::string::string_regex;
use serde_json::{Value, json};
use std::sync::LazyLock;

mod streams;

/// Label, expression of the value, what follows: one or more forms for each built-in pattern.
const FORMS: &[(&str, &str, &str)] = &[
    ("", "sk-proj-[A-Za-z0-9_-]{40,120}", ""),
    ("", "sk-svcacct-[A-Za-z0-9_-]{40,120}", ""),
    ("", "sk-[A-Za-z0-9]{48}", ""),
    ("", "sk-or-v1-[0-9a-f]{64}", ""),
    ("", "sk-ant-api03-[A-Za-z0-9_-]{80,95}AA", ""),
    ("", "sess-[A-Za-z0-9]{40}", ""),
    ("", "AIza[A-Za-z0-9_-]{35}", ""),
    ("", "ya29\\.[A-Za-z0-9_-]{60,120}", ""),
    ("", "1//0[A-Za-z0-9_-]{60}", ""),
    ("", "GOCSPX-[A-Za-z0-9_-]{28}", ""),
    ("", "hf_[A-Za-z]{34}", ""),
    ("", "gsk_[A-Za-z0-9]{52}", ""),
    ("", "xai-[A-Za-z0-9]{80}", ""),
    ("", "csk-[a-z0-9]{48}", ""),
    ("", "pplx-[A-Za-z0-9]{48}", ""),
    ("", "r8_[A-Za-z0-9]{37}", ""),
    ("", "nvapi-[A-Za-z0-9_-]{64}", ""),
    ("", "fw_[A-Za-z0-9]{24}", ""),
    ("", "tvly-[A-Za-z0-9]{32}", ""),
    ("", "pcsk_[A-Za-z0-9]{6}_[A-Za-z0-9]{60}", ""),
    ("", "lsv2_pt_[0-9a-f]{32}_[0-9a-f]{10}", ""),
    ("", "AKIA[A-Z2-7]{16}", ""),
    ("", "ASIA[A-Z2-7]{16}", ""),
    ("AWS_SECRET_ACCESS_KEY=", "[A-Za-z0-9]{20}[0-9]{2}[A-Za-z0-9]{18}", ""),
    ("\"SecretAccessKey\": \"", "[A-Za-z0-9]{18}/[A-Za-z0-9]{2}[+][A-Za-z0-9]{18}", "\""),
    ("AWS_SESSION_TOKEN=", "[A-Za-z0-9]{100,300}", ""),
    ("AccountName=a;AccountKey=", "[A-Za-z0-9]{86}==", ";"),
    ("https://x.test/y?se=1&sig=", "[A-Za-z0-9]{40}%3D", ""),
    ("", "dop_v1_[0-9a-f]{64}", ""),
    ("", "dapi[0-9a-f]{32}", ""),
    ("", "hvs\\.[A-Za-z0-9_-]{24,90}", ""),
    ("", "dp\\.st\\.[a-z]{3}\\.[A-Za-z0-9]{40}", ""),
    ("", "sbp_[0-9a-f]{40}", ""),
    ("", "gh[opsur]_[A-Za-z0-9]{36}", ""),
    ("", "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}", ""),
    ("", "glpat-[A-Za-z0-9_-]{20}", ""),
    ("", "npm_[A-Za-z0-9]{36}", ""),
    ("", "pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{80,120}", ""),
    ("", "dckr_pat_[A-Za-z0-9_-]{27}", ""),
    ("", "ATATT3[A-Za-z0-9_-]{180}=[A-F0-9]{8}", ""),
    ("", "xox[bp]-[0-9]{12}-[0-9]{12}-[A-Za-z0-9]{24}", ""),
    ("", "xapp-1-[A-Z0-9]{11}-[0-9]{13}-[0-9a-f]{64}", ""),
    ("https://hooks.slack.com/services/", "T[A-Z0-9]{8}/B[A-Z0-9]{8}/[A-Za-z0-9]{24}", ""),
    ("https://discord.com/api/webhooks/123456789012345678/", "[A-Za-z0-9_-]{68}", ""),
    ("", "[1-9][0-9]{9}:AA[A-Za-z0-9_-]{33}", ""),
    ("", "[sr]k_(live|test)_[A-Za-z0-9]{24,99}", ""),
    ("", "whsec_[A-Za-z0-9]{32}", ""),
    ("", "SG\\.[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}", ""),
    ("", "SK[0-9a-f]{32}", ""),
    ("", "key-[0-9a-f]{32}", ""),
    ("", "shpat_[a-f0-9]{32}", ""),
    ("", "lin_api_[A-Za-z0-9]{40}", ""),
    ("", "ntn_[A-Za-z0-9]{46}", ""),
    ("", "pat[A-Za-z0-9]{14}\\.[0-9a-f]{64}", ""),
    ("", "sntryu_[0-9a-f]{64}", ""),
    ("", "glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}", ""),
    ("", "phx_[A-Za-z0-9]{43}", ""),
    ("", "AGE-SECRET-KEY-1[0-9A-Z]{58}", ""),
    ("", "eyJ[A-Za-z0-9_-]{30}\\.eyJ[A-Za-z0-9_-]{40,200}\\.[A-Za-z0-9_-]{43}", ""),
    (
        "-----BEGIN PRIVATE KEY-----\n",
        "MII[A-Za-z0-9+/]{61}(\n[A-Za-z0-9+/]{64}){2,6}\n[A-Za-z0-9+/]{2,60}==",
        "\n-----END PRIVATE KEY-----\n",
    ),
    ("-----BEGIN RSA PRIVATE KEY-----\r\n", "MII[A-Za-z0-9+/]{61}(\r\n[A-Za-z0-9+/]{64}){2,6}", ""),
    ("     1\t-----BEGIN EC PRIVATE KEY-----\n     2\t", "MHc[A-Za-z0-9+/]{61}", "\n     3\t"),
    ("Bearer ", "[A-Za-z0-9]{30,60}", ""),
    ("Authorization: Basic ", "[A-Za-z]{10}[0-9]{3}[A-Za-z0-9]{8}==", ""),
    ("api_key=", "[A-Za-z]{8}[0-9]{4}[A-Za-z0-9]{12,20}", ""),
    ("\"client_secret\": \"", "[A-Za-z]{8}[0-9]{4}[A-Za-z0-9]{12,20}", "\""),
    ("export ACME_TOKEN='x' token: '", "[A-Za-z]{8}[0-9]{4}[A-Za-z0-9]{12,20}", "'"),
    ("\"password\": \"", "[a-z]{8}[0-9]{4}[!#%^*]{1}[a-z]{2,9}", "\""),
    ("postgres://app:", "[A-Za-z]{6}[0-9]{3}[A-Za-z]{6}", "@db.internal:5432/main"),
];

/// Text with one secret in it.
#[derive(Clone, Debug)]
struct Planted {
    before: String,
    secret: String,
    after: String,
}

impl Planted {
    fn text(&self) -> String {
        format!("{}{}{}", self.before, self.secret, self.after)
    }
}

fn planted() -> impl Strategy<Value = Planted> {
    let form = proptest::sample::select(FORMS);
    let lead = proptest::sample::select(
        &["", "Look: ", "a\nb\n", "x=\"", "é(", "[", "don't ", "\u{1b}[31m", "=> `"][..],
    );
    let tail =
        proptest::sample::select(&[" then", "\nthen", "\" then", ") then", "' then", "> é", "", "`"][..]);
    (form, lead, tail).prop_flat_map(|((label, value, end), lead, tail)| {
        string_regex(value).expect("a valid expression").prop_map(move |secret| Planted {
            before: format!("{lead}{label}"),
            secret,
            after: format!("{end}{tail}"),
        })
    })
}

/// Compiled once: it takes a while in a debug build.
fn patterns() -> &'static Patterns {
    static PATTERNS: LazyLock<Patterns> = LazyLock::new(Patterns::builtin);
    &PATTERNS
}

fn vault() -> Vault {
    Vault::new(VaultKey([3; 32]))
}

fn redacted(body: &str) -> String {
    let bytes = redact_body(patterns(), &mut vault(), &Credentials::none(), body.as_bytes()).bytes;
    String::from_utf8(bytes.into_owned()).expect("secrets are ASCII")
}

/// The longest piece that may be left: prefixes such as `sk-ant-` tell nothing.
const PIECE: usize = 12;

fn leaks(stored: &[u8], secret: &str) -> bool {
    let plain = plain_value(stored);
    secret.as_bytes().windows(PIECE).any(|piece| {
        memchr::memmem::find(stored, piece).is_some() || memchr::memmem::find(&plain, piece).is_some()
    })
}

/// Ways to write the same JSON string.
#[derive(Clone, Copy, Debug)]
enum Writing {
    Usual,
    EscapedSlashes,
    AllEscaped,
    SomeEscaped(u64),
    Nested,
}

fn writing() -> impl Strategy<Value = Writing> {
    prop_oneof![
        3 => Just(Writing::Usual),
        1 => Just(Writing::EscapedSlashes),
        1 => Just(Writing::AllEscaped),
        2 => any::<u64>().prop_map(Writing::SomeEscaped),
        1 => Just(Writing::Nested),
    ]
}

fn json_string(text: &str, writing: Writing) -> String {
    let usual = |text: &str| Value::from(text).to_string();
    let escape_if = |wanted: &dyn Fn(usize) -> bool| {
        let piece = |(at, c): (usize, char)| match (c.is_ascii() && wanted(at), c) {
            (true, c) => format!("\\u{:04x}", u32::from(c)),
            (false, c) => usual(&c.to_string()).trim_matches('"').to_owned(),
        };
        let quote_safe = |(at, c): (usize, char)| if c == '"' { "\\\"".to_owned() } else { piece((at, c)) };
        format!("\"{}\"", text.chars().enumerate().map(quote_safe).collect::<String>())
    };
    match writing {
        Writing::Usual => usual(text),
        Writing::EscapedSlashes => usual(text).replace('/', "\\/"),
        Writing::AllEscaped => escape_if(&|_| true),
        Writing::SomeEscaped(seed) => escape_if(&|at| seed.rotate_left(at as u32) & 1 == 1),
        Writing::Nested => usual(&format!("{{\"command\":{}}}", usual(text))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_piece_of_a_secret_is_stored(planted in planted(), writing in writing(), place in 0usize..3) {
        let plain = json_string("nothing to hide", Writing::Usual);
        let text = json_string(&planted.text(), writing);
        let slot = |n| if n == place { &text } else { &plain };
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"system","content":{}}}, {{"content": {},"role":"user"}}],"last":{}}}"#,
            slot(0), slot(1), slot(2)
        );
        let patterns = patterns();
        let found = redact_body(patterns, &mut vault(), &Credentials::none(), body.as_bytes());
        let stored = std::str::from_utf8(&found.bytes).unwrap();
        prop_assert!(!leaks(&found.bytes, &planted.secret), "{stored}");

        // Still JSON, and nothing else changed.
        let value: Value = serde_json::from_str(stored).unwrap();
        prop_assert_eq!(&value["model"], "m");
        let texts = [&value["messages"][0]["content"], &value["messages"][1]["content"], &value["last"]];
        for (n, text) in texts.iter().enumerate() {
            let text = text.as_str().unwrap();
            if n == place {
                prop_assert_eq!(placeholders(text.as_bytes()).count(), 1, "{}", text);
            } else {
                prop_assert_eq!(text, "nothing to hide");
            }
        }
        prop_assert_eq!(original_from(&found, body.as_bytes()), body.as_bytes());

        // Doing it again changes nothing.
        prop_assert_eq!(redacted(stored), stored);
    }

    #[test]
    fn one_secret_one_number(planted in planted()) {
        let body = json!({"a": planted.text(), "b": {"arguments": json!({"x": planted.text()}).to_string()}});
        let stored = redacted(&body.to_string());
        let numbers: Vec<u32> = placeholders(stored.as_bytes()).map(|f| f.number.0).collect();
        prop_assert_eq!(numbers, [1, 1], "{}", stored);
    }

    #[test]
    fn chunks_keep_their_sums_and_placeholders_whole(
        planted in proptest::collection::vec(planted(), 1..4),
        lens in proptest::collection::vec(0u32..90, 1..60),
    ) {
        let body = json!(planted.iter().map(Planted::text).collect::<Vec<_>>()).to_string();
        let found = redact_body(patterns(), &mut vault(), &Credentials::none(), body.as_bytes());
        let mut left = body.len() as u32;
        let mut lens: Vec<u32> = lens.into_iter().map(|len| { let len = len.min(left); left -= len; len }).collect();
        lens.push(left);
        let stored_lens = found.chunk_lens(&lens);
        prop_assert_eq!(stored_lens.len(), lens.len());
        prop_assert_eq!(stored_lens.iter().sum::<u32>() as usize, found.bytes.len());
        let mut start = 0;
        let mut whole = 0;
        for len in stored_lens {
            let end = start + len as usize;
            whole += placeholders(&found.bytes[start..end]).count();
            start = end;
        }
        prop_assert_eq!(whole, placeholders(&found.bytes).count());
    }

    #[test]
    fn parts_give_the_same_as_the_whole(planted in proptest::collection::vec(planted(), 1..5)) {
        let elements: Vec<String> = planted.iter().map(|p| json!({"content": p.text()}).to_string()).collect();
        let patterns = patterns();
        let mut by_part = vault();
        let parts: Vec<String> = elements
            .iter()
            .map(|e| redact_body(patterns, &mut by_part, &Credentials::none(), e.as_bytes()).bytes.into_owned())
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect();
        prop_assert_eq!(redacted(&elements.join(",")), parts.join(","));
    }

    #[test]
    fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let found = redact_answer(patterns(), &mut vault(), &Credentials::none(), &body);
        prop_assert_eq!(original_from(&found, &body), body);
    }

    #[test]
    fn live_secrets_are_served_where_recorded_ones_were(
        recorded in "[A-Za-z0-9]{48}", live in "[A-Za-z0-9]{48}", other in "[A-Z2-7]{16}",
    ) {
        let patterns = patterns();
        let request = |key: &str| format!(r#"{{"content":"use sk-{key}, AKIA{other}, sk-{key}"}}"#);
        let mut trace = Vault::resume(VaultKey([1; 32]), 7);
        let stored = redact_body(patterns, &mut trace, &Credentials::none(), request(&recorded).as_bytes()).bytes.into_owned();
        let answer = format!(r#"{{"text":"I used sk-{recorded}"}}"#);
        let served = redact_answer(patterns, &mut trace, &Credentials::none(), answer.as_bytes()).bytes.into_owned();

        let original = request(&live);
        let now = redact_body(patterns, &mut vault(), &Credentials::none(), original.as_bytes());
        prop_assert_eq!(normalise(&stored), normalise(&now.bytes));
        let binding = Binding::of_request(&stored, original.as_bytes(), &now);
        let restored = binding.restore(&served, Surroundings::Json);
        prop_assert_eq!(String::from_utf8_lossy(&restored), format!(r#"{{"text":"I used sk-{live}"}}"#));
    }
}

/// Puts the original spans back: everything between them must be what it was.
fn original_from(found: &Redacted<'_>, original: &[u8]) -> Vec<u8> {
    let mut rebuilt = Vec::new();
    let mut stored_at = 0;
    let mut original_at = 0;
    for span in &found.spans {
        let gap = span.start - original_at;
        rebuilt.extend_from_slice(&found.bytes[stored_at..stored_at + gap]);
        rebuilt.extend_from_slice(&original[span.start..span.end]);
        let put_len = match span.put {
            Put::Placeholder => span.number.to_string().len(),
            Put::QuotedPlaceholder => span.number.to_string().len() + 2,
            Put::Nothing => 0,
        };
        stored_at += gap + put_len;
        original_at = span.end;
    }
    rebuilt.extend_from_slice(&found.bytes[stored_at..]);
    rebuilt
}

#[test]
fn ordinary_text_is_left_alone() {
    for text in [
        r#"{"id":"call_9pQd3JmTnZr0YvXk2LwHs8Bf","tool_call_id":"toolu_01A09q90qw90lq917835lq9"}"#,
        r#"{"id":"chatcmpl-AbC123dEf456GhI789jKl012MnO34","request_id":"req_011CQxyzABCDEFGHIJKLMNOP"}"#,
        r#"{"id":"msg_01XFDUDYJgAACzvnptvVoYEL","previous_response_id":"resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b"}"#,
        r#"{"id":"fc_67ca09c6bedc8190a7abfec07b1a1332096610f474011cc0","system_fingerprint":"fp_44709d6fcb"}"#,
        "123e4567-e89b-12d3-a456-426614174000 da39a3ee5e6b4b0d3255bfef95601890afd80709 index 3f2a1b9..8c4d2e1 100644",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 sha512-Kx+3yq==",
        "org-AbCdEfGhIjKlMnOpQrStUvWx proj_AbCdEfGhIjKlMnOpQrStUvWx file-AbCdEfGhIjKlMnOpQrStUv asst_abc123abc123abc123abc123",
        r#"{"max_tokens":1024,"usage":{"prompt_tokens":12345678,"completion_tokens":98765432}}"#,
        r#"{"logprobs":{"content":[{"token":"Hello","logprob":-0.31725305,"bytes":[72,101]}]}}"#,
        r#"{"properties":{"api_key":{"type":"string"},"password":{"type":"string","description":"The password"}}}"#,
        r#"{"password":"string","token":"<your token here>","api_key":"YOUR_API_KEY_GOES_HERE_123"}"#,
        "client = OpenAI(api_key=os.environ['OPENAI_API_KEY2'], timeout=20) # password = getpass.getpass2()",
        "self.api_key = settings.openai_api_key or load_key_v2_from_disk_10()",
        "task-list-risk-assessment-2024-10 disk-usage-report-20241022 desk-booking-service-v2",
        "<div class=\"sk-loading-indicator-container\"> sk-estimator-doc-link",
        "https://user@github.com/a/b git@github.com:a/b.git http://localhost:8080/@scope/pkg ssh://git@host:22/x",
        "Use a Bearer token. Authorization: Bearer $OPENAI_API_KEY, or Bearer <token>, or Bearer ${TOKEN}",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END CERTIFICATE-----",
        "next_page_token: CAUQAAoAEhsKGQoXCgdvcGVuYWkSDGFiY2RlZjEyMzQ1Ng",
        "2024-10-22T14:03:11.123456Z +1 (555) 010-9999 mail me@example.com card 4111 1111 1111 1111",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn base64_data_is_left_alone() {
    // Deterministic noise: two megabytes, in both alphabets, cut into lines and whole.
    let mut noise = blake3::Hasher::new().update(b"noise").finalize_xof();
    let mut bytes = vec![0; 1 << 20];
    noise.fill(&mut bytes);
    for last in [b"+/", b"-_"] {
        let alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last).collect();
        let text: String = bytes.iter().map(|b| char::from(alphabet[usize::from(b & 63)])).collect();
        let body =
            format!(r#"{{"image_url":"data:image/png;base64,{text}","signature":"{}"}}"#, &text[..900]);
        assert!(redacted(&body) == body, "a megabyte of base64 was changed");
    }
}

#[test]
fn known_credentials_go_whatever_they_look_like() {
    let headers: &[(&str, &[u8])] = &[("authorization", b"Bearer plain/words-of-ours")];
    let known = Credentials::of_request(headers.iter().copied(), "/v1/chat?key=zz11yy22");
    let body = r#"{"a":"plain/words-of-ours","b":"plain\/words-of-ours","c":"xzz11yy22x"}"#;
    let stored = redact_body(patterns(), &mut vault(), &known, body.as_bytes()).bytes.into_owned();
    assert_eq!(
        String::from_utf8_lossy(&stored),
        r#"{"a":"[[looptape:secret:1]]","b":"[[looptape:secret:1]]","c":"x[[looptape:secret:2]]x"}"#
    );
}

#[test]
fn placeholders_that_arrive_are_never_taken_for_ours() {
    let key = "sk-proj-0123456789abcdefghijABCDEFGHIJ";
    let mut vault = vault();
    let patterns = patterns();
    let mut store = |body: &str| {
        let bytes =
            redact_body(patterns, &mut vault, &Credentials::none(), body.as_bytes()).bytes.into_owned();
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(store(&format!(r#"{{"a":"{key}"}}"#)), r#"{"a":"[[looptape:secret:1]]"}"#);
    // A hostile tool result that hopes to be given secret 1 in replay.
    assert_eq!(store(r#"{"a":"[[looptape:secret:1]]"}"#), r#"{"a":"[[looptape:secret:2]]"}"#);
    assert_eq!(store(r#"{"a":"\u005b[looptape:secret:1]]"}"#), r#"{"a":"[[looptape:secret:2]]"}"#);
}

#[test]
fn a_binding_gives_hostile_text_back_as_it_was() {
    let live = r#"{"a":"[[looptape:secret:9]]"}"#;
    let now = redact_body(patterns(), &mut vault(), &Credentials::none(), live.as_bytes());
    let binding = Binding::of_request(br#"{"a":"[[looptape:secret:4]]"}"#, live.as_bytes(), &now);
    assert_eq!(
        binding.restore(b"x [[looptape:secret:4]] [[looptape:secret:5]]", Surroundings::Json).as_ref(),
        b"x [[looptape:secret:9]] [[looptape:secret:5]]"
    );
    assert_eq!(format!("{binding:?}"), "{4}");
}

#[test]
fn bindings_escape_and_refuse_to_guess() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----";
    let live = json!({ "a": pem }).to_string();
    let now = redact_body(patterns(), &mut vault(), &Credentials::none(), live.as_bytes());
    let recorded = br#"{"a":"-----BEGIN PRIVATE KEY-----[[looptape:secret:1]]\n-----END PRIVATE KEY-----"}"#;
    let binding = Binding::of_request(recorded, live.as_bytes(), &now);
    assert_eq!(String::from_utf8_lossy(&binding.restore(recorded, Surroundings::Json)), live);
    let two = b"[[looptape:secret:1]] [[looptape:secret:2]]";
    assert!(Binding::of_request(two, live.as_bytes(), &now).is_empty());
}

#[test]
fn normalised_names_follow_first_occurrence() {
    let text = b"[[looptape:secret:12]] [[looptape:secret:3]] [[looptape:secret:12]] x";
    assert_eq!(
        normalise(text).as_ref(),
        b"[[looptape:secret:1]] [[looptape:secret:2]] [[looptape:secret:1]] x"
    );
    assert!(matches!(normalise(b"none"), std::borrow::Cow::Borrowed(_)));
}

#[test]
fn a_body_without_secrets_is_not_copied() {
    let found = redact_body(patterns(), &mut vault(), &Credentials::none(), b"{\"a\":1}");
    assert!(matches!(found.bytes, std::borrow::Cow::Borrowed(_)));
    assert_eq!(StoredForm::of(found), StoredForm::AsSent);
}

#[test]
fn configuration_adds_and_removes_patterns() {
    let config: RedactConfig = serde_json::from_value(json!({
        "patterns": [r"employee (?<secret>E-\d+)", r"\\"],
        "disable": ["sk-key", "openai-key"],
        "personal": true,
    }))
    .unwrap();
    let mine = Patterns::new(&config).unwrap();
    let body = r#"{"a":"employee E-77 sk-proj-0123456789abcdefghij0123 a\nb, me@example.com +49 30 901820-0","card":4111111111111111}"#;
    let stored = redact_body(&mine, &mut vault(), &Credentials::none(), body.as_bytes()).bytes.into_owned();
    let stored = String::from_utf8(stored).unwrap();
    assert_eq!(
        stored,
        r#"{"a":"employee [[looptape:secret:1]] sk-proj-0123456789abcdefghij0123 a[[looptape:secret:2]]b, [[looptape:secret:3]] [[looptape:secret:4]]","card":"[[looptape:secret:5]]"}"#
    );
    serde_json::from_str::<Value>(&stored).unwrap();
}

#[test]
fn bad_configuration_is_named() {
    let bad = RedactConfig { patterns: vec!["ok".into(), "(".into()], ..RedactConfig::default() };
    insta::assert_snapshot!(Patterns::new(&bad).unwrap_err(), @"[redact] patterns[1] is not a regular expression: (");
    let bad = RedactConfig { disable: vec!["opnai".into()], ..RedactConfig::default() };
    assert!(
        Patterns::new(&bad)
            .unwrap_err()
            .to_string()
            .contains("no pattern named \"opnai\"; the names are: openai-key, ")
    );
}

#[test]
fn every_pattern_has_a_form_here() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let samples: Vec<String> = FORMS
        .iter()
        .map(|(label, value, end)| {
            let value = string_regex(value).unwrap().new_tree(&mut runner).unwrap().current();
            format!("{label}{value}{end}")
        })
        .collect();
    for alone in SECRETS.iter().map(|pattern| pattern.name) {
        let others = Patterns::names().filter(|name| *name != alone).map(str::to_owned).collect();
        let only = Patterns::new(&RedactConfig { disable: others, ..RedactConfig::default() }).unwrap();
        let tried = samples.iter().any(|sample| !only.find(sample.as_bytes()).is_empty());
        assert!(tried, "no entry of FORMS is found by {alone}");
    }
}

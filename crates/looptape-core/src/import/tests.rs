//! Cassettes as recorders write them, one oddity at a time.

mod go_vcr;
mod har;
mod httprr;
mod vcr;

use super::{CallTimes, Cassette, Container, Interaction, NotHttp, Refused, read};
use crate::assembly::Timing;
use proptest::prelude::*;

/// The calls of a file that is read, and the container that it is in.
fn read_as(container: Container, file: impl AsRef<[u8]>) -> Vec<Interaction> {
    let file = file.as_ref();
    let cassette = read("c", file).unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(file)));
    assert_eq!(cassette.container, container);
    cassette.interactions
}

fn pairs<const N: usize>(headers: [(&str, &str); N]) -> Vec<(String, String)> {
    headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// A cassette of one interaction, from the YAML of its request's and response's fields.
fn cassette(request: &str, response: &str) -> String {
    let indented = |yaml: &str| yaml.trim_matches('\n').replace('\n', "\n    ");
    format!(
        "interactions:\n- request:\n    {}\n  response:\n    {}\nversion: 1\n",
        indented(request),
        indented(response)
    )
}

const REQUEST: &str = "method: POST\nuri: https://h/v1\nheaders: {}\nbody: q";
const RESPONSE: &str = "status: {code: 200, message: OK}\nheaders: {}\nbody: {string: r}";

fn only(yaml: &str) -> Interaction {
    let Cassette { container, interactions } =
        read("c.yaml", yaml.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    assert_eq!(container, Container::Vcrpy);
    let [only] = <[Interaction; 1]>::try_from(interactions).expect("one interaction");
    only
}

fn refused(file: &str) -> Refused {
    read("c.yaml", file.as_bytes()).expect_err(file)
}

/// The request body that a `body:` (or other) field of the request yields.
fn request_body(field: &str) -> (String, bool) {
    let yaml = cassette(&format!("method: POST\nuri: https://h/v1\n{field}"), RESPONSE);
    let got = only(&yaml);
    (String::from_utf8(got.request_body.to_vec()).unwrap(), got.request_exact)
}

fn response_body(field: &str) -> (Vec<u8>, bool) {
    let got = only(&cassette(REQUEST, &format!("status: {{code: 200, message: OK}}\n{field}")));
    (got.response_body.to_vec(), got.response_exact)
}

fn parts(url: &str) -> (String, String) {
    let yaml = cassette(REQUEST, RESPONSE);
    let interaction = Interaction { url: url.into(), ..only(&yaml) };
    (interaction.host().into(), interaction.path_and_query().into())
}

#[test]
fn urls_split_without_being_valid() {
    let table = [
        ("https://api.openai.com/v1/chat/completions", "api.openai.com", "/v1/chat/completions"),
        ("http://localhost:11434/api/chat?x=1#frag", "localhost:11434", "/api/chat?x=1"),
        ("https://user:p@ss@host/a", "host", "/a"),
        (
            "https://{scrubbed} host/v1beta/models/m:g?alt=sse",
            "{scrubbed} host",
            "/v1beta/models/m:g?alt=sse",
        ),
        ("https://host", "host", "/"),
        ("https://host?q=http://other/x", "host", "/?q=http://other/x"),
        ("//host/a", "host", "/a"),
        ("/v1/messages?u=https://x/", "", "/v1/messages?u=https://x/"),
        ("", "", "/"),
    ];
    for (url, host, path) in table {
        assert_eq!(parts(url), (host.to_owned(), path.to_owned()), "{url}");
    }
}

#[test]
fn an_ordinary_cassette() {
    let got = only(
        r#"interactions:
- request:
    body: '{"model":"m","text":"it''s"}'
    headers:
      accept:
      - application/json
      - text/plain
      x-one: single
      x-number: 12
      x-null: null
    method: POST
    uri: https://api.openai.com/v1/chat/completions?a=b
  response:
    body:
      string: |+
        data: {"a": "\ud83d"}

        data: [DONE]

    headers:
      Content-Type:
      - text/event-stream
    status:
      code: 201
      message: Created
  recorded_at: 2024-01-01T00:00:00
version: 1
"#,
    );
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    assert_eq!(
        got,
        Interaction {
            index: 0,
            method: "POST".into(),
            url: "https://api.openai.com/v1/chat/completions?a=b".into(),
            request_headers: vec![
                pair("accept", "application/json"),
                pair("accept", "text/plain"),
                pair("x-one", "single"),
                pair("x-number", "12"),
                pair("x-null", ""),
            ],
            request_body: r#"{"model":"m","text":"it's"}"#.into(),
            status: Some(201),
            response_headers: vec![pair("Content-Type", "text/event-stream")],
            response_body: "data: {\"a\": \"\\ud83d\"}\n\ndata: [DONE]\n\n".into(),
            request_exact: true,
            response_exact: true,
            times: CallTimes { started_unix_us: Some(1_704_067_200_000_000), ..CallTimes::default() },
        }
    );
}

#[test]
fn text_bodies_stay_text() {
    for (field, body) in [
        ("", ""),
        ("body: null", ""),
        ("body: ~", ""),
        ("body:", ""),
        ("body: ''", ""),
        ("body: yes", "yes"),
        ("body: 0o17", "0o17"),
        ("body: 1.50", "1.50"),
        ("body: 2024-01-01", "2024-01-01"),
        ("body: 'null'", "null"),
        ("body: {string: abc}", "abc"),
        ("body: {string: null}", ""),
        ("body: {encoding: UTF-8, base64_string: aGVsbG8=}", "hello"),
        ("body: !!binary aGVsbG8=", "hello"),
        ("body: !!binary |\n  aGVs\n  bG8=", "hello"),
        ("body: !!python/unicode 'é'", "é"),
        ("body: !unknown abc", "abc"),
        ("body: >-\n  folded\n  text\n\n  end", "folded text\nend"),
        ("body: |-\n  a\n    b", "a\n  b"),
        (
            r#"body: "a\x41\u00e9\U0001F600\t\0\e\L\N\_\
  next""#,
            "aAé😀\t\0\u{1b}\u{2028}\u{85}\u{a0}next",
        ),
        ("body: 'two\n\n  lines'", "two\nlines"),
    ] {
        assert_eq!(request_body(field), (body.to_owned(), true), "{field}");
    }
}

#[test]
fn objects_of_the_recorder_are_seen_through() {
    for field in [
        "body: !!python/object/new:_io.BytesIO\n  state: !!python/tuple\n  - !!binary |\n    aGVsbG8=\n  - 0\n  - null",
        "body: !!python/object/new:_io.StringIO\n  state: !!python/tuple [hello, \"\\n\", 0, null]",
        "body: !!python/object/apply:some.Text [hello]",
        "body: !!python/object:some.Wrapper {value: hello, position: 3, eof: true}",
    ] {
        assert_eq!(request_body(field), ("hello".to_owned(), true), "{field}");
    }
    let two = cassette("method: GET\nuri: u\nbody: !!python/object:some.Pair {a: x, b: y}", RESPONSE);
    let expected = "text or binary";
    assert_eq!(refused(&two), Refused::WrongShape { interaction: 0, field: "request.body", expected });
}

#[test]
fn parsed_bodies_become_compact_json() {
    let field = r#"parsed_body:
  b: [1, -2.5, 1.0e-05, true, null, ~, '1', "true"]
  a: {text: "q\"\n😀", yes: no, on: 2024-01-01, oct: 0o17, exp: 1e5, big: 123456789012345678901}
  1: {}
  empty: []
body: ignored"#;
    let json = r#"{"b":[1,-2.5,1.0e-05,true,null,null,"1","true"],"a":{"text":"q\"\n😀","yes":"no","on":"2024-01-01","oct":"0o17","exp":"1e5","big":123456789012345678901},"1":{},"empty":[]}"#;
    assert_eq!(request_body(field), (json.to_owned(), false));
    assert_eq!(request_body("parsed_body: null\nbody: kept"), ("kept".to_owned(), true));
    assert_eq!(request_body("parsed_body: text"), ("\"text\"".to_owned(), false));
    assert_eq!(request_body("body: {model: m, n: 1}"), (r#"{"model":"m","n":1}"#.to_owned(), false));
    assert_eq!(response_body("parsed_body: {ok: true}"), (br#"{"ok":true}"#.to_vec(), false));
}

#[test]
fn binary_bodies_come_back_bit_for_bit() {
    let (body, exact) = response_body("body:\n  string: !!binary |\n    H4sIAP//AAA=");
    assert_eq!((body.as_slice(), exact), (&[0x1f, 0x8b, 8, 0, 0xff, 0xff, 0, 0][..], true));
    let broken = cassette(REQUEST, "status: 200\nbody: {string: !!binary '*'}");
    assert_eq!(
        refused(&broken),
        Refused::WrongShape { interaction: 0, field: "response.body", expected: "base64" }
    );
}

#[test]
fn responses_recorded_through_httpx() {
    let got = only(&cassette(
        REQUEST,
        "status_code: 404\nhttp_version: HTTP/1.1\nheaders: {a: b}\ncontent: '{\"error\": 1}'",
    ));
    assert_eq!((got.status, &*got.response_body), (Some(404), &br#"{"error": 1}"#[..]));
}

#[test]
fn statuses() {
    for (status, code) in [
        ("{code: 429, message: Too Many Requests}", 429),
        ("503", 503),
        ("'503'", 503),
        ("200 OK", 200),
        ("{code: '201', message: null}", 201),
        ("!!python/object/apply:http.HTTPStatus [204]", 204),
        ("{code: !!python/object/apply:http.HTTPStatus [529], message: null}", 529),
    ] {
        assert_eq!(only(&cassette(REQUEST, &format!("status: {status}"))).status, Some(code), "{status}");
    }
    for status in ["OK", "99", "1000", "-200", "{code: x, message: y}", "[1, 2]"] {
        let expected = "an HTTP status code";
        assert_eq!(
            refused(&cassette(REQUEST, &format!("status: {status}"))),
            Refused::WrongShape { interaction: 0, field: "response.status", expected },
            "{status}"
        );
    }
}

#[test]
fn headers_of_every_shape() {
    for headers in [
        "headers: {A: x, B: [y, z]}",
        "headers: {A: [x], B: !!python/tuple [y, z]}",
        "headers: [[A, x], [B, y], [B, z]]",
        "headers: [{A: x}, {B: [y, z]}]",
        "headers: !!python/object/apply:collections.OrderedDict\n- - [A, x]\n  - [B, [y, z]]",
        "headers: !!python/object/new:multidict.CIMultiDict\n  dictitems: {A: x, B: [y, z]}",
        "headers:\n  ? !!python/object/apply:multidict.istr\n  - A\n  : - x\n  ? !!python/object/new:multidict.istr [B]\n  : [y, !!python/unicode z]",
        "headers: {!!binary QQ==: !!binary eA==, B: [!!binary eQ==, z]}",
    ] {
        let got = only(&cassette(&format!("method: GET\nuri: u\n{headers}"), RESPONSE)).request_headers;
        let pairs: Vec<_> = got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "x"), ("B", "y"), ("B", "z")], "{headers}");
    }
}

#[test]
fn anchors_merge_keys_and_repeated_keys() {
    let yaml = "\
defaults: &d {method: POST, uri: https://h/merged, body: b}
interactions:
- request:
    <<: *d
    uri: https://h/first
    uri: https://h/own
    headers: &h {a: b}
  response: &r
    status: 200
    headers: *h
- request: {<<: [{method: GET}, *d]}
  response: *r
";
    let Cassette { interactions, .. } = read("c.yaml", yaml.as_bytes()).unwrap();
    let seen: Vec<_> = interactions.iter().map(|i| (i.index, i.method.as_str(), i.url.as_str())).collect();
    assert_eq!(seen, [(0, "POST", "https://h/own"), (1, "GET", "https://h/merged")]);
    assert_eq!(interactions[1].response_headers, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(&*interactions[1].request_body, b"b");
}

#[test]
fn documents_that_expand_are_refused() {
    let levels: Vec<String> =
        (1..30).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}]", i - 1)).collect();
    let bomb = format!(
        "a0: &a0 [x]\n{}\n{}",
        levels.join("\n"),
        cassette("method: GET\nuri: u\nparsed_body: *a29", RESPONSE)
    );
    assert_eq!(refused(&bomb), Refused::ExpandsTooFar { limit: "64 MiB in one body" });
    let links: Vec<String> = (1..200).map(|i| format!("a{i}: &a{i} [*a{}]", i - 1)).collect();
    let chain = format!("a0: &a0 [x]\n{}\n", links.join("\n"));
    assert_eq!(refused(&chain), Refused::ExpandsTooFar { limit: "128 levels deep" });
    assert_eq!(refused(&"- ".repeat(100_000)), Refused::ExpandsTooFar { limit: "128 levels deep" });
    assert!(matches!(refused("a: &a [*a]"), Refused::NotYaml { line: 1, .. }));
}

#[test]
fn files_of_countless_values_are_refused() {
    let limit = super::document::MAX_VALUES;
    let file = format!("[{}0]", "0,".repeat(limit as usize));
    assert_eq!(read("c.json", file.as_bytes()), Err(Refused::TooManyValues { limit }));
}

#[test]
fn moments_of_recorders_that_note_them_down_are_starts() {
    let at = |second| {
        format!(
            "{}  recorded_at: 2024-01-01T00:00:0{second}\n",
            cassette(REQUEST, RESPONSE).replace("version: 1\n", "")
        )
    };
    let second = at(3).replace("interactions:\n", "");
    let two = read("c.yaml", format!("{}{second}", at(1)).as_bytes()).expect("it is read");
    assert_eq!(two.timing(), Timing::StartsOnly);
    let back = read("c.yaml", format!("{}{second}", at(5)).as_bytes()).expect("it is read");
    assert_eq!(back.timing(), Timing::OrderOnly, "starts that go back are not believed");
}

#[test]
fn surrogate_escapes_are_joined() {
    let field = r#"body: "\ud83d\ude00 \\ud83d \ud83d end \"\ude00\"""#;
    assert_eq!(request_body(field).0, "😀 \\ud83d \u{fffd} end \"\u{fffd}\"");
    let both = cassette(
        "method: GET\nuri: u\n# 😀\nbody: \"\\ud83d\\ude00\"",
        "status: 200\nbody: {string: \"\\ud83d\\ude01 \\U0001F602\"}",
    );
    let got = only(&both);
    assert_eq!((&*got.request_body, &*got.response_body), ("😀".as_bytes(), "😁 😂".as_bytes()));
    let json = r#"{"version": 1, "interactions": [{"request": {"method": "GET", "uri": "u", "body": "\ud83d\ude00"},
        "response": {"status": {"code": 200}, "body": {"string": "\/"}}}]}"#;
    let got = only(json);
    assert_eq!((&*got.request_body, &*got.response_body), ("😀".as_bytes(), &b"/"[..]));
}

/// PyYAML reads such text, and its users write it.
#[test]
fn quoted_text_may_be_indented_no_further_than_its_key() {
    for (field, expected) in [
        ("body: 'one\ntwo ''three''\n\n  four'", "one two 'three'\nfour"),
        ("body: \"one \\\"two\\\"\nthree \\\nfour \\\\\"", "one \"two\" three four \\"),
    ] {
        assert_eq!(request_body(field), (expected.to_owned(), true), "{field}");
    }
    let both = cassette(
        "method: POST\nuri: https://h/v1\nbody: 'a\nb'",
        "status: {code: 200, message: ''}\nbody: 'c\nd'",
    );
    assert_eq!(only(&both).request_body, "a b");
    assert_eq!(only(&both).response_body, "c d");
}

#[test]
fn files_compressed_with_gzip() {
    let packed = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let yaml = cassette(REQUEST, RESPONSE);
    let plain = read("c.yaml", yaml.as_bytes()).unwrap();
    let whole = packed(yaml.as_bytes());
    assert_eq!(read("c.yaml.gz", &whole).unwrap(), plain);
    assert_eq!(read("c.yaml.gz", &[whole.clone(), packed(b"# a second part")].concat()).unwrap(), plain);
    assert!(matches!(read("c.yaml.gz", &whole[..whole.len() / 2]), Err(Refused::NotGzip { .. })));
    assert!(
        matches!(read("c.json.gz", &packed(b"{\"a\":")), Err(Refused::NotJson { .. })),
        "named as JSON inside"
    );
    let bomb = packed(&vec![b' '; 1 + super::MAX_FILE_BYTES as usize]);
    assert!(matches!(read("c.yaml.gz", &bomb), Err(Refused::UnpacksTooFar { .. })));
}

#[test]
fn unicode_line_breaks_of_older_yaml_are_content() {
    for (field, body) in [
        ("body: 'a\u{2028}  b'", "a\u{2028}b"),
        ("body: 'a\u{2028}\n\n  b'", "a\u{2028}\n\nb"),
        ("body: |-\n  a\u{2028}  b\n  c\u{85}    d", "a\u{2028}b\nc\u{85}  d"),
        ("body: |\n  a\u{2028}", "a\u{2028}"),
        ("body: 'a\u{2028}b c'", "a\u{2028}b c"),
    ] {
        // In a cassette of its own, so that the fields' indentation is the one written here.
        let yaml = format!(
            "interactions:\n- response: {{status: 200}}\n  request:\n   method: GET\n   uri: u\n   {}\nversion: 1\n",
            field
                .replace('\n', "\n   ")
                .replace("\u{2028}  ", "\u{2028}     ")
                .replace("\u{85}  ", "\u{85}     ")
        );
        assert_eq!(only(&yaml).request_body, body.as_bytes(), "{yaml:?}");
    }
}

#[test]
fn files_of_other_encodings_and_line_ends() {
    let yaml = cassette(REQUEST, RESPONSE);
    let expected = only(&yaml);
    let crlf = yaml.replace('\n', "\r\n");
    assert_eq!(only(&crlf), expected);
    assert_eq!(only(&format!("\u{feff}{yaml}")), expected);
    assert_eq!(only(&format!("# comment\n--- # start\n{yaml}...\n")), expected);
    for order in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
        let text = format!("\u{feff}{yaml}");
        let bytes: Vec<u8> = text.encode_utf16().flat_map(order).collect();
        assert_eq!(read("c.yaml", &bytes).map(|c| c.interactions), Ok(vec![expected.clone()]));
    }
}

#[test]
fn large_bodies() {
    let long = "0123456789abcdef ".repeat(45_000);
    let field = format!("body: '{long}'");
    assert_eq!(request_body(&field).0, long);
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    use NotHttp::*;
    for (file, expected) in [
        ("", Refused::EmptyFile),
        (" \n\n", Refused::EmptyFile),
        ("# nothing\n", Refused::EmptyFile),
        ("---\n", Refused::EmptyFile),
        ("null", Refused::EmptyFile),
        ("interactions: []\nversion: 1", Refused::NoInteractions),
        ("interactions:\nversion: 1", Refused::NoInteractions),
        ("version: 2\ninteractions: []", Refused::NoInteractions),
        ("version: 1", Refused::UnknownFormat),
        ("hello", Refused::UnknownFormat),
        ("interactions: text", Refused::UnknownFormat),
        ("a: 1\n---\nb: 2\n", Refused::SeveralDocuments),
        ("httprr trace v1", Refused::NoInteractions),
        ("httprr trace v1\r\n", Refused::NoInteractions),
        ("http_interactions: []\nrecorded_with: VCR", Refused::NoInteractions),
        ("http_interactions:\nrecorded_with: VCR", Refused::NoInteractions),
        ("http_interactions: text", Refused::UnknownFormat),
        (r#"{"log": {"version": "1.2", "entries": []}}"#, Refused::NoInteractions),
        (r#"{"log": {"version": "1.2", "entries": {}}}"#, Refused::UnknownFormat),
        (r#"{"log": {"version": "1.2"}}"#, Refused::UnknownFormat),
        (r#"{"trajectory": [], "info": {}}"#, Refused::NoHttp(SweAgentTrajectory)),
        (r#"[{"role": "user", "content": "hi"}]"#, Refused::NoHttp(MessageList)),
        (r#"{"messages": [{"role": "user"}]}"#, Refused::NoHttp(MessageList)),
        ("interactions:\n- {kind: message, direction: sent, data: {}}", Refused::NoHttp(WebSocketFrames)),
        ("interactions:\n- {request_sample: {}, response_sample: {}}", Refused::NoHttp(GrpcCalls)),
        ("- request: {uri: u}", unsupported(Container::Vcrpy, "0 (a list of interactions)")),
        ("- !ruby/struct:VCR::HTTPInteraction {request: {}}", unsupported(Container::Vcr, "1")),
        ("httprr trace v2\n1 1\n", unsupported(Container::Httprr, "2")),
        (r#"{"log": {"version": "2.0", "entries": [{}]}}"#, unsupported(Container::Har, "2.0")),
        ("version: 3\ninteractions: [{request: {url: u}, response: {}}]", unsupported(Container::GoVcr, "3")),
        ("version: 2\ninteractions: [{request: {uri: u}, response: {}}]", unsupported(Container::Vcrpy, "2")),
    ] {
        assert_eq!(refused(file), expected, "{file}");
    }
}

fn unsupported(container: Container, found: &str) -> Refused {
    Refused::UnsupportedVersion { container, found: found.to_owned() }
}

#[test]
fn broken_files_say_where() {
    let unclosed = "interactions:\n- request:\n    body: 'open\n";
    assert!(
        matches!(refused(unclosed), Refused::NotYaml { line: 3, column: 11, .. }),
        "{:?}",
        refused(unclosed)
    );
    let nul = "version: 1\ninteractions: [\0]";
    assert!(matches!(refused(nul), Refused::NotYaml { line: 2, column: 16, .. }), "{:?}", refused(nul));
    let json = read("c.json", b"{\n  \"version\": 1,\n}").expect_err("a trailing comma");
    assert!(matches!(json, Refused::NotJson { line: 3, column: 1, .. }), "{json:?}");
    assert_eq!(read("c.yaml", b"body: \xff"), Err(Refused::NotText { offset_bytes: 6 }));
}

#[test]
fn missing_fields_name_their_interaction() {
    let good = cassette(REQUEST, RESPONSE).replace("version: 1\n", "");
    for (second, field) in [
        ("- response: {status: 200}", "request"),
        ("- request: {method: GET, uri: u}", "response"),
        ("- request: {uri: u}\n  response: {status: 200}", "request.method"),
        ("- request: {method: GET}\n  response: {status: 200}", "request.uri"),
        ("- request: {method: GET, uri: u}\n  response: {}", "response.status"),
    ] {
        let file = format!("{good}{second}\n");
        assert_eq!(refused(&file), Refused::MissingField { interaction: 1, field }, "{file}");
    }
    let scalar = format!("{good}- request: text\n  response: {{status: 200}}\n");
    let expected = "a mapping";
    assert_eq!(refused(&scalar), Refused::WrongShape { interaction: 1, field: "request", expected });
}

#[test]
fn messages_name_the_thing_and_the_next_step() {
    let shown: Vec<String> = [
        refused(""),
        refused("interactions: []"),
        refused("httprr trace v1\n1 x\n"),
        refused("httprr trace v7\n"),
        refused("a: 1"),
        refused(r#"{"trajectory": []}"#),
        refused("a: 'b"),
        refused("interactions: [{request: {method: GET, uri: u}}]"),
    ]
    .iter()
    .map(Refused::to_string)
    .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    the file is empty: record it again, or leave it out of the import
    the recording holds no interactions: record it again, or leave it out of the import
    not a whole httprr trace, at byte 16: no line with two lengths; restore the file (line ends must not be converted), or record it again
    httprr trace of version 7: only version 1 can be read; record it again with a tool of such a version
    not a recording in a format known here: cassettes of looptape, vcrpy, go-vcr, VCR (Ruby, R) and betamax, HAR files and httprr traces can be imported
    SWE-agent trajectory: holds no HTTP, so there is nothing to replay; record the agent's calls instead
    not YAML, at line 1, column 4: while scanning a quoted scalar, found unexpected end of stream; repair the file there, or record it again
    interaction 0 (counted from 0) has no `response`: add it, or remove the interaction
    ");
}

proptest! {
    /// A body written in double quotes, as JSON and as YAML escape it, comes back as it was.
    #[test]
    fn quoted_text_round_trips(text in any::<String>()) {
        let quoted = serde_json::to_string(&text).unwrap().replace('\u{7f}', "\\x7f");
        prop_assume!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{fdd0}']));
        prop_assert_eq!(request_body(&format!("body: {quoted}")).0, text);
    }

    /// Any JSON under `parsed_body` is the same JSON afterwards.
    #[test]
    fn parsed_json_round_trips(value in json()) {
        let yaml = format!("parsed_body: {value}");
        prop_assume!(!value.is_null());
        let (body, exact) = request_body(&yaml);
        prop_assert!(!exact);
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), value);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read("c.yaml", &bytes);
    }

    #[test]
    fn arbitrary_httprr_never_panics(text in "[0-9 \\r\\n:aGHPT/.c-]{0,80}", chunked: bool) {
        let _ = read("c.httprr", format!("httprr trace v1\n{text}").as_bytes());
        let headers = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
        let response = format!("HTTP/1.1 200 OK\r\n{headers}\r\n{text}");
        let record = format!("httprr trace v1\n12 {}\nGET u HTTP\n\n{response}", response.len());
        let _ = read("c.httprr", record.as_bytes());
    }

    #[test]
    fn arbitrary_har_entries_never_panic(entry in json()) {
        let har = serde_json::json!({"log": {"entries": [
            {"request": {"method": "GET", "url": "u", "headers": entry, "postData": entry},
             "response": {"status": 200, "headers": entry, "content": entry}, "time": entry, "startedDateTime": entry},
        ]}});
        let _ = read("c.har", har.to_string().as_bytes());
    }

    #[test]
    fn arbitrary_yaml_never_panics(text in "[-a-c:&*<>|'\"\\[\\]{},!?# \n\\\\u\u{2028}]{0,60}") {
        let _ = read("c.yaml", text.as_bytes());
        let _ = read("c.yaml", cassette(&format!("method: GET\nuri: u\n{text}"), RESPONSE).as_bytes());
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[ -~é😀]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::vec(("[ -~]{0,8}", inner), 0..4)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

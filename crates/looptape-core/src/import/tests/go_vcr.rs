//! go-vcr cassettes of every version.

use super::*;

const V2: &str = r#"---
version: 2
interactions:
    - id: 0
      request:
        proto: HTTP/1.1
        proto_major: 1
        content_length: 9
        transfer_encoding: []
        trailer: {}
        host: api.openai.com
        remote_addr: ""
        request_uri: ""
        body: '{"a": 1}'
        form:
            a: ["1"]
        headers:
            Content-Type:
                - application/json
            X-Two: [b, c]
        url: https://api.openai.com/v1/chat/completions
        method: POST
      response:
        proto: HTTP/2.0
        proto_major: 2
        content_length: -1
        uncompressed: true
        body: |+
            data: {"b":2}

            data: [DONE]

        headers: {Content-Type: [text/event-stream]}
        status: 200 OK
        code: 200
        duration: 1.588085084s
    - id: 1
      request: {url: /v1/models, host: example.com, method: GET, body: "", headers: {}}
      response: {body: !!binary H4sIAP//AAA=, headers: {}, status: 429 Too Many Requests, code: 429, duration: 0s}
"#;

#[test]
fn version_2() {
    let got = read_as(Container::GoVcr, V2);
    let first = &got[0];
    assert_eq!(
        *first,
        Interaction {
            index: 0,
            method: "POST".into(),
            url: "https://api.openai.com/v1/chat/completions".into(),
            request_headers: pairs([("Content-Type", "application/json"), ("X-Two", "b"), ("X-Two", "c")]),
            request_body: r#"{"a": 1}"#.into(),
            status: Some(200),
            response_headers: pairs([("Content-Type", "text/event-stream")]),
            response_body: "data: {\"b\":2}\n\ndata: [DONE]\n\n".into(),
            request_exact: true,
            response_exact: true,
            times: CallTimes { duration_us: Some(1_588_085), ..CallTimes::default() },
        }
    );
    let second = &got[1];
    assert_eq!((second.host(), &*second.path_and_query()), ("example.com", "/v1/models"));
    assert_eq!((second.index, second.status, second.times), (1, Some(429), CallTimes::default()));
    assert_eq!(&*second.response_body, &[0x1f, 0x8b, 8, 0, 0xff, 0xff, 0, 0]);
    assert_eq!(read("c.yaml", V2.as_bytes()).unwrap().timing(), Timing::DurationsOnly);
}

#[test]
fn version_1_and_no_version() {
    let v1 = r#"---
version: 1
interactions:
- request:
    body: q
    form: {}
    headers: {A: [b]}
    url: http://h/p
    method: GET
  response:
    body: r
    headers: {}
    status: 404 Not Found
    code: 404
    duration: ""
"#;
    for file in [v1.to_owned(), v1.replace("version: 1\n", ""), v1.replace("    code: 404\n", "")] {
        let [only] = <[Interaction; 1]>::try_from(read_as(Container::GoVcr, &file)).unwrap();
        assert_eq!(
            (only.status, &*only.request_body, &*only.response_body),
            (Some(404), &b"q"[..], &b"r"[..])
        );
        assert_eq!(only.times, CallTimes::default());
    }
}

#[test]
fn written_as_json() {
    let file = r#"---
{"Name":"x","Version":2,"Interactions":[{"ID":0,"Request":{"Method":"GET","URL":"https://h/p",
"Headers":{"A":["b"]},"Body":"\ud83d\ude00"},"Response":{"Code":200,"Status":"200 OK","Body":"r","Headers":null,"Duration":160745167}}]}"#;
    let [only] = <[Interaction; 1]>::try_from(read_as(Container::GoVcr, file)).unwrap();
    assert_eq!((&*only.request_body, only.status), ("😀".as_bytes(), Some(200)));
    assert_eq!(only.request_headers, pairs([("A", "b")]));
    assert_eq!(only.times.duration_us, Some(160_745));
}

#[test]
fn wrong_types_name_their_field() {
    for (from, to, refusal) in [
        ("code: 200", "code: OK", ("response.code", "an HTTP status code")),
        ("body: '{\"a\": 1}'", "body: [1]", ("request.body", "text or binary")),
        ("!!binary H4sIAP//AAA=", "!!binary '*'", ("response.body", "base64")),
        (
            "headers: {Content-Type: [text/event-stream]}",
            "headers: 7",
            ("response.headers", "a mapping of names to values"),
        ),
    ] {
        let interaction = u32::from(from.starts_with("!!"));
        let (field, expected) = refusal;
        let file = V2.replace(from, to);
        assert_eq!(refused(&file), Refused::WrongShape { interaction, field, expected }, "{file}");
    }
    let missing = V2.replace("        method: POST\n", "");
    assert_eq!(refused(&missing), Refused::MissingField { interaction: 0, field: "request.method" });
}

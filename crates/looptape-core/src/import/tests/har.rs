//! HTTP Archives of browsers and of Polly.JS.

use super::*;
use serde_json::{Value, json};

fn har(creator: &str, entries: Value) -> String {
    json!({"log": {"version": "1.2", "creator": {"name": creator, "version": "1"}, "entries": entries}})
        .to_string()
}

fn entry(content: Value) -> Value {
    json!({
        "startedDateTime": "2024-02-14T06:53:36.314Z", "time": 694.5,
        "timings": {"blocked": -1, "dns": -1, "connect": 1.5, "send": 0, "wait": 600, "receive": 93},
        "request": {"method": "POST", "url": "https://h/v1", "httpVersion": "h2", "bodySize": 2, "headersSize": -1,
                    "headers": [{"name": ":method", "value": "POST"}, {"name": "a", "value": "b"}],
                    "queryString": [], "cookies": [], "postData": {"mimeType": "application/json", "text": "{}"}},
        "response": {"status": 200, "statusText": "OK", "headers": [{"name": "Content-Encoding", "value": "gzip"}],
                     "cookies": [], "bodySize": 5, "redirectURL": "", "content": content},
        "cache": {},
    })
}

/// The response body of an entry with this content.
fn body_of(creator: &str, content: Value) -> (Vec<u8>, bool) {
    let got = read_as(Container::Har, har(creator, json!([entry(content)]))).remove(0);
    (got.response_body.to_vec(), got.response_exact)
}

#[test]
fn an_entry() {
    let file =
        har("WebInspector", json!([entry(json!({"mimeType": "text/plain", "size": 5, "text": "hello"}))]));
    let got = read_as(Container::Har, &file).remove(0);
    assert_eq!(
        got,
        Interaction {
            index: 0,
            method: "POST".into(),
            url: "https://h/v1".into(),
            request_headers: pairs([(":method", "POST"), ("a", "b")]),
            request_body: "{}".into(),
            status: Some(200),
            response_headers: pairs([("Content-Encoding", "gzip")]),
            response_body: "hello".into(),
            request_exact: true,
            response_exact: true,
            times: CallTimes {
                started_unix_us: Some(1_707_893_616_314_000),
                head_us: Some(601_500),
                duration_us: Some(694_500),
            },
        }
    );
    assert_eq!(read("c.har", file.as_bytes()).unwrap().timing(), Timing::Stated);
}

#[test]
fn contents() {
    let exact = |bytes: &[u8]| (bytes.to_vec(), true);
    for (content, expected) in [
        (json!({"text": "aGVsbG8=", "encoding": "base64"}), exact(b"hello")),
        (json!({"text": "[\"aGVs\",\"bG8=\"]", "encoding": "base64"}), exact(b"hello")),
        (json!({"text": "[]", "encoding": "base64"}), exact(b"")),
        (json!({"text": "68656C6c6f", "encoding": "hex"}), exact(b"hello")),
        (json!({"text": "68656c6c6f", "_isBinary": true}), exact(b"hello")),
        (json!({"text": "[\"6865\",\"6c6c6f\"]"}), exact(b"hello")),
        (json!({"text": "[\"hello\"]"}), exact(b"[\"hello\"]")),
        (json!({"text": "plain", "encoding": "utf8"}), exact(b"plain")),
        (json!({"size": 0}), (Vec::new(), false)),
        (json!({"size": 7, "text": null}), (Vec::new(), false)),
        (json!({"size": 7, "text": ""}), exact(b"")),
    ] {
        assert_eq!(body_of("Polly.JS", content.clone()), expected, "{content}");
    }
    // Only Polly.JS writes pieces without saying how they are encoded.
    assert_eq!(body_of("Firefox", json!({"text": "[\"6865\"]"})), exact(b"[\"6865\"]"));
    for (encoding, text) in [("base64", "*"), ("base64", "[\"*\"]"), ("hex", "abc"), ("hex", "zz")] {
        let content = json!({"text": text, "encoding": encoding});
        let field = "response.content.text";
        let expected = if encoding == "hex" { "hex" } else { "base64" };
        let file = har("x", json!([entry(content)]));
        assert_eq!(refused(&file), Refused::WrongShape { interaction: 0, field, expected }, "{text}");
    }
}

#[test]
fn requests_without_text() {
    let with = |post: Value, size: i64| {
        let mut entry = entry(json!({"text": ""}));
        entry["request"]["postData"] = post;
        entry["request"]["bodySize"] = size.into();
        let got = read_as(Container::Har, har("x", json!([entry]))).remove(0);
        (String::from_utf8(got.request_body.to_vec()).unwrap(), got.request_exact)
    };
    assert_eq!(with(Value::Null, 0), (String::new(), true));
    assert_eq!(with(Value::Null, 9), (String::new(), false));
    assert_eq!(with(json!({"mimeType": "x", "params": []}), 9), (String::new(), false));
    let params = json!([{"name": "a b", "value": "é&"}, {"name": "c"}]);
    assert_eq!(with(json!({"mimeType": "x", "params": params}), 9), ("a+b=%C3%A9%26&c=".to_owned(), false));
    assert_eq!(with(json!({"text": "aGk=", "encoding": "base64"}), 2), ("hi".to_owned(), true));
}

#[test]
fn calls_without_an_answer() {
    for response in
        [json!(null), json!({"status": 0, "headers": [], "content": {"size": 0}}), json!({"status": null})]
    {
        let mut entry = entry(json!({}));
        entry["response"] = response;
        let got = read_as(Container::Har, har("x", json!([entry]))).remove(0);
        assert_eq!((got.status, got.response_body.len(), got.response_exact), (None, 0, true));
    }
    let mut odd = entry(json!({}));
    odd["response"]["status"] = "OK".into();
    let expected = "an HTTP status code";
    let wrong = Refused::WrongShape { interaction: 0, field: "response.status", expected };
    assert_eq!(refused(&har("x", json!([odd]))), wrong);
}

#[test]
fn entries_come_by_start_and_keep_their_place() {
    let at = |time: &str| {
        let mut entry = entry(json!({"text": ""}));
        entry["startedDateTime"] = time.into();
        entry
    };
    let places = |entries: Value| -> Vec<u32> {
        read_as(Container::Har, har("x", entries)).iter().map(|i| i.index).collect()
    };
    let (early, late) = (at("2024-02-14T06:53:36Z"), at("2024-02-14T08:53:36.5+02:00"));
    assert_eq!(places(json!([late, early, late, early])), [1, 3, 0, 2]);
    assert_eq!(places(json!([late, early, at("once")])), [0, 1, 2]);
}

#[test]
fn durations_may_be_sums() {
    let mut summed = entry(json!({"text": ""}));
    summed["time"] = Value::Null;
    summed["timings"]["ssl"] = 9.into();
    let got = read_as(Container::Har, har("x", json!([summed]))).remove(0);
    assert_eq!((got.times.duration_us, got.times.head_us), (Some(694_500), Some(601_500)));
    summed["timings"] = json!({"wait": -1});
    let got = read_as(Container::Har, har("x", json!([summed]))).remove(0);
    assert_eq!((got.times.duration_us, got.times.head_us), (None, None));
}

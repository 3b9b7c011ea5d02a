//! Cassettes with `http_interactions`: Ruby's, R's and betamax's.

use super::*;

fn yaml(request_body: &str, response_body: &str) -> String {
    format!(
        "---\nhttp_interactions:\n- request:\n    method: post\n    uri: https://h/v1\n    body: {request_body}\n    \
         headers:\n      Accept: [a, b]\n      X-One: c\n  response:\n    status: {{code: 200, message: OK}}\n    \
         headers: {{}}\n    body: {response_body}\n  recorded_at: Fri, 04 Nov 2016 20:17:39 GMT\nrecorded_with: VCR 6.3.1\n"
    )
}

fn only_of(file: &str) -> Interaction {
    let [only] = <[Interaction; 1]>::try_from(read_as(Container::Vcr, file)).unwrap();
    only
}

/// The response body that a `body:` field yields, and whether it is the file's own.
fn body_of(field: &str) -> (Vec<u8>, bool) {
    let got = only_of(&yaml("", field));
    (got.response_body.to_vec(), got.response_exact)
}

#[test]
fn rubys_vcr() {
    let got = only_of(&yaml("{encoding: UTF-8, string: '{}'}", "{encoding: ASCII-8BIT, string: 'r'}"));
    assert_eq!((got.method.as_str(), got.url.as_str(), got.status), ("POST", "https://h/v1", Some(200)));
    assert_eq!(got.request_headers, pairs([("Accept", "a"), ("Accept", "b"), ("X-One", "c")]));
    assert_eq!((&*got.request_body, &*got.response_body), (&b"{}"[..], &b"r"[..]));
    assert_eq!(got.times.started_unix_us, Some(1_478_290_659_000_000));
    assert_eq!(read("c.yml", yaml("", "").as_bytes()).unwrap().timing(), Timing::StartsOnly);
}

#[test]
fn bodies() {
    let exact = |bytes: &[u8]| (bytes.to_vec(), true);
    for (field, expected) in [
        ("", exact(b"")),
        ("''", exact(b"")),
        ("text", exact(b"text")),
        ("{encoding: '', string: ''}", exact(b"")),
        ("{string: no}", exact(b"")),
        ("{string: 'no'}", exact(b"no")),
        ("{encoding: UTF-8, string: null}", exact(b"")),
        ("{encoding: ASCII-8BIT, base64_string: \"aGVs\\nbG8=\\n\"}", exact(b"hello")),
        (
            "{encoding: ASCII-8BIT, string: !binary H4sIAP//AAA=}",
            exact(&[0x1f, 0x8b, 8, 0, 0xff, 0xff, 0, 0]),
        ),
        ("{encoding: UTF-8, string: é}", exact("é".as_bytes())),
        ("{encoding: ISO-8859-1, string: é}", exact(b"\xe9")),
        ("{encoding: iso-8859-1, string: 語}", ("語".into(), false)),
        ("{encoding: Shift_JIS, string: 語}", ("語".into(), false)),
        ("{encoding: Shift_JIS, string: ascii}", exact(b"ascii")),
        ("{encoding: UTF-16LE, string: a}", (b"a".to_vec(), false)),
        ("{raw_gzip: eJzLSM3JyQcABiwCFQ==}", exact(b"hello")),
        ("{raw_gzip: H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==}", exact(b"hello")),
        ("{fields: {a: x, b: '1'}}", (br#"{"a":"x","b":"1"}"#.to_vec(), false)),
        ("{file: false, string: here}", exact(b"here")),
    ] {
        assert_eq!(body_of(field), expected, "{field}");
    }
}

#[test]
fn bodies_in_other_files_are_refused() {
    for field in ["{on_disk: files/one.json}", "{encoding: '', file: yes, string: files/one.json}"] {
        let elsewhere = Refused::BodyElsewhere { interaction: 0, field: "response.body" };
        assert_eq!(refused(&yaml("", field)), elsewhere, "{field}");
    }
    for field in ["{raw_gzip: aGVsbG8=}", "{raw_gzip: '*'}"] {
        let expected = "gzip in base64";
        let wrong = Refused::WrongShape { interaction: 0, field: "response.body", expected };
        assert_eq!(refused(&yaml("", field)), wrong, "{field}");
    }
}

#[test]
fn compressed_bodies_cannot_explode() {
    let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 65 << 20), &mut deflated).unwrap();
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, deflated.finish().unwrap());
    let file = yaml("", &format!("{{raw_gzip: {encoded}}}"));
    assert_eq!(refused(&file), Refused::ExpandsTooFar { limit: "64 MiB in one body" });
}

#[test]
fn rs_vcr() {
    let v1 = "http_interactions:\n- request:\n    method: get\n    uri: https://h/get\n    body:\n      encoding: ''\n      \
              string: ''\n    headers:\n      User-Agent: r-curl\n  response:\n    status:\n      status_code: '200'\n      \
              message: OK\n      explanation: Request fulfilled\n    headers:\n      status: HTTP/1.1 200 OK\n    body:\n      \
              encoding: UTF-8\n      file: no\n      string: hello\n  recorded_at: 2018-04-03 22:32:15 GMT\n  \
              recorded_with: vcr/0.1.0, webmockr/0.2.4\n";
    let v2 = "http_interactions:\n- request:\n    method: GET\n    uri: https://h/get\n  response:\n    status: 200\n    \
              body:\n      string: hello\n  recorded_at: 2018-04-03 22:32:15\nrecorded_with: VCR-vcr/2.1.0\n";
    for file in [v1, v2] {
        let got = only_of(file);
        assert_eq!((got.method.as_str(), got.status, &*got.response_body), ("GET", Some(200), &b"hello"[..]));
        assert_eq!(got.times.started_unix_us, Some(1_522_794_735_000_000));
    }
}

#[test]
fn json_of_ruby_r_and_betamax() {
    let got = only_of(
        r#"{"http_interactions": [{"request": {"body": {"encoding": "utf-8", "string": ""}, "headers": {"Accept": ["*/*"]},
            "method": "GET", "uri": "https://h/"}, "response": {"body": {"encoding": null, "base64_string": "H4s="},
            "headers": {}, "status": {"code": 304, "message": "Not Modified"}, "url": "https://h/"},
            "recorded_at": "2013-09-28T01:25:38"}], "recorded_with": "betamax/0.8.1"}"#,
    );
    assert_eq!((got.status, &*got.response_body), (Some(304), &b"\x1f\x8b"[..]));
    assert_eq!(got.times.started_unix_us, Some(1_380_331_538_000_000));
    let no = only_of(
        r#"{"http_interactions": [{"request": {"method": "get", "uri": "u", "body": "q"},
            "response": {"status": 200, "body": {"string": false}}}]}"#,
    );
    assert_eq!((&*no.request_body, &*no.response_body), (&b"q"[..], &b""[..]));
}

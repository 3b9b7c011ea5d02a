//! httprr traces.

use super::*;

fn trace(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = b"httprr trace v1\n".to_vec();
    for (request, response) in records {
        out.extend(format!("{} {}\n{request}{response}", request.len(), response.len()).into_bytes());
    }
    out
}

const REQUEST: &str = "POST https://h/v1?a=b HTTP/1.1\r\nHost: h\r\nUser-Agent: scrubbed\nX-Empty:\r\n\r\n{\"q\": \"\r\n\r\n\"}";
const RESPONSE: &str = "HTTP/2.0 200 OK\r\nContent-Length: 99\r\nA: b: c\r\n\r\nr\n";

#[test]
fn records_follow_each_other() {
    let chunked = "HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;ext=1\r\none\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
    let got = read_as(
        Container::Httprr,
        trace(&[(REQUEST, RESPONSE), ("GET / HTTP/1.1\r\nhost: o\r\n\r\n", chunked)]),
    );
    assert_eq!(
        got[0],
        Interaction {
            index: 0,
            method: "POST".into(),
            url: "https://h/v1?a=b".into(),
            request_headers: pairs([("Host", "h"), ("User-Agent", "scrubbed"), ("X-Empty", "")]),
            request_body: "{\"q\": \"\r\n\r\n\"}".into(),
            status: Some(200),
            response_headers: pairs([("Content-Length", "99"), ("A", "b: c")]),
            response_body: "r\n".into(),
            request_exact: true,
            response_exact: true,
            times: CallTimes::default(),
        }
    );
    assert_eq!((got[1].index, got[1].status, got[1].host()), (1, Some(429), "o"));
    assert_eq!(&*got[1].response_body, b"one0123456789");
    let cassette = read("c", &trace(&[(REQUEST, RESPONSE)])).unwrap();
    assert_eq!(cassette.timing(), Timing::OrderOnly);
}

#[test]
fn bodies_may_be_binary() {
    let mut file = trace(&[(REQUEST, "HTTP/1.1 200 OK\r\n\r\n\u{1}\u{2}")]);
    let end = file.len();
    file[end - 2..].copy_from_slice(&[0xff, 0]);
    assert_eq!(&*read_as(Container::Httprr, &file)[0].response_body, &[0xff, 0]);
}

#[test]
fn broken_traces_say_where() {
    let broken = |file: &[u8]| match read("c", file).expect_err("it is broken") {
        Refused::NotHttprr { offset_bytes, problem } => (offset_bytes, problem),
        other => panic!("{other:?}"),
    };
    let whole = trace(&[(REQUEST, RESPONSE)]);
    assert_eq!(broken(&whole[..whole.len() - 1]), (16, "the response is longer than the file"));
    assert_eq!(broken(&whole[..60]), (16, "the request is longer than the file"));
    assert_eq!(broken(&[&*whole, b"\n"].concat()), (whole.len() as u64, "no line with two lengths"));
    let converted = String::from_utf8(whole).unwrap().replace("\r\n", "\n");
    assert!(matches!(read("c", converted.as_bytes()), Err(Refused::NotHttprr { .. })));
    for (request, response, problem) in [
        ("GET", RESPONSE, "the request is no HTTP message"),
        ("GET u HTTP/1.1\r\nno colon\r\n\r\n", RESPONSE, "the request is no HTTP message"),
        ("GET\r\n\r\n", RESPONSE, "the request line lacks a method or a URL"),
        (REQUEST, "HTTP/1.1\r\n\r\n", "the status line has no status code"),
        (REQUEST, "HTTP/1.1 2000 OK\r\n\r\n", "the status line has no status code"),
        (
            REQUEST,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort\r\n0\r\n\r\n",
            "the response's chunks are broken",
        ),
        (
            REQUEST,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
            "the response's chunks are broken",
        ),
    ] {
        assert_eq!(broken(&trace(&[(request, response)])).1, problem, "{request:?} {response:?}");
    }
    assert_eq!(broken(b"httprr trace v1\n99999999999999999999 1\n"), (16, "no line with two lengths"));
}

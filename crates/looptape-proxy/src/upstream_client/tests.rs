use super::*;
use bytes::Bytes;
use http::Uri;
use http_body_util::BodyExt;
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::upstream::ScriptedUpstream;

fn request(uri: &str) -> Request<Outgoing> {
    let mut request = Request::new(Either::Left(Bytes::from_static(b"{}").into()));
    *request.uri_mut() = uri.parse::<Uri>().unwrap();
    request
}

async fn ask(client: &UpstreamClient, uri: &str) -> Result<String, NoAnswer> {
    let body = client.send(request(uri)).await?.collect().await.unwrap();
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

fn with_credentials(proxy: &ScriptedUpstream) -> String {
    proxy.url().replace("http://", "http://me:word@")
}

#[tokio::test]
async fn a_proxy_gets_plain_requests_whole() {
    let proxy = ScriptedUpstream::answering(|_| Answer::json("from the proxy")).await.unwrap();
    let proxies = Matcher::builder().all(with_credentials(&proxy)).no("skipped.invalid").build();
    let client = UpstreamClient::through(proxies).unwrap();
    assert_eq!(ask(&client, "http://api.invalid:81/v1/x?a='b'").await.unwrap(), "from the proxy");
    let seen = &proxy.requests()[0];
    assert_eq!(seen.target, "http://api.invalid:81/v1/x?a='b'");
    assert_eq!(seen.header("host"), Some("api.invalid:81"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic bWU6d29yZA=="));
    // No such host: an answer could only come through the proxy.
    assert!(ask(&client, "http://skipped.invalid/v1/x").await.unwrap_err().is_connect());
    assert_eq!(proxy.requests().len(), 1);
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel_to_https() {
    let proxy = ScriptedUpstream::answering(|_| Answer::status(403)).await.unwrap();
    let client = UpstreamClient::through(Matcher::builder().https(with_credentials(&proxy)).build()).unwrap();
    assert!(ask(&client, "https://api.invalid/v1/x").await.unwrap_err().is_connect());
    let seen = &proxy.requests()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("CONNECT", "api.invalid:443"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic bWU6d29yZA=="));
}

#[tokio::test]
async fn upstreams_on_this_machine_are_asked_directly_and_see_no_more_than_was_sent() {
    let proxy = ScriptedUpstream::answering(|_| Answer::status(500)).await.unwrap();
    let upstream = ScriptedUpstream::answering(|_| Answer::json("here")).await.unwrap();
    let client = UpstreamClient::through(Matcher::builder().all(with_credentials(&proxy)).build()).unwrap();
    assert_eq!(ask(&client, &format!("{}/v1/x", upstream.url())).await.unwrap(), "here");
    assert_eq!(proxy.requests(), []);
    let seen = &upstream.requests()[0];
    assert_eq!(seen.target, "/v1/x");
    let mut names: Vec<&str> = seen.headers.iter().map(|(n, _)| n.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "host"]);
}

fn client() -> UpstreamClient {
    UpstreamClient::through(Matcher::builder().build()).unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again_once_its_answer_was_read() {
    let upstream = ScriptedUpstream::answering(|request| match request.target.as_str() {
        "/empty" => Answer::status(204),
        "/stream" => Answer::event_stream(["data: 1\n\n", "data: 2\n\n"]),
        _ => Answer::json("{}"),
    });
    let upstream = upstream.await.unwrap();
    let client = client();
    for path in ["/json", "/empty", "/stream", "/json"] {
        ask(&client, &format!("{}{path}", upstream.url())).await.unwrap();
    }
    assert_eq!(upstream.connections(), 1);
    // Another lane's client has its own.
    ask(&client.with_own_connections(), &upstream.url()).await.unwrap();
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn calls_at_the_same_time_have_a_connection_each() {
    let upstream = ScriptedUpstream::start().await.unwrap();
    let gate = Gate::closed();
    upstream.push(Answer::event_stream(["data: 1\n\n"]).wait(&gate));
    upstream.push(Answer::json("second"));
    let client = client();
    let first = client.send(request(&upstream.url())).await.unwrap();
    assert_eq!(ask(&client, &upstream.url()).await.unwrap(), "second");
    assert_eq!(upstream.connections(), 2);
    gate.release();
    assert_eq!(first.collect().await.unwrap().to_bytes(), "data: 1\n\n");
}

#[tokio::test]
async fn an_answer_that_is_dropped_breaks_its_call_off() {
    let upstream = ScriptedUpstream::start().await.unwrap();
    let gate = Gate::closed();
    upstream.push(Answer::event_stream(["data: 1\n\n"]).wait(&gate).piece("data: 2\n\n"));
    upstream.push(Answer::json("next"));
    let client = client();
    let mut answer = client.send(request(&upstream.url())).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    drop(answer);
    upstream.wait_for_hang_ups(1).await;
    assert_eq!(ask(&client, &upstream.url()).await.unwrap(), "next");
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_ends_with_its_answer_is_replaced() {
    let upstream = ScriptedUpstream::start().await.unwrap();
    let client = client();
    for round in 1..4 {
        upstream.push(Answer::json("{}").until_close());
        ask(&client, &upstream.url()).await.unwrap();
        assert_eq!(upstream.connections(), round);
    }
    assert_eq!(upstream.requests().len(), 3);
}

//! Upstreams behind TLS: whom the gateway trusts, and which HTTP it speaks with them.

use super::agent::{chat, send};
use super::process::{Gateway, Recordings};
use crate::env::TestEnv;
use http::Version;
use looptape_core::exchange::{Ending, Outcome};
use looptape_store::TraceRow;
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::tls_upstream::{STREAM, TlsUpstream, authority_of_nobody};

const CHAT: &str = "/openai/v1/chat/completions?a='b'";

/// A gateway in front of `upstream` that trusts its authority, as one behind a company's own CA does.
async fn trusting(env: &mut TestEnv, upstream: &TlsUpstream) -> Gateway {
    trust(env, upstream.authority_pem());
    Gateway::start(env, &upstream.url(), &[]).await
}

fn trust(env: &mut TestEnv, authority_pem: &str) {
    let file = env.home().join("ca.pem");
    std::fs::write(&file, authority_pem).expect("the certificate can be written");
    env.set("SSL_CERT_FILE", file.to_str().expect("a UTF-8 path"));
}

/// The outcomes of all calls.
fn recorded(recordings: &Recordings) -> Vec<Outcome> {
    let reader = recordings.reader();
    let calls = |row: &TraceRow| reader.seqs(row.key).expect("calls can be listed").into_iter();
    let outcome = |key, seq| reader.outcome(key, seq).expect("the call can be read");
    recordings.all().iter().flat_map(|row| calls(row).map(|seq| outcome(row.key, seq))).collect()
}

#[tokio::test]
async fn it_speaks_what_the_handshake_agrees_on() {
    for (offered, spoken) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let upstream = TlsUpstream::offering(offered).await.expect("the upstream starts");
        let mut env = TestEnv::new();
        let gateway = trusting(&mut env, &upstream).await;
        for round in ["one", "two"] {
            let answer = send(&gateway.url, CHAT, &[("authorization", "Bearer k")], &chat(round)).await;
            assert_eq!((answer.head.status, answer.text().as_str()), (200, STREAM), "{offered:?}");
        }
        let recordings = gateway.recordings.clone();
        gateway.stop().await;

        let seen = upstream.requests();
        assert_eq!(seen.len(), 2, "{offered:?}");
        for (request, round) in seen.iter().zip(["one", "two"]) {
            assert_eq!(request.version, spoken, "{offered:?}");
            assert_eq!(request.target, "/v1/chat/completions?a='b'");
            assert_eq!(request.authority, upstream.url().trim_start_matches("https://"));
            assert_eq!(request.body, chat(round).into_bytes());
        }
        let [answer, _] = recorded(&recordings).try_into().expect("two calls are recorded");
        let Outcome::Answered(answer) = answer else { panic!("an answer: {answer:?}") };
        assert_eq!((&answer.ending, &answer.body[..]), (&Ending::Complete, STREAM.as_bytes()));
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let upstream = TlsUpstream::offering(&["h2", "http/1.1"]).await.expect("the upstream starts");
    refused(&TestEnv::new(), &upstream, &upstream.url()).await;
}

#[tokio::test]
async fn so_is_one_of_another_authority_or_for_another_name() {
    let upstream = TlsUpstream::offering(&["http/1.1"]).await.expect("the upstream starts");
    let mut env = TestEnv::new();
    trust(&mut env, &authority_of_nobody().expect("an authority"));
    refused(&env, &upstream, &upstream.url()).await;

    let mut env = TestEnv::new();
    trust(&mut env, upstream.authority_pem());
    refused(&env, &upstream, &upstream.url_by_address()).await;
}

/// A gateway in front of `upstream`, called `url`, refuses it: nothing is sent, and it is recorded why.
async fn refused(env: &TestEnv, upstream: &TlsUpstream, url: &str) {
    let gateway = Gateway::start(env, url, &[]).await;
    let mut client = RawClient::connect(&gateway.url).await.expect("the gateway accepts");
    client.request("POST", CHAT, &[], chat("hi").as_bytes()).await.expect("the request can be sent");
    let answer = client.response().await;
    assert!(answer.is_err(), "the connection ends without an answer: {answer:?}");
    let recordings = gateway.recordings.clone();
    let said = gateway.stop().await;
    assert!(said.contains(url) && said.contains("certificate"), "{said}");
    assert_eq!(upstream.requests(), [], "nothing was sent");
    let [outcome] = recorded(&recordings).try_into().expect("one call is recorded");
    let Outcome::NoResponse { ending: Ending::UpstreamUnreachable { error }, .. } = &outcome else {
        panic!("no answer: {outcome:?}")
    };
    assert!(error.contains("certificate"), "{error}");
}

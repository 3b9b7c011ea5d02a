//! Bodies that share: what is kept of them is what came.

use super::*;

/// A body as it arrives on a connection, in frames of so many bytes.
fn arrived(last: &mut Option<Rope>, body: &[u8], frame: usize) -> Rope {
    let mut arriving = Arriving::after(last.take(), body.len());
    body.chunks(frame).for_each(|frame| arriving.push(frame));
    let body = arriving.end();
    *last = Some(body.clone());
    body
}

fn call_with(recorder: &Recorder, trace: &str, body: Rope) {
    recorder.begin(BeginCall { body, ..begin(trace, b"") }).finish(answered(&[b"{}"]));
}

#[test]
fn what_a_loop_shares_changes_nothing_in_what_is_kept() {
    loops_share(|_, r, trace, body| call(r, trace, body));
}

#[test]
fn nor_does_what_it_shares_while_it_arrives() {
    let mut last = [None, None];
    loops_share(|n, r, trace, body| call_with(r, trace, arrived(&mut last[n], body, 1000)));
}

#[test]
fn nor_do_loops_that_share_a_connection() {
    let mut last = None;
    loops_share(|_, r, trace, body| call_with(r, trace, arrived(&mut last, body, 100_000)));
}

fn loops_share(mut send: impl FnMut(usize, &Recorder, &str, &[u8])) {
    let (together, alone) = (Lab::new(), Lab::new());
    let loops: Vec<Vec<Vec<u8>>> = ["red", "blue"].map(bodies_of_a_loop).into();
    together.record(|r| {
        for step in 0..loops[0].len() {
            loops.iter().enumerate().for_each(|(n, bodies)| send(n, r, &format!("t{n}"), &bodies[step]));
        }
    });
    // A recorder for each call remembers nothing of the one before.
    for (n, bodies) in loops.iter().enumerate() {
        bodies.iter().enumerate().for_each(|(step, body)| {
            alone.record(|r| call(r, &format!("t{n}-{step}"), body));
        });
    }
    for (n, bodies) in loops.iter().enumerate() {
        let row = together.find(&format!("t{n}")).unwrap();
        let facts = together.reader().load(row.clone()).unwrap().facts;
        for (step, sent) in bodies.iter().enumerate() {
            let seq = step as u32;
            let exchange = together.reader().exchange(row.key, seq).unwrap();
            let other = alone.find(&format!("t{n}-{step}")).unwrap();
            assert_eq!(exchange.request_body, alone.reader().exchange(other.key, 0).unwrap().request_body);
            let is_secret = String::from_utf8_lossy(sent).contains("Zm9vYmFy");
            assert_eq!(exchange.request_body == *sent, !is_secret, "loop {n} step {step}");
            let fact = &facts[step];
            let by_itself = &alone.reader().load(other).unwrap().facts[0];
            assert_eq!(fact.lineage, by_itself.lineage);
            assert_eq!(fact.request_digest, by_itself.request_digest);
        }
    }
    for lab in [together, alone] {
        assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
        let bytes = std::fs::read(&lab.database).unwrap();
        assert!(!bytes.windows(8).any(|w| w == b"Zm9vYmFy"), "a secret reached the disk");
    }
}

/// A placeholder's text, written by a client, is not what looptape puts in place of a secret: it is
/// replaced itself, also where an equal piece was stored before.
#[test]
fn a_placeholder_that_a_client_writes_is_looked_at_every_time() {
    let lab = Lab::new();
    let body = |text: &str, more: u32| {
        let messages: Vec<String> = (0..more).map(|n| format!("\"message {n}\"")).collect();
        format!("{{\"messages\":[\"{text} {}\",{}]}}", "w".repeat(600), messages.join(",")).into_bytes()
    };
    let secret = "sk-proj-Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFi";
    lab.record(|r| call(r, "t", &body(secret, 3)));
    let row = lab.find("t").unwrap();
    let stored = lab.reader().exchange(row.key, 0).unwrap().request_body;
    lab.record(|r| {
        call(r, "u", &body(secret, 3));
        call(r, "u", &body(secret, 4));
        call(r, "u", &stored);
    });
    let row = lab.find("u").unwrap();
    let read = |seq| lab.reader().exchange(row.key, seq).unwrap().request_body;
    assert_ne!(read(2), read(0), "it is another secret than the one before");
}

const TOOLS: &str =
    r#","tools":[{"name":"look","description":"looks"},{"name":"write","description":"writes"}]"#;

/// Bodies as agents send them: a growing history, sometimes with a piece changed, sometimes no JSON.
fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let message = prop_oneof!["[a-z ]{0,40}", "[a-z ]{300,400}", "[a-z ]{3000,4000}"];
    let step = (prop::collection::vec(message, 0..4), any::<bool>(), any::<u8>());
    prop::collection::vec(step, 1..8).prop_map(|steps| {
        let mut history: Vec<String> = Vec::new();
        let body = |(new, mark, odd): (Vec<String>, bool, u8)| {
            history.extend(new);
            let mut shown = history.clone();
            if let (true, Some(last)) = (mark, shown.last_mut()) {
                last.push_str(" marked");
            }
            let mut body =
                serde_json::to_vec(&serde_json::json!({ "model": "m", "messages": shown })).unwrap();
            match odd {
                0..20 => body.truncate(usize::from(odd)),
                // What follows the history is often long.
                20..90 => body.splice(body.len() - 1.., TOOLS.bytes().chain(*b"}")).for_each(drop),
                _ => {}
            }
            body
        };
        steps.into_iter().map(body).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_body_comes_back(bodies in bodies(), frame in 1usize..9000, connections in 1usize..4) {
        let lab = Lab::new();
        let mut last = vec![None; connections];
        lab.record(|r| bodies.iter().enumerate().for_each(|(n, body)| {
            call_with(r, "t", arrived(&mut last[n % connections], body, frame));
        }));
        let row = lab.find("t").unwrap();
        for (seq, body) in bodies.iter().enumerate() {
            let exchange = lab.reader().exchange(row.key, seq as u32).unwrap();
            prop_assert_eq!(&exchange.request_body[..], &body[..]);
        }
        let damage = lab.reader().verify(|_, _| {}).unwrap().damage;
        prop_assert!(damage.is_empty(), "{:?}", damage);
    }
}

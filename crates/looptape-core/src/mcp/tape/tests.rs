use super::*;
use crate::exchange::{Answer, Chunk, Ending, Exchange, Outcome};
use crate::mcp::conversations;
use crate::mcp::{LINES, SERVER_END_HEADER, SESSION_HEADER};
use crate::replay::Run;

/// Lines with their times.
type Lines<'a> = Vec<(i64, &'a str)>;

/// A recorded conversation, written down as a script: `> ` the client, `< ` about it, `* ` by itself, `! ` the end.
fn recorded(server: &str, session: &str, script: &str) -> Vec<Exchange> {
    let provider = ServerName::parse(server).unwrap().provider();
    let request = [(SESSION_HEADER, session.as_bytes())];
    let exchange = |seq: usize, method: &str, at: i64, body: &str, outcome| Exchange {
        seq: u32::try_from(seq).unwrap(),
        sent_us: at,
        sent_unix_us: 0,
        provider: provider.clone(),
        method: method.to_owned(),
        path: "/".to_owned(),
        request_headers: RedactedHeaders::redact(request.iter().map(|(n, v)| (*n, *v))),
        request_body: Bytes::copy_from_slice(body.as_bytes()),
        outcome,
    };
    let answer = |lines: &[(i64, &str)], end: Option<&str>| {
        let text: Vec<String> = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        let chunk = |((at, _), line): (&(i64, &str), &String)| Chunk {
            at_us: *at,
            len: u32::try_from(line.len()).unwrap(),
        };
        let mut headers = vec![("content-type", LINES.as_bytes())];
        headers.extend(end.map(|end| (SERVER_END_HEADER, end.as_bytes())));
        Outcome::Answered(Answer {
            status: 200,
            headers: RedactedHeaders::redact(headers),
            body: Bytes::from(text.concat()),
            chunks: lines.iter().zip(&text).map(chunk).collect(),
            head_us: 0,
            end_us: lines.last().map_or(99, |(at, _)| *at),
            ending: Ending::Complete,
        })
    };
    let mut asked: Vec<(i64, &str, Lines<'_>)> = Vec::new();
    let mut stream: Lines<'_> = Vec::new();
    let mut end: Option<&str> = None;
    for (at, line) in script.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let at = i64::try_from(at).unwrap() * 10;
        let (kind, text) = line.split_at(2);
        match kind {
            "> " => asked.push((at, text, Vec::new())),
            "< " => asked.last_mut().unwrap().2.push((at, text)),
            "* " => stream.push((at, text)),
            _ => end = Some(text),
        }
    }
    let mut all = vec![exchange(0, "GET", -1, "", answer(&stream, end))];
    for (at, text, said) in asked {
        let ending = Ending::UpstreamReset { error: "gone".into() };
        let outcome = match said.is_empty() && end.is_some() {
            true => Outcome::NoResponse { end_us: 99, ending },
            false => answer(&said, None),
        };
        all.push(exchange(all.len(), "POST", at, text, outcome));
    }
    all
}

fn tape(exchanges: Vec<Exchange>) -> McpTape {
    let run = || Run { environment: None, started_unix_us: None };
    McpTape::new(conversations(exchanges), Masking::between(&run(), &run()), Rung::Masked)
}

/// What the server says to one message, a line each.
fn told(reaction: &Reaction) -> String {
    let line = |part: &Part| match &part.what {
        What::Answer(text) => format!("< {}", String::from_utf8_lossy(text).trim_end()),
        What::Stream(text) => format!("* {}", String::from_utf8_lossy(text).trim_end()),
        What::AwaitClient { id } => format!("? {id}"),
        What::AwaitModel { calls } => format!("? model {calls}"),
    };
    let end = reaction.end.map(|end| format!("! {end}"));
    reaction.parts.iter().map(line).chain(end).collect::<Vec<_>>().join("\n")
}

const EVERYTHING: &str = r#"
    > {"id":0,"method":"initialize","params":{"clientInfo":{"version":"1"}}}
    < {"id":0,"result":{"serverInfo":{}}}
    > {"method":"notifications/initialized"}
    * {"id":"s1","method":"roots/list"}
    > {"id":"s1","result":{"roots":[]}}
    > {"id":1,"method":"tools/list"}
    < {"id":1,"result":{"tools":[{"name":"add"}]}}
    > {"id":2,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":2}}}
    < {"method":"notifications/progress","params":{"progressToken":2,"progress":1}}
    * {"method":"notifications/message","params":{"data":"half way"}}
    < {"id":2,"result":{"content":"3"}}
    > {"id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2}}}
    < {"id":3,"result":{"content":"three"}}
    * {"method":"notifications/tools/list_changed"}
"#;

#[test]
fn messages_get_their_answers_under_their_own_ids() {
    let mut tape = tape(recorded("calc", "1", EVERYTHING));
    let (session, opening) = tape.open(&ServerName::parse("calc").unwrap());
    assert_eq!(opening, []);
    let mut say = |text: &str| told(&tape.react(&session, text.as_bytes()));
    insta::assert_snapshot!(say(r#"{"id":"a","method":"initialize","params":{"clientInfo":{"version":"2"}}}"#), @r#"< {"id":"a","result":{"serverInfo":{}}}"#);
    insta::assert_snapshot!(say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), @r#"* {"id":"s1","method":"roots/list"}"#);
    assert_eq!(say(r#"{"id":"s1","result":{"roots":[1]}}"#), "");
    insta::assert_snapshot!(say(r#"{"id":"b","method":"tools/list","params":{}}"#), @r#"< {"id":"b","result":{"tools":[{"name":"add"}]}}"#);
    let call = |id: &str, meta: &str| {
        format!(
            r#"{{"id":"{id}","method":"tools/call","params":{{"arguments":{{"b":2,"a":1.0}},"name":"add"{meta}}}}}"#
        )
    };
    insta::assert_snapshot!(say(&call("c", r#","_meta":{"progressToken":"p"}"#)), @r#"
    < {"method":"notifications/progress","params":{"progressToken":"p","progress":1}}
    * {"method":"notifications/message","params":{"data":"half way"}}
    < {"id":"c","result":{"content":"3"}}
    "#);
    insta::assert_snapshot!(say(&call("d", "")), @r#"
    < {"id":"d","result":{"content":"three"}}
    * {"method":"notifications/tools/list_changed"}
    "#);
    insta::assert_snapshot!(say(r#"{"id":"e","method":"tools/list"}"#), @r#"< {"id":"e","result":{"tools":[{"name":"add"}]}}"#);
    insta::assert_snapshot!(say(&call("f", "")), @r#"< {"jsonrpc":"2.0","id":"f","error":{"code":-32050,"message":"looptape: EXHAUSTED: tools/call add was made of the MCP server calc more often than it was recorded, and the server was not started. The replay's report says more.","data":{"looptape":"EXHAUSTED"}}}"#);
    insta::assert_snapshot!(say(r#"{"id":"g","method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":3}}}"#), @r#"< {"jsonrpc":"2.0","id":"g","error":{"code":-32050,"message":"looptape: NEVER_RECORDED: tools/call add was not recorded of the MCP server calc, which was not started. The replay's report says more.","data":{"looptape":"NEVER_RECORDED"}}}"#);
    insta::assert_snapshot!(say(r#"{"id":"h","method":"ping"}"#), @r#"< {"jsonrpc":"2.0","id":"h","result":{}}"#);
    let report = tape.finish(&[]);
    insta::assert_snapshot!(report.lines().join("\n"), @r#"MCP server calc, not started: 2 of 2 recorded tool calls served, 10 messages (1 asked again)"#);
    let reports: Vec<String> = report.divergences().iter().map(crate::replay::report_text::of).collect();
    insta::assert_snapshot!(reports.join(""), @r#"
    EXHAUSTED: tools/call add was made of the MCP server calc more often than it was recorded, and the server was not started.
      request   tools/call add
      next      The program asks this more often than it did then: look for what repeats it, such as a retry of its own, a loop or a second worker.
    NEVER_RECORDED: tools/call add was not recorded of the MCP server calc, which was not started.
      request   tools/call add
      recorded  {"a":1,"b":2}
      sent      {"a":1,"b":3}
      next      The agent asked its tool server for something else than it did then: look at what led there, above or in `looptape show`. If it is meant, record the run again. `writes = false` under [tools.add] in looptape.toml lets it run.
    "#);
}

/// The server asked the client for something in the middle of a call: it answers once it has been told.
#[test]
fn a_server_that_asked_waits_for_its_answer() {
    let script = r#"
        > {"id":1,"method":"tools/call","params":{"name":"ask"}}
        * {"id":7,"method":"sampling/createMessage"}
        > {"id":7,"result":{"content":"yes"}}
    "#;
    let mut exchanges = recorded("s", "1", script);
    // The call's answer came after the client's.
    let Outcome::Answered(answer) = &mut exchanges[1].outcome else { panic!() };
    let line = "{\"id\":1,\"result\":{}}\n";
    answer.body = Bytes::from_static(line.as_bytes());
    answer.chunks = vec![Chunk { at_us: 30, len: u32::try_from(line.len()).unwrap() }];
    let mut tape = tape(exchanges);
    let (session, _) = tape.open(&ServerName::parse("s").unwrap());
    let reaction = tape.react(&session, br#"{"id":5,"method":"tools/call","params":{"name":"ask"}}"#);
    insta::assert_snapshot!(told(&reaction), @r#"
    * {"id":7,"method":"sampling/createMessage"}
    ? 7
    < {"id":5,"result":{}}
    "#);
}

#[test]
fn crashes_and_hangs_are_replayed_as_such() {
    let mut tape = tape(recorded(
        "s",
        "1",
        "
        > {\"id\":1,\"method\":\"initialize\"}
        < {\"id\":1,\"result\":{}}
        > {\"id\":2,\"method\":\"tools/call\",\"params\":{\"name\":\"crash\"}}
        * Segmentation fault
        ! signal 11
    ",
    ));
    let (session, _) = tape.open(&ServerName::parse("s").unwrap());
    assert_eq!(
        told(&tape.react(&session, b"{\"id\":1,\"method\":\"initialize\"}")),
        "< {\"id\":1,\"result\":{}}"
    );
    let reaction =
        tape.react(&session, b"{\"id\":2,\"method\":\"tools/call\",\"params\":{\"name\":\"crash\"}}");
    assert_eq!(told(&reaction), "* Segmentation fault\n! signal 11");
}

#[test]
fn volatile_values_match_and_what_could_be_either_does_not() {
    let call = |id: u32, run: &str, word: &str| {
        format!(
            r#"{{"id":{id},"method":"tools/call","params":{{"name":"t","arguments":{{"x":"{word} 3f2b8c1e-7a44-4d0e-9d2a-{run}"}}}}}}"#
        )
    };
    let one = format!("> {}\n< {{\"id\":1,\"result\":1}}\n", call(1, "aaaaaaaaaaaa", "run"));
    let two = format!("{one}> {}\n< {{\"id\":1,\"result\":2}}\n", call(1, "bbbbbbbbbbbb", "run"));
    for (script, word, expected) in [
        (&one, "run", "< {\"id\":9,\"result\":1}"),
        (&one, "walk", "NEVER_RECORDED"),
        (&two, "run", "AMBIGUOUS"),
    ] {
        let mut tape = tape(recorded("s", "1", script));
        let (session, _) = tape.open(&ServerName::parse("s").unwrap());
        let said = told(&tape.react(&session, call(9, "cccccccccccc", word).as_bytes()));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_unknown_server_refuses_and_asks_nothing() {
    let mut tape = tape(Vec::new());
    assert!(tape.is_empty());
    let (session, opening) = tape.open(&ServerName::parse("other").unwrap());
    assert_eq!(opening, []);
    let said = told(&tape.react(&session, b"{\"id\":1,\"method\":\"initialize\"}"));
    assert!(said.contains("holds nothing of the MCP server other"), "{said}");
    for silent in ["{\"method\":\"tools/call\"}", "garbage", "{\"id\":1,\"result\":1}"] {
        assert_eq!(told(&tape.react(&session, silent.as_bytes())), "");
    }
    assert_eq!(tape.finish(&[]).divergences().len(), 1);
}

#[test]
fn what_a_server_offers_is_told_no_earlier_than_then() {
    let script = r#"
        > {"id":1,"method":"tools/list"}
        < {"id":1,"result":{"tools":[]}}
        > {"id":2,"method":"tools/call","params":{"name":"t"}}
        < {"id":2,"result":{}}
    "#;
    let told_of = |asked_us: &[i64], message: &[u8]| {
        let mut tape = tape(recorded("s", "1", script)).beside(asked_us.into());
        let (session, _) = tape.open(&ServerName::parse("s").unwrap());
        told(&tape.react(&session, message))
    };
    let lists = br#"{"id":7,"method":"tools/list"}"#;
    insta::assert_snapshot!(told_of(&[2, 15, 90], lists), @r#"
    ? model 1
    < {"id":7,"result":{"tools":[]}}
    "#);
    assert!(!told_of(&[-5, -2], lists).contains('?'), "the agent asked its model, and then the server");
    assert!(!told_of(&[90], lists).contains('?'), "the agent waited");
    let calls = br#"{"id":7,"method":"tools/call","params":{"name":"t"}}"#;
    assert!(!told_of(&(0..90).collect::<Vec<_>>(), calls).contains('?'), "a result offers nothing");
}

#[test]
fn a_changed_list_is_told_when_the_model_was_asked_as_often_as_then() {
    let script = r#"
        > {"id":1,"method":"tools/list"}
        < {"id":1,"result":{"tools":[]}}
        * {"method":"notifications/tools/list_changed"}
        * {"method":"notifications/message"}
    "#;
    let told_of = |asked_us: &[i64]| {
        let mut tape = tape(recorded("s", "1", script)).beside(asked_us.into());
        let (session, _) = tape.open(&ServerName::parse("s").unwrap());
        told(&tape.react(&session, br#"{"id":1,"method":"tools/list"}"#))
    };
    insta::assert_snapshot!(told_of(&[-5, 15, 90]), @r#"
    < {"id":1,"result":{"tools":[]}}
    ? model 2
    * {"method":"notifications/tools/list_changed"}
    * {"method":"notifications/message"}
    "#);
    assert!(!told_of(&[50]).contains('?'), "the model was asked later");
}

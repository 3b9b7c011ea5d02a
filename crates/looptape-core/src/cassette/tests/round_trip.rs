//! Every recording is read back bit for bit.

use super::*;
use crate::facts::{AnswerFate, AskedUpstream};
use crate::replay::{DivergenceCode, GitState, LocalDate, ModelKind, Provenance, Rung, WhyAsked, WhyRefused};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use std::io::Write;

/// Texts with what has a meaning in cassettes: marks of values, ids, times, ends of lines.
fn text() -> impl Strategy<Value = String> {
    "([a-z ]{0,12}|⟦|⟧|⟦#0001.id⟧|\\n|\\r\\n|é|\\u{1f600}|[0-9a-f]{32}|1795751507|/srv/agents/refund|\"|\\\\|<&>|\\u{2028}){0,6}"
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e6..1e6f64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::from(1_795_751_507)),
        text().prop_map(Value::from),
        text().prop_map(|text| Value::from(text.repeat(40))),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec(("(role|content|created|id|\\$lines|[a-z]{1,6}|é\")", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// JSON as programs spell it: compact, spaced, escaped, indented.
fn json_text() -> impl Strategy<Value = Vec<u8>> {
    let object = vec(("(messages|tools|system|model|[a-z]{1,4})", json_value()), 0..5);
    let object = object.prop_map(|members| Value::Object(members.into_iter().collect()));
    (prop_oneof![3 => object, 1 => json_value()], 0..7u8).prop_map(|(value, spelling)| {
        use crate::cassette::style::Style;
        match spelling {
            0 => Style::Compact.write(&value),
            1 => Style::Spaced.write(&value),
            2 => Style::CompactAscii.write(&value),
            3 => Style::SpacedAscii.write(&value),
            4 => Style::CompactHtml.write(&value),
            5 => serde_json::to_vec_pretty(&value).unwrap(),
            _ => [&serde_json::to_vec(&value).unwrap()[..], b"\n"].concat(),
        }
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let gzip = |plain: Vec<u8>| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    prop_oneof![
        1 => Just(Vec::new()),
        6 => json_text(),
        2 => text().prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..60),
        2 => vec(json_text(), 0..5).prop_map(|events| {
            events.into_iter().flat_map(|event| [b"data: ", &event[..], b"\n\n"].concat()).collect()
        }),
        2 => json_text().prop_map(gzip),
        1 => (json_text(), 0..30usize).prop_map(move |(plain, cut)| {
            let whole = gzip(plain);
            whole[..whole.len().saturating_sub(cut)].to_vec()
        }),
    ]
}

fn header_list() -> impl Strategy<Value = RedactedHeaders> {
    let name =
        "(date|content-type|content-encoding|x-request-id|x-api-key|x-ratelimit-reset-tokens|[a-z: -]{1,9})";
    let value = prop_oneof![
        Just(b"gzip".to_vec()),
        Just(b"text/event-stream".to_vec()),
        Just(b"Sun, 22 Nov 2026 03:51:46 GMT".to_vec()),
        vec(any::<u8>(), 0..20),
    ];
    vec((name, value), 0..5).prop_map(|pairs| {
        RedactedHeaders::redact(pairs.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
    })
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        Just(Ending::Complete),
        text().prop_map(|error| Ending::UpstreamReset { error }),
        text().prop_map(|error| Ending::UpstreamUnreachable { error }),
        Just(Ending::ClientGone),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let at = -5_000_000..5_000_000i64;
    let answer = (
        any::<u16>(),
        header_list(),
        body(),
        vec(any::<prop::sample::Index>(), 0..5),
        vec(at.clone(), 6),
        ending(),
    );
    let answered = answer.prop_map(|(status, headers, body, cuts, times, ending)| {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(body.len());
        let mut before = 0;
        let lens = ends.into_iter().map(|end| (end - std::mem::replace(&mut before, end)) as u32);
        let chunks = lens.zip(times.iter().cycle()).map(|(len, at)| Chunk { at_us: *at, len }).collect();
        let (head_us, end_us) = (times[4], times[5]);
        Outcome::Answered(Answer { status, headers, body: body.into(), chunks, head_us, end_us, ending })
    });
    prop_oneof![
        1 => Just(Outcome::InFlight),
        1 => (at, ending()).prop_map(|(end_us, ending)| Outcome::NoResponse { end_us, ending }),
        8 => answered,
    ]
}

fn provenance() -> impl Strategy<Value = Provenance> {
    prop_oneof![
        (any::<u32>(), 0..5u8).prop_map(|(recorded_seq, rung)| {
            Provenance::Cached { recorded_seq, rung: Rung::of_number(rung).unwrap() }
        }),
        Just(Provenance::Asked { model: ModelKind::Live, why: WhyAsked::Fork }),
        Just(Provenance::Asked { model: ModelKind::Mock, why: WhyAsked::Missed(DivergenceCode::ALL[0]) }),
        Just(Provenance::Refused(WhyRefused::OverBudget)),
        Just(Provenance::SideCall),
    ]
}

fn asked_upstream() -> impl Strategy<Value = AskedUpstream> {
    let fate = prop_oneof![Just(AnswerFate::PassedOn), Just(AnswerFate::Superseded)];
    (text(), fate).prop_map(|(url, fate)| AskedUpstream { url, fate })
}

fn one_call() -> impl Strategy<Value = TapedCall> {
    let request = (any::<prop::sample::Index>(), "[A-Z]{1,6}", text(), header_list(), body());
    let rest =
        (any::<i32>(), any::<i32>(), option::of(text()), option::of(any::<u32>()), option::of(provenance()));
    (request, outcome(), rest, option::of(asked_upstream())).prop_map(
        |((provider, method, path, request_headers, request_body), outcome, rest, upstream)| {
            let (sent_us, drift_us, loop_hint, import_index, provenance) = rest;
            let providers = [Provider::OPENAI, Provider::ANTHROPIC, Provider::parse("a-b_9").unwrap()];
            TapedCall {
                exchange: Exchange {
                    seq: 0,
                    sent_us: sent_us.into(),
                    sent_unix_us: STARTED_UNIX_US + i64::from(drift_us),
                    provider: provider.get(&providers).clone(),
                    method,
                    path,
                    request_headers,
                    request_body: request_body.into(),
                    outcome,
                },
                loop_hint,
                import_index,
                provenance,
                upstream,
            }
        },
    )
}

/// Calls of which some carry on from the ones before, with holes in their numbers.
fn many_calls() -> impl Strategy<Value = Vec<TapedCall>> {
    let histories = vec((vec(json_value(), 0..4), any::<bool>(), 0..2u8), 0..5);
    (vec(one_call(), 0..5), histories, 0..3u32).prop_map(|(mut calls, histories, hole)| {
        let mut history: Vec<Value> = Vec::new();
        for (new, is_trimmed, spelling) in histories {
            if is_trimmed {
                history.truncate(1);
            }
            history.extend(new);
            let body = json!({"model": "m", "messages": history, "system": "words and ".repeat(60)});
            let mut next = call(0, &body, &["data: {}\n\n".to_owned()]);
            if spelling == 1 {
                next.exchange.request_body = super::super::style::Style::SpacedAscii.write(&body).into();
            }
            calls.push(next);
        }
        for (call, seq) in calls.iter_mut().zip(0..) {
            call.exchange.seq = seq * (1 + hole);
        }
        calls
    })
}

fn any_trace() -> impl Strategy<Value = TapedTrace> {
    let end = (any::<i64>(), any::<bool>(), option::of(any::<i32>()), option::of(text()), 0..5usize);
    let end = end.prop_map(|(ended_us, idle, exit_code, aborted, outcome)| TapedEnd {
        ended_us,
        idle,
        exit_code,
        aborted,
        outcome: ["success", "failure", "abandoned", "unknown"]
            .get(outcome)
            .and_then(|word| LoopOutcome::parse(word)),
    });
    let git = (option::of("[0-9a-f]{40}"), option::of(text()), option::of(text()));
    let git = git.prop_map(|(head, branch, status)| GitState { head, branch, status });
    let environment = (option::of(text()), option::of(text()), option::of(git), any::<bool>());
    let environment = environment.prop_map(|(working_folder, user, git, dated)| Environment {
        local_date: if dated { LocalDate::new(2026, 11, 22) } else { None },
        working_folder,
        user,
        git,
        ..Environment::default()
    });
    let names = (option::of(text()), option::of(text()), btree_map(text(), text(), 0..3), vec(text(), 0..3));
    let rest = (option::of(text()), any::<i64>(), 0..5usize, option::of(any::<i64>()), any::<bool>());
    (names, rest, option::of(environment), option::of(end), btree_map(text(), any::<u64>(), 0..3)).prop_map(
        |(
            (name, agent, tags, command),
            (why, started, timing, happened, byte_exact),
            environment,
            end,
            gaps,
        )| {
            let timings = [
                Timing::Measured,
                Timing::Stated,
                Timing::StartsOnly,
                Timing::DurationsOnly,
                Timing::OrderOnly,
            ];
            TapedTrace {
                name,
                labels: Labels { agent_version: agent.clone(), agent, tags },
                command,
                parent: why.map(|why| TapedParent { trace: trace().id, why }),
                // Also times that no calendar has.
                started_unix_us: if started % 3 == 0 { started } else { STARTED_UNIX_US },
                timing: timings[timing],
                happened_unix_us: happened,
                byte_exact,
                environment,
                end,
                gaps,
                ..trace()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(trace in any_trace(), calls in many_calls()) {
        let files = written(&trace, &calls);
        let through_archive = unpack(&pack(&files, &trace.id));
        prop_assert_eq!(through_archive.as_ref(), Ok(&files));
        let (read_trace, read_calls) = read(files.clone()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&read_trace, &trace);
        prop_assert_eq!(read_calls.len(), calls.len());
        for (read, call) in read_calls.iter().zip(&calls) {
            prop_assert_eq!(read, call);
        }
        prop_assert_eq!(written(&read_trace, &read_calls), files);
    }

    /// Names and text files have the ends of lines that they should have, and our own members are in order.
    #[test]
    fn files_are_plain(calls in many_calls()) {
        for (name, file) in written(&trace(), &calls) {
            if name.as_str().ends_with(".json") {
                prop_assert!(file.ends_with(b"\n") && !file.contains(&b'\r'), "{}", name);
            }
        }
    }
}

/// A long loop costs what its steps add.
#[test]
fn a_long_loop_is_not_quadratic() {
    let message =
        |n: usize| json!({"role": "user", "content": format!("message {n} {}", "words ".repeat(20))});
    let mut writer = Writer::new(trace());
    let mut messages = Vec::new();
    for seq in 0..200 {
        messages.extend([message(2 * seq), message(2 * seq + 1)]);
        writer.add(&call(seq as u32, &json!({"model": "m", "messages": messages}), &["data: {}\n\n".into()]));
    }
    let files = writer.finish();
    let total: usize = files.values().map(bytes::Bytes::len).sum();
    assert!(total < 500_000, "{total}");
    let (_, calls) = read(files).unwrap();
    assert_eq!(
        calls[199].exchange.request_body,
        serde_json::to_vec(&json!({"model": "m", "messages": messages})).unwrap()
    );
}

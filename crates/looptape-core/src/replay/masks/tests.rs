//! What masks tolerate, and above all what they do not.

use super::super::environment::{Environment, GitState, LocalDate};
use super::*;
use serde_json::{Value, json};

const STARTED_S: i64 = 1_795_337_814;

fn run(user: &str, day: i8) -> Run {
    let head = format!("{:040x}", u64::from(user.as_bytes()[0]) << 40 | u64::from(user.len() as u32));
    Run {
        environment: Some(Environment {
            local_date: LocalDate::new(2026, 11, day),
            working_folder: Some(format!(
                "/srv/{user}/{}-app",
                if user == "alice" { "first" } else { "second" }
            )),
            home: Some(format!("/home/{user}")),
            temporary_folder: Some(format!("/scratch/{user}")),
            user: Some(user.into()),
            host: Some(format!("host-of-{user}")),
            kernel: Some(format!("6.8.0-{day}-generic")),
            time_zone: Some(if user == "alice" { "Europe/Oslo" } else { "Etc/UTC" }.into()),
            git: Some(GitState {
                head: Some(head),
                branch: Some(format!("work-of-{user}")),
                status: Some(format!("M {user}.txt\n?? notes")),
            }),
        }),
        started_unix_us: Some((STARTED_S + i64::from(day) * 86_400) * 1_000_000),
    }
}

fn masking() -> Masking {
    Masking::between(&run("alice", 2), &run("bob", 9))
}

/// Whether a live request may stand for a recorded one.
fn tolerates(masking: &Masking, wire: Wire, recorded: &Value, live: &Value) -> bool {
    let (recorded, live) = (recorded.to_string(), live.to_string());
    let masked = |body: &str| {
        let mut json = Json::parse(body.as_bytes()).expect("JSON");
        let endpoint = components::Endpoint::new("POST", "/v1/x");
        let spans = masking.apply(Some(wire), &endpoint, &mut json);
        (components::RequestKey::of_json(Some(wire), &endpoint, &json).renamed, spans)
    };
    let ((recorded, recorded_spans), (live, live_spans)) = (masked(&recorded), masked(&live));
    recorded == live && masking.pairs(&recorded_spans, &live_spans).is_ok()
}

/// The same for one text in a user's message, a tool's result, a call's arguments and a system prompt.
fn texts_tolerated(masking: &Masking, recorded: &str, live: &str) -> bool {
    let everywhere: [fn(&str) -> Value; 4] = [
        |text| json!({"messages": [{"role": "user", "content": text}]}),
        |text| json!({"messages": [{"role": "tool", "tool_call_id": "a", "content": text}]}),
        |text| {
            json!({"messages": [{"role": "assistant", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": text}}]}]})
        },
        |text| json!({"messages": [{"role": "system", "content": text}, {"role": "user", "content": "x"}]}),
    ];
    let tolerated = everywhere.map(|body| tolerates(masking, Wire::OpenAiChat, &body(recorded), &body(live)));
    assert!(tolerated.iter().all(|t| *t == tolerated[0]), "{recorded} {live}: {tolerated:?}");
    tolerated[0]
}

#[test]
fn a_volatile_value_may_differ() {
    let masking = masking();
    for (text, recorded, live) in [
        ("run @ of 3", "123e4567-e89b-12d3-a456-426614174000", "0af76519-16cd-43dd-8448-eb211c80319c"),
        ("run @", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVRZ"),
        ("run_@ is done", "8f3a0c1d2e4b5a69", "c41d77aa01b2c3d4e5f6"),
        ("call_@", "9pw1qnScqSBvVRrYtJmEXQGl", "bXk3vP9qLm2Rt8sYw4ZnAa1Q"),
        ("<Agent object at @>", "0x7f8a1c003a10", "0x7f11aa00bb20"),
        ("at @: 5 items", "2026-11-22T08:56:54Z", "2026-12-01T17:00:00.5+01:00"),
        ("at @", "Sun Nov 22 08:56:54 UTC 2026", "Mon Nov 23 18:00:00 UTC 2026"),
        ("ts=@,", "1795510614", "1796115414.25"),
        ("in @/out.csv", "/tmp/run-8f3a", "/tmp/run-77c1"),
        ("in @/out.csv", "/tmp/alpha", "/var/folders/zz/q1_x/T/tmp.Xy12ab"),
        ("in @/job/out.csv", "/scratch/alice", "/scratch/bob"),
        ("http://@/v1", "127.0.0.1:43121", "localhost:8080"),
        ("https://db.example.com:@/", "5432", "5433"),
        ("on @.", "ip-10-0-1-23.ec2.internal", "macbook.local"),
        ("[pid @] ok", "4711", "99"),
        (r#"{"pid": @, "n": 2}"#, "4711", "99"),
        ("port @ open", "8080", "43121"),
        ("3 passed in @", "0.12s", "14.0s"),
        ("build took @, fine", "1m2.3s", "840ms"),
        ("elapsed: @", "12 ms", "1.5 s"),
        ("Today is @.", "2026-11-02", "2026-11-09"),
        ("Today is @.", "2026-11-03", "2026-11-10"),
        ("Today is @.", "Monday, November 2, 2026", "Monday, November 9, 2026"),
        ("cwd: @/src/main.rs", "/srv/alice/first-app", "/srv/bob/second-app"),
        // As `diff` reads claude-code's system prompt: its parts in one text.
        ("x-anthropic-billing-header: v=1;\n\ncwd: @", "/srv/alice/first-app", "/srv/bob/second-app"),
        ("memory at ~/.claude/projects/@/memory", "-srv-alice-first-app", "-srv-bob-second-app"),
        ("kept in ~/.gemini/tmp/@/x", "first-app", "second-app"),
        ("see @/.ssh", "/home/alice", "/home/bob"),
        ("user @ asks", "alice", "bob"),
        ("user=@", "alice", "bob"),
        ("on @", "host-of-alice", "host-of-bob"),
        ("Linux @ x86", "6.8.0-2-generic", "6.8.0-9-generic"),
        ("branch @", "work-of-alice", "work-of-bob"),
        ("status:\n@\nend", "M alice.txt\n?? notes", "M bob.txt\n?? notes"),
    ] {
        let (recorded, live) = (text.replace('@', recorded), text.replace('@', live));
        assert!(texts_tolerated(&masking, &recorded, &live) || text == "user @ asks", "{recorded} | {live}");
        for (a, b) in [(" 3", " 4"), (" ok", " no"), ("done", "gone"), ("5 items", "6 items"), ("out", "err")]
        {
            let changed = live.replacen(a, b, 1);
            assert!(
                changed == live || !texts_tolerated(&masking, &recorded, &changed),
                "{recorded} | {changed}"
            );
        }
        let beside = format!("{live} and more");
        assert!(!texts_tolerated(&masking, &recorded, &beside), "{recorded} | {beside}");
    }
}

#[test]
fn everything_else_counts() {
    let masking = masking();
    for (recorded, live) in [
        ("12 degrees", "13 degrees"),
        ("refund 4711", "refund 4712"),
        ("took 11409", "took 11943"),
        ("remind me in 5 minutes", "remind me in 10 minutes"),
        ("version 1.2.3", "version 1.2.4"),
        ("main.rs:120", "main.rs:121"),
        ("at 10:30", "at 11:30"),
        ("on 2026-11-05", "on 2026-11-12"),
        // The other run's own day.
        ("on 2026-11-09", "on 2026-11-02"),
        // The form of a day is not its value.
        ("on 2026-11-02", "on Nov 9, 2026"),
        ("at 1600000000", "at 1600000001"),
        // Near the clock of the other run only.
        ("at 1796115414", "at 1795510614"),
        ("order 1234567890123456", "order 1234567890123457"),
        ("call getUserById2FromDatabase", "call getUserById3FromDatabase"),
        ("read /tmp/a/in.txt", "read /tmp/a/out.txt"),
        ("read /tmp/in.txt", "read /tmp/out.txt"),
        ("/srv/alice/first-app", "/srv/carol/app"),
        ("/srv/alice/first-app", "/home/bob"),
        ("alice", "carol"),
        ("malice", "mbob"),
        ("settings.local.json", "setting.local.json"),
        ("https://a.example.com:443/", "https://b.example.com:443/"),
        ("123e4567-e89b-12d3-a456-426614174000", "a word"),
        ("4711", "99"),
        ("the first-app is", "the second-app is"),
    ] {
        assert!(!texts_tolerated(&masking, recorded, live), "{recorded} | {live}");
    }
}

/// What is the same on both sides is the same, whoever's value it holds.
#[test]
fn equal_texts_stay_equal() {
    let masking = masking();
    for text in [
        "cd /srv/alice/first-app && make",
        "cd /srv/bob/second-app && make",
        "hello bob, alice and carol; work-of-bob",
        "on 2026-11-02 and 2026-11-09 at 1795510614 and 1796115414",
        "/tmp/x1/y and 123e4567-e89b-12d3-a456-426614174000",
    ] {
        assert!(texts_tolerated(&masking, text, text), "{text}");
    }
}

#[test]
fn ids_keep_who_they_are() {
    let masking = masking();
    const A: &str = "123e4567-e89b-12d3-a456-42661417400a";
    const B: &str = "123e4567-e89b-12d3-a456-42661417400b";
    const X: &str = "0af76519-16cd-43dd-8448-eb211c80319c";
    const Y: &str = "0af76519-16cd-43dd-8448-eb211c80319d";
    let texts = |ids: &[&str]| ids.join(" then ");
    for (recorded, live, may) in [
        (vec![A, B, A], vec![X, Y, X], true),
        (vec![A, B, A], vec![X, Y, Y], false),
        (vec![A, B], vec![X, X], false),
        (vec![A, A], vec![X, Y], false),
        // A recorded answer brought the recorded id.
        (vec![A, A], vec![X, A], true),
        (vec![A, B], vec![B, B], false),
        (vec![A, B], vec![B, A], true),
    ] {
        assert_eq!(texts_tolerated(&masking, &texts(&recorded), &texts(&live)), may, "{recorded:?} {live:?}");
    }
}

#[test]
fn names_and_parameters_are_exact() {
    let (a, b) = ("8f3a0c1d2e4b5a69", "c41d77aa01b2c3d4");
    let masking = masking();
    for body in [
        json!({"model": "@", "messages": []}),
        json!({"tools": [{"function": {"name": "@"}}], "messages": []}),
        json!({"tools": [{"function": {"name": "f", "description": "@"}}], "messages": []}),
        json!({"stop": "@", "messages": []}),
        json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "@", "arguments": "{}"}}]}]}),
        json!({"messages": [{"role": "@", "content": "x"}]}),
    ] {
        let with = |id: &str| serde_json::from_str(&body.to_string().replace('@', id)).unwrap();
        assert!(!tolerates(&masking, Wire::OpenAiChat, &with(a), &with(b)), "{body}");
    }
    // An argument may be called `name`.
    let argument = |id: &str| json!({"messages": [{"content": [{"type": "tool_use", "name": "f", "input": {"name": id}}]}]});
    assert!(tolerates(&masking, Wire::AnthropicMessages, &argument(a), &argument(b)));
}

/// Agents tell their tools which month it is, and where they work.
#[test]
fn descriptions_of_tools_may_name_what_is_a_runs_own() {
    let masking = Masking::between(&run("alice", 2), &run("bob", 9));
    let tool = |name: &str, description: &str| {
        json!({"messages": [], "tools": [{"name": name, "description": description, "input_schema": {"type": "object",
            "properties": {"path": {"type": "string", "description": description}}}}]})
    };
    let may = |recorded: &Value, live: &Value| tolerates(&masking, Wire::AnthropicMessages, recorded, live);
    let (there, here) =
        ("It is 2026-11-02 in /srv/alice/first-app", "It is 2026-11-09 in /srv/bob/second-app");
    assert!(may(&tool("f", there), &tool("f", here)));
    assert!(!may(&tool("f", there), &tool("f", &format!("{here}!"))), "another word beside it counts");
    assert!(!may(&tool("f", "on 2026-11-02"), &tool("f", "on 2026-11-17")), "another day counts");
    assert!(!may(&tool("alice", "x"), &tool("bob", "x")), "names count");
    assert!(!may(&tool("f", "8f3a0c1d2e4b5a69"), &tool("f", "c41d77aa01b2c3d4")), "ids count");
}

/// Values that stand in JSON as numbers.
#[test]
fn numbers_have_names() {
    let masking = masking();
    let result = |value: Value| json!({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": value}}]}]});
    let may = |recorded: Value, live: Value| {
        tolerates(&masking, Wire::GeminiGenerate, &result(recorded), &result(live))
    };
    let (then, now) = (STARTED_S + 2 * 86_400, STARTED_S + 9 * 86_400);
    assert!(may(json!({"pid": 4711, "n": 1}), json!({"pid": 4712, "n": 1})));
    assert!(may(json!({"at": then, "port": 80}), json!({"at": now, "port": 81})));
    assert!(may(json!({"elapsed_ms": 12.5}), json!({"elapsed_ms": 13})));
    assert!(may(
        json!({"output": "x\nProcess Group PGID: 11409\n"}),
        json!({"output": "x\nProcess Group PGID: 11943\n"})
    ));
    assert!(!may(json!({"pid": 4711, "n": 1}), json!({"pid": 4712, "n": 2})));
    assert!(!may(json!({"at": then}), json!({"at": now.to_string()})));
    assert!(!may(json!({"count": 4711}), json!({"count": 4712})));
    assert!(!may(json!({"timeout_ms": 10}), json!({"timeout_ms": 20})));
    assert!(!may(json!({"at": now}), json!({"at": then})));
}

/// Every volatile field that was observed to differ between two identical runs of a client.
#[test]
fn what_clients_were_seen_to_change() {
    for (wire, format, recorded, live) in [
        (
            Wire::OpenAiResponses,
            json!({"input": [{"type": "function_call_output", "call_id": "c", "output": "Chunk ID: @\nOutput:\nhi"}]}),
            "1515fe",
            "7c51ad",
        ),
        (
            Wire::OpenAiResponses,
            json!({"input": [{"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "Wall time @ seconds"}]}]}),
            "0.4",
            "12.0001",
        ),
        (
            Wire::OpenAiResponses,
            json!({"input": [{"type": "function_call_output", "output": "{\"chunk_id\":\"@\",\"wall_time_seconds\":0.5}"}]}),
            "a1b2c3",
            "0fe9d8",
        ),
        (
            Wire::OpenAiResponses,
            json!({"input": [{"type": "function_call_output", "output": "{\"wall_time_seconds\":@,\"exit_code\":0}"}]}),
            "1e-5",
            "0.00001019",
        ),
        (
            Wire::OpenAiResponses,
            json!({"input": "x", "prompt_cache_key": "@", "client_metadata": {"turn": "@"}}),
            "a",
            "b",
        ),
        (
            Wire::OpenAiResponses,
            json!({"input": [{"type": "message", "role": "user", "id": "@", "content": "x"}]}),
            "0198a-1",
            "0198b-2",
        ),
        (
            Wire::GeminiGenerate,
            json!({"contents": [{"parts": [{"functionResponse": {"id": "pyd_ai_@", "response": {"output": "hi\nProcess Group PGID: 7\n"}}}]}]}),
            "0af7651916cd43dd8448eb211c80319c",
            "8f3a0c1d2e4b5a690af7651916cd43dd",
        ),
        (
            Wire::GeminiGenerate,
            json!({"contents": [{"parts": [{"functionCall": {"id": "read_file-@-0", "name": "read_file"}}]}, {"parts": [{"functionResponse": {"id": "read_file-@-0", "response": {}}}]}]}),
            "1795510614123",
            "1796115414001",
        ),
        (
            Wire::GeminiGenerate,
            json!({"contents": [{"parts": [{"functionResponse": {"response": {"output": "hi\nProcess Group PGID: @\n"}}}]}]}),
            "11409",
            "11943",
        ),
        (
            Wire::AnthropicMessages,
            json!({"metadata": {"user_id": "{\"session_id\":\"@\"}"}, "messages": []}),
            "a",
            "b",
        ),
        (
            Wire::AnthropicMessages,
            json!({"system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=@; cc_prev_req=req_@; cc_prompt_id=@;"}], "messages": []}),
            "eae7b",
            "efbf7",
        ),
        (
            Wire::AnthropicMessages,
            json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "Chunk ID: @"}]}]}]}),
            "a1",
            "b2",
        ),
        (
            Wire::AnthropicMessages,
            json!({"system": [{"type": "text", "text": "Working directory: @\nToday's date: 2026-11-02"}], "messages": []}),
            "/srv/alice/first-app",
            "/srv/bob/second-app",
        ),
        (
            Wire::OpenAiChat,
            json!({"messages": [{"role": "tool", "content": "Wall time: @ seconds"}], "prompt_cache_key": "@"}),
            "1",
            "2",
        ),
    ] {
        let with =
            |value: &str| -> Value { serde_json::from_str(&format.to_string().replace('@', value)).unwrap() };
        let live = if live == "/srv/bob/second-app" {
            serde_json::from_str(&with(live).to_string().replace("2026-11-02", "2026-11-09")).unwrap()
        } else {
            with(live)
        };
        assert!(tolerates(&masking(), wire, &with(recorded), &live), "{format}");
    }
    let header = |version: &str| json!({"system": [{"type": "text", "text": format!("x-anthropic-billing-header: cc_version={version}; cch=a;")}], "messages": []});
    assert!(!tolerates(&masking(), Wire::AnthropicMessages, &header("1"), &header("2")));
}

#[test]
fn masks_can_be_turned_off_and_added() {
    let (a, b) = ("job 8f3a0c1d2e4b5a69", "job c41d77aa01b2c3d4");
    assert!(texts_tolerated(&masking(), a, b));
    assert!(!texts_tolerated(&masking().without([MaskKind::Id]), a, b));
    let entry = |pointer: &str, kind: Option<&str>, pattern: Option<&str>| {
        let entry = MaskEntry {
            pointer: pointer.into(),
            wire: None,
            kind: kind.map(Into::into),
            pattern: pattern.map(Into::into),
        };
        masking().without([MaskKind::Id]).with([ConfiguredMask::try_from(&entry).unwrap()])
    };
    let body = |text: &str, seed: u32| json!({"messages": [{"role": "user", "content": text}], "seed": seed});
    let may = |masking: &Masking, recorded: &Value, live: &Value| {
        tolerates(masking, Wire::OpenAiChat, recorded, live)
    };
    let by_kind = entry("/messages/*/content", Some("id"), None);
    assert!(may(&by_kind, &body(a, 1), &body(b, 1)));
    assert!(!may(&by_kind, &body(a, 1), &body("job", 1)));
    let by_pattern = entry("/messages/*/content", None, Some("^job (\\w+)$"));
    assert!(may(&by_pattern, &body(a, 1), &body("job no-9".replace('-', "").as_str(), 1)));
    assert!(!may(&by_pattern, &body(a, 1), &body("jobs no9", 1)));
    let whole = entry("/seed", None, None);
    assert!(may(&whole, &body("x", 1), &body("x", 2)));
    assert!(!may(&whole, &body("x", 1), &body("y", 2)));
    assert!(!may(&masking(), &body("x", 1), &body("x", 2)));
}

/// A text that holds the sign of a mask is none.
#[test]
fn nothing_passes_for_a_mask() {
    let id = "8f3a0c1d2e4b5a69";
    for forged in ["\u{fdd0}id\u{fdd1}", "\u{fdd0}\u{fdd0}\u{fdd0}id\u{fdd1}", "[id]"] {
        assert!(!texts_tolerated(&masking(), id, forged), "{forged:?}");
        assert!(texts_tolerated(&masking(), forged, forged));
    }
}

/// Pictures and signatures are content, however their digits look.
#[test]
fn content_is_compared_as_it_is() {
    let picture = |seed: u64| {
        let mut state = seed;
        let bytes: Vec<u8> = (0..3000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let url = |seed| format!("data:image/png;base64,{}", picture(seed));
    assert!(!texts_tolerated(&masking(), &url(1), &url(2)));
}

proptest::proptest! {
    /// Whatever the text: no panic, parts in order and apart, on the text's own characters.
    #[test]
    fn scanning_is_safe(text in "([a-f0-9]{1,40}|[ :/.=_-]|pid|port|took|in|/tmp/|localhost|2026-11-02|T08:00|alice|[A-Za-z0-9é]{1,20}|\\[::1\\]:80){0,30}") {
        let masking = masking();
        let parts = masking.parts_of_text(text.as_bytes());
        for (range, _) in &parts {
            proptest::prop_assert!(text.get(range.clone()).is_some_and(|part| !part.is_empty()), "{text:?} {parts:?}");
        }
        for pair in parts.windows(2) {
            proptest::prop_assert!(pair[0].0.end <= pair[1].0.start, "{text:?} {parts:?}");
        }
    }

    /// A changed word outside every part is never tolerated.
    #[test]
    fn words_beside_count(words in proptest::collection::vec("[a-z]{1,6}|[0-9]{1,4}|pid 4711|took 1.2s|/tmp/a1/b", 1..12), at in proptest::prelude::any::<proptest::sample::Index>()) {
        let masking = masking();
        let text = words.join(" ");
        let mut changed = words.clone();
        let at = at.index(words.len());
        changed[at] = format!("{} yes", changed[at]);
        proptest::prop_assert!(!texts_tolerated(&masking, &text, &changed.join(" ")));
    }
}

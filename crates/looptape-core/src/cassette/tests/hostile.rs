//! What a cassette from elsewhere may try.

use super::*;
use std::io::Write;

fn good() -> Files {
    written(&trace(), &calls("a", 1_795_751_507))
}

fn name(text: &str) -> FileName {
    FileName::parse(text).unwrap()
}

fn refusal(files: Files) -> String {
    read(files).unwrap_err().to_string()
}

fn changed(file: &str, change: impl Fn(&str) -> String) -> Files {
    let mut files = good();
    let before = text(&files, file).to_owned();
    let after = change(&before);
    assert_ne!(before, after);
    files.insert(name(file), Bytes::from(after));
    files
}

#[test]
fn a_damaged_file_is_named_with_its_hash() {
    for file in ["calls/0001.json", "calls/0002.sse", "timings.json"] {
        let said = refusal(changed(file, |text| text.replacen('e', "E", 1)));
        assert!(said.starts_with(&format!("{file} is damaged")) && said.contains("BLAKE3 hash is"), "{said}");
        let mut files = good();
        files.remove(&name(file));
        assert!(refusal(files).starts_with(&format!("{file} is missing")));
    }
    let content = good().keys().find(|name| name.is_content()).unwrap().clone();
    let said = refusal(changed(content.as_str(), |text| format!("{text} ")));
    assert!(said.starts_with(&format!("{content} is damaged")), "{said}");
    let mut files = good();
    files.remove(&content);
    assert!(refusal(files).starts_with(&format!("{content} is missing")));
}

#[test]
fn the_root_covers_the_manifest_and_the_list() {
    let said = refusal(changed("manifest.json", |text| text.replace("refund.py", "refund.rb")));
    assert!(said.starts_with("manifest.json (or checksums.txt"), "{said}");
    let said = refusal(changed("checksums.txt", |text| {
        text.lines().skip(1).map(|line| format!("{line}\n")).collect()
    }));
    assert!(said.contains("calls/0001.json is not in the list"), "{said}");
    let mut files = good();
    files.insert(name("calls/0003.json"), Bytes::from_static(b"{}"));
    assert!(refusal(files).contains("calls/0003.json is not in the list"));
}

#[test]
fn versions() {
    let said = refusal(changed("manifest.json", |text| text.replace("\"version\": 1", "\"version\": 4")));
    insta::assert_snapshot!(said, @"it was written by a newer looptape (cassette version 4, this one reads up to 3): update looptape");
    let said = refusal(changed("manifest.json", |text| text.replace("looptape cassette", "k7")));
    insta::assert_snapshot!(said, @r#"it is no looptape cassette: its manifest.json does not say `"format": "looptape cassette"`"#);
    assert!(refusal(Files::new()).contains("it has no manifest.json"));
    assert!(
        is_manifest(text(&good(), "manifest.json").as_bytes()) && !is_manifest(b"{}") && !is_manifest(b"x")
    );
}

/// What somebody makes with right hashes, and wrong in another way.
fn resealed(change: impl Fn(&mut Files)) -> String {
    let mut files = good();
    change(&mut files);
    let own = |name: &FileName| ["manifest.json", "checksums.txt"].contains(&name.as_str());
    let calls = files.keys().filter(|name| name.call().is_some()).count() as u64;
    let values = manifest::open(&good()).unwrap().values;
    files.retain(|name, _| !own(name));
    refusal(manifest::seal(files, calls, &trace(), values))
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let replace = |file: &'static str, from: &'static str, to: &'static str| {
        resealed(|files| {
            let before = text(files, file).to_owned();
            assert!(before.contains(from), "{before}");
            files.insert(name(file), Bytes::from(before.replacen(from, to, 1)));
        })
    };
    insta::assert_snapshot!(replace("calls/0001.json", "\"0001.sse\"", "\"../../etc/passwd\""), @"calls/0001.json cannot be understood: `../../etc/passwd` is no name of a file");
    insta::assert_snapshot!(replace("calls/0001.json", "\"0001.sse\"", "\"0009.sse\""), @"calls/0009.sse is missing: restore it, for example with `git checkout`, or export the trace again");
    insta::assert_snapshot!(replace("calls/0001.json", "\"complete\"", "\"splendid\""), @"calls/0001.json cannot be understood: `splendid` is no ending");
    insta::assert_snapshot!(replace("calls/0002.json", "\"call\": 1", "\"call\": 7"), @"the file of call 2 cannot be understood: its messages follow those of call 7, which has no such list");
    insta::assert_snapshot!(replace("calls/0001.sse", "⟦0001.epoch⟧", "⟦0007.epoch⟧"), @"calls/0001.sse cannot be understood: the manifest names no value `0007.epoch`");
    insta::assert_snapshot!(replace("timings.json", "\"chunks\":[[", "\"chunks\":[[7,1],["), @"timings.json cannot be understood: the pieces of calls/0001.json have 315 bytes, its body 308");
    insta::assert_snapshot!(replace("calls/0001.json", "user-agent: ", "user-agent:"), @"calls/0001.json cannot be understood: `user-agent:OpenAI/Python 2.3` is no header: write `name: value`");
    insta::assert_snapshot!(resealed(|files| { files.insert(name("calls/0001.json"), Bytes::from_static(b"[")); }), @"calls/0001.json cannot be understood: EOF while parsing a list at line 1 column 1");
}

/// A header that somebody wrote in by hand is redacted like any other.
#[test]
fn keys_are_redacted() {
    let mut files = good();
    let text =
        text(&files, "calls/0001.json").replace("authorization: [redacted]", "authorization: Bearer sk-real");
    files.insert(name("calls/0001.json"), Bytes::from(text));
    let values = manifest::open(&good()).unwrap().values;
    files.retain(|name, _| !["manifest.json", "checksums.txt"].contains(&name.as_str()));
    let (_, calls) = read(manifest::seal(files, 2, &trace(), values)).unwrap();
    assert_eq!(calls[0].exchange.request_headers.get("authorization"), Some("[redacted]"));
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 1).unwrap()
}

fn tar_of(entries: &[(&str, tar::EntryType, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, kind, size) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(*size);
        header.set_cksum();
        out.write_all(header.as_bytes()).unwrap();
        out.extend(vec![0; usize::try_from(size.div_ceil(512) * 512).unwrap().min(1 << 20)]);
    }
    out.extend([0; 1024]);
    out
}

#[test]
fn archives_lead_nowhere_and_end() {
    let file = tar::EntryType::Regular;
    let refused = |archive: &[u8]| unpack(archive).unwrap_err().to_string();
    for path in ["x/../../etc/passwd", "/etc/passwd", "x/calls/../../y", "x/run.sh", "manifest.json"] {
        let said = refused(&zstd(&tar_of(&[(path, file, 0)])));
        assert!(said.contains("which is no part of a cassette"), "{path}: {said}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Fifo] {
        let said = refused(&zstd(&tar_of(&[("x/manifest.json", kind, 0)])));
        assert!(said.contains("which is no part of a cassette"), "{said}");
    }
    let said = refused(&zstd(&tar_of(&[("x/manifest.json", file, 1 << 40)])));
    assert!(said.starts_with("it is too large"), "{said}");
    let said = refused(&zstd(&tar_of(&[("x/manifest.json", file, 0), ("x/manifest.json", file, 0)])));
    assert!(said.contains("manifest.json twice"), "{said}");
    assert!(refused(b"PK").contains("not compressed with zstd"));
    assert!(refused(&zstd(b"no tar at all")).contains("cut off or damaged"));
}

#[test]
fn an_archive_that_was_cut_off_says_so() {
    let archive = pack(&good(), &trace().id);
    for keep in [4, 5, archive.len() / 2, archive.len() - 9] {
        let read = unpack(&archive[..keep]).and_then(Cassette::open);
        assert!(read.is_err(), "{keep} of {}", archive.len());
    }
    let mut damaged = archive.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    assert!(unpack(&damaged).and_then(Cassette::open).is_err());
}

/// A few kilobytes that would unpack to very much.
#[test]
fn bombs_do_not_go_off() {
    let file = tar::EntryType::Regular;
    let big = super::MAX_TOTAL_BYTES;
    let head = tar_of(&[("x/calls/0001.txt", file, big + 1)]);
    let said = unpack(&zstd(&head)).unwrap_err().to_string();
    assert!(said.starts_with("it is too large"), "{said}");
    // One message of a megabyte, a thousand times in one request.
    let said = resealed(|files| {
        let message = Bytes::from(format!("{{\n  \"a\": \"{}\"\n}}\n", "x".repeat(1 << 20)));
        let mut hash = crate::Digest::of(&message).to_hex();
        hash.truncate(32);
        files.insert(name(&format!("content/{hash}.json")), message);
        let call = text(files, "calls/0001.json").to_owned();
        let call: Value = serde_json::from_str(&call).unwrap();
        let mut call = call;
        call["request"]["body"]["json"]["messages"] = json!(vec![hash; 1000]);
        files.insert(name("calls/0001.json"), Bytes::from(call.to_string()));
    });
    assert_eq!(said, "it is too large: a request's body would have more than 256 MiB");
}

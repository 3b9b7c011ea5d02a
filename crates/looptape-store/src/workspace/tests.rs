use super::*;
use crate::tests::Lab;
use crate::{Maintenance, Moment, Reader, Recorder, Retention, Source, TraceSpec};
use looptape_core::redact::{Credentials, Patterns};
use looptape_core::workspace::{ChangeKind, LeftOut, Limits, SnapshotAt, changes};
use looptape_core::{Digest, TraceId};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

fn options(folder: &Path) -> SnapshotOptions {
    SnapshotOptions {
        folder: folder.canonicalize().unwrap(),
        own_files: Vec::new(),
        patterns: Arc::new(Patterns::builtin()),
        known: Credentials::none(),
        limits: Limits::default(),
    }
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Records a trace of this name; `work` is given what takes snapshots of it.
fn watch(lab: &Lab, name: &str, options: SnapshotOptions, work: impl FnOnce(&Recorder, &dyn Fn(u32))) {
    let id = TraceId::parse(name).unwrap();
    let report = lab.record(|recorder| {
        recorder.open_trace(TraceSpec::new(id.clone(), Source::Record, Moment::now()));
        recorder.describe_workspace(id.clone(), options.folder.display().to_string());
        let (snapshots, thread) = Snapshots::start(recorder.clone(), options).unwrap();
        work(recorder, &|n| {
            let ticket = recorder.files_of(id.clone(), SnapshotAt::Call(n));
            // What could not be taken is in the recording.
            let _ = snapshots.take_now(ticket);
        });
        thread.finish();
        recorder.close_trace(id.clone(), Moment::now(), Some(0), None);
    });
    assert!(report.gaps.is_empty(), "{report:?}");
}

fn roots(lab: &Lab, name: &str) -> Vec<Result<Digest, String>> {
    let workspace = lab.reader().workspace(lab.find(name).unwrap().key).unwrap().unwrap();
    workspace.snapshots.into_iter().map(|snapshot| snapshot.root).collect()
}

fn root(lab: &Lab, name: &str) -> Digest {
    roots(lab, name)[0].clone().unwrap()
}

/// What a folder holds: texts, links and permissions by path.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    fn add(at: &Path, before: &str, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(at).unwrap().flatten() {
            let name = format!("{before}{}", entry.file_name().to_string_lossy());
            let metadata = entry.metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o777;
            if metadata.is_symlink() {
                found.insert(name, format!("-> {}", fs::read_link(entry.path()).unwrap().display()));
            } else if metadata.is_dir() {
                found.insert(format!("{name}/"), format!("{mode:o}"));
                add(&entry.path(), &format!("{name}/"), found);
            } else {
                let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
                found.insert(name, format!("{mode:o} {text}"));
            }
        }
    }
    let mut found = BTreeMap::new();
    add(folder, "", &mut found);
    found
}

fn laid_out(reader: &Reader, root: Digest, home: &Path) -> (TempDir, Restored) {
    let folder = tempfile::tempdir().unwrap();
    let restored = restore(reader, root, folder.path(), home).unwrap();
    (folder, restored)
}

fn changed_paths(reader: &Reader, before: Digest, after: Digest) -> Vec<String> {
    let found = changes(&mut reader.trees(), before, after).unwrap();
    let line = |kind: &ChangeKind| match kind {
        ChangeKind::Added(_) => "A",
        ChangeKind::Removed(_) => "D",
        ChangeKind::Changed { .. } => "M",
    };
    found.iter().map(|c| format!("{} {}", line(&c.kind), String::from_utf8_lossy(&c.path))).collect()
}

/// Files that look as if they had been there for a while: the stat cache trusts them.
fn age(folder: &Path) {
    for path in contents(folder).keys().filter(|path| !path.ends_with('/')) {
        let file = fs::File::options().append(true).open(folder.join(path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
}

#[test]
fn what_was_there_comes_back() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let home = folder.path().canonicalize().unwrap();
    write(&home, &[("a.txt", "one"), ("deep/down/b", ""), ("deep/run.sh", "#!/bin/sh"), (".hidden", "x")]);
    fs::create_dir(home.join("empty")).unwrap();
    fs::set_permissions(home.join("deep/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.join("deep/down"), fs::Permissions::from_mode(0o500)).unwrap();
    symlink("a.txt", home.join("link")).unwrap();
    symlink("nowhere", home.join("broken")).unwrap();
    symlink("..", home.join("loop")).unwrap();
    symlink(home.join("deep/run.sh"), home.join("inside")).unwrap();
    watch(&lab, "t", options(&home), |_, take| take(0));
    let (copy, restored) = laid_out(&lab.reader(), root(&lab, "t"), &home);
    let mut expected = contents(&home);
    let inside = copy.path().join("deep/run.sh");
    expected.insert("inside".to_owned(), format!("-> {}", inside.display()));
    assert_eq!(contents(copy.path()), expected, "links into the folder lead into the fresh one");
    assert_eq!((restored.files, restored.without_secrets), (4, 0));
    assert!(restored.left_out.is_empty());
    fs::set_permissions(home.join("deep/down"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_does_not_belong_to_a_snapshot_is_not_in_it() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let home = folder.path();
    let secret = "key = \"sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij-AAAAAAAA\"";
    write(
        home,
        &[
            (".gitignore", "*.log\n/target\n"),
            (".looptapeignore", "data/\n"),
            ("kept.txt", "kept"),
            ("noise.log", "x"),
            ("target/big", "x"),
            ("data/set.csv", "x"),
            (".git/HEAD", "ref: refs/heads/main"),
            (".looptape/looptape.db", "x"),
            ("mine.db", "x"),
            (".env", "PASSWORD=hunter2"),
            (".env.example", "PASSWORD="),
            (".ssh/known_hosts", "x"),
            ("sub/.aws/credentials", "x"),
            ("settings.py", secret),
            ("large.bin", "0123456789"),
        ],
    );
    fs::write(home.join("secret.bin"), [b"\xff", secret.as_bytes()].concat()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(home.join("pipe")).status().unwrap().success());
    let mut options = options(home);
    options.own_files = vec![options.folder.join("mine.db")];
    options.limits.file_bytes = 200;
    fs::write(home.join("large.bin"), "x".repeat(201)).unwrap();
    watch(&lab, "t", options, |_, take| take(0));
    let (copy, restored) = laid_out(&lab.reader(), root(&lab, "t"), home);
    let found = contents(copy.path());
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [".env.example", ".gitignore", ".looptapeignore", "kept.txt", "settings.py", "sub/"],
        "{found:?}"
    );
    assert!(
        !found["settings.py"].contains("abcdefgh") && found["settings.py"].contains("key = "),
        "{found:?}"
    );
    let left_out = [(LeftOut::Secret, 4), (LeftOut::TooLarge, 1), (LeftOut::Special, 1)];
    assert_eq!((restored.left_out, restored.without_secrets), (BTreeMap::from(left_out), 1));
    let raw = fs::read(&lab.database).unwrap();
    for hidden in [&b"hunter2"[..], b"abcdefghijklmnopqrstuvwxyz0123456789"] {
        assert!(!raw.windows(hidden.len()).any(|window| window == hidden), "a secret is in the database");
    }
}

#[test]
fn each_change_is_seen_and_only_that_is_stored() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let home = folder.path();
    write(home, &[("a", "one"), ("b/c", "two"), ("b/d", "three"), ("gone/x", "four")]);
    age(home);
    watch(&lab, "t", options(home), |_, take| {
        take(0);
        take(1);
        write(home, &[("b/c", "TWO")]);
        take(2);
        // The same length, within one tick of the clock.
        write(home, &[("b/c", "owt")]);
        take(3);
        fs::remove_dir_all(home.join("gone")).unwrap();
        write(home, &[("new/y", "five")]);
        fs::set_permissions(home.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        take(4);
    });
    let (reader, roots) = (lab.reader(), roots(&lab, "t"));
    let root = |n: usize| roots[n].clone().unwrap();
    assert_eq!(root(0), root(1));
    assert_eq!(changed_paths(&reader, root(1), root(2)), ["M b/c"]);
    assert_eq!(changed_paths(&reader, root(2), root(3)), ["M b/c"]);
    assert_eq!(changed_paths(&reader, root(3), root(4)), ["M a", "D gone/x", "A new/y"]);
    let text = |root| fs::read_to_string(laid_out(&reader, root, home).0.path().join("b/c")).unwrap();
    assert_eq!([text(root(1)), text(root(2)), text(root(3))], ["two", "TWO", "owt"]);
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    let times = |content: &str| -> i64 {
        let digest = Digest::of(content.as_bytes()).short();
        raw.query_row("SELECT count(*) FROM recurring WHERE digest = ?1", [digest], |r| r.get(0)).unwrap()
    };
    assert!(["one", "two", "TWO", "owt", "three"].iter().all(|content| times(content) == 1));
    assert!(reader.verify(|_, _| {}).unwrap().damage.is_empty());
}

/// A database from before there were workspaces: its traces have none, and new ones may.
#[test]
fn version_12_gets_workspaces() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let old = lab.of_version(12);
    old.execute_batch(
        "INSERT INTO recorders VALUES (1, 1, 1, 'boot', '0.1.0', 5);
         INSERT INTO traces (id, run, recorder, source, tags, command, started_unix_us, started_mono_us)
           VALUES ('old', 1, 1, 'record', '{}', '[]', 10, 10);
         INSERT INTO trace_ends (trace, ended_us, idle) VALUES (1, 7, 0)",
    )
    .unwrap();
    drop(old);
    write(folder.path(), &[("a", "one")]);
    watch(&lab, "new", options(folder.path()), |_, take| take(0));
    assert_eq!(lab.reader().workspace(lab.find("old").unwrap().key).unwrap(), None);
    let (copy, _) = laid_out(&lab.reader(), root(&lab, "new"), folder.path());
    assert_eq!(contents(copy.path()).len(), 1);
}

#[test]
fn a_second_run_stores_nothing_again() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    write(folder.path(), &[("a", "one"), ("b/c", "two")]);
    watch(&lab, "first", options(folder.path()), |_, take| take(0));
    let contents = || -> i64 {
        let raw = rusqlite::Connection::open(&lab.database).unwrap();
        raw.query_row("SELECT count(*) FROM recurring", [], |r| r.get(0)).unwrap()
    };
    let before = contents();
    watch(&lab, "second", options(folder.path()), |_, take| take(0));
    assert_eq!((contents(), root(&lab, "first")), (before, root(&lab, "second")));
}

#[test]
fn pruning_keeps_what_is_still_referred_to_and_nothing_else() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let home = folder.path();
    write(home, &[("both", "in both"), ("old", "in the old one")]);
    watch(&lab, "old", options(home), |_, take| take(0));
    fs::remove_file(home.join("old")).unwrap();
    write(home, &[("deep/new", "in the new one")]);
    watch(&lab, "new", options(home), |_, take| take(0));
    let mut maintenance = Maintenance::open(&lab.database).unwrap();
    maintenance.remove(&lab.find("old").unwrap()).unwrap();
    let (reader, newest) = (lab.reader(), root(&lab, "new"));
    let (copy, _) = laid_out(&reader, newest, home);
    assert_eq!(contents(copy.path()).len(), 3);
    assert!(reader.verify(|_, _| {}).unwrap().damage.is_empty());
    assert_eq!(reader.file_content(Digest::of(b"in the old one")).unwrap(), None);
    maintenance.prune(&Retention { max_bytes: Some(0), ..Retention::default() }).unwrap();
    assert_eq!(lab.reader().file_content(Digest::of(b"in both")).unwrap(), None);
}

/// While a run is recorded somebody prunes: contents that were handed over may be gone, and are handed over again.
#[test]
fn contents_that_are_lost_on_the_way_come_again() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let home = folder.path();
    write(home, &[("a", "one")]);
    watch(&lab, "other", options(home), |_, take| take(0));
    watch(&lab, "t", options(home), |recorder, take| {
        take(0);
        recorder.flush();
        let mut maintenance = Maintenance::open(&lab.database).unwrap();
        maintenance.remove(&lab.find("other").unwrap()).unwrap();
        write(home, &[("b", "two")]);
        take(1);
        recorder.flush();
        take(2);
    });
    let roots = roots(&lab, "t");
    assert!(roots[1].clone().unwrap_err().contains("deleted"), "{roots:?}");
    let (copy, _) = laid_out(&lab.reader(), roots[2].clone().unwrap(), home);
    assert_eq!(contents(copy.path()).len(), 2);
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
}

#[test]
fn a_folder_that_cannot_be_looked_at_costs_the_snapshot_and_nothing_else() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let home = folder.path().join("home");
    write(&home, &[("a", "1"), ("b", "2"), ("c/d", "3")]);
    let mut small = options(&home);
    small.limits.entries = 3;
    watch(&lab, "many", small, |_, take| take(0));
    watch(&lab, "gone", options(&home), |_, take| {
        take(0);
        fs::remove_dir_all(&home).unwrap();
        take(1);
        write(&home, &[("a", "1")]);
        take(2);
    });
    let why = roots(&lab, "many")[0].clone().unwrap_err();
    assert!(why.contains("more than 3 files and folders") && why.contains(".looptapeignore"), "{why}");
    let gone = roots(&lab, "gone");
    assert!(gone[1].clone().unwrap_err().contains("cannot be read"), "{gone:?}");
    assert!(gone[0].is_ok() && gone[2].is_ok());
}

#[test]
fn no_more_than_the_limit_is_kept() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    write(folder.path(), &[("a", "12345"), ("b", "67890"), ("c", "1")]);
    let mut options = options(folder.path());
    options.limits.total_bytes = 6;
    watch(&lab, "t", options, |_, take| take(0));
    let (copy, restored) = laid_out(&lab.reader(), root(&lab, "t"), folder.path());
    assert_eq!(contents(copy.path()).keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(restored.left_out, BTreeMap::from([(LeftOut::BeyondTotal, 1)]));
}

#[test]
fn damage_is_found_and_named() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    write(folder.path(), &[("a/b", "text"), ("c", "more")]);
    watch(&lab, "t", options(folder.path()), |_, take| take(0));
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    let digest = Digest::of(b"text").short();
    assert_eq!(raw.execute("DELETE FROM recurring WHERE digest = ?1", [digest]).unwrap(), 1);
    let damage = lab.reader().verify(|_, _| {}).unwrap().damage;
    let told: Vec<String> = damage.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["trace t: of its files ./a/b is missing"]);
    let into = tempfile::tempdir().unwrap();
    let error = restore(&lab.reader(), root(&lab, "t"), into.path(), folder.path()).unwrap_err();
    assert!(error.to_string().contains("a/b is missing or damaged"), "{error}");
}

/// Somebody else deletes and rewrites files all the while: every snapshot is whole.
#[test]
fn files_that_come_and_go_meanwhile_harm_nothing() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let home = folder.path().to_owned();
    write(&home, &[("still/here", "still here")]);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let busy = std::thread::spawn({
        let home = home.clone();
        move || {
            let mut n = 0u32;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                n += 1;
                write(&home, &[("moving/a", &"x".repeat(n as usize % 5000)), ("moving/b/c", "y")]);
                fs::remove_dir_all(home.join("moving")).unwrap();
            }
        }
    });
    watch(&lab, "t", options(&home), |_, take| (0..40).for_each(take));
    drop(stop);
    busy.join().unwrap();
    let reader = lab.reader();
    for root in roots(&lab, "t") {
        let (copy, _) = laid_out(&reader, root.unwrap(), &home);
        assert_eq!(contents(copy.path())["still/here"].split_once(' ').unwrap().1, "still here");
    }
    assert!(reader.verify(|_, _| {}).unwrap().damage.is_empty());
}

/// Files of a folder by path; a path is either a file or a folder.
fn some_files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let path = prop::sample::select(vec!["a", "b c", "d/e", "d/f/g", "d/f/ü", "h/.i", "j\u{1b}k"]);
    let content = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::btree_map(path.prop_map(str::to_owned), content, 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_files_come_back_bit_for_bit(files in some_files()) {
        let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
        for (path, content) in &files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        watch(&lab, "t", options(folder.path()), |_, take| take(0));
        let (copy, _) = laid_out(&lab.reader(), root(&lab, "t"), folder.path());
        prop_assert_eq!(contents(copy.path()), contents(folder.path()));
        for (path, content) in &files {
            prop_assert_eq!(&fs::read(copy.path().join(path)).unwrap(), content);
        }
    }
}

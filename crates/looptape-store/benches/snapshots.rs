//! What looking at an agent's files takes: `cargo bench -p looptape-store --bench snapshots`.
//!
//! A folder of 10,000 files is looked at again and again, as `record --workspace` does at each step: the first time, when
//! nothing changed, and when one file did. Beside it, in the same run, stands what any look must do: a walk that asks for the
//! outside of every file. Arguments: `files=N`, `rounds=N`.

use looptape_core::TraceId;
use looptape_core::redact::{Credentials, Patterns};
use looptape_core::workspace::{Limits, SnapshotAt};
use looptape_store::workspace::{SnapshotOptions, Snapshots};
use looptape_store::{Moment, Recorder, RecorderOptions, Source, TraceSpec};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

fn main() {
    let argument = |name: &str, default: usize| {
        let value = std::env::args().find_map(|argument| argument.strip_prefix(name)?.parse().ok());
        value.unwrap_or(default)
    };
    let (files, rounds) = (argument("files=", 10_000), argument("rounds=", 15));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path().join("home");
    let bytes = make(&home, files);
    let patterns = Arc::new(Patterns::builtin());
    let database = folder.path().join("bench.db");
    let (recorder, thread) =
        Recorder::start(RecorderOptions::new(database, patterns.clone())).expect("it opens");
    let id = TraceId::parse("bench").expect("an id");
    recorder.open_trace(TraceSpec::new(id.clone(), Source::Record, Moment::now()));
    let options = SnapshotOptions {
        folder: home.clone(),
        own_files: Vec::new(),
        patterns,
        known: Credentials::none(),
        limits: Limits::default(),
    };
    let (snapshots, watching) = Snapshots::start(recorder.clone(), options).expect("it starts");
    let mut seq = 0;
    let mut look = || {
        seq += 1;
        let seen = snapshots.take_now(recorder.files_of(id.clone(), SnapshotAt::Call(seq)));
        assert_eq!(seen.expect("it can be looked at").files, files as u64);
    };
    println!("{files} files in {} folders, {:.1} MB", files.div_ceil(20), bytes as f64 / 1e6);
    println!("| look | ms: best | median | worst |");
    println!("|---|---|---|---|");
    print("the first", vec![timed(&mut look)]);
    let mut walks = Vec::new();
    let mut unchanged = Vec::new();
    let mut changed = Vec::new();
    for round in 0..rounds {
        walks.push(timed(|| assert_eq!(walk(&home), files)));
        unchanged.push(timed(&mut look));
        fs::write(home.join("folder-0/file-0.txt"), format!("changed {round}")).expect("it can be written");
        changed.push(timed(&mut look));
    }
    print("a bare walk", walks);
    print("nothing changed", unchanged);
    print("one file changed", changed);
    watching.finish();
    drop(recorder);
    assert!(thread.finish().gaps.is_empty());
}

/// Files of some hundred bytes up to some kilobytes, 20 in a folder, written a minute ago; their sizes together.
fn make(home: &Path, files: usize) -> usize {
    let mut bytes = 0;
    for n in 0..files {
        let folder = home.join(format!("folder-{}", n / 20));
        if n % 20 == 0 {
            fs::create_dir_all(&folder).expect("a folder");
        }
        let text = format!("line of file {n}\n").repeat(10 + n * 7 % 200);
        bytes += text.len();
        let path = folder.join(format!("file-{n}.txt"));
        fs::write(&path, text).expect("it can be written");
        let file = fs::File::options().append(true).open(&path).expect("it opens");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("times can be set");
    }
    fs::write(home.join(".gitignore"), "*.log\ntarget/\nnode_modules/\n").expect("it can be written");
    fs::remove_file(home.join("folder-0/file-1.txt")).expect("it is there");
    bytes
}

fn walk(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| match entry.metadata().expect("it is there") {
            outside if outside.is_dir() => walk(&entry.path()),
            _ => 1,
        })
        .sum()
}

fn timed(work: impl FnOnce()) -> Duration {
    let clock = Instant::now();
    work();
    clock.elapsed()
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let (best, median, worst) = (times.first(), times.get(times.len() / 2), times.last());
    println!("| {what} | {:.1} | {:.1} | {:.1} |", ms(best), ms(median), ms(worst));
}

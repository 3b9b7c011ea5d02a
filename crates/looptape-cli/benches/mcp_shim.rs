//! What `looptape mcp` adds to a message: `cargo bench -p looptape-cli --bench mcp_shim`.
//!
//! Two servers run side by side that give back each line at once (`cat`): one alone, one behind the shim with its
//! recording on. Each gets the same message in turn; the figure is
//! the time until it is back, which is two messages on their way through the shim. Compare within one run only.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const MESSAGES: usize = 3000;
/// Before anything is counted.
const WARM_UP: usize = 200;
const SIZES: [usize; 2] = [200, 20_000];

fn main() {
    println!("{:<22} {:>10} {:>10} {:>10} {:>12}", "", "alone, p50", "shim, p50", "shim, p99", "added, p50");
    for size in SIZES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut alone = Server::start(Command::new("cat"));
        let mut shim = Server::start(recorded(folder.path()));
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        for nth in 0..MESSAGES + WARM_UP {
            // An answer: `cat` gives back what it got, and answers of servers are what there is most of.
            let line = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{nth},\"result\":{{\"text\":\"{}\"}}}}\n",
                "x".repeat(size)
            );
            let pair = (alone.round_trip(&line), shim.round_trip(&line));
            if nth >= WARM_UP {
                direct.push(pair.0);
                through.push(pair.1);
            }
        }
        alone.end();
        shim.end();
        let (direct, through) = (Times::of(direct), Times::of(through));
        let added = through.at(50).saturating_sub(direct.at(50));
        println!(
            "{:<22} {:>10} {:>10} {:>10} {:>12}",
            format!("{size} B, recording"),
            ms(direct.at(50)),
            ms(through.at(50)),
            ms(through.at(99)),
            ms(added)
        );
    }
}

fn recorded(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_looptape"));
    command
        .args(["--quiet", "mcp", "--name", "cat", "--", "cat"])
        .env("LOOPTAPE_DB", folder.join("bench.db"));
    command.env_remove("LOOPTAPE_URL").current_dir(folder);
    command
}

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

struct Times(Vec<Duration>);

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }
}

struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    line: String,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server starts");
        let input = child.stdin.take().expect("it has an input");
        let output = BufReader::new(child.stdout.take().expect("it has an output"));
        Self { child, input, output, line: String::new() }
    }

    fn round_trip(&mut self, line: &str) -> Duration {
        self.line.clear();
        let started = Instant::now();
        self.input.write_all(line.as_bytes()).expect("the server takes a line");
        self.output.read_line(&mut self.line).expect("the server gives it back");
        let took = started.elapsed();
        assert_eq!(self.line, line);
        took
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().expect("it ends").success());
    }
}

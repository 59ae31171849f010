//! The measuring programme of `scripts/bench` and `scripts/scale`: one workload in one directory, as cheap as the calls
//! themselves, so that what is measured is the filesystem.
//!
//! Sessions are processes; each step of a workload begins in all of them at once and lasts from the first one's begin to
//! the last one's end. Results are lines `NAME NUMBER`, in operations, names or megabytes (10^6 bytes) per second.

#[path = "work/flows.rs"]
mod flows;
#[path = "work/log.rs"]
mod log;
#[path = "work/streams.rs"]
mod streams;

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::time::{ClockId, clock_gettime};

const USAGE: &str = "\
usage: work WORKLOAD DIR [SESSIONS [COUNT]]   cycle small seq rand stat list open rename missing fsync
       work follow FILE READERS               reads FILE until standard input ends
       work read FILE [BUFFER_BYTES]          reads FILE to its end
       work log DIR EVENTS                    appends the lives of documents to the log in DIR
       work ask CONTROL REQUEST               writes the request, reads the reply to its end";

/// One step of a workload: its name and what it does; gives how much was done.
type Step = (&'static str, Box<dyn FnMut() -> io::Result<u64>>);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["follow", file, readers] => streams::follow(file, number(readers)),
        ["read", file] => streams::read(file, 1 << 20),
        ["read", file, buffer] => streams::read(file, number(buffer)),
        ["ask", control, request] => streams::ask(control, request),
        ["log", dir, events] => log::make(dir, number(events)),
        ["session", workload, dir, which, count] => {
            session(workload, dir.into(), number(which), number(count))
        }
        [workload, dir] => all(workload, dir, 1, 1000),
        [workload, dir, sessions] => all(workload, dir, number(sessions), 1000),
        [workload, dir, sessions, count] => all(workload, dir, number(sessions), number(count)),
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    };
    if let Err(error) = done {
        eprintln!("work: {arguments:?}: {error}");
        std::process::exit(1);
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| {
        eprintln!("work: not a number: {text}\n{USAGE}");
        std::process::exit(2);
    })
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or(0)
}

/// One session: waits for a line before each step, and answers with its name, begin, end and amount.
fn session(workload: &str, dir: PathBuf, session: usize, count: usize) -> io::Result<()> {
    let steps = flows::steps(workload, dir, session, count)?;
    let mut starts = io::stdin().lines();
    println!("ready");
    for (name, mut step) in steps {
        if starts.next().transpose()?.is_none() {
            break;
        }
        let begin = now_ns();
        let amount =
            step().map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        println!("{name} {begin} {} {amount}", now_ns());
    }
    println!("end");
    Ok(())
}

/// A session as its parent sees it.
struct Session {
    child: Child,
    said: io::Lines<BufReader<ChildStdout>>,
}

impl Session {
    fn start(workload: &str, dir: &str, number: usize, count: usize) -> io::Result<Session> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "session",
                workload,
                dir,
                &number.to_string(),
                &count.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Session {
            child,
            said: BufReader::new(stdout).lines(),
        })
    }

    fn next(&mut self) -> io::Result<String> {
        let ended = || io::Error::other("a session failed");
        self.said.next().ok_or_else(ended)?
    }

    fn go(&mut self) -> io::Result<()> {
        match &mut self.child.stdin {
            Some(stdin) => stdin.write_all(b"\n"),
            None => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Runs all sessions step by step and prints the rate of each step.
fn all(workload: &str, dir: &str, sessions: usize, count: usize) -> io::Result<()> {
    let mut running = Vec::new();
    for number in 0..sessions {
        running.push(Session::start(workload, dir, number, count)?);
    }
    for session in &mut running {
        session.next()?;
    }
    loop {
        for session in &mut running {
            // One that has ended its last step has closed its end.
            let _ = session.go();
        }
        let (mut name, mut first, mut last, mut amount) = (String::new(), u64::MAX, 0, 0);
        for session in &mut running {
            let said = session.next()?;
            let words: Vec<&str> = said.split(' ').collect();
            let [step, begin, end, done] = words[..] else {
                return Ok(());
            };
            let figure = |text: &str| text.parse::<u64>().map_err(io::Error::other);
            step.clone_into(&mut name);
            first = first.min(figure(begin)?);
            last = last.max(figure(end)?);
            amount += figure(done)?;
        }
        println!(
            "{name} {:.1}",
            amount as f64 * 1e9 / (last - first).max(1) as f64
        );
    }
}

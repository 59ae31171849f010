//! Several programs at once: who did what, locks between them, and one order of events for all.

use std::fs;
use std::process::Command;

use crate::support::events::{number, text};
use crate::support::{Case, process, wait};

#[test]
fn an_event_names_its_session() {
    let case = Case::new();
    let mount = case.mount();
    let before = mount.head();
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("echo x > a")
        .current_dir(mount.root())
        .env("HIPPOFS_SESSION", "agent-7 \"q\"");
    process::run(&mut shell).success();
    process::run(
        Command::new("sh")
            .arg("-c")
            .arg("rm a")
            .current_dir(mount.root())
            .env_remove("HIPPOFS_SESSION"),
    )
    .success();
    let events = mount.since(before);
    assert_eq!(events.len(), 4);
    for event in &events[..3] {
        assert_eq!(
            (text(event, "session"), text(event, "comm")),
            ("agent-7 \"q\"", "sh"),
            "{event}"
        );
    }
    assert!(events[3].get("session").is_none(), "{}", events[3]);
    assert_eq!(text(&events[3], "comm"), "rm");
}

#[test]
fn another_session_sees_each_event_when_the_call_has_returned() {
    let case = Case::new();
    let mount = case.mount();
    let _quiet = process::quiet();
    for i in 0..100 {
        let before = mount.head();
        fs::write(mount.path("a"), format!("{i}")).unwrap();
        assert_eq!(mount.head(), before + 3);
    }
}

/// Takes a lock in the way given, says so by a file, and holds it until another file appears.
const HOLDER: &str = r#"
import fcntl, os, sys, time
path, way, said, until = sys.argv[1:]
fd = os.open(path, os.O_RDWR)
if way == "flock": fcntl.flock(fd, fcntl.LOCK_EX)
if way == "posix": fcntl.lockf(fd, fcntl.LOCK_EX, 100, 50)
open(said, "w").close()
while not os.path.exists(until): time.sleep(0.005)
"#;

/// Tries the lock without waiting; prints what happened for a conflicting and for another range.
const TRIER: &str = r#"
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
def go(f, *a):
    try: f(fd, *a); return "got"
    except OSError as e: return "busy" if e.errno in (11, 13) else str(e)
if sys.argv[2] == "flock": print(go(fcntl.flock, fcntl.LOCK_SH | fcntl.LOCK_NB), go(fcntl.lockf, fcntl.LOCK_EX | fcntl.LOCK_NB))
else: print(go(fcntl.lockf, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 120), go(fcntl.lockf, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0))
"#;

#[test]
fn locks_hold_between_processes() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a"), "x").unwrap();
    for way in ["flock", "posix"] {
        let (said, until) = (
            case.path(format!("said-{way}")),
            case.path(format!("until-{way}")),
        );
        let mut program = process::python(HOLDER);
        let mut holder =
            process::start(program.arg(mount.path("a")).arg(way).arg(&said).arg(&until));
        wait::until("the lock is held", || {
            if let Some(status) = holder.ended() {
                panic!("{status}: {}", holder.stderr());
            }
            said.exists()
        });
        let attempt =
            || process::run(process::python(TRIER).arg(mount.path("a")).arg(way)).success();
        assert_eq!(attempt().trim(), "busy got", "{way} while held");
        fs::write(&until, "").unwrap();
        holder.finish().success();
        assert_eq!(attempt().trim(), "got got", "{way} after the holder ended");
    }
}

#[test]
fn a_waiting_lock_is_given_when_it_is_free() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("n"), "0").unwrap();
    // A read-change-write under a lock: lost updates would show in the sum.
    let program = "import fcntl,os,sys\nfor i in range(50):\n  f=open(sys.argv[1],'r+')\n  fcntl.flock(f,fcntl.LOCK_EX)\n\
                   \n  v=int(f.read())+1\n  f.seek(0)\n  f.write(str(v))\n  f.close()";
    let workers: Vec<_> = (0..4)
        .map(|_| process::start(process::python(program).arg(mount.path("n"))))
        .collect();
    for worker in workers {
        worker.finish().success();
    }
    assert_eq!(fs::read_to_string(mount.path("n")).unwrap(), "200");
}

#[test]
fn only_one_of_many_exclusive_creates_wins() {
    let case = Case::new();
    let mount = case.mount();
    let program = "import os,sys\nwon=0\nfor i in range(100):\n  try:\n    os.close(os.open(sys.argv[1]+'/'+str(i),os.O_CREAT|os.O_EXCL|os.O_WRONLY))\n    won+=1\n  except FileExistsError: pass\nprint(won)";
    let workers: Vec<_> = (0..4)
        .map(|_| process::start(process::python(program).arg(mount.root())))
        .collect();
    let won: u32 = workers
        .into_iter()
        .map(|w| w.finish().success().trim().parse::<u32>().unwrap())
        .sum();
    assert_eq!(won, 100);
    assert_eq!(
        mount
            .events()
            .iter()
            .filter(|e| e["op"] == "create")
            .count(),
        100
    );
}

#[test]
fn concurrent_sessions_have_one_order_that_fits_the_files() {
    let case = Case::new();
    let mount = case.mount();
    // Every session moves the one token file to a name of its own: the moves must chain.
    fs::write(mount.path("token-0-0"), "x").unwrap();
    let before = mount.head();
    let program = "import os,sys\nroot,who=sys.argv[1:]\nn=0\nwhile n<60:\n  for name in os.listdir(root):\n    try: os.rename(root+'/'+name,root+'/token-%s-%d'%(who,n)); n+=1\n    except FileNotFoundError: pass";
    let workers: Vec<_> = ["1", "2", "3"]
        .iter()
        .map(|who| process::start(process::python(program).arg(mount.root()).arg(who)))
        .collect();
    for worker in workers {
        worker.finish().success();
    }
    let mut at = "token-0-0".to_owned();
    let events = mount.since(before);
    for event in &events {
        assert_eq!(text(event, "src_path"), at, "{event}");
        at = text(event, "dest_path").to_owned();
    }
    assert!(mount.path(&at).exists());
    assert!(events.iter().map(|e| number(e, "seq")).is_sorted());
}

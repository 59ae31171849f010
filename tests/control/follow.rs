//! `follow`: blocks until something comes, and never holds anybody up.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use crate::support::process::{self, Running};
use crate::support::wait::{self, Job};
use crate::support::{Case, Mount, events};

fn open_nonblocking(mount: &Mount) -> File {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(mount.control("follow"))
        .unwrap()
}

/// Reads whole lines until `count` are there.
fn read_lines(mut file: File, count: usize) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
    while all.iter().filter(|b| **b == b'\n').count() < count {
        match file.read(&mut buffer).unwrap() {
            0 => panic!("follow ended"),
            length => all.extend_from_slice(&buffer[..length]),
        }
    }
    all
}

/// Ready for reading within `seconds`.
fn readable(file: &File, seconds: i64) -> bool {
    let mut files = [PollFd::new(file, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    poll(&mut files, Some(&limit)).unwrap() == 1 && files[0].revents().contains(PollFlags::IN)
}

#[test]
fn a_blocked_reader_gets_each_event_once() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("earlier"), "x").unwrap();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let file = File::open(mount.control("follow")).unwrap();
            Job::start("a follow reader", move || read_lines(file, 600))
        })
        .collect();
    for i in 0..200 {
        fs::write(mount.path(format!("{i}")), "x").unwrap();
    }
    for reader in readers {
        assert_eq!(events::parse(&reader.finish()), mount.since(3));
    }
}

#[test]
fn nothing_yet_is_eagain_for_a_nonblocking_reader() {
    let case = Case::new();
    let mount = case.mount();
    let mut follow = open_nonblocking(&mount);
    let mut buffer = [0; 4096];
    assert_eq!(
        follow.read(&mut buffer).unwrap_err().raw_os_error(),
        Some(libc::EAGAIN)
    );
    fs::create_dir(mount.path("d")).unwrap();
    let length = follow.read(&mut buffer).unwrap();
    assert_eq!(
        events::briefs(&events::parse(&buffer[..length])),
        ["mkdir d"]
    );
    assert_eq!(
        follow.read(&mut buffer).unwrap_err().raw_os_error(),
        Some(libc::EAGAIN)
    );
}

#[test]
fn poll_sleeps_and_wakes() {
    let case = Case::new();
    let mount = case.mount();
    let follow = open_nonblocking(&mount);
    assert!(!readable(&follow, 0));
    let polled = follow.try_clone().unwrap();
    let waiting = Job::start("poll on follow", move || readable(&polled, 20));
    assert!(waiting.running());
    fs::create_dir(mount.path("d")).unwrap();
    assert!(waiting.finish(), "poll woke");
    assert!(readable(&follow, 0), "and stays ready until it is read");
    let mut buffer = [0; 4096];
    assert!((&follow).read(&mut buffer).unwrap() > 0);
    assert!(!readable(&follow, 0));
}

#[test]
fn epoll_wakes_again_and_again() {
    let case = Case::new();
    let mount = case.mount();
    let program = "import os,select,sys\nfd=os.open(sys.argv[1],os.O_RDONLY|os.O_NONBLOCK)\ne=select.epoll()\ne.register(fd,select.EPOLLIN)\nprint('ready',flush=True)\n\
                   seen=0\nwhile seen<50:\n  assert e.poll(20),'no wake'\n  seen+=os.read(fd,1<<20).count(b'\\n')\nprint(seen)";
    let reader = process::start(process::python(program).arg(mount.control("follow")));
    wait::until("the reader is ready", || reader.stdout().contains("ready"));
    for i in 0..50 {
        fs::create_dir(mount.path(format!("{i}"))).unwrap();
    }
    assert_eq!(reader.finish().success().lines().last(), Some("50"));
}

fn start_cat(mount: &Mount) -> Running {
    let cat = process::start(Command::new("cat").arg(mount.control("follow")));
    // It has opened the file when the daemon counts it or the kernel shows it: its descriptor is there.
    wait::until("cat has opened follow", || {
        fs::read_dir(format!("/proc/{}/fd", cat.id())).is_ok_and(|fds| {
            fds.flatten()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|p| p.ends_with("follow")))
        })
    });
    cat
}

#[test]
fn cat_follow_shows_events_and_ends_at_once_on_an_interrupt() {
    let case = Case::new();
    let mount = case.mount();
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut cat = start_cat(&mount);
        let before = mount.head();
        fs::write(mount.path("a"), "x").unwrap();
        let wanted = mount.since(before);
        wait::until("cat shows the events", || {
            cat.stdout().lines().count() == wanted.len()
        });
        assert_eq!(events::parse(cat.stdout().as_bytes()), wanted);
        assert!(cat.ended().is_none());
        cat.signal(signal);
        wait::until("cat ends on a signal", || cat.ended().is_some());
    }
    // And the mount is not the worse for it.
    fs::write(mount.path("b"), "x").unwrap();
}

#[test]
fn a_stopped_and_continued_reader_misses_nothing() {
    let case = Case::new();
    let mount = case.mount();
    let cat = start_cat(&mount);
    cat.signal(Signal::STOP);
    for i in 0..100 {
        fs::create_dir(mount.path(format!("{i}"))).unwrap();
    }
    cat.signal(Signal::CONT);
    wait::until("cat shows the events", || {
        cat.stdout().lines().count() == 100
    });
    assert_eq!(events::parse(cat.stdout().as_bytes()), mount.events());
}

#[test]
fn a_reader_that_stops_reading_costs_nothing_and_misses_nothing() {
    let case = Case::new();
    let mount = case.mount();
    let idle = File::open(mount.control("follow")).unwrap();
    for i in 0..2_000 {
        fs::write(mount.path(format!("{}", i % 7)), "some content").unwrap();
    }
    let count = mount.events().len();
    let lines = Job::start("the late reader", move || read_lines(idle, count)).finish();
    assert_eq!(events::parse(&lines), mount.events());
}

#[test]
fn many_blocked_readers_block_nobody_else() {
    let case = Case::new();
    let mount = case.mount();
    let mut readers: Vec<_> = (0..40).map(|_| start_cat(&mount)).collect();
    fs::write(mount.path("a"), "x").unwrap();
    assert_eq!(fs::read(mount.path("a")).unwrap(), b"x");
    for reader in &mut readers {
        wait::until("each shows the events", || {
            reader.stdout().lines().count() == 3
        });
        reader.signal(Signal::INT);
    }
    for reader in &mut readers {
        wait::until("each ends", || reader.ended().is_some());
    }
}

#[test]
fn a_blocked_reader_is_released_by_an_unmount() {
    let case = Case::new();
    let mount = case.mount();
    let mut cat = start_cat(&mount);
    mount.unmount();
    wait::until("cat ends with the mount", || cat.ended().is_some());
}

//! Requests that are wrong, too long, or meant to hurt: each is refused with a reason, and nothing else happens.

use std::fs;

use super::Control;
use crate::support::random::Random;
use crate::support::{Case, process};

#[test]
fn malformed_requests_are_refused_with_a_reason() {
    let case = Case::new();
    let mount = case.mount();
    let mut control = Control::open(&mount);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_mark = format!("{{\"mark\":{{\"text\":\"x\",\"data\":{deep}}}}}");
    let wrong: &[&[u8]] = &[
        b"nonsense",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"\0",
        b"{\"events\":{}} trailing",
        b"{\"events\":{}}{\"status\":{}}",
        b"{\"events\":{},\"status\":{}}",
        b"{\"events\":[]}",
        b"{\"events\":{\"unknown\":1}}",
        b"{\"status\":{\"x\":1}}",
        b"{\"nothing\":{}}",
        b"{\"events\":{\"since\":-1}}",
        b"{\"events\":{\"since\":1.5}}",
        b"{\"events\":{\"since\":18446744073709551616}}",
        b"{\"events\":{\"since\":\"1\"}}",
        b"{\"events\":{\"limit\":\"many\"}}",
        b"{\"events\":{\"op\":\"write\"}}",
        b"{\"events\":{\"op\":[\"explode\"]}}",
        b"{\"events\":{\"event_type\":[1]}}",
        b"{\"events\":{\"path\":\"[\"}}",
        b"{\"events\":{\"path\":7}}",
        b"{\"events\":{\"uuid\":\"not-a-uuid\"}}",
        b"{\"events\":{\"wait_ms\":86400000}}",
        b"{\"events\":{\"from_time\":\"yesterday-ish\"}}",
        b"{\"events\":{\"view\":\"unheard-of\"}}",
        b"{\"events\":{\"format\":\"xml\"}}",
        b"{\"mark\":{}}",
        b"{\"mark\":{\"text\":1}}",
        deep.as_bytes(),
        deep_mark.as_bytes(),
    ];
    for request in wrong {
        control.refused(request);
    }
    // The conversation goes on after a refusal.
    assert_eq!(control.ask(&serde_json::json!({"status": {}})).len(), 1);
    assert_eq!(mount.head(), 0);
}

#[test]
fn an_oversized_request_is_refused() {
    let case = Case::new();
    let mount = case.mount();
    let mut control = Control::open(&mount);
    for length in [64 * 1024 + 1, 128 * 1024, 4 << 20] {
        let request = format!("{{\"mark\":{{\"text\":\"{}\"}}}}", "x".repeat(length));
        assert_eq!(
            control.write(request.as_bytes()),
            Err(Some(libc::EINVAL)),
            "{length}"
        );
        assert!(super::lines(&control.read())[0]["error"]["code"].is_string());
    }
    assert_eq!(mount.head(), 0);
    assert_eq!(control.ask(&serde_json::json!({"status": {}})).len(), 1);
}

#[test]
fn random_bytes_never_hurt() {
    let case = Case::new();
    let mount = case.mount();
    let seed = 7;
    let mut random = Random::new(seed);
    let mut control = Control::open(&mount);
    let pieces: [&[u8]; 12] = [
        b"{",
        b"}",
        b"\"events\"",
        b":",
        b"\"path\"",
        b"\"**\"",
        b"[",
        b"]",
        b",",
        b"\\u",
        b"1e999",
        b"\xff",
    ];
    for _ in 0..2_000 {
        let count = 1 + random.below(12);
        let request: Vec<u8> = (0..count)
            .flat_map(|_| random.of(&pieces).to_vec())
            .collect();
        // Whatever it is, it is answered or refused.
        let _ = control.write(&request);
        super::lines(&control.read());
    }
    assert_eq!(
        control.ask(&serde_json::json!({"status": {}})).len(),
        1,
        "seed {seed}"
    );
}

#[test]
fn costly_patterns_are_bounded() {
    let case = Case::new();
    let mount = case.mount();
    fs::write(mount.path("a".repeat(250)), "x").unwrap();
    let mut control = Control::open(&mount);
    for pattern in [
        "*a".repeat(100) + "b",
        "**/".repeat(200) + "x",
        "{a,".repeat(50) + &"}".repeat(50),
        "[!a]*".repeat(400),
    ] {
        let request = serde_json::json!({"events": {"path": pattern}}).to_string();
        let _ = control.write(request.as_bytes());
        super::lines(&control.read());
    }
}

#[test]
fn control_files_refuse_what_they_are_not_for() {
    let case = Case::new();
    let mount = case.mount();
    for name in ["events", "follow", "status", "metrics", "help", "since/0"] {
        // Root may open anything for writing; writing is what must fail.
        let opened = fs::OpenOptions::new().write(true).open(mount.control(name));
        let wrote = opened.and_then(|mut file| std::io::Write::write(&mut file, b"x"));
        assert!(wrote.is_err(), "{name} was written");
        assert!(
            fs::remove_file(mount.control(name)).is_err(),
            "{name} removed"
        );
    }
    let odd = "import os,sys\nfor n in ('events','control','follow'):\n  p=sys.argv[1]+'/'+n\n  for f in (lambda: os.chmod(p,0o777), lambda: os.setxattr(p,'user.x',b'1'), lambda: os.utime(p,(1,1)), lambda: os.chown(p,1,1)):\n    try: f(); print('done',n)\n    except OSError: pass\n\
               import mmap\nfd=os.open(sys.argv[1]+'/events',os.O_RDONLY)\ntry: mmap.mmap(fd,4096,mmap.MAP_SHARED,mmap.PROT_READ); print('mapped')\nexcept (OSError,ValueError): pass";
    let done = process::run(process::python(odd).arg(mount.path(".hippofs"))).success();
    // A truncate is let through: it is part of what a shell's redirection to control does.
    assert!(done.is_empty(), "{done}");
    assert_eq!(mount.head(), 0);
}

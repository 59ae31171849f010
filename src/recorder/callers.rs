//! Who called: the thread's name and its `HIPPOFS_SESSION`, read once and kept while they hold.
//!
//! An open `/proc/TID/comm` belongs to that one thread for ever: once the thread is gone a read of it fails, even
//! when its number has been given to another. So one read per call tells that the thread is still the one that was
//! looked at, and notices the exec that gave it another name (and perhaps another environment).

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::event::Caller;

/// Callers kept, each with a descriptor. Past this the table starts anew.
const KEPT_MAX: usize = 512;
/// `comm` is at most 15 bytes and a newline.
const COMM_BYTES: usize = 32;
/// An environment beyond this is not searched further: ARG_MAX is 2 MiB in all, and a session name stands early.
const ENVIRONMENT_BYTES_MAX: u64 = 256 * 1024;
/// A session name beyond this is cut; it stands in every event.
const SESSION_BYTES_MAX: usize = 256;
/// The variable that names a session.
const SESSION_VARIABLE: &[u8] = b"HIPPOFS_SESSION=";

/// The callers seen lately.
#[derive(Default)]
pub struct Callers {
    known: Mutex<HashMap<u32, Known>>,
}

struct Known {
    comm: File,
    caller: Arc<Caller>,
}

impl Callers {
    /// What is known of thread `pid` (in this pid namespace; 0 for none), calling with these ids.
    #[must_use]
    pub fn identify(&self, pid: u32, uid: u32, gid: u32) -> Arc<Caller> {
        if pid == 0 {
            return Arc::new(Caller {
                uid,
                gid,
                ..Caller::default()
            });
        }
        let mut known = self.known.lock();
        if let Some(found) = known.get(&pid) {
            let caller = &found.caller;
            if caller.uid == uid
                && caller.gid == gid
                && comm_of(&found.comm).as_deref() == Some(&caller.comm)
            {
                return Arc::clone(caller);
            }
            known.remove(&pid);
        }
        drop(known);
        self.look(pid, uid, gid)
    }

    fn look(&self, pid: u32, uid: u32, gid: u32) -> Arc<Caller> {
        let opened = File::open(format!("/proc/{pid}/comm"));
        let comm = opened.as_ref().ok().and_then(comm_of).unwrap_or_default();
        let environment = environment_of(pid);
        let caller = Arc::new(Caller {
            pid,
            uid,
            gid,
            comm,
            session: session_in(&environment),
        });
        // In the middle of an exec a thread has its new name and no environment yet: it is looked at again.
        if let Ok(comm) = opened
            && !environment.is_empty()
        {
            let mut known = self.known.lock();
            if known.len() >= KEPT_MAX {
                known.clear();
            }
            known.insert(
                pid,
                Known {
                    comm,
                    caller: Arc::clone(&caller),
                },
            );
        }
        caller
    }
}

fn comm_of(file: &File) -> Option<String> {
    let mut buffer = [0; COMM_BYTES];
    let count = file.read_at(&mut buffer, 0).ok()?;
    let name = buffer[..count]
        .strip_suffix(b"\n")
        .unwrap_or(&buffer[..count]);
    Some(String::from_utf8_lossy(name).into_owned())
}

/// The environment of thread `pid` as it was given at its exec; empty when it cannot be read.
fn environment_of(pid: u32) -> Vec<u8> {
    let mut environment = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/environ")) {
        // What was read before a failure still tells what it tells.
        let _ = file
            .take(ENVIRONMENT_BYTES_MAX)
            .read_to_end(&mut environment);
    }
    environment
}

fn session_in(environment: &[u8]) -> Option<String> {
    let value = environment
        .split(|&b| b == 0)
        .find_map(|entry| entry.strip_prefix(SESSION_VARIABLE))?;
    let value = &value[..value.len().min(SESSION_BYTES_MAX)];
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_session_is_named_by_its_environment() {
        assert_eq!(
            session_in(b"A=1\0HIPPOFS_SESSION=alpha\0B=2\0"),
            Some("alpha".into())
        );
        assert_eq!(session_in(b"XHIPPOFS_SESSION=alpha\0"), None);
        assert_eq!(session_in(b"HIPPOFS_SESSION=\0"), None);
        assert_eq!(session_in(b""), None);
    }

    #[test]
    fn a_living_thread_is_known_and_a_dead_one_is_not_mistaken() {
        let callers = Callers::default();
        let mut child = Command::new("sleep")
            .arg("60")
            .env("HIPPOFS_SESSION", "one")
            .spawn()
            .unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        // The child is this program until its exec.
        let expected = ("sleep", Some("one"));
        let first = loop {
            let seen = callers.identify(child.id(), 1, 2);
            if (seen.comm.as_str(), seen.session.as_deref()) == expected {
                break seen;
            }
            assert!(
                std::time::Instant::now() < until,
                "the child never became sleep"
            );
        };
        assert!(Arc::ptr_eq(&first, &callers.identify(child.id(), 1, 2)));
        assert_eq!(callers.identify(child.id(), 3, 2).uid, 3);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(callers.identify(child.id(), 1, 2).session, None);
    }

    #[test]
    fn requests_of_the_kernel_itself_have_no_name() {
        let caller = Callers::default().identify(0, 0, 0);
        assert_eq!((caller.pid, caller.comm.as_str()), (0, ""));
    }
}

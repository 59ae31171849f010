//! The control directory: files to read, a file to follow, requests and their replies.

mod consumers;
mod files;
mod follow;
mod hostile;
mod requests;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};

use serde_json::Value;

use crate::support::Mount;
use crate::support::wait::Job;

/// An open `control` file: a session's conversation with the mount.
struct Control(File);

impl Control {
    fn open(mount: &Mount) -> Control {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(mount.control("control"));
        Control(file.expect("open control"))
    }

    /// Writes one request; gives the error number of a refused one.
    fn write(&mut self, request: &[u8]) -> Result<(), Option<i32>> {
        match self.0.write(request) {
            Ok(length) => {
                assert_eq!(length, request.len(), "a request is taken whole");
                Ok(())
            }
            Err(error) => Err(error.raw_os_error()),
        }
    }

    /// The reply, to its end.
    fn read(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        self.0.read_to_end(&mut reply).expect("read a reply");
        reply
    }

    /// A request that must be taken, and its reply.
    #[track_caller]
    fn ask(&mut self, request: &Value) -> Vec<Value> {
        let taken = self.write(request.to_string().as_bytes());
        let reply = self.read();
        assert_eq!(
            taken,
            Ok(()),
            "{request}: {}",
            String::from_utf8_lossy(&reply)
        );
        lines(&reply)
    }

    /// A request that must be refused, and its error.
    #[track_caller]
    fn refused(&mut self, request: &[u8]) -> Value {
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        assert_eq!(self.write(request), Err(Some(libc::EINVAL)), "{shown}");
        let reply = lines(&self.read());
        assert_eq!(reply.len(), 1, "{shown}: {reply:?}");
        let error = reply[0]["error"].clone();
        for key in ["code", "message", "hint"] {
            assert!(error[key].is_string(), "{shown}: {error}");
        }
        error
    }
}

#[track_caller]
fn lines(reply: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(reply).expect("a reply is text");
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "half a line: {text}"
    );
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Asks on a thread of its own, for replies that wait.
fn ask_waiting(mount: &Mount, request: Value) -> Job<Vec<Value>> {
    let mut control = Control::open(mount);
    Job::start("the reply to a request that waits", move || {
        control.ask(&request)
    })
}

//! Outside signals, turned into bytes on a socket that one thread reads: a handler may do next to nothing, a thread
//! may do anything.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Stop;

/// The signals that ask for a clean end.
const ENDING: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];

/// A socket that becomes readable with each ending signal. Its bytes mean nothing but "one more".
///
/// # Errors
/// No descriptor is left, or the kernel refuses a handler.
pub fn receiver() -> io::Result<UnixStream> {
    let (receiver, sender) = UnixStream::pair()?;
    for signal in ENDING {
        signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
    }
    Ok(receiver)
}

/// Has `stop` requested by the first SIGTERM, SIGINT or SIGHUP; further ones change nothing, so that an impatient
/// second Ctrl-C does not cut the flush short.
///
/// # Errors
/// As [`receiver`], or no thread can be started.
pub fn request_on_signal(stop: Stop) -> io::Result<()> {
    let mut receiver = receiver()?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut byte = [0; 1];
            // The sending end lives in the handlers for ever, so the read ends with a signal or not at all.
            while !matches!(receiver.read(&mut byte), Ok(1..)) {}
            stop.request();
            while matches!(receiver.read(&mut byte), Ok(1..)) {}
        })?;
    Ok(())
}

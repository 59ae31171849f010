//! Readers of control files: followers beside a workload, and how fast the log is read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::thread;
use std::time::Instant;

/// `readers` readers of `file`, each for itself, until standard input ends; says `ready` when all have it open.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn follow(file: &str, readers: usize) -> io::Result<()> {
    for _ in 0..readers {
        let mut file = File::open(file)?;
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while file.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
        });
    }
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    // The readers wait in the kernel; ending the process ends their reads.
    std::process::exit(0);
}

/// Reads `file` to its end, `buffer_bytes` at a time.
///
/// # Errors
/// The failed call.
pub(super) fn read(file: &str, buffer_bytes: usize) -> io::Result<()> {
    let begun = Instant::now();
    drain(&mut File::open(file)?, buffer_bytes, begun)
}

/// Writes `request` to `control` and reads the reply.
///
/// # Errors
/// The failed call.
pub(super) fn ask(control: &str, request: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(control)?;
    let begun = Instant::now();
    file.write_all(request.as_bytes())?;
    drain(&mut file, 1 << 20, begun)
}

fn drain(file: &mut File, buffer_bytes: usize, begun: Instant) -> io::Result<()> {
    let mut buffer = vec![0; buffer_bytes];
    let mut bytes = 0_u64;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => bytes += count as u64,
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "bytes {bytes}\nseconds {took:.6}\nmegabytes {:.1}",
        bytes as f64 / 1e6 / took
    );
    Ok(())
}

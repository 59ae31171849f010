//! Threads that may wait for the disk, so that the kernel-facing ones never do.

use std::io;

use crossbeam_channel::{Receiver, Sender};

/// Threads: enough that slow fsyncs of several sessions share one sync of the log, few enough to cost nothing idle.
const THREADS: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. The queue needs no limit of its own: each job holds one request of the kernel, whose own limit
/// (`max_background` and one per waiting thread) bounds them.
pub(super) struct Jobs {
    queue: Sender<Job>,
}

impl Jobs {
    /// Starts the threads; they end when the pool is dropped and the queue is empty.
    pub(super) fn start() -> io::Result<Jobs> {
        let (queue, jobs): (Sender<Job>, Receiver<Job>) = crossbeam_channel::unbounded();
        for n in 0..THREADS {
            let jobs = jobs.clone();
            let run = move || jobs.into_iter().for_each(|job| job());
            std::thread::Builder::new()
                .name(format!("job-{n}"))
                .spawn(run)?;
        }
        Ok(Jobs { queue })
    }

    /// Runs `job` on one of the threads.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        // The threads live as long as the queue; a send cannot fail before the pool is dropped.
        let _ = self.queue.send(Box::new(job));
    }
}

//! hippofs: a FUSE filesystem that records every change to a directory, in order, and loses none.
//!
//! This page is for those who work on it; README.md is for those who use it.
//!
//! ```text
//!  sessions                                     the storage directory <- bypass
//!     | system calls        | .hippofs/...             ^
//!     v                     v                          |
//!   fuse -> vfs ------> control                        |
//!            |              | reads                    |
//!            v              v                          |
//!         recorder ----> event_log                     |
//!            ^  observe: compare, record      detect --+  hints, scans
//!            +-----------------------------------+     |
//!            |  apply: reserve, perform, append, reply |
//!            +----------> backing ---------------------+
//! ```
//!
//! | rank | module | what it is for |
//! |---|---|---|
//! | 0 | [`event`], [`health`] | what happened, as a value and as a line; counters |
//! | 0 | [`disk`] | the files of the state directory, and the fault seam |
//! | 1 | [`event_log`] | where it is kept: segments, the serial point, recovery, readers |
//! | 1 | [`client`] | a mount as other programs see it: queries, follow, consumers, a watcher |
//! | 1 | [`content`] | every version of every file: packs addressed by hash |
//! | 1 | [`backing`] | the storage by descriptor: system calls, no policy |
//! | 2 | [`recorder`] | the one road to the log: each change performed and recorded as one |
//! | 3 | [`detect`] | what bypasses the mount: watcher, scan, and the comparison of disk and catalog |
//! | 3 | [`control`] | `.hippofs`: requests in, lines out |
//! | 4 | [`vfs`] | what an operation means: entries, handles, routing |
//! | 5 | [`fuse`] | the only module that names fuser |
//! | 6 | [`daemon`] | start, serve, stop, die, restart |
//! | 7 | [`cli`] | arguments and what people read |
//!
//! A module uses modules of lower rank only.
//!
//! # Lock order
//!
//! 1. the recorder's tree lock, then its stripes in rising order;
//! 2. the node table, then one node; a node's lock is never held while another node is asked;
//! 3. the contents' locks, in the order of [`content`], and after them the log's own lock: nothing else is taken under
//!    either.
//!
//! Handle and I/O-mode tables, the catalog's tables, the parking and the callers are leaves: nothing is called while they are held.
//!
//! # What is deliberately absent
//!
//! - Nothing above `backing` makes a file system call on the storage; nothing but `recorder` appends to the log.
//! - No write-back cache: it merges writes and erases the writer.
//! - No path of the own mount is ever opened by the daemon: it would wait for itself.
//! - No `unsafe` outside `backing/sys.rs`.
//! - No kernel-facing thread waits for an event, a disk flush or another session. One exception is known: a read or
//!   write that the storage itself makes slow holds the thread it arrived on. Contents up to 64 KiB are kept there; larger
//!   ones by a thread that may wait, with the reply.

pub mod backing;
pub mod cli;
pub mod client;
pub mod content;
pub mod control;
pub mod daemon;
pub mod detect;
pub mod disk;
pub mod event;
pub mod event_log;
pub mod fuse;
pub mod health;
pub mod recorder;
pub mod vfs;

//! Black-box tests: they run the built program on real mounts and read its control files and its log.
//!
//! One binary, so that it links once. Root and `/dev/fuse` are needed; `scripts/test` provides the rest.

mod cli;
mod client;
mod content;
mod control;
mod crash;
mod detect;
mod faults;
mod layout;
mod model;
mod mount;
mod support;

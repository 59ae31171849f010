//! Bad days: a full disk, a damaged log, a store of another version, a second daemon.

mod damage;
mod disk_calls;
mod full_disk;

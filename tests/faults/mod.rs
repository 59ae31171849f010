//! Bad days: a full disk, a damaged log, a store of another version, a second daemon.

mod damage;
mod full_disk;

//! The recorder on a real directory, changed through it and behind its back.

mod bed;
mod behind;
mod crowd;
mod power;
mod power_catalog;
mod random;
mod saved;
mod through;

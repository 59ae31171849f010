//! A mount as its users see it, for Rust programs: found from any path inside, asked, followed, consumed.
//!
//! Rank 1. Uses nothing that a shell script could not use: the control files and the kernel's answers about them. It
//! knows no other part of the daemon than the words of [`crate::event`], and must never open what the control files
//! do not give. The only module that names the crate notify.
//!
//! ```no_run
//! use hippofs::client::{Client, Query};
//! use hippofs::event::Op;
//!
//! let client = Client::find("/srv/documents")?;
//! for event in client.query(&Query::new().path("**/*.json").ops([Op::Rename, Op::Unlink]))? {
//!     let event = event?;
//!     println!("{:?} {:?} {:?}", event.seq(), event.op(), event.src_path());
//! }
//! # Ok::<(), hippofs::client::ClientError>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | ask once | [`Client::query`] |
//! | hear of everything from now on | [`Client::follow`] |
//! | go on where the last run stopped | [`Client::consumer`] |
//! | replace a watcher of the crate notify | [`HippofsWatcher`] |

mod consumer;
mod control;
mod error;
mod follow;
mod kinds;
mod line;
mod query;
mod root;
mod watcher;

pub use consumer::Consumer;
pub use control::{Control, End, Reply};
pub use error::ClientError;
pub use follow::{Follow, PATIENCE, Stopper};
pub use line::Line;
pub use query::Query;
pub use root::{CONTROL_DIR, Client};
pub use watcher::HippofsWatcher;

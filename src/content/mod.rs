//! stub
#![allow(missing_docs, clippy::all)]
use crate::event::{HASH_BYTES, Seq};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
pub type Hash = [u8; HASH_BYTES];
#[derive(Clone, Default)]
pub struct Content(Arc<Mutex<HashMap<Hash, Vec<u8>>>>);
pub struct Options {
    pub pack_bytes: u64,
}
pub struct Opened {
    pub named_up_to: Seq,
    pub notes: Vec<String>,
}
#[derive(Clone, Copy, Default)]
pub struct ContentStats {
    pub objects: u64,
    pub bytes: u64,
    pub packs: u64,
}
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error("x")]
    Full,
    #[error("x")]
    Io {
        what: String,
        source: std::io::Error,
    },
    #[error("x")]
    TooLarge,
    #[error("x")]
    Damaged { detail: String },
    #[error("x")]
    Closed,
}
pub struct Kept(Hash);
impl Kept {
    pub fn hash(&self) -> Hash {
        self.0
    }
}
impl Content {
    pub fn open(
        _s: Box<dyn crate::disk::Storage>,
        _o: Options,
    ) -> Result<(Content, Opened), ContentError> {
        Ok((
            Content::default(),
            Opened {
                named_up_to: Seq(0),
                notes: vec![],
            },
        ))
    }
    pub fn keep(&self, b: &[u8]) -> Result<Kept, ContentError> {
        let h = *blake3::hash(b).as_bytes();
        self.0.lock().insert(h, b.to_vec());
        Ok(Kept(h))
    }
    pub fn held(&self, h: &Hash) -> Option<Kept> {
        self.0.lock().contains_key(h).then_some(Kept(*h))
    }
    pub fn named(&self, _h: &Hash, _s: Seq) {}
    pub fn read(&self, h: &Hash) -> Result<Option<Vec<u8>>, ContentError> {
        Ok(self.0.lock().get(h).cloned())
    }
    pub fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }
    pub fn bytes(&self) -> u64 {
        0
    }
    pub fn stats(&self) -> ContentStats {
        ContentStats::default()
    }
    pub fn failure(&self) -> Option<String> {
        None
    }
    pub fn retain(&self, _o: Seq, _b: u64) -> u64 {
        0
    }
    pub fn save(&self, _s: Seq) -> std::io::Result<()> {
        Ok(())
    }
    pub fn close(&self) -> std::io::Result<()> {
        Ok(())
    }
}

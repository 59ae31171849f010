//! Paths in lines: as text where they are UTF-8, else lossy beside their exact bytes.

use base64::Engine as _;
use serde_json::{Map, Value};

/// Puts `path` as `key`, with its twin `key_b64` when it is not UTF-8.
pub(super) fn put(fields: &mut Map<String, Value>, key: &str, path: &[u8]) {
    fields.insert(key.into(), String::from_utf8_lossy(path).into());
    if std::str::from_utf8(path).is_err() {
        let exact = base64::engine::general_purpose::STANDARD.encode(path);
        fields.insert(format!("{key}_b64"), exact.into());
    }
}

/// A path as its directory, empty for the root, and its name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

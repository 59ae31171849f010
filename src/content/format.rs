//! The bytes of packs, of their indexes and of `names`. Pure: no file is opened here, and no bytes can make it panic.
//!
//! A record is a header of [`HEADER_BYTES`] and its payload. The header, little endian: magic (4 bytes), kind (1) and
//! three zero bytes, length of the payload (4), CRC-32C of all of the record but these four bytes (4), length of the
//! object (8), its blake3 (32). The checksum tells a whole record from a torn one; the hash tells the right bytes.

use std::ops::Range;

use crate::event::{HASH_BYTES, Seq};

/// A content hash (blake3).
pub type Hash = [u8; HASH_BYTES];

/// Bytes of a record before its payload.
pub(super) const HEADER_BYTES: usize = 56;
const MAGIC: [u8; 4] = *b"hpo1";
const CRC: Range<usize> = 12..16;
const INDEX_MAGIC: [u8; 8] = *b"hippoix1";
const NAMES_MAGIC: [u8; 8] = *b"hipponm1";
/// Bytes of one entry of an index.
const INDEX_ENTRY_BYTES: usize = 24;
/// Bytes of one entry of `names`.
const NAMES_ENTRY_BYTES: usize = 16;

/// What a record's payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The object itself.
    Whole,
    /// The hashes of its pieces, in order.
    Manifest,
}

/// A record's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) payload_bytes: u32,
    pub(super) object_bytes: u64,
    pub(super) hash: Hash,
}

impl Header {
    /// Appends the record to `out`.
    pub(super) fn write(&self, payload: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[kind_byte(self.kind), 0, 0, 0]);
        out.extend_from_slice(&self.payload_bytes.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.object_bytes.to_le_bytes());
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(payload);
        let crc = checksum(&out[start..]);
        out[start + CRC.start..start + CRC.end].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header that `bytes` begin with, if they look like one.
    pub(super) fn read(bytes: &[u8]) -> Option<Header> {
        let header = bytes.get(..HEADER_BYTES)?;
        if header[..4] != MAGIC || header[5..8] != [0; 3] {
            return None;
        }
        let kind = match header[4] {
            1 => Kind::Whole,
            2 => Kind::Manifest,
            _ => return None,
        };
        Some(Header {
            kind,
            payload_bytes: u32::from_le_bytes(array(header, 8)?),
            object_bytes: u64::from_le_bytes(array(header, 16)?),
            hash: array(header, 24)?,
        })
    }

    /// The payload, when `record` is this header's whole record.
    pub(super) fn payload<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let record = record.get(..self.record_bytes())?;
        let said = u32::from_le_bytes(array(record, CRC.start)?);
        (checksum(record) == said).then_some(&record[HEADER_BYTES..])
    }

    pub(super) fn record_bytes(&self) -> usize {
        HEADER_BYTES + self.payload_bytes as usize
    }
}

fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Whole => 1,
        Kind::Manifest => 2,
    }
}

fn checksum(record: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&record[..CRC.start]);
    crc32c::crc32c_append(crc, &record[CRC.end..])
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The place of the next possible record at or after `at`.
pub(super) fn next_magic(bytes: &[u8], at: usize) -> Option<usize> {
    Some(at + memchr::memmem::find(bytes.get(at..)?, &MAGIC)?)
}

/// The hashes that a manifest lists.
pub(super) fn pieces(payload: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = payload.as_chunks::<HASH_BYTES>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// Where one object is in its pack: the first half of its hash, offset, payload and kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IndexEntry {
    pub(super) key: u128,
    pub(super) offset: u32,
    pub(super) payload_bytes: u32,
    pub(super) kind: Kind,
}

/// Marks a manifest in the length of an index entry: no payload is near that long.
const MANIFEST_BIT: u32 = 1 << 31;

/// The index of a sealed pack of `pack_bytes` bytes.
pub(super) fn index(pack_bytes: u64, entries: &[IndexEntry]) -> Vec<u8> {
    let mut out = INDEX_MAGIC.to_vec();
    out.extend_from_slice(&pack_bytes.to_le_bytes());
    for entry in entries {
        let bit = match entry.kind {
            Kind::Whole => 0,
            Kind::Manifest => MANIFEST_BIT,
        };
        out.extend_from_slice(&entry.key.to_le_bytes());
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&(entry.payload_bytes | bit).to_le_bytes());
    }
    sealed(out)
}

/// The entries of an index, when it is whole and of a pack of `pack_bytes` bytes.
pub(super) fn read_index(bytes: &[u8], pack_bytes: u64) -> Option<Vec<IndexEntry>> {
    let body = unsealed(bytes)?.strip_prefix(&INDEX_MAGIC)?;
    if u64::from_le_bytes(array(body, 0)?) != pack_bytes {
        return None;
    }
    let (entries, rest) = body[8..].as_chunks::<INDEX_ENTRY_BYTES>();
    let entry = |bytes: &[u8; INDEX_ENTRY_BYTES]| {
        let length = u32::from_le_bytes(array(bytes, 20)?);
        Some(IndexEntry {
            key: u128::from_le_bytes(array(bytes, 0)?),
            offset: u32::from_le_bytes(array(bytes, 16)?),
            payload_bytes: length & !MANIFEST_BIT,
            kind: if length & MANIFEST_BIT == 0 {
                Kind::Whole
            } else {
                Kind::Manifest
            },
        })
    };
    rest.is_empty()
        .then(|| entries.iter().map(entry).collect())?
}

/// What is known of the names of each pack, as of the event `seq`.
pub(super) fn names(seq: Seq, packs: &[(u64, Seq)]) -> Vec<u8> {
    let mut out = NAMES_MAGIC.to_vec();
    out.extend_from_slice(&seq.0.to_le_bytes());
    for (pack, named) in packs {
        out.extend_from_slice(&pack.to_le_bytes());
        out.extend_from_slice(&named.0.to_le_bytes());
    }
    sealed(out)
}

/// The same read back.
pub(super) fn read_names(bytes: &[u8]) -> Option<(Seq, Vec<(u64, Seq)>)> {
    let body = unsealed(bytes)?.strip_prefix(&NAMES_MAGIC)?;
    let seq = Seq(u64::from_le_bytes(array(body, 0)?));
    let (entries, rest) = body[8..].as_chunks::<NAMES_ENTRY_BYTES>();
    let entry = |bytes: &[u8; NAMES_ENTRY_BYTES]| {
        let pack = u64::from_le_bytes(array(bytes, 0)?);
        Some((pack, Seq(u64::from_le_bytes(array(bytes, 8)?))))
    };
    let entries: Option<Vec<_>> = entries.iter().map(entry).collect();
    rest.is_empty().then_some((seq, entries?))
}

/// With its checksum at the end.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    (crc32c::crc32c(body) == u32::from_le_bytes(*crc)).then_some(body)
}

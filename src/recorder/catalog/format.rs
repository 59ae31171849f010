//! The bytes of a checkpoint. Pure: no file is opened here, and no input can make it panic.
//!
//! ```text
//! header   "hippocat", version u32, seq u64, inode of the root u64, crc u32
//! blocks   length u32 (1..=BLOCK_BYTES_MAX), crc u32, records     directories first, then all else
//! end      0 u32, number of records u64, crc u32
//! ```
//!
//! Fixed numbers are little-endian; numbers in records take seven bits a byte, lowest first, the high bit set in all
//! but the last. `crc` is CRC-32C of what it follows (or, in a block, precedes). Device numbers are not kept, because
//! they change with every boot: an entry is on the storage's own filesystem, or `FOREIGN`.
//!
//! Damage rule: anything that is not exactly this makes the whole checkpoint worthless, and it is left aside.

use crate::backing::{Identity, Time};
use crate::event::{HASH_BYTES, Seq};

use super::state::State;

const MAGIC: &[u8; 8] = b"hippocat";
const VERSION: u32 = 1;
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 8 + 4 + 8 + 8 + 4;
/// Bytes of what stands before each block's records.
pub(super) const BLOCK_HEAD_BYTES: usize = 8;
/// Bytes that follow the zero length of the end.
pub(super) const END_BYTES: usize = 8 + 4;
/// Records of a block are gathered up to this.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;
/// A block is at most this: what is gathered and one more record, of a file with every name it can have.
pub(super) const BLOCK_BYTES_MAX: usize = 64 << 20;

const HASHED: u8 = 1;
const UNSURE: u8 = 2;
const LISTED: u8 = 4;
const FOREIGN: u8 = 8;

/// What stands before everything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) seq: Seq,
    pub(super) root: u64,
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) key: u64,
    pub(super) state: State,
    pub(super) listed: bool,
    pub(super) foreign: bool,
    pub(super) links: Vec<(u64, Vec<u8>)>,
}

/// The bytes are not a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Damaged;

impl Header {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.seq.0.to_le_bytes());
        out.extend_from_slice(&self.root.to_le_bytes());
        seal(out)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Header, Damaged> {
        let mut bytes = Bytes(unseal(bytes)?);
        if bytes.take(MAGIC.len())? != MAGIC || bytes.fixed_u32()? != VERSION {
            return Err(Damaged);
        }
        Ok(Header {
            seq: Seq(bytes.fixed_u64()?),
            root: bytes.fixed_u64()?,
        })
    }
}

/// The end of a checkpoint of `records` records, its zero length among it.
pub(super) fn encode_end(records: u64) -> Vec<u8> {
    let mut out = 0u32.to_le_bytes().to_vec();
    out.extend(seal(records.to_le_bytes().to_vec()));
    out
}

/// Number of records an end (without its zero length) tells.
pub(super) fn decode_end(bytes: &[u8]) -> Result<u64, Damaged> {
    Bytes(unseal(bytes)?).fixed_u64()
}

/// What stands before the records of a block.
pub(super) fn block_head(records: &[u8]) -> [u8; BLOCK_HEAD_BYTES] {
    let mut head = [0; BLOCK_HEAD_BYTES];
    let length = u32::try_from(records.len()).unwrap_or(u32::MAX);
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&crc32c::crc32c(records).to_le_bytes());
    head
}

/// Checks the records of a block against its checksum.
pub(super) fn check_block(records: &[u8], crc: u32) -> Result<(), Damaged> {
    if crc32c::crc32c(records) == crc {
        Ok(())
    } else {
        Err(Damaged)
    }
}

/// Appends one record.
pub(super) fn encode_record(record: &Record, out: &mut Vec<u8>) {
    let state = &record.state;
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.push(
        flag(state.hash.is_some(), HASHED)
            | flag(state.unsure, UNSURE)
            | flag(record.listed, LISTED)
            | flag(record.foreign, FOREIGN),
    );
    number(record.key, out);
    number(state.identity.ino, out);
    let birth = Time {
        secs: state.identity.birth.0,
        nanos: state.identity.birth.1,
    };
    for time in [birth, state.mtime, state.ctime] {
        number(zigzag(time.secs), out);
        number(time.nanos.into(), out);
    }
    for value in [
        state.mode.into(),
        state.nlink.into(),
        state.uid.into(),
        state.gid.into(),
        state.size,
        state.seq.0,
        record.links.len() as u64,
    ] {
        number(value, out);
    }
    if let Some(hash) = &state.hash {
        out.extend_from_slice(hash);
    }
    for (dir, name) in &record.links {
        number(*dir, out);
        number(name.len() as u64, out);
        out.extend_from_slice(name);
    }
}

/// Hands the records of a block to `take`; their entries are on the device `dev`.
pub(super) fn decode_records(
    block: &[u8],
    dev: u64,
    mut take: impl FnMut(Record),
) -> Result<u64, Damaged> {
    let mut bytes = Bytes(block);
    let mut count = 0;
    while !bytes.0.is_empty() {
        take(bytes.record(dev)?);
        count += 1;
    }
    Ok(count)
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn unseal(bytes: &[u8]) -> Result<&[u8], Damaged> {
    let (content, crc) = bytes.split_last_chunk::<4>().ok_or(Damaged)?;
    check_block(content, u32::from_le_bytes(*crc))?;
    Ok(content)
}

/// Bytes not read yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn fixed_u32(&mut self) -> Result<u32, Damaged> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn fixed_u64(&mut self) -> Result<u64, Damaged> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Damaged> {
        T::try_from(self.number()?).map_err(|_| Damaged)
    }

    fn time(&mut self) -> Result<Time, Damaged> {
        let secs = self.number()?;
        Ok(Time {
            secs: (secs >> 1).cast_signed() ^ -(secs & 1).cast_signed(),
            nanos: self.small()?,
        })
    }

    fn record(&mut self, dev: u64) -> Result<Record, Damaged> {
        let [flags] = self.array()?;
        let key = self.number()?;
        let ino = self.number()?;
        let birth = self.time()?;
        let mut state = State {
            identity: Identity {
                dev,
                ino,
                birth: (birth.secs, birth.nanos),
            },
            mtime: self.time()?,
            ctime: self.time()?,
            mode: self.small()?,
            nlink: self.small()?,
            uid: self.small()?,
            gid: self.small()?,
            size: self.number()?,
            seq: Seq(self.number()?),
            hash: None,
            unsure: flags & UNSURE != 0,
        };
        let count: usize = self.small()?;
        if flags & HASHED != 0 {
            state.hash = Some(self.array::<HASH_BYTES>()?);
        }
        let mut links = Vec::new();
        for _ in 0..count {
            let dir = self.number()?;
            let length = self.small()?;
            links.push((dir, self.take(length)?.to_vec()));
        }
        Ok(Record {
            key,
            state,
            listed: flags & LISTED != 0,
            foreign: flags & FOREIGN != 0,
            links,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let times = prop::array::uniform3((any::<i64>(), any::<u32>()));
        let small = (any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>());
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        let links = prop::collection::vec(
            (any::<u64>(), prop::collection::vec(any::<u8>(), 0..30)),
            0..4,
        );
        let hash = prop::option::of(any::<[u8; HASH_BYTES]>());
        (any::<[u64; 4]>(), times, small, flags, links, hash).prop_map(
            |(numbers, times, small, flags, links, hash)| Record {
                key: numbers[0],
                state: State {
                    identity: Identity {
                        dev: 7,
                        ino: numbers[1],
                        birth: times[0],
                    },
                    mode: small.0,
                    nlink: small.1,
                    uid: small.2,
                    gid: small.3,
                    size: numbers[2],
                    mtime: time(times[1]),
                    ctime: time(times[2]),
                    hash,
                    seq: Seq(numbers[3]),
                    unsure: flags.0,
                },
                listed: flags.1,
                foreign: flags.2,
                links,
            },
        )
    }

    fn time((secs, nanos): (i64, u32)) -> Time {
        Time { secs, nanos }
    }

    proptest! {
        #[test]
        fn records_read_back_as_written(records in prop::collection::vec(record(), 0..8)) {
            let mut block = Vec::new();
            records.iter().for_each(|r| encode_record(r, &mut block));
            let mut read = Vec::new();
            prop_assert_eq!(decode_records(&block, 7, |r| read.push(r)), Ok(records.len() as u64));
            prop_assert_eq!(read, records);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_records(&bytes, 7, |_| {});
            prop_assert_eq!(Header::decode(&bytes), Err(Damaged));
            prop_assert_eq!(decode_end(&bytes), Err(Damaged));
        }
    }

    #[test]
    fn header_and_end_read_back() {
        let header = Header {
            seq: Seq(9),
            root: 2,
        };
        assert_eq!(header.encode().len(), HEADER_BYTES);
        assert_eq!(Header::decode(&header.encode()), Ok(header));
        let end = encode_end(5);
        assert_eq!(end.len(), 4 + END_BYTES);
        assert_eq!(decode_end(&end[4..]), Ok(5));
    }
}

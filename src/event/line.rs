//! The one line format: `{"seq":N,"timestamp":S.NNNNNNNNN,BODY,"crc":"XXXXXXXX"}\n`.
//!
//! The body is formatted before the log's lock is taken; [`frame`] adds position, time and checksum under it.
//! `crc` is CRC-32C (Castagnoli) of every byte of the line before `,"crc"`, so that a line checks itself with
//! no knowledge of its neighbours. A JSON string never holds a raw newline, so a newline ends a line always.

use base64::Engine as _;
use std::fmt::Write as _;

use super::{Access, Event, HASH_BYTES, Replaced, Seq, Timestamp, uuid_of};

const SEQ_KEY: &[u8] = b"{\"seq\":";
const CRC_KEY: &[u8] = b",\"crc\":\"";
/// `,"crc":"` + 8 hex digits + `"}`; the newline is not counted.
const TRAILER_BYTES: usize = CRC_KEY.len() + 8 + 2;
/// Bytes [`frame`] adds to a body at most: both keys, twenty digits of seq, time, trailer and newline.
pub const FRAME_BYTES_MAX: usize = 7 + 20 + 13 + 30 + 1 + TRAILER_BYTES + 1;
/// Body bytes of an event besides its paths, texts and names: keys, words, twenty digits for each number
/// and sixty-four for each hash.
const BODY_FIXED_BYTES: usize = 1664;
/// Growth of one byte of a path or text: `\u0000` escapes take six, the base64 twin under two.
const ESCAPE_GROWTH: usize = 8;

/// Upper bound in bytes of the whole line of an event whose paths and texts have `text_bytes` bytes together.
#[must_use]
pub const fn line_bytes_max(text_bytes: usize) -> usize {
    FRAME_BYTES_MAX + BODY_FIXED_BYTES + ESCAPE_GROWTH * text_bytes
}

/// Why bytes are not a line of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineError {
    /// It does not begin with `{"seq":` and a number or does not end with a crc field.
    Shape,
    /// The checksum does not match.
    Checksum,
}

/// Appends the fields between timestamp and crc to `out`, without the leading comma.
pub fn body(event: &Event, out: &mut String) {
    let mut fields = Fields { out, first: true };
    fields.word("event_type", event.event_type.word());
    if let Some(op) = event.op {
        fields.word("op", op.word());
    }
    if let Some(path) = &event.src_path {
        fields.path("src_path", "src_path_b64", path);
    }
    if let Some(path) = &event.dest_path {
        fields.path("dest_path", "dest_path_b64", path);
    }
    if event.src_path.is_some() {
        fields.raw(
            "is_directory",
            if event.is_directory { "true" } else { "false" },
        );
    }
    fields.word("source", event.source.word());
    let named = event.dest_path.as_deref().or(event.src_path.as_deref());
    if let Some(uuid) = named
        .and_then(uuid_of)
        .or_else(|| event.src_path.as_deref().and_then(uuid_of))
    {
        let mut buffer = uuid::Uuid::encode_buffer();
        fields.word("uuid", uuid.hyphenated().encode_lower(&mut buffer));
    }
    numbers(event, &mut fields);
    caller_of(event, &mut fields);
    if event.via_mmap {
        fields.word("via", "mmap");
    }
    if let Some(gap) = &event.gap {
        fields.word("reason", gap.reason.word());
        if let Some((from, to)) = gap.range {
            fields.number("from", from.0);
            fields.number("to", to.0);
        }
        fields.text("detail", &gap.detail);
    }
    if let Some(mark) = &event.mark {
        fields.text("text", &mark.text);
        if let Some(data) = &mark.data {
            fields.raw("data", &data.to_string());
        }
    }
}

fn numbers(event: &Event, fields: &mut Fields<'_>) {
    let numbers = [
        ("ino", event.ino),
        ("size", event.size),
        ("offset", event.offset),
        ("length", event.length),
        ("handle", event.handle),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            fields.number(key, value);
        }
    }
    for (key, hash) in [
        ("blake3", &event.blake3),
        ("prev_blake3", &event.prev_blake3),
        ("data_blake3", &event.data_blake3),
    ] {
        if let Some(hash) = hash {
            fields.hash(key, hash);
        }
    }
    if let Some(missing) = event.content_missing {
        fields.word("content_missing", missing.word());
    }
    if let Some(access) = &event.access {
        fields.access(access);
    }
    if let Some(at) = event.restored_from {
        fields.number("restored_from", at.0);
    }
    if let Some(replaced) = &event.replaced {
        fields.other("replaced", replaced);
    } else if let Some(exchanged) = &event.exchanged {
        fields.other("exchanged", exchanged);
    }
}

fn caller_of(event: &Event, fields: &mut Fields<'_>) {
    let Some(caller) = &event.caller else { return };
    fields.number("pid", caller.pid.into());
    fields.number("uid", caller.uid.into());
    fields.number("gid", caller.gid.into());
    if !caller.comm.is_empty() {
        fields.text("comm", &caller.comm);
    }
    if let Some(session) = &caller.session {
        fields.text("session", session);
    }
}

/// Appends the whole line, newline included, to `out`.
pub fn frame(seq: Seq, timestamp: Timestamp, body: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(SEQ_KEY);
    let mut head = FixedText::new();
    let _ = write!(head, "{seq},\"timestamp\":{timestamp},");
    out.extend_from_slice(head.bytes());
    out.extend_from_slice(body.as_bytes());
    let crc = crc32c::crc32c(&out[start..]);
    let mut tail = FixedText::new();
    let _ = write!(tail, ",\"crc\":\"{crc:08x}\"}}");
    out.extend_from_slice(tail.bytes());
    out.push(b'\n');
}

/// Checks one line (with or without its newline) and gives its position.
///
/// # Errors
/// [`LineError`] when it is not a line this module wrote, bit for bit.
pub fn check(line: &[u8]) -> Result<Seq, LineError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let seq = seq_of(line).ok_or(LineError::Shape)?;
    let split = line
        .len()
        .checked_sub(TRAILER_BYTES)
        .ok_or(LineError::Shape)?;
    let (content, trailer) = line.split_at(split);
    let hex = trailer
        .strip_prefix(CRC_KEY)
        .and_then(|t| t.strip_suffix(b"\"}"))
        .ok_or(LineError::Shape)?;
    let hex = std::str::from_utf8(hex).map_err(|_| LineError::Shape)?;
    if hex.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(LineError::Shape);
    }
    let said = u32::from_str_radix(hex, 16).map_err(|_| LineError::Shape)?;
    if crc32c::crc32c(content) == said {
        Ok(seq)
    } else {
        Err(LineError::Checksum)
    }
}

/// The position a line claims, read from its first field and not checked.
#[must_use]
pub fn seq_of(line: &[u8]) -> Option<Seq> {
    let digits = line.strip_prefix(SEQ_KEY)?;
    let end = digits.iter().take(21).position(|b| !b.is_ascii_digit())?;
    let text = std::str::from_utf8(&digits[..end]).ok()?;
    match text.parse() {
        Ok(0) | Err(_) => None,
        Ok(seq) => Some(Seq(seq)),
    }
}

/// The exact bytes of a path field of a parsed line: the base64 twin where there is one, else the text.
#[must_use]
pub fn path_bytes(line: &serde_json::Value, key: &str) -> Option<Vec<u8>> {
    let twin = line
        .get(format!("{key}_b64"))
        .and_then(serde_json::Value::as_str);
    match twin {
        Some(encoded) => base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .ok(),
        None => line
            .get(key)
            .and_then(serde_json::Value::as_str)
            .map(|text| text.as_bytes().to_vec()),
    }
}

/// Appends `text` as a JSON string with its quotes.
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f | 0x7f => "",
            _ => continue,
        };
        out.push_str(&text[plain_from..at]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        plain_from = at + 1;
    }
    out.push_str(&text[plain_from..]);
    out.push('"');
}

/// Writes `"key":value` pairs with commas between them.
struct Fields<'a> {
    out: &'a mut String,
    first: bool,
}

impl Fields<'_> {
    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    /// A value that needs no quotes.
    fn raw(&mut self, key: &str, value: &str) {
        self.key(key);
        self.out.push_str(value);
    }

    /// A value that needs quotes and no escapes.
    fn word(&mut self, key: &str, word: &str) {
        self.key(key);
        self.out.push('"');
        self.out.push_str(word);
        self.out.push('"');
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        quote(text, self.out);
    }

    /// A hash, in lower-case hexadecimal digits.
    fn hash(&mut self, key: &str, hash: &[u8; HASH_BYTES]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.key(key);
        self.out.push('"');
        for byte in hash {
            self.out.push(DIGITS[usize::from(byte >> 4)].into());
            self.out.push(DIGITS[usize::from(byte & 15)].into());
        }
        self.out.push('"');
    }

    fn other(&mut self, key: &str, other: &Replaced) {
        self.key(key);
        self.out.push('{');
        let mut fields = Fields {
            out: self.out,
            first: true,
        };
        fields.number("ino", other.ino);
        fields.number("size", other.size);
        if let Some(hash) = &other.blake3 {
            fields.hash("blake3", hash);
        }
        if let Some(access) = &other.access {
            fields.access(access);
        }
        self.out.push('}');
    }

    /// Permission bits as a number, owner and group as a pair.
    fn access(&mut self, access: &Access) {
        self.number("mode", access.mode.into());
        self.key("owner");
        let _ = write!(self.out, "[{},{}]", access.uid, access.gid);
    }

    /// A path; when it is not UTF-8, lossy in `key` and exact in `twin`.
    fn path(&mut self, key: &str, twin: &str, path: &[u8]) {
        match std::str::from_utf8(path) {
            Ok(text) => self.text(key, text),
            Err(_) => {
                self.text(key, &String::from_utf8_lossy(path));
                self.key(twin);
                self.out.push('"');
                base64::engine::general_purpose::STANDARD.encode_string(path, self.out);
                self.out.push('"');
            }
        }
    }
}

/// Text of bounded length on the stack, for what is formatted under the log's lock.
struct FixedText {
    bytes: [u8; FixedText::CAPACITY_BYTES],
    length: usize,
}

impl FixedText {
    /// Twenty digits of seq, `,"timestamp":`, thirty of time and a comma, with room to spare.
    const CAPACITY_BYTES: usize = 80;

    const fn new() -> FixedText {
        FixedText {
            bytes: [0; FixedText::CAPACITY_BYTES],
            length: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Write for FixedText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let room = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Caller, EventType, Mark, MissingContent, Op, Source};
    use super::*;
    use proptest::prelude::*;

    fn line_of(event: &Event, seq: u64) -> Vec<u8> {
        let mut text = String::new();
        body(event, &mut text);
        let mut out = Vec::new();
        frame(
            Seq(seq),
            Timestamp(1_700_000_000_123_456_789),
            &text,
            &mut out,
        );
        out
    }

    fn full_event(src: Vec<u8>, dest: Vec<u8>, comm: String) -> Event {
        let caller = Caller {
            pid: u32::MAX,
            uid: 1,
            gid: 2,
            session: Some(comm.clone()),
            comm,
        };
        let access = Some(Access {
            mode: 0o7777,
            uid: u32::MAX,
            gid: u32::MAX,
        });
        Event {
            src_path: Some(src),
            dest_path: Some(dest),
            ino: Some(u64::MAX),
            size: Some(u64::MAX),
            offset: Some(u64::MAX),
            length: Some(u64::MAX),
            handle: Some(u64::MAX),
            replaced: Some(Replaced {
                ino: u64::MAX,
                size: u64::MAX,
                blake3: Some([0xab; HASH_BYTES]),
                access,
            }),
            data_blake3: Some([0x12; HASH_BYTES]),
            content_missing: Some(MissingContent::TooLarge),
            access,
            restored_from: Some(Seq(u64::MAX)),
            blake3: Some([0xcd; HASH_BYTES]),
            prev_blake3: Some([0xef; HASH_BYTES]),
            caller: Some(std::sync::Arc::new(caller)),
            via_mmap: true,
            ..Event::new(EventType::Modified, Some(Op::Removexattr), Source::Mount)
        }
    }

    #[test]
    fn a_line_reads_as_the_contract_shows_it() {
        let path = b"notes/0b5e8f3c-9a34-4c0f-8f39-0c2c9a1d7e55.json".to_vec();
        let mut event = Event::new(EventType::Created, Some(Op::Create), Source::Mount);
        event.src_path = Some(path);
        event.ino = Some(7);
        event.size = Some(0);
        let line = line_of(&event, 42);
        let text = String::from_utf8(line.clone()).unwrap();
        assert!(text.starts_with(
            "{\"seq\":42,\"timestamp\":1700000000.123456789,\"event_type\":\"created\",\"op\":\"create\",\"src_path\":\"notes/"
        ));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["uuid"], "0b5e8f3c-9a34-4c0f-8f39-0c2c9a1d7e55");
        assert_eq!(value["is_directory"], false);
        assert_eq!(
            value.as_object().unwrap().keys().next_back().unwrap(),
            "crc"
        );
        assert_eq!(check(&line), Ok(Seq(42)));
    }

    #[test]
    fn hashes_stand_after_the_handle_in_hexadecimal() {
        let event = full_event(b"a".to_vec(), b"b".to_vec(), "comm".into());
        let text = String::from_utf8(line_of(&event, 1)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["blake3"], "cd".repeat(HASH_BYTES));
        assert_eq!(value["prev_blake3"], "ef".repeat(HASH_BYTES));
        assert_eq!(value["replaced"]["blake3"], "ab".repeat(HASH_BYTES));
        let at = |key: &str| text.find(&format!("\"{key}\":")).unwrap();
        assert!(at("handle") < at("blake3") && at("prev_blake3") < at("replaced"));
    }

    #[test]
    fn a_mark_keeps_its_data() {
        let data = serde_json::json!({"a": [1, "x\ny"]});
        let mark = Mark {
            text: "release \"1\"".into(),
            data: Some(data.clone()),
        };
        let line = line_of(&Event::mark(mark, None), 1);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["text"], "release \"1\"");
        assert_eq!(value["data"], data);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let line = line_of(
            &full_event(b"a".to_vec(), b"\xff\n\"".to_vec(), "comm".into()),
            9,
        );
        for at in 0..line.len() - 1 {
            for bit in 0..8 {
                let mut bad = line.clone();
                bad[at] ^= 1 << bit;
                assert!(check(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_names_give_one_checked_line_within_the_bound(
            src in prop::collection::vec(any::<u8>(), 0..300),
            dest in prop::collection::vec(any::<u8>(), 0..300),
            comm in ".{0,32}",
        ) {
            let texts = src.len() + dest.len() + 2 * comm.len();
            let line = line_of(&full_event(src.clone(), dest.clone(), comm), u64::MAX);
            prop_assert!(line.len() <= line_bytes_max(texts));
            prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
            prop_assert_eq!(check(&line), Ok(Seq(u64::MAX)));
            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(path_bytes(&value, "src_path"), Some(src));
            prop_assert_eq!(path_bytes(&value, "dest_path"), Some(dest));
        }

        #[test]
        fn any_bytes_are_checked_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(check(&bytes).is_err());
        }
    }
}

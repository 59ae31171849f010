//! Reads one segment from its first byte to its last and says what is in it; decides nothing.
//!
//! A good line ends with a newline, passes its checksum, and is later than every good line before it and earlier
//! than the next segment. After bad bytes the search for the next good line goes on at every place that looks like
//! the beginning of one, so damage costs no more than the lines it touched.

use std::io;
use std::sync::Arc;

use memchr::memmem;

use super::fields;
use super::index::Entry;
use super::options::LINE_BYTES_MAX;
use super::segment::{POSITION_MAX, Run, Segment};
use crate::disk::StoredFile;
use crate::event::{Seq, Timestamp, line};

/// Bytes read at a time.
const WINDOW_BYTES: usize = 1024 * 1024;
const LINE_BEGINNING: &[u8] = b"{\"seq\":";

/// What one segment holds.
pub(super) struct Scan {
    /// Its good lines; a new run begins after bad bytes and after a jump in the positions.
    pub(super) runs: Vec<Arc<Run>>,
    /// Good lines.
    pub(super) events: u64,
    /// Offset after the last good line.
    pub(super) end: u64,
    /// Length of the file.
    pub(super) file_bytes: u64,
    /// Bad bytes that have a good line after them.
    pub(super) bad_bytes: u64,
    /// Bytes after the last good line up to the last one that is not zero.
    pub(super) tail_bytes: u64,
    /// Highest position that whole but bad lines of the tail claim, when it can be theirs.
    pub(super) tail_claims: Option<Seq>,
    /// Newest time.
    pub(super) newest: Timestamp,
    /// Lost ranges that earlier gap events say.
    pub(super) said: Vec<(Seq, Seq)>,
}

/// Reads the whole segment. Good lines have positions above `floor` and below `ceiling`.
pub(super) fn scan(
    segment: &Arc<Segment>,
    file: &dyn StoredFile,
    floor: Seq,
    ceiling: Option<Seq>,
) -> io::Result<Scan> {
    let mut scan = Scan {
        runs: Vec::new(),
        events: 0,
        end: 0,
        file_bytes: file.bytes()?,
        bad_bytes: 0,
        tail_bytes: 0,
        tail_claims: None,
        newest: Timestamp::default(),
        said: Vec::new(),
    };
    let floor = floor.max(Seq(segment.first.0 - 1));
    let ceiling = ceiling.unwrap_or(POSITION_MAX);
    let mut last = floor;
    let mut bad_lines = 0;
    let mut window = Window::new(file);
    while let Some(piece) = window.next_piece()? {
        let fits = |seq: Seq| seq > last && seq < ceiling;
        match piece {
            Piece::Blank => {}
            Piece::Rest { end } => scan.tail_bytes = end - scan.end,
            Piece::Line { offset, bytes } => {
                if let Some((skipped, seq)) = find_good(bytes, fits) {
                    let line = &bytes[skipped..];
                    scan.take(segment, seq, offset + skipped as u64, line);
                    last = seq;
                    bad_lines = 0;
                } else {
                    bad_lines += 1;
                    let claim = line::seq_of(bytes).filter(|s| fits(*s));
                    let claim = claim.filter(|s| s.0 <= last.0.saturating_add(bad_lines));
                    scan.tail_claims = scan.tail_claims.max(claim);
                    scan.tail_bytes = offset + bytes.len() as u64 - scan.end;
                }
            }
        }
    }
    segment
        .bytes
        .store(scan.end, std::sync::atomic::Ordering::Release);
    Ok(scan)
}

impl Scan {
    fn take(&mut self, segment: &Arc<Segment>, seq: Seq, offset: u64, bytes: &[u8]) {
        let continues = |run: &&Arc<Run>| run.last().next() == seq && run.end() == offset;
        let run = match self.runs.last().filter(continues) {
            Some(run) => Arc::clone(run),
            None => {
                let run = Arc::new(Run::empty(Arc::clone(segment), seq, offset));
                self.runs.push(Arc::clone(&run));
                run
            }
        };
        let timestamp = fields::timestamp_of(bytes).unwrap_or(self.newest);
        self.newest = self.newest.max(timestamp);
        let entry = Entry {
            seq,
            offset,
            timestamp: self.newest,
        };
        run.publish(entry, bytes.len() as u64);
        self.said.extend(fields::lost_range_said(bytes));
        self.events += 1;
        self.bad_bytes += offset - self.end;
        self.end = offset + bytes.len() as u64;
        self.tail_bytes = 0;
        self.tail_claims = None;
    }

    /// Position of the last good line.
    pub(super) fn last(&self) -> Option<Seq> {
        self.runs.last().map(|run| run.last())
    }
}

/// The good line that ends where `bytes` end: how many bytes stand before it, and its position.
fn find_good(bytes: &[u8], fits: impl Fn(Seq) -> bool) -> Option<(usize, Seq)> {
    let good = |at: usize| line::check(&bytes[at..]).ok().filter(|seq| fits(*seq));
    if let Some(seq) = good(0) {
        return Some((0, seq));
    }
    let rest = bytes.get(1..)?;
    memmem::find_iter(rest, LINE_BEGINNING)
        .map(|at| at + 1)
        .find_map(|at| good(at).map(|seq| (at, seq)))
}

enum Piece<'a> {
    /// Zero bytes.
    Blank,
    /// Bytes up to and with a newline.
    Line { offset: u64, bytes: &'a [u8] },
    /// Bytes without a newline at the end of the file, or more of them than any line has.
    Rest { end: u64 },
}

/// A file as pieces, read through a buffer that holds the longest line and one read more.
struct Window<'a> {
    file: &'a dyn StoredFile,
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    base: u64,
    /// First byte of the buffer that is not yet given out.
    at: usize,
    /// End of what has been read.
    filled: usize,
    ended: bool,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn StoredFile) -> Window<'a> {
        Window {
            file,
            buffer: vec![0; LINE_BYTES_MAX + WINDOW_BYTES],
            base: 0,
            at: 0,
            filled: 0,
            ended: false,
        }
    }

    /// Moves what is left to the front and reads behind it.
    fn refill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.base += self.at as u64;
        self.filled -= self.at;
        self.at = 0;
        let offset = self.base + self.filled as u64;
        let read = self.file.read_at(&mut self.buffer[self.filled..], offset)?;
        self.filled += read;
        self.ended = read == 0;
        Ok(())
    }

    fn next_piece(&mut self) -> io::Result<Option<Piece<'_>>> {
        if self.at == self.filled && !self.ended {
            self.refill()?;
        }
        let rest = &self.buffer[self.at..self.filled];
        if rest.is_empty() {
            return Ok(None);
        }
        let blank = leading_zeros(rest);
        if blank > 0 {
            self.at += blank;
            return Ok(Some(Piece::Blank));
        }
        loop {
            let rest = &self.buffer[self.at..self.filled];
            if let Some(newline) = memchr::memchr(b'\n', rest) {
                let from = self.at;
                self.at += newline + 1;
                return Ok(Some(Piece::Line {
                    offset: self.base + from as u64,
                    bytes: &self.buffer[from..self.at],
                }));
            }
            if self.ended || rest.len() >= LINE_BYTES_MAX {
                let content = rest.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
                let end = self.base + (self.at + content) as u64;
                // Too long for a line: go on inside it, a good line may still begin in what is kept.
                let kept = if self.ended { 0 } else { LINE_BYTES_MAX / 2 };
                self.at = self.filled - kept;
                return Ok(Some(Piece::Rest { end }));
            }
            self.refill()?;
        }
    }
}

/// How many zero bytes `bytes` begin with; compares blocks, since most of a segment's tail is blank.
pub(super) fn leading_zeros(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut done = 0;
    for block in bytes.chunks(ZEROS.len()) {
        if block != &ZEROS[..block.len()] {
            let inside = block.iter().position(|b| *b != 0);
            return done + inside.unwrap_or(block.len());
        }
        done += block.len();
    }
    done
}

//! Reading: file ranges copied as they are, cut at line ends, with every hole said.
//!
//! A reader holds no lock while it reads. It keeps its file open, so retention cannot take the bytes away from
//! under it; whatever was removed before it came is a gap.

use std::io;
use std::sync::Arc;

use super::error::LogError;
use super::fields::last_seq;
use super::options::LINE_BYTES_MAX;
use super::segment::{Place, Run};
use super::writer::Shared;
use crate::disk::StoredFile;
use crate::event::{GapReason, Seq, line};

/// Bytes read at a time while looking for a line; one index step.
const SKIM_BYTES: usize = 64 * 1024;

/// Lines of the log from one position to another, both fixed when the reader was made.
pub struct Reader {
    shared: Arc<Shared>,
    position: Seq,
    until: Seq,
    cursor: Option<Cursor>,
}

/// What comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chunk {
    /// Whole lines, each with its newline, in order and without a hole.
    Lines(Vec<u8>),
    /// Positions that this log no longer holds, first and last.
    Gap {
        /// First lost position.
        from: Seq,
        /// Last lost position.
        to: Seq,
        /// Why they are lost.
        reason: GapReason,
    },
    /// Nothing more up to the reader's end.
    End,
}

struct Cursor {
    run: Arc<Run>,
    file: Arc<dyn StoredFile>,
    /// Offset of the line after the reader's position.
    offset: u64,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, after: Seq, until: Seq) -> Reader {
        let until = until.min(shared.wake.head());
        Reader {
            shared,
            position: after,
            until,
            cursor: None,
        }
    }

    /// The last position passed, as lines or as a gap.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.position
    }

    /// The next lines, at most `max_bytes` of them unless one line is longer, or a gap, or the end.
    ///
    /// # Errors
    /// [`LogError::Io`] when a segment cannot be read, [`LogError::Format`] when it does not hold what was
    /// written. The position does not move.
    pub fn next_chunk(&mut self, max_bytes: usize) -> Result<Chunk, LogError> {
        loop {
            if self.position >= self.until {
                return Ok(Chunk::End);
            }
            let wanted = self.position.next();
            if let Some(cursor) = &mut self.cursor
                && wanted <= cursor.run.last()
            {
                let lines = cursor.read(wanted, self.until, max_bytes)?;
                self.position = last_seq(&lines).unwrap_or(self.position);
                return Ok(Chunk::Lines(lines));
            }
            self.cursor = None;
            let place = self.shared.map.lock().place(wanted);
            match place {
                Place::Hole { to, before_all } => {
                    self.position = to.min(self.until);
                    let reason = if before_all {
                        GapReason::Retention
                    } else {
                        GapReason::Damaged
                    };
                    return Ok(Chunk::Gap {
                        from: wanted,
                        to: self.position,
                        reason,
                    });
                }
                Place::In(run) => self.cursor = self.go_to(run, wanted)?,
            }
        }
    }

    /// A cursor at the line `seq` of `run`; `None` when retention has just taken it, and the map says so.
    fn go_to(&self, run: Arc<Run>, seq: Seq) -> Result<Option<Cursor>, LogError> {
        let file = match run.segment.file(&*self.shared.storage) {
            Ok(file) => file,
            Err(error) => {
                let place = self.shared.map.lock().place(seq);
                return match place {
                    Place::Hole { .. } if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Place::Hole { .. } | Place::In(_) => {
                        Err(LogError::io("open of a segment")(error))
                    }
                };
            }
        };
        let (at, offset) = run.seek(seq);
        let mut cursor = Cursor { run, file, offset };
        cursor.skip_lines(seq.0 - at.0)?;
        Ok(Some(cursor))
    }
}

impl Cursor {
    fn skip_lines(&mut self, mut lines: u64) -> Result<(), LogError> {
        while lines > 0 {
            let mut buffer = vec![0; SKIM_BYTES];
            self.fill(&mut buffer)?;
            let mut passed = buffer.len();
            for newline in memchr::memchr_iter(b'\n', &buffer) {
                lines -= 1;
                if lines == 0 {
                    passed = newline + 1;
                    break;
                }
            }
            self.offset += passed as u64;
        }
        Ok(())
    }

    /// Whole lines from `wanted` to `until` at most.
    fn read(&mut self, wanted: Seq, until: Seq, max_bytes: usize) -> Result<Vec<u8>, LogError> {
        let end = if until < self.run.last() {
            self.run.end_after(until)
        } else {
            self.run.end()
        };
        let left = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let mut length = max_bytes.max(1);
        let mut lines;
        loop {
            lines = vec![0; length.min(left)];
            self.fill(&mut lines)?;
            if let Some(newline) = memchr::memrchr(b'\n', &lines) {
                lines.truncate(newline + 1);
                break;
            }
            if length >= left || length > 2 * LINE_BYTES_MAX {
                return Err(self.differs(wanted));
            }
            length *= 2;
        }
        while last_seq(&lines).is_some_and(|seq| seq > until) {
            let body = &lines[..lines.len() - 1];
            let cut = memchr::memrchr(b'\n', body).map_or(0, |at| at + 1);
            lines.truncate(cut);
        }
        if line::seq_of(&lines) != Some(wanted) || last_seq(&lines).is_none() {
            return Err(self.differs(wanted));
        }
        self.offset += lines.len() as u64;
        Ok(lines)
    }

    /// Fills the buffer from the cursor's place, shorter at the end of the file.
    fn fill(&self, buffer: &mut Vec<u8>) -> Result<(), LogError> {
        let mut done = 0;
        while done < buffer.len() {
            let offset = self.offset + done as u64;
            match self
                .file
                .read_at(&mut buffer[done..], offset)
                .map_err(LogError::io("read of a segment"))?
            {
                0 => break,
                read => done += read,
            }
        }
        buffer.truncate(done);
        if done == 0 {
            return Err(LogError::Format(format!(
                "{} ends before its last event",
                self.run.segment.name
            )));
        }
        Ok(())
    }

    fn differs(&self, wanted: Seq) -> LogError {
        LogError::Format(format!(
            "{} at byte {} does not hold event {wanted}",
            self.run.segment.name, self.offset
        ))
    }
}

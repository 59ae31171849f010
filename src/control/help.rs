//! The text of `help`: what stands in the control directory of this version, and nothing of a later one.

use super::glob::PathGlob;
use super::query::{
    DEPTH_MAX, MARK_DATA_BYTES_MAX, MARK_TEXT_BYTES_MAX, REQUEST_BYTES_MAX, WAIT_MS_MAX,
};

/// The whole text.
pub(super) fn text() -> String {
    let limits = format!(
        "LIMITS
  request {REQUEST_BYTES_MAX} bytes, nested {DEPTH_MAX} deep; path glob {} bytes; wait_ms {WAIT_MS_MAX};
  mark text {MARK_TEXT_BYTES_MAX} bytes, data {MARK_DATA_BYTES_MAX} bytes; replies are streamed and have no limit
",
        PathGlob::BYTES_MAX
    );
    [FILES, REQUESTS, EVENTS, &limits].join("\n")
}

const FILES: &str = r#"hippofs control directory: .hippofs in the root of the mount, reachable by name and not listed

Every change made through the mount is an event, one JSON object on one line, in order, none left out. What was changed
behind the mount is found and recorded as op "found": within a moment by the watcher, else by a scan; `status` says which.

FILES (size 0; read them to the end)
  events      the whole log as JSON Lines, as of the open
  since/SEQ   the events after SEQ, as of the open
  follow      new events as they come; blocks; poll, epoll and O_NONBLOCK work
  control     write one request, read its reply, write the next (below)
  status      counters and health, one JSON object
  metrics     the same as Prometheus text
  versions/PATH/SEQ   the content of a file right after the event SEQ (below)
  consumers/NAME/   a durable consumer: mkdir registers it at the newest event, rmdir removes it (below)
  help        this text

A line {"event_type":"gap",...} without "seq" in a file stands for events that the log no longer has; it says which and why.

CONSUMERS. A place in the log with a name, kept over restarts and crashes. At least once, in order.
  events      the events after the cursor, as of the open
  follow      the same and what comes after them; blocks
  ack         write a seq: all up to it is done with; on disk when the write returns; never moves back
  cursor      read it, or write a seq to move it either way
  filter      one JSON object of selectors; {} takes all; `!self` is the session that reads
  lag         how many events stand after the cursor
Reading moves nothing. Each open of `events` or `follow` is a whole stream of its own from the cursor on: two readers of one
consumer may see the same events, and lose none. Workers that share the work use the request `take`. A consumer holds the
log back from retention, up to --retain-max; past that it reads a gap line first.

VERSIONS. The contents that closes, fsyncs and deletions left, for as long as the log has their events.
  ls versions/PATH        the events at which a content of PATH is kept, and the names below it that have a past
  cat versions/PATH/SEQ   its bytes then: any SEQ will do, not only a listed one; PATH may be deleted or renamed since, and
                          the name it had then or has had later both work. ENOENT: nothing stood there, or it is not held.
What is not kept is said in its event (content_missing); `status` shows the store.

A SUBSCRIBER IN THREE LINES. It goes on where it stopped and misses nothing; it sees an event twice only when it was ended
between the work and the note of it:
  cd MOUNT; seq=$(cat ~/.hippofs-seq 2>/dev/null || echo 0)
  cat .hippofs/since/$seq | while IFS= read -r event; do echo "$event"   # your work here
    seq=$(echo "$event" | jq -r '.seq // .to') && echo "$seq" > ~/.hippofs-seq; done
"#;

const REQUESTS: &str = r#"REQUESTS
Open `control` for reading and writing, write one JSON object in one write, read from the same descriptor to the end, and
write the next. A refused request fails the write with EINVAL, and the read then gives
{"error":{"code":"...","message":"...","hint":"..."}}. Unknown fields are refused.
In bash:  exec 9<>.hippofs/control; echo '{"events":{"limit":5}}' >&9; cat <&9

  {"events":{...}}                          events, by the selectors and bounds below
  {"status":{}}                             what the file `status` shows
  {"sync":{}}                               answers when every change so far, also behind the mount, is in the log and on
                                            the disk: {"head":S,"durable":S}
  {"reconcile":{"path":"...","full":false}} scans for changes behind the mount, with full by content: {"found":N,...}
  {"mark":{"text":"...","data":{...}}}      a note of your own in the log: {"seq":S}
  {"take":{"consumer":"NAME","limit":N,"wait_ms":T}}   reads and advances in one step: each event goes to one taker only
  {"versions":{"path":"..."}}               the versions of one file, under all its names: their events, each with "at"
                                            (its SEQ below versions/), "path" (the name it had) and "kept"
  {"versions":{"path":"...","all":true}}    every event of the file
  {"versions":{"path":"...","at":S}}        what stood below a directory, or for a glob, as of an event or RFC 3339 time
  {"restore":{"path":"...","at":S}}         puts a file, a directory or what a glob selects back as of then: one line for
                                            each entry, then {"restored":N,...}. Planned whole; when it fails midway, what
                                            was done is undone. "dry_run":true only tells; "delete":true removes what came
                                            since. Each step is an event (op restore) of whoever asked
  {"verify":{}}                             reads the log and every kept content and says what is damaged
  {"help":{}}                               this text

SELECTORS of events, all optional, all must hold
  path         glob over src_path and dest_path: * and ? within a name, ** across directories, [a-z], {a,b}
  uuid         of the file's name
  event_type   list of: created modified deleted moved closed gap mark
  op           list of: create mknod mkdir symlink link write truncate fallocate copy setattr setxattr removexattr
               rename exchange unlink rmdir close fsync restore found
  source       list of: mount watch scan peer system
  session      a name; "!name" leaves one out, "!self" leaves out the caller's own
  pid          of the caller
  from_time, to_time   seconds since the epoch, exact to nine decimals, or RFC 3339 text; both inclusive

BOUNDS
  since S      events after S (exclusive)            until S   events up to S (inclusive)
  limit N      at most N matching events             wait_ms T when none matches, wait for the first up to T
  last N           only the newest N matching events; without limit, wait_ms and documents
  view             "raw", every event, or "documents": the net effect on each document between `since` and `next`, one line
                   created, modified, deleted or moved each, with first_seq, last_seq, changes and what is known of its last
                   state. path, uuid and event_type are then of the document, the other selectors of any of its events
  debounce_ms T    with documents: one that changed less than T ago is held back, and what began after it; one that is
                   never quiet for ten times that long
  transient true   with documents: also those that came and went, as deleted with "transient"
  format           "native"; "watchdog" (class and attributes of Python's watchdog); "inotify" (mask names, cookie);
                   "cloudevents" (1.0). Marks have no word in the first two and are left out; seq is always there

The last line of the reply is {"next":S,"head":S,"gap":null}. Give `next` back as the next `since`. `gap` is an object
when events between are gone: "reason" (retention, damaged, or ahead for a `since` past the end of this log), "from", "to",
"lost" (how many), "detail".
"#;

const EVENTS: &str = r#"EVENTS (fields that do not apply are absent)
  seq            position: 1, 2, 3, ... without a hole
  timestamp      seconds since the epoch, nine decimals; never goes back
  event_type, op, source, session, pid   as in the selectors; session is HIPPOFS_SESSION of the caller's environment
  src_path, dest_path   relative to the root of the mount; not UTF-8: exact in src_path_b64, dest_path_b64
  is_directory   true or false
  uuid           when the file's stem is a UUID
  ino, size      after the operation
  offset, length of write, fallocate, copy
  handle         joins the writes of one open to its `closed` event
  blake3, prev_blake3   hash of the content after and before, where known
  data_blake3    hash of the bytes that a write wrote, with --capture write
  content_missing   why a content is not kept: too_large, full, busy, io, changed
  mode, owner    type and permission bits, [uid, gid], of what was deleted
  replaced       ino, size and, where known, blake3, mode and owner of what a rename or a create destroyed
  exchanged      ino, size, mode and owner of what went from dest_path to src_path
  restored_from  the event whose content a restore put back
  uid, gid, comm of the caller
  via            "mmap" when the kernel wrote a shared mapping back
  reason, from, to, detail   of a gap;  text, data   of a mark
  crc            CRC-32C of the line before this field
"#;

"""One line of the log as an object. Parsing never drops a field: what has no attribute here is in `raw`."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_TIMESTAMP = re.compile(rb'"timestamp":(\d+)\.(\d{9})')


@dataclass(frozen=True)
class Event:
    """One event. Paths are relative to the root of the mount; bytes that are not UTF-8 are as `os.fsdecode` gives them.

    A gap that stands for events which the log no longer has is an event, too: `event_type` is "gap", `seq` is None,
    and `raw` has "reason", "from", "to" and "detail".
    """

    event_type: str
    seq: int | None = None
    timestamp: float | None = None
    op: str | None = None
    src_path: str | None = None
    dest_path: str | None = None
    is_directory: bool = False
    source: str | None = None
    session: str | None = None
    pid: int | None = None
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    line: bytes = field(default=b"", repr=False)

    @classmethod
    def from_line(cls, line: bytes) -> Event:
        """Reads one line; a ValueError says that it is not a JSON object."""
        raw = json.loads(line)
        if not isinstance(raw, dict):
            raise ValueError(f"not an event: {line!r}")
        return cls.from_object(raw, line)

    @classmethod
    def from_object(cls, raw: dict[str, Any], line: bytes = b"") -> Event:
        """The event that a parsed line is."""
        get = raw.get
        return cls(
            event_type=get("event_type", ""),
            seq=get("seq"),
            timestamp=get("timestamp"),
            op=get("op"),
            src_path=_path(raw, "src_path"),
            dest_path=_path(raw, "dest_path"),
            is_directory=get("is_directory", False),
            source=get("source"),
            session=get("session"),
            pid=get("pid"),
            raw=raw,
            line=line,
        )

    @property
    def is_gap(self) -> bool:
        """Whether something may be missing here."""
        return self.event_type == "gap"

    @property
    def timestamp_ns(self) -> int | None:
        """Nanoseconds since the epoch, exact where `timestamp` is rounded to a float."""
        found = _TIMESTAMP.search(self.line)
        return int(found[1]) * 1_000_000_000 + int(found[2]) if found else None

    @property
    def position(self) -> int | None:
        """Where to go on after this event: its seq, or for a hole the end of it.

        For a position past the end of the log (reason "ahead") it is the end of the log.
        """
        if self.seq is not None:
            return self.seq
        begin, end = self.raw.get("from"), self.raw.get("to")
        if self.raw.get("reason") == "ahead":
            return begin - 1 if isinstance(begin, int) else None
        return end if isinstance(end, int) else None


def _path(raw: dict[str, Any], key: str) -> str | None:
    exact = raw.get(key + "_b64")
    if exact is not None:
        return os.fsdecode(base64.b64decode(exact))
    path: str | None = raw.get(key)
    return path


@dataclass(frozen=True)
class Reply:
    """The reply to one question for events. As a collection it is its events."""

    events: list[Event]
    next: int
    """Give it back as `since`, and no event is met twice or missed."""
    head: int
    """Position of the newest event at that time."""
    gap: dict[str, Any] | None
    """What is gone between, with "reason", "from", "to" and "lost"; None when nothing is."""

    @classmethod
    def from_bytes(cls, text: bytes) -> Reply:
        """Reads a whole reply; its last line is the summary."""
        lines = text.splitlines()
        if not lines:
            raise ValueError("the reply is empty")
        last = json.loads(lines.pop())
        if "next" not in last:
            raise ValueError(f"the reply has no end: {last!r}")
        return cls([Event.from_line(line) for line in lines], last["next"], last["head"], last["gap"])

    def with_gap(self) -> list[Event]:
        """The events with the gap, if there is one, as an event in its place."""
        if self.gap is None:
            return self.events
        begin = self.gap["from"]
        place = next((i for i, event in enumerate(self.events) if (event.seq or 0) > begin), len(self.events))
        gap = Event.from_object({"event_type": "gap", "source": "system", **self.gap})
        return [*self.events[:place], gap, *self.events[place:]]

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

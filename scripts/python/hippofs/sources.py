"""Where live events come from, across deaths of the daemon. Never waits: `take` gives what is there.

A source knows the last position it gave, so a lost connection is taken up again behind it: nothing is left out and
nothing comes twice. Whoever drives a source waits for `fileno` to be readable, or for `RETRY_S` when there is none.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Protocol

from .control import READ_BYTES, Conversation
from .errors import Disconnected, is_away
from .event import Event, Reply
from .root import Place

RETRY_S = 0.05
"""How often a daemon that is away is looked for; a supervised one is back within a second."""

WAIT_MS = 600_000
"""Longest long poll the daemon takes."""


class Source(Protocol):
    """What a follower drives."""

    def fileno(self) -> int | None:
        """What to wait on for reading; None while the daemon is away."""

    def take(self) -> list[Event] | None:
        """Events that are there; None when there are none yet, an empty list when there may be more at once."""

    def close(self) -> None:
        """Lets go of the mount."""


class _Away:
    """Says when a daemon has been away for too long. `patience_s` None is for ever."""

    def __init__(self, patience_s: float | None) -> None:
        self._patience_s = patience_s
        self._since: float | None = None

    def over(self) -> None:
        self._since = None

    def note(self, error: OSError) -> None:
        """Counts a failure; raises it when it is of another kind, or Disconnected when patience ends."""
        if not is_away(error):
            raise error
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if self._patience_s is not None and now - self._since >= self._patience_s:
            raise Disconnected(f"the daemon has been away for {self._patience_s} s: {error}") from error


def head(place: Place) -> int:
    """Position of the newest event."""
    with open(place.control("status"), "rb", buffering=0) as status:
        found: int = json.loads(status.readall() or b"{}")["head"]
    return found


class Feed:
    """Every event after `since`, by the file `follow`; what came before it was opened, by `since/SEQ`."""

    def __init__(self, place: Place, since: int | None, patience_s: float | None) -> None:
        self.place = place
        self.last = head(place) if since is None else since
        self._away = _Away(patience_s)
        self._missed: int | None = None
        self._follow: int | None = None
        self._rest = b""
        # Opened now, so that what happens after the constructor returned is surely seen as it comes.
        self._open()

    def fileno(self) -> int | None:
        return self._follow

    def take(self) -> list[Event] | None:
        lines = self.take_lines()
        if lines is None:
            return None
        return [Event.from_line(line) for line in lines]

    def take_lines(self) -> list[bytes] | None:
        """As `take`, unparsed; each line without its newline."""
        try:
            if self._follow is None:
                self._open()
            piece = self._read()
        except BlockingIOError:
            return None
        except OSError as error:
            self.close()
            self._away.note(error)
            return None
        self._away.over()
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line for line in lines if self._is_new(line)]

    def close(self) -> None:
        for fd in (self._follow, self._missed):
            if fd is not None:
                os.close(fd)
        self._follow = self._missed = None
        self._rest = b""

    def _open(self) -> None:
        # In this order: what comes between the two opens is in both, and is taken once.
        flags = os.O_RDONLY | os.O_CLOEXEC
        self._follow = os.open(self.place.control("follow"), flags | os.O_NONBLOCK)
        try:
            self._missed = os.open(self.place.control(f"since/{self.last}"), flags)
        except OSError:
            self.close()
            raise

    def _read(self) -> bytes:
        assert self._follow is not None
        if self._missed is not None:
            if piece := os.read(self._missed, READ_BYTES):
                return piece
            os.close(self._missed)
            self._missed = None
        piece = os.read(self._follow, READ_BYTES)
        if not piece:
            # `follow` has no end but that of its daemon.
            raise ConnectionAbortedError(103, "the daemon ended")
        return piece

    def _is_new(self, line: bytes) -> bool:
        if line.startswith(b'{"seq":'):
            position = int(line[7 : line.index(b",")])
            if position <= self.last:
                return False
            self.last = position
            return True
        after = Event.from_line(line).position
        if after is not None:
            self.last = after
        return True


class Poll:
    """The events after `since` that match selectors, by long polls, so that the daemon does the selecting."""

    def __init__(self, place: Place, since: int | None, selectors: dict[str, Any], patience_s: float | None) -> None:
        self.place = place
        self.last = head(place) if since is None else since
        self._selectors = selectors
        self._away = _Away(patience_s)
        self._control: Conversation | None = None
        self._asked = False
        self._reply = b""
        # Asked now, so that selectors that are refused are refused here.
        self._ask()

    def fileno(self) -> int | None:
        return None if self._control is None else self._control.fileno()

    def take(self) -> list[Event] | None:
        try:
            self._ask()
            assert self._control is not None
            while piece := self._control.read():
                self._reply += piece
        except BlockingIOError:
            return None
        except OSError as error:
            self.close()
            self._away.note(error)
            return None
        self._away.over()
        self._asked, text, self._reply = False, self._reply, b""
        reply = Reply.from_bytes(text)
        self.last = reply.next
        return reply.with_gap()

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control, self._asked, self._reply = None, False, b""

    def _ask(self) -> None:
        if self._control is None:
            self._control = Conversation(self.place, blocking=False)
        if not self._asked:
            self._control.send({"events": {**self._selectors, "since": self.last, "wait_ms": WAIT_MS}})
            self._asked = True


class Stream:
    """Lines of one file that blocks, opened anew when its daemon was replaced; for files that know their own place."""

    def __init__(self, path: str, patience_s: float | None) -> None:
        self._path = path
        self._away = _Away(patience_s)
        self._fd: int | None = None
        self._rest = b""
        self._open()

    def fileno(self) -> int | None:
        return self._fd

    def take(self) -> list[Event] | None:
        try:
            if self._fd is None:
                self._open()
            assert self._fd is not None
            piece = os.read(self._fd, READ_BYTES)
            if not piece:
                raise ConnectionAbortedError(103, "the daemon ended")
        except BlockingIOError:
            return None
        except OSError as error:
            self.close()
            self._away.note(error)
            return None
        self._away.over()
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [Event.from_line(line) for line in lines]

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._rest = None, b""

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)

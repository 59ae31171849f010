"""Everything a program asks of a mount, one method each."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from . import root
from .consumer import Consumer
from .control import Conversation
from .errors import Disconnected, is_away
from .event import Event, Reply
from .follow import Follow
from .settle import settle
from .sources import RETRY_S, WAIT_MS, Feed, Poll, Source, head

T = TypeVar("T")

PAGE_EVENTS = 1000
"""Events of one reply of a query: some 330 KB, so that a long log never has to fit into memory."""

PATIENCE_S = 30.0
"""How long a daemon that is away is waited for by default: many times what a supervised restart takes."""


class Client:
    """A mount, found from any path inside it.

    Selectors (`query`, `wait`, `follow`) are those of the control file, all must hold: `path` (glob, `**` crosses
    directories), `uuid`, `event_type`, `op`, `source` (lists), `session` (`"!self"` leaves out the caller's own),
    `pid`, `from_time`, `to_time`. A word the daemon does not know is a RequestError.

    Raises NotMounted for a path in no mount. Methods may be called from several threads.
    """

    def __init__(self, path: str | bytes | os.PathLike[str] = ".", *, patience_s: float | None = PATIENCE_S) -> None:
        self.place = root.find(path)
        self._patience_s = patience_s

    @property
    def root(self) -> str:
        """Root of the mount."""
        return self.place.root

    def status(self) -> dict[str, Any]:
        """Counters and health."""
        return self._object("status")

    def head(self) -> int:
        """Position of the newest event; 0 in a new store."""
        return self._patiently(lambda: head(self.place))

    def ask(self, **bounds_and_selectors: Any) -> Reply:
        """One `events` request as it is, with `since`, `until`, `limit` and `wait_ms`, and its reply."""
        return Reply.from_bytes(self._ask({"events": bounds_and_selectors}))

    def query(
        self, *, since: int = 0, until: int | None = None, limit: int | None = None, **selectors: Any
    ) -> Iterator[Event]:
        """The events after `since` (exclusive) up to `until` (inclusive; the head at the first page when not given).

        Asks page by page. What the log no longer has comes as one event with `is_gap` in its place.
        """
        left = limit
        while left is None or left > 0:
            page = PAGE_EVENTS if left is None else min(left, PAGE_EVENTS)
            bounds: dict[str, Any] = {"since": since, "limit": page}
            if until is not None:
                bounds["until"] = until
            reply = self.ask(**selectors, **bounds)
            until = reply.head if until is None else until
            yield from reply.with_gap()
            since = reply.next
            left = None if left is None else left - len(reply)
            if len(reply) < page or since >= until:
                return

    def wait(self, *, since: int | None = None, timeout_s: float | None = None, **selectors: Any) -> Reply:
        """Waits until events after `since` match (after the present head when not given), and gives them.

        After `timeout_s` the reply has no events; its `next` is where to go on either way.
        """
        position = self.head() if since is None else since
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_ms = WAIT_MS if end is None else int(max(0.0, end - time.monotonic()) * 1000)
            reply = self.ask(**selectors, since=position, wait_ms=min(left_ms, WAIT_MS))
            position = reply.next
            if reply.events or reply.gap or (end is not None and time.monotonic() >= end):
                return reply

    def follow(self, *, since: int | None = None, timeout_s: float | None = None, **selectors: Any) -> Follow:
        """Live events after `since` (from now on when not given), for `for` and `async for`.

        What happens after this call returned is seen. The daemon may be replaced meanwhile; Disconnected when it is
        away for longer than the client's patience.
        """

        def source() -> Source:
            if selectors:
                return Poll(self.place, since, selectors, self._patience_s)
            return Feed(self.place, since, self._patience_s)

        return Follow(self._patiently(source), timeout_s)

    def settle(self, event: Event) -> None:
        """Waits until the name that an event gave to a file shows that file; call it before opening what was `moved`.

        An event may be here a moment before the call that made it returns, and until then the old file is found.
        """
        path = event.dest_path or event.src_path
        if path is not None:
            settle(os.path.join(self.root, path), event.raw.get("ino"))

    def mark(self, text: str, data: Any = None) -> int:
        """Puts a note of one's own into the log and gives its position."""
        request = {"text": text} if data is None else {"text": text, "data": data}
        # Not tried again: nobody can say whether a mark whose answer was lost is in the log.
        with Conversation(self.place) as control:
            seq: int = json.loads(control.ask({"mark": request}))["seq"]
        return seq

    def sync(self) -> dict[str, int]:
        """Puts everything that returned before onto the disk: {"head": S, "durable": S}."""
        done: dict[str, int] = json.loads(self._ask({"sync": {}}))
        return done

    def versions(self, path: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """The kept versions of a file, a path inside the mount. Unavailable where the daemon keeps no content."""
        text = self._ask({"versions": {"path": root.find(path).relative}})
        return [json.loads(line) for line in text.splitlines()]

    def read_version(self, path: str | os.PathLike[str], seq: int) -> bytes:
        """The content of a file, a path inside the mount, as it was right after event `seq`."""
        relative = root.find(path).relative
        with open(self.place.control(f"versions/{relative}/{seq}"), "rb", buffering=0) as version:
            return version.readall() or b""

    def consumer(self, name: str) -> Consumer:
        """The durable consumer of that name; `create` registers it."""
        return Consumer(self.place, name, self._patience_s)

    def _object(self, name: str) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            with open(self.place.control(name), "rb", buffering=0) as file:
                found: dict[str, Any] = json.loads(file.readall() or b"{}")
            return found

        return self._patiently(read)

    def _ask(self, request: dict[str, Any]) -> bytes:
        def ask() -> bytes:
            with Conversation(self.place) as control:
                return control.ask(request)

        return self._patiently(ask)

    def _patiently(self, work: Callable[[], T]) -> T:
        """Does `work`, again while the daemon is away; only for what may be done twice."""
        end = None if self._patience_s is None else time.monotonic() + self._patience_s
        while True:
            try:
                return work()
            except OSError as error:
                if not is_away(error):
                    raise
                if end is not None and time.monotonic() >= end:
                    raise Disconnected(f"the daemon has been away for {self._patience_s} s: {error}") from error
            time.sleep(RETRY_S)


"""A durable consumer: a named place in the log that the daemon keeps. At least once, in order."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from typing import Any

from .errors import Unavailable
from .event import Event
from .follow import Follow
from .root import Place
from .sources import Stream


class Consumer:
    """The files of `.hippofs/consumers/NAME/`. Iterating gives each live event and acknowledges it when the next is
    asked for: an exception in the loop's body leaves its event to be delivered again.
    """

    def __init__(self, place: Place, name: str, patience_s: float | None) -> None:
        if not name or "/" in name or name in (".", ".."):
            raise ValueError(f"not the name of a consumer: {name!r}")
        self.name = name
        self._place = place
        self._patience_s = patience_s

    def create(self) -> Consumer:
        """Registers it; one that exists stays as it is. Unavailable where the daemon has no consumers."""
        if not os.path.isdir(self._place.control("consumers")):
            message = "the daemon behind this mount has no consumers"
            raise Unavailable("unavailable", message, "`status` shows its version")
        try:
            os.mkdir(self._path())
        except FileExistsError:
            pass
        return self

    def remove(self) -> None:
        """Forgets it and its place in the log; one that does not exist is fine."""
        try:
            os.rmdir(self._path())
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def events(self) -> list[Event]:
        """The next batch after the cursor, up to the present; the cursor stays where it is until `ack`."""
        return [Event.from_line(line) for line in self._read("events").splitlines()]

    def follow(self, timeout_s: float | None = None) -> Follow:
        """Live events after the cursor; after the daemon was replaced those not acknowledged come again."""
        return Follow(Stream(self._path("follow"), self._patience_s), timeout_s)

    def ack(self, upto: int | Event) -> None:
        """All up to this position is done."""
        position = upto.position if isinstance(upto, Event) else upto
        if position is not None:
            self._write("ack", str(position))

    @property
    def cursor(self) -> int:
        """The last position that was acknowledged."""
        return int(self._read("cursor"))

    def seek(self, position: int) -> None:
        """Moves the cursor, either way."""
        self._write("cursor", str(position))

    def set_filter(self, **selectors: Any) -> None:
        """Delivers only what matches the selectors from now on; none of them delivers everything."""
        self._write("filter", json.dumps(selectors))

    def filter(self) -> dict[str, Any]:
        """The selectors it has."""
        found: dict[str, Any] = json.loads(self._read("filter") or b"{}")
        return found

    def lag(self) -> Any:
        """How far it is behind, as the daemon says it."""
        return json.loads(self._read("lag"))

    def __iter__(self) -> Iterator[Event]:
        with self.follow() as live:
            for event in live:
                yield event
                self.ack(event)

    def _path(self, file: str = "") -> str:
        return self._place.control(os.path.join("consumers", self.name, file).rstrip("/"))

    def _read(self, file: str) -> bytes:
        with open(self._path(file), "rb", buffering=0) as opened:
            return opened.readall() or b""

    def _write(self, file: str, text: str) -> None:
        fd = os.open(self._path(file), os.O_WRONLY | os.O_CLOEXEC)
        try:
            # One write: the daemon takes each as a whole.
            os.write(fd, text.encode() + b"\n")
        finally:
            os.close(fd)

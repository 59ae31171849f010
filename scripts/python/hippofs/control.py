"""The conversation of one open `control` file: a request written, its reply read to the end, then the next one."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from .errors import RequestError, Unavailable
from .root import Place

READ_BYTES = 1 << 20
"""Bytes of one read: the largest request a kernel makes."""

REFUSAL_BYTES_MAX = 1 << 16
"""More than any refusal has."""


class Conversation:
    """An open control file. `blocking=False` makes `read` raise BlockingIOError instead of waiting."""

    def __init__(self, place: Place, *, blocking: bool = True) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | (0 if blocking else os.O_NONBLOCK)
        self._fd = os.open(place.control("control"), flags)

    def fileno(self) -> int:
        """The descriptor, for poll and its kin."""
        return self._fd

    def send(self, request: dict[str, Any]) -> None:
        """Writes a request; RequestError or Unavailable when it is refused."""
        text = json.dumps(request).encode()
        try:
            written = os.write(self._fd, text)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise self._refusal() from None
        if written != len(text):
            raise RequestError("too_long", "the request was taken in part", "use a shorter one")

    def read(self) -> bytes:
        """The next bytes of the reply; none is its end."""
        return os.read(self._fd, READ_BYTES)

    def ask(self, request: dict[str, Any]) -> bytes:
        """Writes a request and reads its whole reply."""
        self.send(request)
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Ends the conversation; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refusal(self) -> RequestError:
        try:
            said = json.loads(os.read(self._fd, REFUSAL_BYTES_MAX))["error"]
            code, message, hint = said["code"], said["message"], said.get("hint", "")
        except (OSError, ValueError, KeyError, TypeError):
            return RequestError("refused", "the request was refused", "see .hippofs/help")
        kind = Unavailable if code == "unavailable" else RequestError
        return kind(code, message, hint)

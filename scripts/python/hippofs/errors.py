"""What can go wrong, each kind once. All are `HippofsError`, and an `OSError` stays one where the system said it."""

from __future__ import annotations

import errno


class HippofsError(Exception):
    """Any failure of this package."""


class NotMounted(HippofsError):
    """The path is in no hippofs mount whose control files can be reached."""


class Disconnected(HippofsError):
    """The daemon was away for longer than the caller wanted to wait for it."""


class RequestError(HippofsError):
    """The daemon refused a request.

    `code` is one word for programs, `message` says what is wrong, `hint` what to write instead.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.code = code
        self.message = message
        self.hint = hint


class Unavailable(RequestError):
    """The contract has it, the daemon behind this mount does not."""


# What a call on a mount gives while its daemon is dead, ends, or is being replaced by the next one. Without a mount the
# control files do not exist (ENOENT), or their directory is one that only the next daemon may read.
AWAY = frozenset(
    {errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ENODEV, errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
)


def is_away(error: OSError) -> bool:
    """Whether trying again may help, because the daemon is away and may come back."""
    return error.errno in AWAY

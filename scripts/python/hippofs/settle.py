"""Makes sure that a name shows what its event says.

An event can be read before the call that made it has returned (a reader is told as soon as the log has it), and until
then the kernel may answer from the names it remembers: a document that was just replaced may still be the old one. The
kernel holds a directory's lock for as long as it changes a name in it, and a lookup of a name that it does not know
takes the same lock, so one such lookup waits for exactly as long as needed.
"""

from __future__ import annotations

import itertools
import os

_numbers = itertools.count()


def settle(path: str | bytes, ino: int | None) -> None:
    """Returns when `path` is the file `ino`, or when every change of names in its directory that was under way is done.

    Costs one lstat where all is well, and one lookup more where the name is another file, for example because it was
    changed again.
    """
    try:
        if os.lstat(path).st_ino == ino:
            return
    except OSError:
        pass
    # A name not used before: the kernel may remember that others do not exist.
    unknown = f".hippofs-{os.getpid()}-{next(_numbers)}"
    try:
        os.lstat(os.path.join(os.path.dirname(os.fsdecode(path)), unknown))
    except OSError:
        pass

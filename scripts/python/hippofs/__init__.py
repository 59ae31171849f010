"""Client of hippofs, the filesystem that records every change.

    import hippofs

    client = hippofs.Client("anything/inside/the/mount")
    for event in client.query(path="docs/**", op=["rename", "unlink"]):
        print(event.seq, event.op, event.src_path)

Everything here goes through the control files in `.hippofs`; nothing is needed that a shell script could not use.
`hippofs.watchdog` is a drop-in for `watchdog.observers` and the only module that needs another package.
"""

from .client import Client
from .consumer import Consumer
from .errors import Disconnected, HippofsError, NotMounted, RequestError, Unavailable
from .event import Event, Reply
from .follow import Follow

__all__ = [
    "Client",
    "Consumer",
    "Disconnected",
    "Event",
    "Follow",
    "HippofsError",
    "NotMounted",
    "Reply",
    "RequestError",
    "Unavailable",
]

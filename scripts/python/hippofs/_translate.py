"""An event of the log as the events that watchdog's inotify observer has for the same call. Reads no log.

The one thing asked of the file system is what watchdog asks it, too: what lies below a directory that was moved.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from watchdog import events as w
from watchdog.observers.api import ObservedWatch

from .event import Event

# Older versions of watchdog have no class for a change of attributes: there it is a modification.
_FILE_ATTRIB: Any = getattr(w, "FileAttribEvent", w.FileModifiedEvent)
_DIR_ATTRIB: Any = getattr(w, "DirAttribEvent", w.DirModifiedEvent)
_ATTRIBUTE_OPS = frozenset({"setattr", "setxattr", "removexattr"})


class Translator:
    """What one watch has to know of each event. It follows the watched directory when that is moved, as inotify does:
    events go on under the name that was given to `schedule`.
    """

    def __init__(self, watch: ObservedWatch, relative: str, *, full_events: bool) -> None:
        self._base = watch.path
        self._relative = relative
        self._recursive = watch.is_recursive
        self._full_events = full_events
        # A watch on one file: older versions of watchdog leave it to the emitter.
        self._is_file = os.path.isfile(watch.path)
        self.root_is_gone = False

    def may_matter(self, line: bytes) -> bool:
        """Whether a line has to be parsed; says no only when it names nothing below the watch or above it."""
        name = self._relative
        if not name.isascii() or not name.isprintable() or '"' in name or "\\" in name:
            return True
        return name.encode() in line or b'"event_type":"moved"' in line or b'"event_type":"gap"' in line

    def events(self, event: Event) -> Iterator[w.FileSystemEvent]:
        """The events for the handlers, in watchdog's order."""
        source, dest = _normal(event.src_path), _normal(event.dest_path)
        if source is None:
            return
        if event.event_type == "moved" and dest is not None:
            yield from self._moved(event, source, dest)
            return
        name = self._covered(source)
        if source == self._relative and not self._is_file:
            yield from self._of_root(event)
        elif name is not None:
            yield from self._plain(event, name)

    def _plain(self, event: Event, name: Any) -> Iterator[w.FileSystemEvent]:
        folder = event.is_directory
        if event.event_type == "created":
            yield from self._appeared(name, folder)
        elif event.event_type == "deleted":
            yield from self._vanished(name, folder)
            self.root_is_gone = self._is_file
        elif event.event_type == "modified":
            yield self._modified(event, name)
        elif event.event_type == "closed":
            yield w.FileClosedEvent(name)
            yield w.DirModifiedEvent(os.path.dirname(name))

    def _of_root(self, event: Event) -> Iterator[w.FileSystemEvent]:
        """An event of the watched directory itself."""
        if event.event_type == "deleted":
            yield w.DirDeletedEvent(self._base)
            self.root_is_gone = True
        elif event.event_type == "modified":
            yield self._modified(event, self._base)

    def _modified(self, event: Event, name: Any) -> w.FileSystemEvent:
        if event.op in _ATTRIBUTE_OPS:
            made: w.FileSystemEvent = (_DIR_ATTRIB if event.is_directory else _FILE_ATTRIB)(name)
            return made
        return (w.DirModifiedEvent if event.is_directory else w.FileModifiedEvent)(name)

    def _moved(self, event: Event, source: str, dest: str) -> Iterator[w.FileSystemEvent]:
        exchange = event.op == "exchange"
        name, target = self._covered(source), self._covered(dest)
        replaced_root = dest == self._relative and not exchange and not self._is_file
        self._follow_root(source, dest, exchange)
        if replaced_root and source != dest:
            yield w.DirDeletedEvent(self._base)
            self.root_is_gone = True
            return
        yield from self._one_move(name, target, event.is_directory)
        if exchange:
            yield from self._one_move(target, name, _other_is_folder(event, name, target))

    def _one_move(self, name: Any, target: Any, folder: bool) -> Iterator[w.FileSystemEvent]:
        moved = w.DirMovedEvent if folder else w.FileMovedEvent
        if name is not None and target is not None:
            yield moved(name, target)
            yield w.DirModifiedEvent(os.path.dirname(name))
            yield w.DirModifiedEvent(os.path.dirname(target))
            if folder and self._recursive:
                yield from w.generate_sub_moved_events(name, target)
        elif name is not None:
            if self._full_events:
                yield moved(name, "")
                yield w.DirModifiedEvent(os.path.dirname(name))
            else:
                yield from self._vanished(name, folder)
        elif target is not None:
            if self._full_events:
                yield moved("", target)
                yield w.DirModifiedEvent(os.path.dirname(target))
            else:
                yield from self._appeared(target, folder)
            if folder and self._recursive:
                yield from w.generate_sub_created_events(target)

    def _appeared(self, name: Any, folder: bool) -> Iterator[w.FileSystemEvent]:
        yield (w.DirCreatedEvent if folder else w.FileCreatedEvent)(name)
        yield w.DirModifiedEvent(os.path.dirname(name))

    def _vanished(self, name: Any, folder: bool) -> Iterator[w.FileSystemEvent]:
        yield (w.DirDeletedEvent if folder else w.FileDeletedEvent)(name)
        yield w.DirModifiedEvent(os.path.dirname(name))

    def _follow_root(self, source: str, dest: str, exchange: bool) -> None:
        if self._is_file or not self._relative:
            return
        for old, new in [(source, dest), (dest, source)] if exchange else [(source, dest)]:
            if self._relative == old or self._relative.startswith(old + "/"):
                self._relative = new + self._relative[len(old):]
                return

    def _covered(self, path: str) -> Any:
        """The name that handlers see, when the watch covers the path; of the type that was given to `schedule`."""
        if self._is_file:
            return self._base if path == self._relative else None
        if self._relative and not path.startswith(self._relative + "/"):
            return None
        tail = path[len(self._relative) + 1:] if self._relative else path
        if not tail or ("/" in tail and not self._recursive):
            return None
        if isinstance(self._base, bytes):
            return os.path.join(self._base, os.fsencode(tail))
        return os.path.join(self._base, tail)


def _other_is_folder(event: Event, *names: Any) -> bool:
    """Whether what came the other way of an exchange is a directory: whichever of the two is not the event's own.

    The event may be here before the caller's kernel has exchanged the names, so the place says nothing.
    """
    for name in names:
        try:
            found = os.lstat(name) if name is not None else None
        except OSError:
            continue
        if found is not None and found.st_ino != event.raw.get("ino"):
            return stat.S_ISDIR(found.st_mode)
    return event.is_directory


def _normal(path: str | None) -> str | None:
    return "" if path == "." else path

"""A drop-in for `watchdog.observers`: inside a hippofs mount every event is delivered, elsewhere watchdog does it.

    from hippofs.watchdog import Observer      # instead of: from watchdog.observers import Observer

Handlers, event classes, `schedule` and all the rest are watchdog's own. Each watch inside a mount reads the log; the
daemon may be replaced meanwhile, the watch goes on behind the last event it had. An event from a mount has one more
attribute, `hippofs`, the line of the log it came from (`hippofs.Event`: who, when, seq).
"""

from __future__ import annotations

import logging
import os
import queue
from collections.abc import Callable
from typing import Any

from watchdog.observers.api import DEFAULT_OBSERVER_TIMEOUT, BaseObserver, EventEmitter, EventQueue, ObservedWatch

from . import root
from ._translate import Translator
from .errors import NotMounted
from .event import Event
from .follow import Follow
from .settle import settle
from .sources import Feed

logger = logging.getLogger(__name__)

QUEUE_EVENTS_MAX = 10_000
"""Events waiting for handlers before a watch stops reading: the log is the queue, memory need not be one."""

QUEUE_LOOK_S = 0.005
"""How often a watch looks whether the handlers have caught up."""

NAMING = frozenset({"created", "moved"})
"""Events after which handlers open the name: it then has to be there."""

GapHandler = Callable[[Event], None]


class Observer(BaseObserver):
    """watchdog's Observer, without losses inside a hippofs mount.

    `generate_full_events` is watchdog's: moves into or out of the watched tree stay moves with one empty path.
    `on_gap`, if given, is called with each event that says that something may be missing (a crash of the daemon,
    events removed by retention before they were read); such events are logged as warnings otherwise.
    """

    def __init__(
        self,
        *,
        timeout: float = DEFAULT_OBSERVER_TIMEOUT,
        generate_full_events: bool = False,
        on_gap: GapHandler | None = None,
    ) -> None:
        super().__init__(EventEmitter, timeout=timeout)
        self._event_queue = _Queue()
        self._full_events = generate_full_events
        self._on_gap = on_gap if on_gap is not None else _warn
        # watchdog makes the emitter of a watch by calling this.
        self._emitter_class: Any = self._emitter_of

    def _emitter_of(self, event_queue: EventQueue, watch: ObservedWatch, **options: Any) -> EventEmitter:
        try:
            place = root.find(watch.path)
            if _is_forbidden(place):
                logger.warning("%s: the control files are not for this user: watching with inotify", place.root)
            else:
                return HippofsEmitter(
                    event_queue, watch, place=place, full_events=self._full_events, on_gap=self._on_gap, **options
                )
        except NotMounted:
            pass
        native: EventEmitter = _native(self._full_events)(event_queue, watch, **options)
        return native


class HippofsEmitter(EventEmitter):
    """One watch inside a mount."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        place: root.Place,
        full_events: bool,
        on_gap: GapHandler,
        **options: Any,
    ) -> None:
        super().__init__(event_queue, watch, **options)
        self._place = place
        self._on_gap = on_gap
        self._translator = Translator(watch, place.relative, full_events=full_events)
        self._live: Follow | None = None

    def on_thread_start(self) -> None:
        """From here on everything is delivered; an OSError when the path does not exist or the mount is dead."""
        os.lstat(self.watch.path)
        feed = _Sifted(Feed(self._place, None, None), self._translator)
        self._live = Follow(feed)

    def on_thread_stop(self) -> None:
        if self._live is not None:
            self._live.close()

    def queue_events(self, timeout: float) -> None:
        live = self._live
        event = next(live, None) if live is not None else None
        if event is None:
            self.stop()
            return
        if event.is_gap:
            self._on_gap(event)
        for found in self._translator.events(event):
            name = found.dest_path or found.src_path
            if event.event_type in NAMING and not found.is_synthetic and found.event_type == event.event_type:
                settle(name, event.raw.get("ino"))
            found.hippofs = event  # type: ignore[attr-defined]
            self.queue_event(found)
        if self._translator.root_is_gone:
            self.stop()
        while self._event_queue.qsize() > QUEUE_EVENTS_MAX and self.should_keep_running():
            self.stopped_event.wait(QUEUE_LOOK_S)


class _Sifted:
    """The lines of a feed that may matter to a watch; the others are not parsed."""

    def __init__(self, feed: Feed, translator: Translator) -> None:
        self._feed = feed
        self._translator = translator

    def fileno(self) -> int | None:
        return self._feed.fileno()

    def take(self) -> list[Event] | None:
        lines = self._feed.take_lines()
        if lines is None:
            return None
        events = []
        for at, line in enumerate(lines):
            if not self._translator.may_matter(line):
                continue
            events.append(Event.from_line(line))
            if events[-1].dest_path is not None and events[-1].is_directory:
                # It may have moved the watched directory, and then other lines matter than before.
                events.extend(Event.from_line(rest) for rest in lines[at + 1 :])
                break
        return events

    def close(self) -> None:
        self._feed.close()


class _Queue(EventQueue):
    """watchdog's queue drops an event that equals the one before; those of a mount are all kept."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if isinstance(item, tuple) and hasattr(item[0], "hippofs"):
            queue.Queue.put(self, item, block, timeout)
        else:
            super().put(item, block, timeout)


def _is_forbidden(place: root.Place) -> bool:
    try:
        os.stat(place.control("follow"))
    except PermissionError:
        return True
    except OSError:
        pass  # the start of the watch says it
    return False


def _native(full_events: bool) -> Any:
    """The class of watchdog's own emitter on this system."""
    try:
        from watchdog.observers import inotify

        return inotify.InotifyFullEmitter if full_events else inotify.InotifyEmitter
    except Exception:  # watchdog says in several ways that the system has no inotify
        from watchdog.observers.polling import PollingEmitter

        return PollingEmitter


def _warn(gap: Event) -> None:
    logger.warning("something may be missing: %s: %s", gap.raw.get("reason"), gap.raw.get("detail"))


__all__ = ["HippofsEmitter", "Observer"]

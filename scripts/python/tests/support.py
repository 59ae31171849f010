"""What every test here needs: a mount for the whole module, a directory for each test, and a recording handler."""

from __future__ import annotations

import faulthandler
import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "measure"))

from mount import DEADLINE_S, Mount, wait_for  # noqa: E402
from watchdog.events import FileSystemEventHandler  # noqa: E402

TEST_LIMIT_S = 120
"""More than any test needs: then all stacks are printed and the run ends; its mounts are torn down by the caller."""


class MountCase(unittest.TestCase):
    """One mount for all tests of a class, a fresh directory in it for each."""

    options: tuple[str, ...] = ()

    @classmethod
    def setUpClass(cls) -> None:
        cls.mount = Mount(*cls.options)
        cls.addClassCleanup(cls.mount.end)

    def setUp(self) -> None:
        faulthandler.dump_traceback_later(TEST_LIMIT_S, exit=True)
        self.addCleanup(faulthandler.cancel_dump_traceback_later)
        self.name = self.id().rsplit(".", 1)[1]
        self.dir = self.mount.root / self.name
        self.dir.mkdir()


class Recorder(FileSystemEventHandler):
    """Keeps every event as a short text: kind, F or D, path, dest."""

    def __init__(self, base: pathlib.Path | str = "") -> None:
        self.base = str(base)
        self.events = []
        self._lock = threading.Lock()

    def dispatch(self, event) -> None:
        with self._lock:
            self.events.append(event)
        super().dispatch(event)

    def briefs(self) -> list[str]:
        """All so far, without what only watchdog's own observer has."""
        with self._lock:
            events = list(self.events)
        skipped = ("opened", "closed_no_write")
        return [self.brief(event) for event in events if event.event_type not in skipped]

    def brief(self, event) -> str:
        kind = "D" if event.is_directory else "F"
        paths = [self._short(path) for path in (event.src_path, event.dest_path) if path]
        return " ".join([event.event_type, kind, *paths])

    def _short(self, path) -> str:
        path = path.decode() if isinstance(path, bytes) else path
        return path.removeprefix(self.base).lstrip("/") if self.base else path

    def wait(self, *wanted: str) -> list[str]:
        """Waits until each of the texts has come."""
        try:
            wait_for(f"events {wanted}", lambda: all(text in self.briefs() for text in wanted))
        except AssertionError as error:
            raise AssertionError(f"{error}; came: {self.briefs()}") from None
        return self.briefs()


__all__ = ["DEADLINE_S", "Mount", "MountCase", "Recorder", "wait_for"]

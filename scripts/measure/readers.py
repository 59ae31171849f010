"""Readers for the loss measurement: each tool as its users use it, loading the document at each event.

A reader has the method `start(directory)`, from whose return on it watches, and `stop()`. `last` counts what it was
told, so that the measurement knows when it has become quiet.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable

from documents import Tally


class Reader:
    """What all have."""

    name = ""
    on_mount = False

    def __init__(self) -> None:
        self.tally = Tally()
        self.last = 0
        self.said = ""

    @classmethod
    def missing(cls) -> str:
        """Why it cannot run here; empty when it can."""
        return ""

    def start(self, directory: str) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError


def _handler(reader: Reader, versions: Callable[[str, int], bytes] | None):
    from watchdog.events import FileSystemEventHandler

    class Loader(FileSystemEventHandler):
        """Handlers as written for watchdog; runs unchanged with both observers."""

        def dispatch(self, event) -> None:
            reader.last += 1
            super().dispatch(event)

        def on_moved(self, event) -> None:
            reader.tally.appearance(event.dest_path)
            self.load(event, event.dest_path)

        def on_closed(self, event) -> None:
            reader.tally.change(event.src_path)
            self.load(event, event.src_path)

        def on_deleted(self, event) -> None:
            reader.tally.deletion(event.src_path)

        def load(self, event, path: str) -> None:
            if versions is None:
                reader.tally.load(path)
            else:
                reader.tally.load(path, lambda: versions(path, event.hippofs.seq))

    return Loader()


class Watchdog(Reader):
    """watchdog's observer on a plain directory."""

    name = "watchdog"

    @classmethod
    def missing(cls) -> str:
        return _cannot_import("watchdog")

    def start(self, directory: str) -> None:
        self.observer = self.make()
        self.observer.schedule(_handler(self, self.versions(directory)), directory)
        self.observer.start()

    def make(self):
        from watchdog.observers import Observer

        return Observer()

    def versions(self, directory: str):
        return None

    def stop(self) -> None:
        self.observer.stop()
        self.observer.join()


class DropIn(Watchdog):
    """The same handlers with the drop-in on a mount; loads by `versions` where the daemon keeps content."""

    name = "hippofs.watchdog"
    on_mount = True

    def make(self):
        from hippofs.watchdog import Observer

        return Observer()

    def versions(self, directory: str):
        import hippofs

        client = hippofs.Client(directory)
        if os.path.isdir(client.place.control("versions")):
            return client.read_version
        self.said = "the daemon keeps no versions: the present file was loaded"
        return None


class Watchfiles(Reader):
    """watchfiles with its own debouncing and merging."""

    name = "watchfiles"

    @classmethod
    def missing(cls) -> str:
        return _cannot_import("watchfiles")

    def start(self, directory: str) -> None:
        import watchfiles

        self._end = threading.Event()
        ready = threading.Event()

        def run() -> None:
            changes = watchfiles.watch(
                directory, stop_event=self._end, rust_timeout=100, yield_on_timeout=True, watch_filter=None
            )
            for batch in changes:
                ready.set()
                for kind, path in batch:
                    self.last += 1
                    self.take(kind.name, path)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("watchfiles did not begin")

    def take(self, kind: str, path: str) -> None:
        if kind == "deleted":
            self.tally.deletion(path)
            return
        (self.tally.appearance if kind == "added" else self.tally.change)(path)
        self.tally.load(path)

    def stop(self) -> None:
        self._end.set()
        self._thread.join(10)


class _Program(Reader):
    """A program that prints a line for each event."""

    program = ""

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which(cls.program) else "not installed"

    def command(self, directory: str) -> list[str]:
        raise NotImplementedError

    def take(self, line: str) -> None:
        raise NotImplementedError

    def start(self, directory: str) -> None:
        self._directory = directory
        self._process = subprocess.Popen(
            self.command(directory), cwd=directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._probe(directory)

    def _probe(self, directory: str) -> None:
        """Touches a file until the program tells of one."""
        for i in range(100):
            path = os.path.join(directory, f"probe-{i}")
            open(path, "w").close()
            os.unlink(path)
            if self._ready.wait(0.1):
                return
        self.stop()
        raise RuntimeError(f"{self.program} did not begin")

    def _run(self) -> None:
        for line in self._process.stdout:
            self.last += 1
            if "probe-" in line:
                self._ready.set()
            self.take(line.rstrip("\n"))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._thread.join(10)


class Inotifywait(_Program):
    """inotifywait -m, as in shell scripts."""

    name = program = "inotifywait"

    def command(self, directory: str) -> list[str]:
        events = ["-e", "moved_to", "-e", "close_write", "-e", "delete"]
        return ["inotifywait", "-m", *events, "--format", "%e %w%f", directory]

    def take(self, line: str) -> None:
        kind, _, path = line.partition(" ")
        if kind == "DELETE":
            self.tally.deletion(path)
        elif kind in ("MOVED_TO", "CLOSE_WRITE,CLOSE"):
            (self.tally.appearance if kind == "MOVED_TO" else self.tally.change)(path)
            self.tally.load(path)


class Fatrace(_Program):
    """fatrace on the file system of the directory: fanotify, needs root."""

    name = program = "fatrace"
    _LINE = re.compile(r"^.*?\): ([A-Z<>+]+)\s+(/.*)$")

    @classmethod
    def missing(cls) -> str:
        return super().missing() or ("" if os.geteuid() == 0 else "needs root")

    def command(self, directory: str) -> list[str]:
        self.said = "it names only the directory of what was moved or deleted"
        return ["fatrace", "--current-mount", "--filter=W<>D+"]

    def take(self, line: str) -> None:
        found = self._LINE.match(line)
        if not found or not found[2].startswith(self._directory):
            return
        kinds, path = found[1], found[2]
        if ">" in kinds:
            self.tally.appearance(path)
        if "D" in kinds:
            self.tally.deletion(path)
        if "W" in kinds and "C" in kinds:
            self.tally.change(path)
        self.tally.load(path)


def _cannot_import(module: str) -> str:
    try:
        __import__(module)
    except ImportError:
        return f"not installed for {sys.executable}"
    return ""


ALL: list[type[Reader]] = [Watchdog, Watchfiles, Inotifywait, Fatrace, DropIn]

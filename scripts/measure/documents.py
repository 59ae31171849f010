"""The loss workload: sessions that create, edit and delete documents, and the tally of what a reader had of it.

Each document's content names its version, so that a reader that loads it knows what it has seen.
"""

from __future__ import annotations

import collections
import json
import multiprocessing
import os
import pathlib
import uuid

EDITS = 3
BODY = "x" * 1000


def content(version: int) -> str:
    """The document as of a version, 0 to EDITS."""
    return json.dumps({"version": version, "text": BODY})


def version_of(text: bytes | str) -> int | None:
    """The version that was loaded; None for one that is being written."""
    try:
        return json.loads(text)["version"]
    except (ValueError, KeyError, TypeError):
        return None


def session(directory: str, documents: int) -> None:
    """One session: each document is created by rename, edited in place three times, and deleted."""
    for _ in range(documents):
        name = str(uuid.uuid4())
        path, temporary = f"{directory}/{name}.json", f"{directory}/.{name}.tmp"
        for version in range(EDITS + 1):
            target = temporary if version == 0 else path
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.write(fd, content(version).encode())
            os.close(fd)
            if version == 0:
                os.rename(temporary, path)
        os.unlink(path)


def run_sessions(directory: str, sessions: int, documents: int) -> None:
    """Runs all sessions at once, to their end."""
    workers = [multiprocessing.Process(target=session, args=(directory, documents)) for _ in range(sessions)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode != 0:
            raise SystemExit(f"loss: a session failed with {worker.exitcode}")


class Tally:
    """What a reader was told, by document, and the versions it has loaded."""

    def __init__(self) -> None:
        self.appeared: set[str] = set()
        self.deleted: set[str] = set()
        self.changed: collections.Counter[str] = collections.Counter()
        self.versions: dict[str, set[int]] = collections.defaultdict(set)

    def appearance(self, path: str) -> None:
        self._take(path, self.appeared.add)

    def change(self, path: str) -> None:
        """One edit: tools tell of an edit once when its file is closed."""
        self._take(path, lambda name: self.changed.update([name]))

    def deletion(self, path: str) -> None:
        self._take(path, self.deleted.add)

    def load(self, path: str, read=None) -> None:
        """Loads the document, as a session does on hearing of it; `read` gives its bytes by other means."""
        name = _name(path)
        if name is None:
            return
        try:
            text = pathlib.Path(path).read_bytes() if read is None else read()
        except OSError:
            return
        version = version_of(text)
        if version is not None:
            self.versions[name].add(version)

    def missed_percent(self, total: int) -> dict[str, float]:
        """Of `total` documents, what share of each kind was missed."""
        changes = sum(min(count, EDITS) for count in self.changed.values())
        versions = sum(len(seen) for seen in self.versions.values())
        return {
            "appearances": _missed(len(self.appeared), total),
            "changes": _missed(changes, total * EDITS),
            "deletions": _missed(len(self.deleted), total),
            "versions": _missed(versions, total * (EDITS + 1)),
        }

    def _take(self, path: str, take) -> None:
        name = _name(path)
        if name is not None:
            take(name)


def _name(path: str) -> str | None:
    name = os.path.basename(path)
    return name.removesuffix(".json") if name.endswith(".json") else None


def _missed(seen: int, total: int) -> float:
    return 100.0 * (total - min(seen, total)) / total

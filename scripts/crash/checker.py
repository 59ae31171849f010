"""What the callers wrote down, compared with the log, the storage and the contents."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import re

from callers import content_of

DOCUMENT = re.compile(r"w\d+-\d+")
# Events that tell of no call of a session: what was found, what the daemon says itself, and versions made by fsync.
BESIDE = {"found", "fsync", None}
# A call that failed may have been recorded, and so may the close of its file.
EXTRA_MAX = 2


class Wrong(Exception):
    """The promise that was broken."""


class Notes:
    """A file of notes, read on from where it was left."""

    def __init__(self, path: str) -> None:
        self.path, self.offset = path, 0

    def new(self) -> list[list[str]]:
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self.offset += end
        return [line.split(" ") for line in data[:end].decode().splitlines()]


class Session:
    """Notes of one session, matched with the log."""

    def __init__(self, path: str) -> None:
        self.notes = Notes(path)
        self.returned: dict[str, list[tuple]] = {}
        self.ended: dict[str, bool] = {}
        self.order: list[str] = []
        self.calls = self.failed = 0
        self.last_seq = 0

    def read(self) -> None:
        for word, name, *rest in self.notes.new():
            if name not in self.returned:
                self.returned[name] = []
                self.order.append(name)
            if word in ("done", "failed"):
                self.ended[name] = word == "done"
                self.failed += word == "failed"
            elif word != "synced":
                self.calls += 1
                self.returned[name].append((word, *map(int, rest)))


class Tree:
    """The names that the log tells of."""

    def __init__(self, storage: str) -> None:
        self.storage = storage
        self.paths: dict[str, bool] = {}

    def take(self, event: dict) -> None:
        path, kind = event.get("src_path"), event["event_type"]
        if path is None or path == ".":
            return
        if kind == "created":
            self.paths[path] = event["is_directory"]
        elif kind == "deleted":
            self.paths.pop(path, None)
        elif kind == "moved":
            to = event["dest_path"]
            if event["is_directory"]:
                for old in [old for old in self.paths if old.startswith(path + "/")]:
                    self.paths[to + old[len(path):]] = self.paths.pop(old)
            self.paths.pop(path, None)
            self.paths[to] = event["is_directory"]

    def compare(self) -> None:
        found = {}
        for base, dirs, files in os.walk(self.storage):
            if base == self.storage:
                dirs.remove(".hippofs")
            for name in dirs + files:
                path = os.path.join(base, name)
                found[os.path.relpath(path, self.storage)] = name in dirs
        if found != self.paths:
            differ = sorted(set(found.items()) ^ set(self.paths.items()))
            raise Wrong(f"the log does not tell the tree: {differ[:10]} of {len(differ)}")


class Checker:
    """Reads on in the log, and compares at every stop."""

    def __init__(self, place: str, sessions: int, consumers: int) -> None:
        self.root, self.storage = place + "/mnt", place + "/storage"
        self.sessions = [Session(f"{place}/notes-{who}") for who in range(sessions)]
        self.consumers = [ConsumerCheck(f"{place}/consumer-{n}") for n in range(consumers)]
        self.events: dict[str, list[tuple[int, tuple]]] = collections.defaultdict(list)
        self.tree = Tree(self.storage)
        self.seq, self.timestamp, self.gaps = 0, 0.0, collections.Counter()
        self.contents: list[tuple[str, int, str, int, int]] = []
        self.sources: collections.Counter = collections.Counter()
        self.contents_read = self.missing = 0

    def read_log(self) -> None:
        """The events since the last time: dense, in time, and in the tree."""
        fresh = pathlib.Path(f"{self.root}/.hippofs/since/{self.seq}").read_bytes()
        for line in fresh.splitlines():
            event = json.loads(line)
            if event.get("seq") != self.seq + 1:
                raise Wrong(f"after {self.seq} comes {event} (a gap: --retain keeps less than is written in a round)")
            if event["timestamp"] < self.timestamp:
                raise Wrong(f"event {event['seq']} is of an earlier time than the one before")
            self.seq, self.timestamp = event["seq"], event["timestamp"]
            self.sources[event["source"]] += 1
            if event["event_type"] == "gap":
                self.gaps[event["reason"]] += 1
            self.tree.take(event)
            self.sort_in(event)

    def sort_in(self, event: dict) -> None:
        op, path = event.get("op"), event.get("src_path", "")
        name = DOCUMENT.search(path)
        if op in BESIDE or name is None:
            return
        key = (op, event["offset"], event["length"]) if op == "write" else (op,)
        self.events[name.group()].append((event["seq"], key, path, event.get("content_missing")))

    def match(self) -> None:
        """Every call that returned has its event, once, in order."""
        for session in self.sessions:
            session.read()
            while session.order and session.order[0] in session.ended:
                name = session.order.pop(0)
                self.match_document(session, name, session.returned.pop(name), session.ended.pop(name))

    def match_document(self, session: Session, name: str, returned: list[tuple], whole: bool) -> None:
        found = self.events.pop(name, [])
        extra = len(found) - len(returned)
        told = [note[:1] if note[0] == "close" else note for note in returned]
        if [key for _, key, *_ in found[:len(told)]] != told or extra < 0 or extra > (0 if whole else EXTRA_MAX):
            raise Wrong(f"{name}: returned {returned}, recorded {found}")
        for seq, *_ in found:
            if seq <= session.last_seq:
                raise Wrong(f"{name}: event {seq} stands after {session.last_seq} of the same session")
            session.last_seq = seq
        for note, (seq, _, path, missing) in zip(returned, found):
            if note[0] == "close":
                self.missing += missing is not None
                if missing is None:
                    self.contents.append((path, seq, name, *note[1:]))

    def left_over(self) -> None:
        """No event is there that nobody made."""
        waiting = {name for session in self.sessions for name in session.returned}
        nobodys = [name for name in self.events if name not in waiting]
        if nobodys:
            raise Wrong(f"events nobody made: {nobodys[:3]}: {self.events[nobodys[0]]}")

    def read_contents(self, chance, count: int) -> None:
        """Some of the versions since the last time, byte for byte."""
        for path, seq, name, version, size in chance.sample(self.contents, min(count, len(self.contents))):
            read = pathlib.Path(f"{self.root}/.hippofs/versions/{path}/{seq}").read_bytes()
            if read != content_of(name, version, size):
                raise Wrong(f"the content of {path} at {seq} is not what was written")
            self.contents_read += 1
        self.contents.clear()


class ConsumerCheck:
    """One durable consumer: neither skipped nor left behind."""

    def __init__(self, path: str) -> None:
        self.notes = Notes(path)
        self.acking = self.acked = self.at = 0
        self.lines = self.begins = 0

    def registered(self, cursor: int) -> None:
        """It begins after that event."""
        self.acking = self.acked = self.at = cursor

    def read(self) -> int:
        """Position up to which it has everything."""
        for word, *numbers in self.notes.new():
            if word == "begin":
                begin = int(numbers[0])
                if not self.acked <= begin <= max(self.acking, self.acked):
                    raise Wrong(f"{self.notes.path}: begins after {begin}, acknowledged {self.acked}")
                self.at = begin
                self.begins += 1
            elif word == "got":
                first, last = map(int, numbers)
                if first != self.at + 1:
                    raise Wrong(f"{self.notes.path}: {first} follows {self.at}")
                self.at = last
                self.lines += last - first + 1
            elif word == "acking":
                self.acking = max(self.acking, int(numbers[0]))
            elif word == "acked":
                self.acked = max(self.acked, int(numbers[0]))
            else:
                raise Wrong(f"{self.notes.path}: {word} {numbers}")
        return self.at

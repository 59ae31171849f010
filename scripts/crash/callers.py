"""The callers of scripts/soak: sessions, writers past the mount, and consumers, each a process of its own that writes down,
outside the mount, what returned to it. All of it follows from the seed, but for the pace of the machine.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import select
import time

AWAY_POLL_S = 0.002
PAUSE_POLL_S = 0.002
FOLLOW_POLL_MS = 100
# Of a file: what one write holds, and now and then something that is kept in several pieces.
SIZES = (200, 1500, 4000, 12000)
LARGE_SIZE, LARGE_OF = 150_000, 40
BYPASS_PAUSE_S = 0.01
BYPASS_NAMES = 30


class Gate:
    """Lets all callers pause between two documents; shared by the processes."""

    def __init__(self, context, callers: int) -> None:
        self.open = context.Value("b", 0, lock=False)
        self.idle = context.Array("b", callers, lock=False)
        # Counts the mounts: who is attached to an earlier one attaches anew.
        self.mounts = context.Value("q", 0, lock=False)

    def pass_through(self, who: int) -> None:
        while not self.open.value:
            self.idle[who] = 1
            time.sleep(PAUSE_POLL_S)
        self.idle[who] = 0


def content_of(name: str, version: int, size: int) -> bytes:
    """The bytes of one version of a document, known to the checker too."""
    text = b"%s %d " % (name.encode(), version)
    return (text * (size // len(text) + 1))[:size]


def answers(path: str) -> bool:
    """Whether a daemon answers; the kernel answers most questions from its caches, not this one."""
    try:
        return bool(os.statvfs(path))
    except OSError:
        return False


class Session:
    """One session; `notes` gets a line for each call that returned."""

    def __init__(self, root: str, notes: str, who: int, seed: int, gate: Gate) -> None:
        self.root, self.who, self.gate = root, who, gate
        self.chance = random.Random(f"session {seed} {who}")
        self.out = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.work = root + "/work"
        os.environ["HIPPOFS_SESSION"] = f"s{who}"

    def note(self, *words) -> None:
        os.write(self.out, (" ".join(map(str, words)) + "\n").encode())

    def run(self) -> None:
        for number in itertools.count():
            self.gate.pass_through(self.who)
            name = f"w{self.who}-{number}"
            try:
                self.document(name)
                self.note("done", name)
            except OSError as error:
                self.note("failed", name, error.errno)
                while not answers(self.work):
                    if not self.gate.open.value:
                        self.gate.idle[self.who] = 1
                    time.sleep(AWAY_POLL_S)

    def fill(self, name: str, path: str, version: int, first: str, flags: int) -> None:
        fd = os.open(path, flags, 0o644)
        try:
            self.note(first, name)
            size = self.chance.choice(SIZES) if self.chance.randrange(LARGE_OF) else LARGE_SIZE
            content = content_of(name, version, size)
            cut = self.chance.randrange(1, size)
            for offset, part in ((0, content[:cut]), (cut, content[cut:])):
                if os.pwrite(fd, part, offset) != len(part):
                    raise OSError(0, "short write")
                self.note("write", name, offset, len(part))
            if self.chance.randrange(10) == 0:
                os.fsync(fd)
                self.note("synced", name)
        except BaseException:
            try:
                os.close(fd)
            except OSError:
                pass
            raise
        os.close(fd)
        self.note("close", name, version, size)

    def document(self, name: str) -> None:
        path = f"{self.work}/{name}"
        self.fill(name, path, 0, "create", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.rename(path, path + ".json")
        self.note("rename", name)
        path += ".json"
        for version in range(1, self.chance.randrange(1, 4)):
            self.fill(name, path, version, "truncate", os.O_WRONLY | os.O_TRUNC)
        what = self.chance.randrange(8)
        if what == 0:
            os.chmod(path, 0o600)
            self.note("setattr", name)
        elif what == 1:
            os.link(path, path + ".link")
            self.note("link", name)
            os.unlink(path + ".link")
            self.note("unlink", name)
        elif what == 2:
            os.mkdir(f"{self.work}/{name}.d")
            self.note("mkdir", name)
            os.rename(path, f"{self.work}/{name}.d/in.json")
            self.note("rename", name)
            os.rename(f"{self.work}/{name}.d", f"{self.work}/{name}.e")
            self.note("rename", name)
            os.unlink(f"{self.work}/{name}.e/in.json")
            self.note("unlink", name)
            os.rmdir(f"{self.work}/{name}.e")
            self.note("rmdir", name)
            return
        os.unlink(path)
        self.note("unlink", name)


def bypass(storage: str, who: int, seed: int, gate: Gate) -> None:
    """Works in the storage itself, past the mount."""
    chance = random.Random(f"bypass {seed} {who}")
    place = f"{storage}/bypass{who}"
    os.makedirs(place, exist_ok=True)
    for number in itertools.count():
        gate.pass_through(who)
        path = f"{place}/{chance.randrange(BYPASS_NAMES)}"
        try:
            what = chance.randrange(4)
            if what < 2:
                with open(path, "w") as file:
                    file.write(f"{number} " * chance.randrange(1, 300))
            elif what == 2:
                os.rename(path, f"{place}/{chance.randrange(BYPASS_NAMES)}")
            else:
                os.unlink(path)
        except FileNotFoundError:
            pass
        time.sleep(BYPASS_PAUSE_S)


class Consumer:
    """A durable consumer that takes up where its cursor stands, whatever becomes of the daemon."""

    def __init__(self, root: str, notes: str, name: str, seed: int, gate: Gate) -> None:
        self.dir = f"{root}/.hippofs/consumers/{name}"
        self.gate = gate
        self.chance = random.Random(f"consumer {seed} {name}")
        self.out = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, *words) -> None:
        os.write(self.out, (" ".join(map(str, words)) + "\n").encode())

    def run(self) -> None:
        while True:
            try:
                self.attach()
            except OSError:
                time.sleep(AWAY_POLL_S)

    def attach(self) -> None:
        mounts = self.gate.mounts.value
        with open(self.dir + "/cursor") as file:
            begin = int(file.read())
        stream = os.open(self.dir + "/follow", os.O_RDONLY | os.O_NONBLOCK)
        try:
            self.note("begin", begin)
            self.follow(stream, mounts)
        finally:
            os.close(stream)

    def follow(self, stream: int, mounts: int) -> None:
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        rest = b""
        while self.gate.mounts.value == mounts and self.chance.randrange(500):
            if not poll.poll(FOLLOW_POLL_MS):
                continue
            try:
                piece = os.read(stream, 1 << 18)
            except BlockingIOError:
                continue
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            if not lines:
                continue
            seqs = [int(line[7:line.index(b",")]) for line in lines]
            if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
                self.note("torn", json.dumps(seqs))
            self.note("got", seqs[0], seqs[-1])
            if self.chance.randrange(3) == 0:
                upto = self.chance.choice(seqs)
                self.note("acking", upto)
                with open(self.dir + "/ack", "w") as file:
                    file.write(str(upto))
                self.note("acked", upto)

"""What `scripts/bench` measures: each workload gives figures by name, more is better, from one place in a filesystem."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import time

# Everything a workload needs to know of its run: counts are for the full size and are divided by `divisor`.
ENVIRONMENT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "LC_ALL": "C"}
REPOSITORY_FILES, UNITS = 800, 12
SQLITE_ROWS = 150


class Workload:
    """`measure` gives {figure: value}. `main` is run for every filesystem and with --quick; others for fewer."""

    def __init__(self, name: str, measure, *, main=True, followed=False) -> None:
        self.name, self.measure, self.main, self.followed = name, measure, main, followed


class Tools:
    """The measuring programme, and what was prepared beside the storage."""

    def __init__(self, work: pathlib.Path, prepared: pathlib.Path, divisor: int) -> None:
        self.work, self.prepared, self.divisor = work, prepared, divisor

    def rates(self, workload: str, directory: pathlib.Path, sessions: int, count: int) -> dict[str, float]:
        count = max(20, count // self.divisor)
        command = [self.work, workload, directory, str(sessions), str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise OSError(f"{workload} failed in {directory}")
        figures = dict(line.split(" ") for line in done.stdout.splitlines())
        return {name: float(value) for name, value in figures.items() if name != "end"}


def _simple(workload: str, count: int, *, sessions=1, label="", directory="work"):
    def measure(tools: Tools, root: pathlib.Path) -> dict[str, float]:
        rates = tools.rates(workload, root / directory, sessions, count)
        return {f"{name}{label}": value for name, value in rates.items()}

    return measure


def _times(name: str, runs):
    """`runs` gives (label, command, directory); figures are runs per second."""

    def measure(tools: Tools, root: pathlib.Path) -> dict[str, float]:
        place = root / "work" / name
        place.mkdir()
        figures = {}
        for label, command, directory in runs(tools.prepared, place):
            begun = time.perf_counter()
            done = subprocess.run(
                command,
                cwd=directory,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            took = time.perf_counter() - begun
            if done.returncode != 0:
                raise OSError(f"{label} failed in {directory}")
            figures[label] = 1 / took
        shutil.rmtree(place)
        return figures

    return measure


def _git(prepared, place):
    yield "git clone", ["git", "clone", "-q", "--no-hardlinks", prepared / "repository", "clone"], place
    yield "git status", ["git", "status", "--porcelain"], place / "clone"


def _tar(prepared, place):
    yield "untar", ["tar", "-x", "-f", prepared / "tree.tar"], place
    yield "tar", ["tar", "-c", "-f", "/dev/zero", "."], place


SQLITE = """
import sqlite3, sys
connection = sqlite3.connect("t.db", isolation_level=None)
connection.execute("pragma journal_mode=" + sys.argv[1])
connection.execute("create table t(a, b)")
for row in range(int(sys.argv[2])):
    connection.execute("begin immediate")
    connection.execute("insert into t values(?, ?)", (row, "x" * 500))
    connection.execute("commit")
"""


def _sqlite(prepared, place):
    for mode in ("delete", "wal"):
        directory = place / mode
        directory.mkdir()
        yield f"sqlite {mode}", [sys.executable, "-c", SQLITE, mode, str(SQLITE_ROWS)], directory


def _build(prepared, place):
    shutil.copytree(prepared / "program", place / "program")
    yield "build", ["make", "-s"], place / "program"


ALL = [
    Workload("cycle", _simple("cycle", 2000), followed=True),
    Workload("cycle-2", _simple("cycle", 1500, sessions=2, label=" x2"), followed=True),
    Workload("cycle-8", _simple("cycle", 500, sessions=8, label=" x8"), main=False, followed=True),
    Workload("small", _simple("small", 10_000), followed=True),
    Workload("seq", _simple("seq", 128)),
    Workload("rand", _simple("rand", 20_000)),
    Workload("stat", _simple("stat", 10_000, directory="ten")),
    Workload("list", _simple("list", 1, label=" 10k", directory="ten")),
    Workload("list-100k", _simple("list", 1, label=" 100k", directory="hundred"), main=False),
    Workload("open", _simple("open", 8000)),
    Workload("rename", _simple("rename", 6000)),
    Workload("missing", _simple("missing", 20_000)),
    Workload("fsync", _simple("fsync", 400)),
    Workload("fsync-8", _simple("fsync", 100, sessions=8, label=" x8"), main=False),
    Workload("git", _times("git", _git), main=False),
    Workload("tar", _times("tar", _tar), main=False),
    Workload("sqlite", _times("sqlite", _sqlite), main=False),
    Workload("build", _times("build", _build), main=False),
]


def prepare(storage: pathlib.Path, prepared: pathlib.Path, names: set[str]) -> None:
    """What stands in the storage before anything is mounted, and what is copied into it from beside."""
    (storage / "work").mkdir()
    _numbered(storage / "ten", 10_000 if names & {"stat", "list"} else 0)
    _numbered(storage / "hundred", 100_000 if "list-100k" in names else 0)
    prepared.mkdir()
    if names & {"git", "tar"}:
        _repository(prepared)
    if "build" in names:
        _program(prepared / "program")


def _numbered(directory: pathlib.Path, count: int) -> None:
    directory.mkdir()
    for number in range(count):
        os.close(os.open(f"{directory}/{number:06}.json", os.O_WRONLY | os.O_CREAT, 0o644))


def _repository(prepared: pathlib.Path) -> None:
    tree = prepared / "tree"
    for number in range(REPOSITORY_FILES):
        directory = tree / f"part-{number % 20}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"file-{number}.txt").write_text(f"{number}\n" * (50 + number % 400))
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    commands = [
        ["tar", "-c", "-f", prepared / "tree.tar", "-C", tree, "."],
        ["git", "init", "-q", tree],
        ["git", "-C", tree, "add", "."],
        ["git", "-C", tree, *identity, "commit", "-q", "-m", "all"],
        ["git", "clone", "-q", "--bare", tree, prepared / "repository"],
    ]
    for command in commands:
        subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)


def _program(directory: pathlib.Path) -> None:
    directory.mkdir()
    objects = " ".join(f"unit{number}.o" for number in range(UNITS))
    for number in range(UNITS):
        functions = "".join(f"int f{number}_{at}(int x) {{ return x * {at} + {number}; }}\n" for at in range(60))
        (directory / f"unit{number}.c").write_text(f"#include <stdio.h>\n{functions}")
    (directory / "main.c").write_text("int main(void) { return 0; }\n")
    (directory / "Makefile").write_text(f"program: main.o {objects}\n\tcc -o $@ $^\n%.o: %.c\n\tcc -O0 -c -o $@ $<\n")

"""The filesystems that `scripts/bench` compares: each shows one storage at one mount point, in the foreground.

A filesystem that is not installed, or a way of transport that the kernel does not offer, is left out and named.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import time
import urllib.request

from mount import program

DEADLINE_S = 30.0
# libfuse's example filesystems are not installed by its package, or only one of them; they are compiled from the
# source that Debian keeps of the same version.
SOURCES = {
    "3.14.0": ("fuse3_3.14.0.orig.tar.xz", "96115b2a8ff34bd1e0c7b00c5dfd8297571d7e165042b94498c9a26356a9a70a"),
    "3.17.2": ("fuse3_3.17.2.orig.tar.gz", "3d932431ad94e86179e5265cddde1d67aa3bb2fb09a5bd35c641f86f2b5ed06f"),
}
POOL = "https://deb.debian.org/debian/pool/main/f/fuse3/"
EXAMPLES = {
    "passthrough_ll": ["cc", "-O2", "passthrough_ll.c"],
    "passthrough_hp": ["c++", "-O2", "-std=c++17", "passthrough_hp.cc"],
}
URING = pathlib.Path("/sys/module/fuse/parameters/enable_uring")


class Ground:
    """The directories of one run: the storage, where it is shown, and places for what a filesystem keeps beside it."""

    def __init__(self, place: pathlib.Path) -> None:
        self.place = place
        self.storage, self.mountpoint, self.scratch = place / "storage", place / "mnt", place / "scratch"
        for directory in (self.storage, self.mountpoint, self.scratch):
            directory.mkdir()


class Filesystem:
    """One column. `command` gives the arguments to start it; `over` when it can only be shown over its storage."""

    def __init__(self, name: str, command=None, *, ours=False, over=False, followers=0) -> None:
        self.name, self.ours, self.over, self.followers = name, ours, over, followers
        self._command = command
        self._process: subprocess.Popen | None = None

    def start(self, ground: Ground) -> pathlib.Path:
        """Shows the storage; gives the place where it is seen."""
        if self._command is None:
            return ground.storage
        shutil.rmtree(ground.scratch, ignore_errors=True)
        ground.scratch.mkdir()
        self._root = ground.storage if self.over else ground.mountpoint
        with open(ground.place / "said", "w") as said:
            command = [str(word) for word in self._command(ground)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        end = time.monotonic() + DEADLINE_S
        while not _is_listed(self._root):
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise OSError(f"{self.name} did not mount: {(ground.place / 'said').read_text()[-300:]}")
            time.sleep(0.01)
        os.stat(self._root)
        return self._root

    def stop(self) -> None:
        """Takes the mount away and waits for the end of its process; a second time does nothing."""
        if self._process is None:
            return
        end = time.monotonic() + DEADLINE_S
        while _is_listed(self._root):
            lazily = ["--lazy"] if time.monotonic() > end - DEADLINE_S / 2 else []
            subprocess.run(["umount", *lazily, self._root], stderr=subprocess.DEVNULL)
            time.sleep(0.02)
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _is_listed(root: pathlib.Path) -> bool:
    with open("/proc/self/mounts") as mounts:
        return any(line.split(" ")[1] == str(root) for line in mounts)


def ours() -> list[Filesystem]:
    """hippofs as it comes, and what each of its parts costs or brings."""

    def variant(name: str, *options: str, followers=0) -> Filesystem:
        def command(ground: Ground):
            state = ground.scratch / "state"
            return [program(), "mount", ground.storage, ground.mountpoint, "--state-dir", state, *options]

        return Filesystem(name, command, ours=True, followers=followers)

    bare = ("--capture", "none")
    return [
        variant("hippofs"),
        variant("log only", *bare),
        variant("no log", "--no-log", "--i-know-nothing-is-recorded"),
        variant("1 follower", *bare, followers=1),
        variant("100 followers", *bare, followers=100),
        variant("passthrough", *bare, "--passthrough"),
    ]


def others(cache: pathlib.Path) -> tuple[list[Filesystem], list[str]]:
    """The peers that are there, and why others are not."""
    found, absent = [], []

    def installed(name: str, program: str, command, **how) -> None:
        if shutil.which(program):
            found.append(Filesystem(name, command, **how))
        else:
            absent.append(f"{name}: not installed")

    installed("bindfs", "bindfs", lambda g: ["bindfs", "-f", g.storage, g.mountpoint])
    installed("mergerfs", "mergerfs", lambda g: ["mergerfs", "-f", g.storage, g.mountpoint])
    installed("unionfs", "unionfs", lambda g: ["unionfs", "-f", f"{g.storage}=RW", g.mountpoint])
    installed("fuse-overlayfs", "fuse-overlayfs", _overlay)
    installed("LoggedFS", "loggedfs", lambda g: ["loggedfs", "-f", "-l", g.scratch / "log", g.storage], over=True)
    examples, why = _examples(cache)
    absent += why
    for name, binary in examples.items():
        if name == "passthrough_ll":
            found.append(Filesystem(name, lambda g, b=binary: [b, "-f", "-o", f"source={g.storage}", g.mountpoint]))
        else:
            found.append(Filesystem(name, lambda g, b=binary: [b, "--foreground", g.storage, g.mountpoint]))
            _uring(binary, found, absent)
    return found, absent


def _overlay(ground: Ground) -> list:
    # Its work directory has to lie on the disk of the storage and outside of it.
    lower, work = ground.scratch / "lower", ground.scratch / "work"
    lower.mkdir()
    work.mkdir()
    options = f"lowerdir={lower},upperdir={ground.storage},workdir={work}"
    return ["fuse-overlayfs", "-f", "-o", options, ground.mountpoint]


def _uring(binary: pathlib.Path, found: list, absent: list) -> None:
    name = "hp on io_uring"
    if not URING.exists() or URING.read_text().strip() != "Y":
        absent.append(f"{name}: the kernel does not offer it ({URING} is not Y)")
    elif "uring" not in subprocess.run([binary, "--help"], capture_output=True, text=True).stdout:
        absent.append(f"{name}: this libfuse does not know it")
    else:
        found.append(Filesystem(name, lambda g: [binary, "--foreground", "-o", "io_uring", g.storage, g.mountpoint]))


def _examples(cache: pathlib.Path) -> tuple[dict[str, pathlib.Path], list[str]]:
    asked = subprocess.run(["pkg-config", "--modversion", "fuse3"], capture_output=True, text=True)
    version = asked.stdout.strip()
    if asked.returncode != 0 or version not in SOURCES:
        return {}, [f"{name}: needs libfuse3-dev {' or '.join(SOURCES)}, and not {version or 'none'}" for name in EXAMPLES]
    try:
        source = _source(cache, version)
    except OSError as error:
        return {}, [f"{name}: no source: {error}" for name in EXAMPLES]
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True).stdout.split()
    made, absent = {}, []
    for name, command in EXAMPLES.items():
        binary = source / name
        if not binary.exists():
            built = subprocess.run([*command, *flags, "-o", name], cwd=source, capture_output=True, text=True)
            if built.returncode != 0:
                absent.append(f"{name}: does not compile: {built.stderr.strip().splitlines()[-1]}")
                continue
        made[name] = binary
    return made, absent


def _source(cache: pathlib.Path, version: str) -> pathlib.Path:
    file, expected = SOURCES[version]
    examples = cache / f"fuse-{version}" / "example"
    if examples.is_dir():
        return examples
    archive = cache / file
    with urllib.request.urlopen(POOL + file, timeout=60) as answer:
        content = answer.read()
    if hashlib.sha256(content).hexdigest() != expected:
        raise OSError(f"{POOL + file} is not what it was")
    archive.write_bytes(content)
    subprocess.run(["tar", "-x", "-f", archive, "-C", cache], check=True)
    return examples

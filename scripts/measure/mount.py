"""A mount of the built program for scripts and tests: a guard that takes it away however its user ends.

The program is the one in HIPPOFS, or the newer of target/release and target/debug.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_S = 30.0
DAEMON_LIFE_S = 1.1  # a daemon killed sooner after its start counts as one that cannot start


def program() -> str:
    """Path of the program under test."""
    if os.environ.get("HIPPOFS"):
        return os.environ["HIPPOFS"]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
    built = [path for kind in ("release", "debug") if (path := target / kind / "hippofs").exists()]
    if not built:
        raise SystemExit("no built program: run `cargo build`, or set HIPPOFS")
    return str(max(built, key=lambda path: path.stat().st_mtime))


def wait_for(what, ready, deadline_s: float = DEADLINE_S):
    """The first true value of `ready`; an AssertionError after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"waited {deadline_s} s for: {what}")
        time.sleep(0.005)


class Mount:
    """A storage of its own, mounted; `with` unmounts it. `place` is a directory beside both, outside the mount."""

    def __init__(self, *options: str, at: str | None = None) -> None:
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="hippofs-python-", dir=at))
        self.storage, self.root = self.place / "storage", self.place / "mnt"
        self.storage.mkdir()
        self.root.mkdir()
        self._said = open(self.place / "said", "w")
        self._options = options
        self.process: subprocess.Popen | None = None
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _start(self) -> None:
        command = [program(), "mount", str(self.storage), str(self.root), *self._options]
        environment = {name: value for name, value in os.environ.items() if name != "HIPPOFS_SESSION"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said, env=environment
        )
        wait_for("the mount", self._is_ready)

    def remount(self, between=lambda: None) -> None:
        """Ends the daemon cleanly, does what is to be done meanwhile, and starts another one."""
        self._stop()
        between()
        self._said.close()
        self._said = open(self.place / "said", "w")
        self._start()

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError("mount failed: " + self.said())
        return "hippofs: mounted" in self.said()

    def said(self) -> str:
        """What the program has printed."""
        return (self.place / "said").read_text()

    def status(self) -> dict:
        """The status object; empty while the daemon is away."""
        try:
            return json.loads((self.root / ".hippofs/status").read_text())
        except (OSError, ValueError):
            return {}

    def kill_daemon(self) -> None:
        """SIGKILL to the daemon below the supervisor (needs --supervise)."""
        wait_for("a daemon that has lived", lambda: self.status().get("uptime_s", 0) > DAEMON_LIFE_S)
        os.kill(self._child(), signal.SIGKILL)

    def _child(self) -> int:
        for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == self.process.pid:
                return int(entry.parent.name)
        raise AssertionError("no daemon below the supervisor")

    def end(self) -> None:
        """Unmounts and removes everything; a second time does nothing."""
        self._stop()
        while os.path.ismount(self.root) or self._is_listed():
            if subprocess.run(["umount", "-l", str(self.root)], stderr=subprocess.DEVNULL).returncode != 0:
                break
        self._said.close()
        shutil.rmtree(self.place, ignore_errors=True)

    def _stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE_S)

    def _is_listed(self) -> bool:
        return f" {self.root} " in pathlib.Path("/proc/self/mountinfo").read_text()

    def __enter__(self) -> Mount:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

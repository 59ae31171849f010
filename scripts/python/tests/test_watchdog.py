"""The drop-in: the same calls on a plain directory under watchdog and on a mount under the drop-in tell the same."""

import contextlib
import ctypes
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

from support import Mount, MountCase, Recorder, wait_for
from watchdog.events import FileClosedEvent, FileCreatedEvent, FileModifiedEvent, PatternMatchingEventHandler
from watchdog.observers import Observer as NativeObserver

from hippofs.watchdog import HippofsEmitter, Observer

RENAME_EXCHANGE = 2
LAST = "the last file"
WRITER = """
import os, sys
document, temporary, rounds = sys.argv[1:]
for i in range(int(rounds)):
    os.read(0, 1)
    with open(temporary, "w") as file:
        file.write(str(i))
    os.replace(temporary, document)
"""


def exchange(a, b):
    done = ctypes.CDLL(None, use_errno=True).renameat2(-100, os.fsencode(a), -100, os.fsencode(b), RENAME_EXCHANGE)
    if done != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def once_each(briefs):
    """Without repeats in a row, which watchdog's queue may or may not drop."""
    return [brief for brief, _ in itertools.groupby(briefs)]


class SameAsWatchdog(MountCase):
    """Each test does one thing in both places."""

    def setUp(self):
        super().setUp()
        self.plain = pathlib.Path(tempfile.mkdtemp(prefix="plain-"))
        self.addCleanup(shutil.rmtree, self.plain, ignore_errors=True)

    def told(self, observer_class, base, prepare, act, recursive, **options):
        watched = base / "watched"
        (watched / "sub").mkdir(parents=True)
        (base / "beside").mkdir()
        prepare(base, watched)
        recorder = Recorder(watched)
        observer = observer_class(**options)
        observer.schedule(recorder, str(watched), recursive=recursive)
        observer.start()
        try:
            act(base, watched)
            if watched.exists():
                (watched / LAST).mkdir()
                recorder.wait(f"created D {LAST}")
            else:
                recorder.wait("deleted D ")
        finally:
            observer.stop()
            observer.join(30)
        self.assertFalse(observer.is_alive())
        return [brief for brief in recorder.briefs() if LAST not in brief]

    def both(self, act, prepare=lambda base, watched: None, expected=None, recursive=(True, False), **options):
        for each in recursive:
            with self.subTest(recursive=each):
                name = "recursive" if each else "flat"
                native = self.told(NativeObserver, self.plain / name, prepare, act, each, **options)
                ours = self.told(Observer, self.dir / name, prepare, act, each, **options)
                # The directory's own `modified` after the last mkdir may or may not be there yet.
                self.assertEqual(without_last(once_each(ours)), without_last(once_each(native)))
                if expected is not None:
                    self.assertTrue(set(expected) <= set(ours), ours)

    def test_write_a_file(self):
        self.both(lambda _, w: (w / "a").write_text("x"), expected=["created F a", "modified F a", "closed F a"])

    def test_edit_in_place(self):
        self.both(lambda _, w: (w / "a").write_text("y"), lambda _, w: (w / "a").write_text("x"))

    def test_replace_by_temporary_file(self):
        def act(_, w):
            (w / "a.tmp").write_text("x")
            os.replace(w / "a.tmp", w / "a")

        self.both(act, lambda _, w: (w / "a").write_text("old"), expected=["moved F a.tmp a"])

    def test_delete(self):
        self.both(lambda _, w: (w / "a").unlink(), lambda _, w: (w / "a").write_text("x"), expected=["deleted F a"])

    def test_directories(self):
        def act(_, w):
            (w / "d").mkdir()
            (w / "d").rename(w / "e")
            (w / "e").rmdir()

        self.both(act, recursive=[False])

    def test_inside_a_subdirectory(self):
        def act(_, w):
            (w / "sub/a").write_text("x")
            (w / "sub/a").rename(w / "sub/b")
            (w / "sub/b").unlink()

        self.both(act)

    def test_moves_out_and_in(self):
        def act(b, w):
            (w / "a").rename(b / "beside/a")
            (b / "beside/a").rename(w / "b")

        self.both(act, lambda _, w: (w / "a").write_text("x"), expected=["deleted F a", "created F b"])

    def test_moves_out_and_in_with_full_events(self):
        def act(b, w):
            (w / "a").rename(b / "beside/a")
            (b / "beside/a").rename(w / "b")

        self.both(act, lambda _, w: (w / "a").write_text("x"), generate_full_events=True)

    def test_moves_between_the_watched_directory_and_below(self):
        def act(_, w):
            (w / "a").rename(w / "sub/a")
            (w / "sub/a").rename(w / "b")

        self.both(act, lambda _, w: (w / "a").write_text("x"))

    def test_directory_with_content_is_moved(self):
        def prepare(b, w):
            (w / "d/e").mkdir(parents=True)
            (w / "d/e/f").write_text("x")

        self.both(lambda _, w: (w / "d").rename(w / "g"), prepare)

    def test_directory_with_content_comes_from_outside(self):
        def prepare(b, w):
            (b / "beside/d").mkdir()
            (b / "beside/d/f").write_text("x")

        self.both(lambda b, w: (b / "beside/d").rename(w / "d"), prepare, expected=["created D d"])

    def test_attributes(self):
        self.both(lambda _, w: (w / "a").chmod(0o600), lambda _, w: (w / "a").write_text("x"))
        self.plain, self.dir = self.plain / "more", self.dir / "more"
        self.both(lambda _, w: w.chmod(0o700))

    def test_links(self):
        self.both(lambda _, w: (w / "l").symlink_to("nowhere"))

    def test_truncate(self):
        self.both(lambda _, w: os.truncate(w / "a", 0), lambda _, w: (w / "a").write_text("x"))

    def test_exchange(self):
        def prepare(_, w):
            (w / "a").write_text("x")
            (w / "b").mkdir()

        self.both(lambda _, w: exchange(w / "a", w / "b"), prepare, recursive=[False])

    def test_what_is_beside_does_not_matter(self):
        def act(b, w):
            (b / "beside/a").write_text("x")
            (b / "watched2").mkdir()
            (b / "watched2/a").write_text("x")

        self.both(act)

    def test_watched_directory_is_removed(self):
        def act(b, w):
            (w / "sub").rmdir()
            w.rmdir()

        self.both(act, recursive=[False])


@contextlib.contextmanager
def running(observer):
    observer.start()
    try:
        yield observer
    finally:
        observer.stop()
        observer.join(30)


def without_last(briefs):
    while briefs and briefs[-1].startswith("modified D"):
        briefs = briefs[:-1]
    return briefs


class WatchTest(MountCase):
    """What a watch does, whichever way its path is written."""

    def observe(self, handler, path, **options):
        observer = Observer()
        watch = observer.schedule(handler, path, **options)
        observer.start()
        self.addCleanup(observer.join, 30)
        self.addCleanup(observer.stop)
        return observer, watch

    def test_paths_come_as_they_were_given(self):
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.dir)
        link = self.mount.place / "link"
        link.symlink_to(self.dir)
        (self.dir / "d").mkdir()
        for given, prefix in [
            (".", "./"), ("d/..", "d/../"), (str(self.dir), f"{self.dir}/"), (self.dir, f"{self.dir}/"),
            (str(link), f"{link}/"), (f"{self.dir}/", f"{self.dir}/"), (os.fsencode(self.dir), os.fsencode(self.dir) + b"/"),
        ]:
            with self.subTest(given=given):
                recorder = Recorder()
                observer, watch = self.observe(recorder, given)
                self.assertIsInstance(next(iter(observer.emitters)), HippofsEmitter)
                (self.dir / "file").write_text("x")
                name = prefix + b"file" if isinstance(prefix, bytes) else prefix + "file"
                wait_for("the event", lambda: FileClosedEvent(name) in recorder.events)
                self.assertIn(FileCreatedEvent(name), recorder.events)
                observer.unschedule(watch)
                (self.dir / "file").unlink()

    def test_a_watch_on_one_file(self):
        (self.dir / "file").write_text("x")
        recorder = Recorder(self.dir)
        self.observe(recorder, str(self.dir / "file"))
        (self.dir / "other").write_text("x")
        (self.dir / "file").write_text("y")
        told = [brief for brief in recorder.wait("closed F file") if not brief.startswith("modified D")]
        self.assertEqual(told, ["modified F file"] * 2 + ["closed F file"])

    def test_the_root_of_the_mount(self):
        recorder = Recorder(self.mount.root)
        self.observe(recorder, str(self.mount.root), recursive=True)
        (self.dir / "file").write_text("x")
        recorder.wait(f"created F {self.name}/file", f"closed F {self.name}/file")

    def test_a_watched_directory_may_be_moved(self):
        (self.dir / "a/w").mkdir(parents=True)
        recorder = Recorder(self.dir / "a/w")
        self.observe(recorder, str(self.dir / "a/w"))
        (self.dir / "a").rename(self.dir / "b")
        (self.dir / "b/w/file").touch()
        recorder.wait("created F file")

    def test_nothing_is_merged_and_all_is_in_order(self):
        seqs, release = [], threading.Event()

        class Slow(Recorder):
            def on_modified(self, event):
                release.wait(30)
                if not event.is_directory:
                    seqs.append(event.hippofs.seq)

        self.observe(Slow(), str(self.dir))
        fd = os.open(self.dir / "file", os.O_CREAT | os.O_WRONLY)
        for _ in range(5000):
            os.write(fd, b"x")
        os.close(fd)
        release.set()
        wait_for("every write", lambda: len(seqs) == 5000)
        self.assertEqual(seqs, list(range(seqs[0], seqs[0] + 5000)))

    def test_a_handler_loads_what_the_event_says(self):
        """Each replacement waits until the handler has loaded the one before, so an old content would be a fault."""
        go, loaded, rounds = threading.Semaphore(0), [], 1000
        document, temporary = self.dir / "document", self.dir / "temporary"

        class Loader(Recorder):
            def on_moved(self, event):
                loaded.append(pathlib.Path(event.dest_path).read_text())
                go.release()

        self.observe(Loader(), str(self.dir))
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, document, temporary, str(rounds)], stdin=subprocess.PIPE, bufsize=0
        )
        self.addCleanup(writer.wait)
        self.addCleanup(writer.stdin.close)
        for _ in range(rounds):
            writer.stdin.write(b"x")
            self.assertTrue(go.acquire(timeout=30))
        self.assertEqual(loaded, [str(i) for i in range(rounds)])

    def test_event_filter(self):
        recorder = Recorder(self.dir)
        self.observe(recorder, str(self.dir), event_filter=[FileModifiedEvent, FileClosedEvent])
        (self.dir / "file").write_text("x")
        self.assertEqual(recorder.wait("closed F file"), ["modified F file", "closed F file"])

    def test_pattern_handler(self):
        seen = []

        class Json(PatternMatchingEventHandler):
            def on_closed(self, event):
                seen.append(os.path.basename(event.src_path))

        self.observe(Json(patterns=["**/*.json"], ignore_patterns=["**/skip*"]), str(self.dir))
        for name in ["a.txt", "skip.json", "b.json"]:
            (self.dir / name).write_text("x")
        wait_for("the event", lambda: seen)
        self.assertEqual(seen, ["b.json"])

    def test_handlers_come_and_go(self):
        first, second = Recorder(self.dir), Recorder(self.dir)
        observer, watch = self.observe(first, str(self.dir))
        observer.add_handler_for_watch(second, watch)
        (self.dir / "one").mkdir()
        first.wait("created D one")
        second.wait("created D one")
        observer.remove_handler_for_watch(first, watch)
        (self.dir / "two").mkdir()
        second.wait("created D two")
        self.assertNotIn("created D two", first.briefs())
        observer.unschedule(watch)
        self.assertEqual(len(observer.emitters), 0)
        observer.schedule(first, str(self.dir))
        (self.dir / "three").mkdir()
        first.wait("created D three")
        self.assertNotIn("created D three", second.briefs())
        observer.unschedule_all()

    def test_a_handler_may_unschedule(self):
        ended = threading.Event()

        class Once(Recorder):
            def on_created(self, event):
                observer.unschedule(watch)
                ended.set()

        observer, watch = self.observe(Once(), str(self.dir))
        (self.dir / "file").touch()
        self.assertTrue(ended.wait(30))

    def test_elsewhere_it_is_watchdogs_own(self):
        outside = self.mount.place / "outside"
        outside.mkdir()
        recorder, inside = Recorder(outside), Recorder(self.dir)
        observer, _ = self.observe(recorder, str(outside))
        self.assertNotIsInstance(next(iter(observer.emitters)), HippofsEmitter)
        observer.schedule(inside, str(self.dir))
        (outside / "file").write_text("x")
        (self.dir / "file").write_text("x")
        recorder.wait("created F file", "closed F file")
        inside.wait("created F file", "closed F file")

    def test_a_path_that_is_not_there(self):
        with self.assertRaises(FileNotFoundError):
            observer = Observer()
            observer.schedule(Recorder(), str(self.dir / "nothing"))
            observer.start()


class RestartTest(unittest.TestCase):
    def test_a_killed_daemon_costs_nothing(self):
        gaps = []
        with Mount("--supervise") as mount:
            recorder = Recorder(mount.root)
            with running(Observer(on_gap=gaps.append)) as observer:
                observer.schedule(recorder, str(mount.root), recursive=True)
                for i in range(3):
                    (mount.root / f"{i}").mkdir()
                    mount.kill_daemon()
                    wait_for("the next daemon", lambda: mount.status())
                (mount.root / "end").mkdir()
                recorder.wait(*(f"created D {i}" for i in range(3)), "created D end")
            created = [brief for brief in recorder.briefs() if brief.startswith("created")]
            self.assertEqual(created, ["created D 0", "created D 1", "created D 2", "created D end"])
            self.assertEqual([gap.raw["reason"] for gap in gaps], ["crash"] * 3)

    def test_a_mount_that_goes_and_comes(self):
        """Also a clean end: the watch waits for the next mount of the same place."""
        with Mount() as mount:
            recorder = Recorder(mount.root)
            with running(Observer()) as observer:
                observer.schedule(recorder, str(mount.root))
                (mount.root / "one").mkdir()
                recorder.wait("created D one")
                mount.remount()
                (mount.root / "two").mkdir()
                recorder.wait("created D two")


if __name__ == "__main__":
    unittest.main()

"""The client on a real mount."""

import asyncio
import os
import subprocess
import sys
import threading
import unittest
from unittest import mock

from support import DEADLINE_S, Mount, MountCase, wait_for

import hippofs
from hippofs import client as client_module


class ClientTest(MountCase):
    def setUp(self):
        super().setUp()
        self.client = hippofs.Client(self.dir)
        self.begin = self.client.head()

    def names(self, **selectors):
        return [event.op for event in self.client.query(since=self.begin, path=self.name + "/**", **selectors)]

    def test_root_is_found_from_anywhere_inside(self):
        link = self.mount.place / "link to a directory"
        link.symlink_to(self.dir)
        for path in [self.mount.root, self.dir, self.dir / "not/there", link, os.fsencode(self.dir)]:
            self.assertEqual(hippofs.Client(path).root, str(self.mount.root))
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.dir)
        self.assertEqual(hippofs.Client().place.relative, self.name)
        self.assertEqual(hippofs.Client(link).place.relative, self.name)
        for path in ["/", "/proc", self.mount.storage]:
            with self.assertRaises(hippofs.NotMounted):
                hippofs.Client(path)

    def test_query_selects_and_pages(self):
        for i in range(25):
            (self.dir / f"{i}").touch()
        (self.dir / "0").unlink()
        with mock.patch.object(client_module, "PAGE_EVENTS", 7):
            self.assertEqual(self.names(op=["create", "unlink"]), ["create"] * 25 + ["unlink"])
            self.assertEqual(self.names(op=["create"], limit=10), ["create"] * 10)
            every = [event.seq for event in self.client.query()]
        self.assertEqual(every, list(range(1, self.client.head() + 1)))
        self.assertEqual(self.names(session="nobody"), [])

    def test_query_ends_while_others_write(self):
        stop = threading.Event()

        def write():
            while not stop.is_set():
                (self.dir / "busy").write_text("x")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            with mock.patch.object(client_module, "PAGE_EVENTS", 2):
                seqs = [event.seq for event in self.client.query(since=self.begin)]
        finally:
            stop.set()
            writer.join()
        self.assertEqual(seqs, list(range(self.begin + 1, self.begin + 1 + len(seqs))))

    def test_events_carry_everything(self):
        path = self.dir / os.fsdecode(b"odd \xff\n\"name")
        path.write_text("text")
        events = list(self.client.query(since=self.begin, event_type=["modified"]))
        self.assertEqual(events[0].src_path, f"{self.name}/{path.name}")
        self.assertEqual(events[0].raw["length"], 4)
        self.assertEqual(events[0].source, "mount")
        self.assertAlmostEqual(events[0].timestamp_ns / 1e9, events[0].timestamp, places=5)

    def test_refusals_say_why(self):
        with self.assertRaises(hippofs.RequestError) as caught:
            list(self.client.query(op=["no such op"]))
        self.assertEqual(caught.exception.code, "invalid_value")
        self.assertIn("create", caught.exception.hint)
        with self.assertRaises(hippofs.RequestError):
            self.client.follow(nonsense=1)

    def test_what_the_daemon_lacks_is_unavailable(self):
        """When the daemon has learned it, the call works."""
        (self.dir / "file").write_text("x")
        try:
            self.client.versions(self.dir / "file")
        except hippofs.Unavailable as error:
            self.assertEqual(error.code, "unavailable")
        for name in ["", "a/b", ".."]:
            with self.assertRaises(ValueError):
                self.client.consumer(name)

    def test_consumer(self):
        """Where the daemon has consumers, the whole of it; where not, the error that says so."""
        consumer = self.client.consumer("one")
        if not os.path.isdir(self.client.place.control("consumers")):
            with self.assertRaises(hippofs.Unavailable):
                consumer.create()
            return
        consumer.create().create()
        self.addCleanup(consumer.remove)
        consumer.seek(self.client.head())
        for i in range(3):
            (self.dir / f"{i}").mkdir()
        batch = consumer.events()
        self.assertEqual([event.src_path for event in batch], [f"{self.name}/{i}" for i in range(3)])
        self.assertEqual(consumer.events(), batch)
        consumer.ack(batch[0])
        self.assertEqual(consumer.cursor, batch[0].seq)
        self.assertIsNotNone(consumer.lag())
        live = iter(consumer)
        self.assertEqual(next(live), batch[1])
        self.assertEqual(next(live), batch[2])
        live.close()
        self.assertEqual([event.seq for event in consumer.events()], [batch[2].seq], "the last one was not finished")
        consumer.set_filter(op=["rmdir"])
        self.assertEqual(consumer.filter()["op"], ["rmdir"])
        with consumer.follow(timeout_s=DEADLINE_S) as live:
            (self.dir / "0").rmdir()
            self.assertEqual(next(live).op, "rmdir")

    def test_wait_answers_at_once_or_after_the_timeout(self):
        self.assertEqual(len(self.client.wait(path=self.name + "/*", timeout_s=0.05)), 0)
        timer = threading.Timer(0.1, (self.dir / "file").touch)
        timer.start()
        reply = self.client.wait(path=self.name + "/*", timeout_s=DEADLINE_S)
        timer.join()
        self.assertEqual([event.op for event in reply], ["create"])
        (self.dir / "file").unlink()
        reply = self.client.wait(since=reply.next, op=["unlink"], timeout_s=DEADLINE_S)
        self.assertEqual(len(reply), 1)

    def test_mark_sync_status(self):
        seq = self.client.mark("a note", {"answer": 42})
        event = next(self.client.query(since=seq - 1))
        self.assertEqual((event.event_type, event.raw["data"]), ("mark", {"answer": 42}))
        self.assertGreaterEqual(self.client.sync()["durable"], seq)
        self.assertEqual(self.client.status()["state"], "ok")

    def test_session_can_be_left_out(self):
        environment = dict(os.environ, HIPPOFS_SESSION="other")
        subprocess.run([sys.executable, "-c", "open('x','w')"], cwd=self.dir, env=environment, check=True)
        self.assertEqual({event.session for event in self.client.query(since=self.begin, session="other")}, {"other"})
        self.assertEqual(self.names(session="!other"), [])


class FollowTest(MountCase):
    def setUp(self):
        super().setUp()
        self.client = hippofs.Client(self.dir)

    def test_follow_gives_each_once_from_the_call_on(self):
        for selectors in [{}, {"path": self.name + "/**"}]:
            before = self.client.head()
            with self.client.follow(timeout_s=DEADLINE_S, **selectors) as live:
                for i in range(50):
                    (self.dir / f"{i}").write_text("x")
                seqs = [next(live).seq for _ in range(150)]
            self.assertEqual(seqs, list(range(before + 1, before + 151)))

    def test_follow_from_the_past(self):
        (self.dir / "file").touch()
        head = self.client.head()
        with self.client.follow(since=0, timeout_s=0.1) as live:
            self.assertEqual([event.seq for event in live], list(range(1, head + 1)))
        with self.client.follow(since=head + 1000, timeout_s=DEADLINE_S) as live:
            gap = next(live)
            self.assertEqual((gap.is_gap, gap.raw["reason"]), (True, "ahead"))
            (self.dir / "file").unlink()
            self.assertEqual(next(live).op, "unlink")

    def test_close_ends_it_from_another_thread(self):
        for selectors in [{}, {"op": ["rmdir"]}]:
            live = self.client.follow(**selectors)
            threading.Timer(0.1, live.close).start()
            self.assertEqual(list(live), [])

    def test_asyncio(self):
        async def collect(**selectors):
            async with self.client.follow(timeout_s=DEADLINE_S, **selectors) as live:
                task = asyncio.ensure_future(asyncio.to_thread(self.touch, 5))
                found = [event.op async for event in _first(live, 5)]
                await task
            return found

        self.assertEqual(asyncio.run(collect()), ["create"] * 5)
        self.assertEqual(asyncio.run(collect(op=["unlink"], path=self.name + "/*")), ["unlink"] * 5)

    def test_many_in_one_loop(self):
        async def one():
            async with self.client.follow(timeout_s=DEADLINE_S) as live:
                return [event.seq async for event in _first(live, 20)]

        async def run():
            tasks = [asyncio.ensure_future(one()) for _ in range(30)]
            await asyncio.sleep(0)
            await asyncio.to_thread(self.touch, 20)
            return await asyncio.gather(*tasks)

        head = self.client.head()
        self.assertEqual(asyncio.run(run()), [list(range(head + 1, head + 21))] * 30)

    def touch(self, count):
        for i in range(count):
            path = self.dir / f"{i}"
            if path.exists():
                path.unlink()
            else:
                path.touch()


async def _first(live, count):
    async for event in live:
        yield event
        count -= 1
        if not count:
            return


class RestartTest(unittest.TestCase):
    def test_followers_go_on_after_the_daemon_was_killed(self):
        with Mount("--supervise") as mount:
            client = hippofs.Client(mount.root)
            lives = [client.follow(timeout_s=DEADLINE_S), client.follow(timeout_s=DEADLINE_S, event_type=["created", "gap"])]
            (mount.root / "before").mkdir()
            mount.kill_daemon()
            wait_for("the next daemon", lambda: mount.status())
            (mount.root / "after").mkdir()
            for live in lives:
                found = [next(live) for _ in range(3)]
                self.assertEqual([event.event_type for event in found], ["created", "gap", "created"])
                self.assertEqual([event.seq for event in found], [1, 2, 3])
                live.close()
            self.assertEqual(client.head(), 3)

    def test_patience_ends(self):
        with Mount() as mount:
            client = hippofs.Client(mount.root, patience_s=0.2)
            live = client.follow()
            mount.process.kill()
            mount.process.wait(DEADLINE_S)
            with self.assertRaises(hippofs.Disconnected):
                next(live)
            with self.assertRaises(hippofs.Disconnected):
                client.status()
            live.close()


if __name__ == "__main__":
    unittest.main()

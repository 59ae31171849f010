"""Live events as an iterator, in threads (`for`) and in asyncio (`async for`). One iterator belongs to one of them."""

from __future__ import annotations

import asyncio
import collections
import os
import select
import threading
import time

from .event import Event
from .sources import RETRY_S, Source


class Follow:
    """Events in order, each once, as they come; a daemon that is replaced is taken up again without a hole.

    `timeout_s` ends the iteration when no event came for so long; None waits for ever. `close`, from any thread,
    ends it too. It is a context manager; an open one keeps the mount busy, as every open file does.
    """

    def __init__(self, source: Source, timeout_s: float | None = None) -> None:
        self._source = source
        self._timeout_s = timeout_s
        self._ready: collections.deque[Event] = collections.deque()
        self._closed = False
        self._lock = threading.Lock()
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __iter__(self) -> Follow:
        return self

    def __next__(self) -> Event:
        end = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        while not self._ready:
            if self._closed or (end is not None and time.monotonic() >= end):
                raise StopIteration
            with self._lock:
                events = None if self._closed else self._source.take()
            if events is None:
                self._wait(end)
            else:
                self._ready.extend(events)
        return self._ready.popleft()

    def __aiter__(self) -> Follow:
        return self

    async def __anext__(self) -> Event:
        end = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        while not self._ready:
            if self._closed or (end is not None and time.monotonic() >= end):
                raise StopAsyncIteration
            events = self._source.take()
            if events is None:
                await self._wait_async(end)
            else:
                self._ready.extend(events)
        return self._ready.popleft()

    def close(self) -> None:
        """Ends the iteration and lets go of the mount; events that were taken already are still given."""
        if self._closed:
            return
        self._closed = True
        os.write(self._wake, b"x")
        with self._lock:
            self._source.close()

    def __enter__(self) -> Follow:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Follow:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_wake"):
            self.close()
            os.close(self._woken)
            os.close(self._wake)

    def _wait(self, end: float | None) -> None:
        """Until there may be something, or `close` was called, or `end`."""
        with self._lock:
            fd = None if self._closed else self._source.fileno()
            poller = select.poll()
            poller.register(self._woken, select.POLLIN)
            if fd is not None:
                poller.register(fd, select.POLLIN)
        left = None if end is None else max(0.0, end - time.monotonic())
        if fd is None:
            left = RETRY_S if left is None else min(left, RETRY_S)
        poller.poll(None if left is None else left * 1000)

    async def _wait_async(self, end: float | None) -> None:
        fd = self._source.fileno()
        left = None if end is None else max(0.0, end - time.monotonic())
        if fd is None:
            await asyncio.sleep(RETRY_S if left is None else min(left, RETRY_S))
            return
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(fd, ready.set)
        loop.add_reader(self._woken, ready.set)
        try:
            await asyncio.wait_for(ready.wait(), left)
        except asyncio.TimeoutError:
            pass
        finally:
            loop.remove_reader(fd)
            loop.remove_reader(self._woken)



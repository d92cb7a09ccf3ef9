"""What waits to be sent to another member: a batch at a time, at once, or by a task where that would block."""

import logging
from collections.abc import Callable

import trio

from pyzkserver.host import Host

__all__ = ["MAX_QUEUED", "Outbox"]

logger = logging.getLogger("pyzkserver.quorum")

MAX_QUEUED = 1 << 28
"""Bytes that may wait for one member; one that lags further behind loses its connection."""


class Outbox:
    """The way out of one connection.

    While ``_blocked`` the task in ``run`` is sending, and only it may; else ``push`` may send without waiting.
    Before ``run`` was started nothing is sent.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        host: Host,
        soon: Callable[[Callable[[], None]], None],
        overrun: Callable[[int], None],
        limit: int = MAX_QUEUED,
    ) -> None:
        self._stream = stream
        self._host = host
        self._soon = soon
        self._overrun = overrun
        self._limit = limit
        self._queue: list[bytes] = []
        self._blocked = True
        self._scheduled = False
        self._wake = trio.Event()
        self.waiting = 0
        """Bytes in the queue."""
        self.sent = 0
        """Bytes that have left it."""

    @property
    def empty(self) -> bool:
        """Whether all that was queued has left."""
        return not self._queue and not self._blocked

    def queue(self, data: bytes) -> None:
        """Send this, after everything queued before, when the batch at hand is through."""
        self._queue.append(data)
        self.waiting += len(data)
        if self.waiting > self._limit:
            self._overrun(self.waiting)
        if not self._scheduled:
            self._scheduled = True
            self._soon(self.push)

    def begin_with(self, data: bytes) -> None:
        """The first that is queued.  However much it is, it does not count as lag, and nothing is sent yet."""
        self._queue.append(data)

    def push(self) -> None:
        """Send what there is, as far as it can be done without waiting."""
        self._scheduled = False
        if self._blocked or not self._queue:
            return
        data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
        self._queue.clear()
        self.waiting = 0
        taken = self._host.send_at_once(self._stream, data)
        self.sent += taken
        if taken < len(data):
            self._queue.append(data[taken:])
            self.waiting = len(data) - taken
            self._blocked = True
            self._wake.set()

    async def run(self) -> None:
        """Send what could not be sent at once, until cancelled.  Raises what the stream does."""
        while True:
            while self._queue:
                data = b"".join(self._queue)
                self._queue.clear()
                self.waiting = 0
                await self._stream.send_all(data)
                self.sent += len(data)
            self._blocked = False
            self._wake = trio.Event()
            await self._wake.wait()

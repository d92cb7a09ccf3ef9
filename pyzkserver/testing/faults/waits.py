"""What something that is held back waits for: a time, or a word."""

from collections.abc import Callable
from typing import Protocol

import trio

from pyzkserver.host import Host

__all__ = ["Latch", "Timer", "Wait"]


class Wait(Protocol):
    """Something to wait for, without blocking anybody; in the server's thread."""

    def begin(self, over: Callable[[], None]) -> None:
        """Call ``over`` when it is over; at once, if it is."""

    def cancel(self) -> None:
        """Nobody waits any more."""


class Timer:
    """So many seconds by the host's clock, which a test may put forward."""

    def __init__(self, host: Host, seconds: float) -> None:
        self._host = host
        self._seconds = seconds
        self._scope = trio.CancelScope()

    def begin(self, over: Callable[[], None]) -> None:
        # A system task: it belongs to no nursery, since whoever waits is plain synchronous code.  It ends with
        # its connection, by ``cancel``, at the latest with the loop.
        trio.lowlevel.spawn_system_task(self._sleep, over)

    async def _sleep(self, over: Callable[[], None]) -> None:
        with self._scope:
            await self._host.sleep(self._seconds)
        if not self._scope.cancel_called:
            over()

    def cancel(self) -> None:
        self._scope.cancel()


class Latch:
    """Until somebody opens it."""

    def __init__(self, gone: "Callable[[Latch], None]") -> None:
        self._gone = gone
        self._over: Callable[[], None] | None = None
        self._open = False

    def begin(self, over: Callable[[], None]) -> None:
        if self._open:
            over()
        else:
            self._over = over

    def open(self) -> None:
        """Let it go."""
        self._open = True
        over, self._over = self._over, None
        if over is not None:
            over()

    def cancel(self) -> None:
        self._over = None
        self._gone(self)

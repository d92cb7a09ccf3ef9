"""A worker without a thread: its jobs take a while of Trio's clock, which in tests is a virtual one."""

from collections import deque
from collections.abc import Callable

import trio

from .disk import PowerFailure

__all__ = ["SimWorker"]

Job = Callable[[], None]
Done = Callable[[BaseException | None], None]


class SimWorker:
    """Does one job after the other; each takes ``latency()`` seconds, of which the job itself is an instant.

    Where the power fails in a job, ``power_failed`` is called, and nobody hears of it any more.
    """

    def __init__(
        self, latency: Callable[[], float] = lambda: 0.0, power_failed: Callable[[], None] = lambda: None
    ) -> None:
        self._latency = latency
        self._power_failed = power_failed
        self._jobs: deque[tuple[Job, Done]] = deque()
        self._arrived = trio.Event()
        self._free = trio.Event()
        self._free.set()
        self._scope = trio.CancelScope()
        self.done = 0
        """How many jobs it did."""
        trio.lowlevel.spawn_system_task(self._work)

    def submit(self, job: Job, done: Done) -> None:
        self._jobs.append((job, done))
        self._arrived.set()

    def stop(self) -> None:
        self._scope.cancel()
        while self._jobs:
            job, _ = self._jobs.popleft()
            try:
                job()
            except (Exception, PowerFailure):
                pass  # nobody is told

    def abandon(self) -> None:
        """The process is killed: nothing more is done."""
        self._jobs.clear()
        self._scope.cancel()

    def hold(self) -> None:
        """Hang, as a disk does, before the next job that was not begun."""
        if self._free.is_set():
            self._free = trio.Event()

    def release(self) -> None:
        """Go on."""
        self._free.set()

    async def _work(self) -> None:
        with self._scope:
            while True:
                while not self._jobs:
                    self._arrived = trio.Event()
                    await self._arrived.wait()
                await trio.sleep(self._latency() / 2)
                await self._free.wait()
                job, done = self._jobs.popleft()
                failure: BaseException | None = None
                try:
                    job()
                except PowerFailure:
                    self._power_failed()
                    return
                except Exception as error:
                    failure = error
                self.done += 1
                await trio.sleep(self._latency() / 2)
                done(failure)

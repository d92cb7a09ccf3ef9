"""A worker without a thread: its jobs take a while of Trio's clock, which in tests is a virtual one."""

from collections import deque
from collections.abc import Callable

import trio

from .agenda import Agenda
from .disk import PowerFailure

__all__ = ["SimWorker"]

Job = Callable[[], None]
Done = Callable[[BaseException | None], None]


class SimWorker:
    """Does one job after the other; each takes ``latency()`` seconds, of which the job itself is an instant.

    Where the power fails in a job, ``power_failed`` is called, and nobody hears of it any more.
    """

    def __init__(
        self,
        latency: Callable[[], float] = lambda: 0.0,
        power_failed: Callable[[], None] = lambda: None,
        agenda: Agenda | None = None,
    ) -> None:
        if agenda is None:
            agenda = Agenda()
            trio.lowlevel.spawn_system_task(agenda.run, trio.lowlevel.current_clock())
        self._agenda = agenda
        self._latency = latency
        self._power_failed = power_failed
        self._jobs: deque[tuple[Job, Done]] = deque()
        self._busy = self._held = self._ready = self._ended = False
        self.done = 0
        """How many jobs it did."""

    def submit(self, job: Job, done: Done) -> None:
        self._jobs.append((job, done))
        if not self._busy:
            self._begin()

    def stop(self) -> None:
        self._ended = True
        while self._jobs:
            job, _ = self._jobs.popleft()
            try:
                job()
            except (Exception, PowerFailure):
                pass  # nobody is told

    def abandon(self) -> None:
        """The process is killed: nothing more is done."""
        self._ended = True
        self._jobs.clear()

    def hold(self) -> None:
        """Hang, as a disk does, before the next job that was not begun."""
        self._held = True

    def release(self) -> None:
        """Go on."""
        self._held = False
        if self._ready:
            self._later(0.0, self._do)
        self._ready = False

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._agenda.at(trio.current_time() + seconds, action)

    def _begin(self) -> None:
        self._busy = True
        self._later(self._latency() / 2, self._do)

    def _do(self) -> None:
        """The instant in which a job is done."""
        if self._held:
            self._ready = True
            return
        if self._ended:
            return
        job, done = self._jobs.popleft()
        failure: BaseException | None = None
        try:
            job()
        except PowerFailure:
            self._ended = True
            self._power_failed()
            return
        except Exception as error:
            failure = error
        self.done += 1
        self._later(self._latency() / 2, lambda: self._tell(done, failure))

    def _tell(self, done: Done, failure: BaseException | None) -> None:
        if self._ended:
            return
        self._busy = bool(self._jobs)
        if self._busy:
            self._begin()
        try:
            done(failure)
        except PowerFailure:  # in a call that is made where the job is told of
            self._ended = True
            self._power_failed()

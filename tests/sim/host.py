"""The simulated machine: virtual clocks, a disk that can be crashed, workers without threads, one seed."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar

import trio

from pyzkserver.host import Host

from .agenda import Agenda
from .disk import SimDisk
from .network import Machine, SimListener
from .stream import SimStream
from .worker import SimWorker

__all__ = ["SimClock", "SimHost", "seeded_run"]

T = TypeVar("T")

WALL_CLOCK = 1_700_000_000_000  # ms since 1970


class SimHost(Host):
    """One process on one machine.

    ``workers`` are those that the server asked for, by name; a job takes up to ``slowness`` seconds.
    Without a ``machine`` it is on no network.
    """

    disk: SimDisk

    def __init__(
        self,
        disk: SimDisk,
        random: Random | None = None,
        *,
        slowness: float = 0.0,
        machine: Machine | None = None,
    ) -> None:
        super().__init__(lambda: WALL_CLOCK / 1000 + trio.current_time() + self.wall_clock_skew)
        self.wall_clock_skew = 0.0
        """In seconds: somebody set the clock."""
        self.random = random or Random(0)
        self.disk = disk
        self.workers: dict[str, SimWorker] = {}
        self.power_failed = trio.Event()
        self.new_worker = self._new_worker
        self._slowness = slowness
        self._machine = machine

    @property
    def machine(self) -> Machine:
        """The machine, as the network knows it."""
        assert self._machine is not None, "this host is on no network"
        return self._machine

    async def connect(self, address: str, port: int) -> trio.abc.Stream:
        return await self.machine.connect(address, port)

    def send_at_once(self, stream: trio.abc.Stream, data: bytes) -> int:
        assert isinstance(stream, SimStream)
        return stream.send_at_once(data)

    def open_listener(
        self, address: str, port: int, backlog: int = 128
    ) -> trio.abc.Listener[trio.abc.Stream]:
        return self.machine.listen(port, backlog)

    def port_of(self, listener: trio.abc.Listener[trio.abc.Stream]) -> int:
        assert isinstance(listener, SimListener)
        return listener.port

    @property
    def flusher(self) -> SimWorker:
        """What writes the log."""
        return self.workers["pyzkserver-flush"]

    def _latency(self) -> float:
        return self.random.random() * self._slowness

    def _new_worker(self, name: str) -> SimWorker:
        agenda = self._machine.network.agenda if self._machine is not None else None
        self.workers[name] = SimWorker(self._latency, self.power_failed.set, agenda)
        return self.workers[name]


class SimClock(trio.abc.Clock):
    """Stands still while anybody has something to do, then goes to when somebody wants to be woken.

    As ``trio.testing.MockClock(autojump_threshold=0)``, in half as many turns of Trio's loop.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._agendas: list[Agenda] = []

    def follow(self, agenda: Agenda) -> None:
        """Wake it whenever something on it is due."""
        self._agendas.append(agenda)

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Asked for when no task can run."""
        if deadline <= self._now:
            return 0
        runner: Any = trio._core._run.GLOBAL_RUN_CONTEXT.runner
        calls = runner.entry_queue
        if calls.queue or calls.idempotent_queue:
            return 0  # somebody used run_sync_soon, and the loop is about to notice
        if runner.waiting_for_idle:
            return 10
        agenda = min(self._agendas, key=lambda each: each.next, default=None)
        if agenda is not None and agenda.next <= deadline and agenda.next < float("inf"):
            self._now = max(self._now, agenda.next)
            agenda.wake()
            return 0
        if deadline == float("inf"):
            return 10  # for wait_all_tasks_blocked; or nothing will ever happen again
        self._now = deadline
        return 0


def seeded_run(seed: int, main: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """``trio.run`` on a virtual clock; which task comes next is decided by the seed."""
    with _seeded_scheduler(seed):
        return trio.run(main, *arguments, clock=SimClock())


@contextmanager
def _seeded_scheduler(seed: int) -> Iterator[None]:
    # Trio's own tests, and its plugin for Hypothesis, do the same: there is no public way.
    scheduler: Any = trio._core._run
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r = True, Random(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r = before

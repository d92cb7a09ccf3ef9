"""What happens at which virtual time: one list for the whole world, in one order."""

import heapq
from collections.abc import Callable
from typing import Any, Protocol

import trio

__all__ = ["Agenda", "Soon"]


class _Clock(Protocol):
    def follow(self, agenda: "Agenda") -> None: ...


class Agenda:
    """Things to do at given times; those of one time are done in the order in which they were noted.

    ``run`` does them.  What raises ends ``run``: nothing on the agenda is expected to.  It is the clock
    (``SimClock``) that looks when the next one is due, and wakes it: that costs less than a deadline for each.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._parked: trio.lowlevel.Task | None = None

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do this at that time, or at once where it has passed."""
        self._count += 1
        heapq.heappush(self._entries, (when, self._count, action))

    @property
    def next(self) -> float:
        """When the next thing is due; infinity where there is none."""
        return self._entries[0][0] if self._entries and self._parked is not None else float("inf")

    def wake(self) -> None:
        """Something is due."""
        task, self._parked = self._parked, None
        assert task is not None
        trio.lowlevel.reschedule(task)

    async def run(self, clock: _Clock) -> None:
        """Do what is due, for ever."""
        clock.follow(self)
        entries = self._entries
        while True:
            now = trio.current_time()
            while entries and entries[0][0] <= now:
                heapq.heappop(entries)[2]()
            self._parked = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._given_up)

    def _given_up(self, raise_cancel: Any) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED


class Soon:
    """``run_sync_soon`` of one thread that is alone: without the socket that would wake it up."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []
        self._parked: trio.lowlevel.Task | None = None
        trio.lowlevel.spawn_system_task(self._run)

    def __call__(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        if self._parked is not None:
            task, self._parked = self._parked, None
            trio.lowlevel.reschedule(task)

    async def _run(self) -> None:
        while True:
            while self._calls:
                calls, self._calls = self._calls, []
                for call in calls:
                    call()
                if self._calls:
                    await trio.lowlevel.cancel_shielded_checkpoint()
            self._parked = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._given_up)

    def _given_up(self, raise_cancel: Any) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

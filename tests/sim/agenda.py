"""What happens at which virtual time: one list for the whole world, in one order."""

import heapq
from collections.abc import Callable

import trio

__all__ = ["Agenda"]


class Agenda:
    """Things to do at given times; those of one time are done in the order in which they were noted.

    ``run`` does them.  What raises ends ``run``: nothing on the agenda is expected to.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._sleep: trio.CancelScope | None = None

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do this at that time, or at once where it has passed."""
        self._count += 1
        heapq.heappush(self._entries, (when, self._count, action))
        if self._sleep is not None and when < self._sleep.deadline:
            self._sleep.deadline = when

    async def run(self) -> None:
        """Do what is due, for ever."""
        while True:
            while self._entries and self._entries[0][0] <= trio.current_time():
                heapq.heappop(self._entries)[2]()
            with trio.CancelScope(deadline=self._entries[0][0] if self._entries else float("inf")) as scope:
                self._sleep = scope
                await trio.sleep_forever()
            self._sleep = None

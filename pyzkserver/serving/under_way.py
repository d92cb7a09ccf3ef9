"""What all clients of a server together have under way: writes that wait for the log, or for other members.

Each client's share is bounded (``writes``); here is the bound for very many of them together.
"""

from itertools import count
from typing import Protocol

__all__ = ["APIECE", "MOST", "UnderWay"]

MOST = 64 << 20
"""Bytes.  A member sends all of it to its leader, and what would be too much there (``quorum.outbox``) would cost it
the leader, and all its clients their connections; and where a flush is slow, all of it is in memory."""

APIECE = 512
"""What a write takes beside the bytes of its request."""


class Waiting(Protocol):
    """A connection whose next request is a write for which there is no room."""

    ticket: int
    """Since when it waits, whether it stands in line or is on its way in; 0 once a write of its was taken in."""

    def go_on(self) -> None:
        """There may be room: look once more."""


class UnderWay:
    """For as long as one replica is served: what is never decided in one role ends with its connections.

    ``bytes`` is what was taken in and is not done.  While ``full`` no writes are taken in: from ``most`` on, until a
    quarter of that is done.  Who wants to write meanwhile stands in line.  While anybody does, something is under way
    whose end lets all of them in, who has waited longest first; who finds it full again keeps its place.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.bytes = 0
        self.full = False
        self._line: dict[Waiting, None] = {}
        self._tickets = count(1)

    def begin(self, size: int) -> None:
        """So much was taken in."""
        self.bytes += size
        if self.bytes >= self.most:
            self.full = True

    def end(self, size: int) -> None:
        """So much is done, whatever became of it."""
        self.bytes -= size
        if self.full and self.bytes <= self.most - self.most // 4:
            self.full = False
            line = sorted(self._line, key=lambda waiting: waiting.ticket)
            self._line.clear()
            for waiting in line:
                waiting.go_on()

    def wait(self, waiting: Waiting) -> None:
        """Stand in line; once, however often this is said."""
        assert self.full
        self._line[waiting] = None
        waiting.ticket = waiting.ticket or next(self._tickets)

    def leave(self, waiting: Waiting) -> None:
        """Its connection is gone.  What it has under way goes on."""
        self._line.pop(waiting, None)

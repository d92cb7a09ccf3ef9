"""The order of one client's requests: a read waits behind its own client's writes."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .replica import Proposal

__all__ = ["Lane"]


class Lane:
    """What one client waits for.

    The first entry, if there is one, is a write on its way; reads stand behind the write they wait for.  An
    idle lane is empty, and then reads need not pass through it.
    """

    __slots__ = ("_waiting", "writes")

    def __init__(self) -> None:
        self._waiting: deque[Proposal | Callable[[], None]] = deque()
        self.writes = 0
        """How many writes are on their way."""

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, proposal: "Proposal") -> None:
        """A write was submitted."""
        self._waiting.append(proposal)
        self.writes += 1

    def wait(self, read: Callable[[], None]) -> None:
        """Answer this read when all writes before it are applied.  Only for a lane that is not idle."""
        assert self._waiting
        self._waiting.append(read)

    def leave(self, proposal: "Proposal") -> None:
        """The first write is done and answered: the reads behind it have their turn."""
        first = self._waiting.popleft()
        assert first is proposal, "writes of one client are applied in the order they were submitted"
        self.writes -= proposal.count
        while self._waiting and callable(self._waiting[0]):
            read = self._waiting.popleft()
            assert callable(read)
            read()

    def abandon(self) -> None:
        """The client is gone: its reads matter to nobody, its writes go on without it."""
        self._waiting.clear()
        self.writes = 0

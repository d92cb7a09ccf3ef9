"""Rules that hold things until they are released."""

from typing import TYPE_CHECKING

from .rule import Rule
from .waits import Latch

if TYPE_CHECKING:
    from .connection import DisturbedConnection

__all__ = ["Latches"]


class Latches(Rule):
    """Holds things until they are released."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self._latches: dict[Latch, None] = {}

    def _new_latch(self) -> Latch:
        latch = Latch(lambda gone: self._latches.pop(gone, None))
        self._latches[latch] = None
        return latch

    @property
    def held(self) -> int:
        """How many are held at the moment."""
        return len(self._latches)

    def release(self, count: int | None = None) -> None:
        """Let go of what is held, the oldest first: all of it, or ``count``.  What comes later is held again.

        When this returns the server has gone on with them.
        """
        if count is not None and count < 1:
            raise ValueError(f"release({count}): release one or more, or all without a number")
        if self._book is not None:
            self._book.run(lambda: self._release(count))

    def _release(self, count: int | None) -> None:
        for latch in list(self._latches)[:count]:
            del self._latches[latch]
            latch.open()

    def taken_out(self, connections: "list[DisturbedConnection]") -> None:
        self._release(None)

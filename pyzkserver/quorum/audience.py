"""Who learns from a member, and what all of them are told, in the order in which it happened.  Sans-IO.

What it is that they are told is decided in ``leading.py``, by an observer master in ``relaying.py``.
"""

from collections.abc import Callable
from typing import Protocol

__all__ = ["Audience", "Link"]

_LITTLE = 16  # packets


class Link(Protocol):
    """A learner that is connected: what is queued reaches it in order, or its connection ends."""

    sid: int

    def queue(self, data: bytes) -> None: ...

    def push(self) -> None: ...


class Audience:
    """What is told to all followers gathers in ``_batch``, what is told to all observers in ``_news``.

    It reaches each learner by one write, when the batch of requests at hand is through; before anything is
    queued for one learner alone, it goes out, so that a learner sees everything in the order in which it
    happened.
    """

    handed_over = False
    """Another member leads from here on: nothing more is committed (``Leader.allowedToCommit``)."""

    def __init__(self, soon: Callable[[Callable[[], None]], None]) -> None:
        self.soon = soon
        """What calls a function when the batch of requests at hand is through."""
        self.followers: dict[Link, None] = {}
        self.observers: dict[Link, None] = {}
        self._batch: list[bytes] = []
        self._news: list[bytes] = []
        self._flush_wanted = False

    def flush(self) -> None:
        """Hand what has gathered to all learners."""
        self._flush_wanted = False
        if self._batch:
            data = b"".join(self._batch)
            self._batch.clear()
            for link in list(self.followers):
                link.queue(data)
                link.push()
        if self._news:
            data = b"".join(self._news)
            self._news.clear()
            for link in list(self.observers):
                link.queue(data)
                link.push()

    def flush_soon(self) -> None:
        """Something has gathered."""
        if not self._flush_wanted:
            self._flush_wanted = True
            self.soon(self.flush)

    def flush_if_little(self) -> None:
        """Do that at once, unless it is much: then it waits for its turn, which it has (``soon``).

        Under load what other learners and this member's clients bring meanwhile leaves by the same writes.
        """
        if self.handed_over or len(self._batch) + len(self._news) <= _LITTLE:
            self.flush()

    def send(self, link: Link, data: bytes) -> None:
        """Queue something for one learner, behind what all of them are told."""
        self.flush()
        link.queue(data)

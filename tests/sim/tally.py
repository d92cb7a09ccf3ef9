"""Counts what the protocol really did in a world: what a misfortune was meant to bring about, and what it did.

A promise that is never put to the test is not kept by the seeds: ``python -m sim`` tells how often each of these
occurred in 1,000 worlds.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pyzkserver.quorum.catching_up import CatchingUp
from pyzkserver.quorum.history import History
from pyzkserver.quorum.leader import Leader
from pyzkserver.quorum.local import Local
from pyzkserver.quorum.syncplan import Sources
from pyzkserver.wire.quorum import PacketType

__all__ = ["OCCASIONS", "counted"]

OCCASIONS = (
    "DIFF of nothing",
    "DIFF from memory",
    "DIFF from the log on disk",
    "TRUNC",
    "SNAP",
    "SNAP at once",
    "SNAP where the log does not help",
    "SNAP where histories part",
    "taken back from a log",
    "SNAP and TRUNC",
    "epochs used up",
    "read-only servers",
    "read-only answers",
    "sessions upgraded",
    "exiles",
    "torn disks",
)
"""What is told of, in this order, whatever else is counted."""


@contextmanager
def counted(counts: Counter[str]) -> Iterator[None]:
    """As long as this lasts, what happens is added to ``counts``."""
    sources: list[Sources] = []

    def missing(bring: Any, catching_up: CatchingUp, peer_last: int, name: str) -> Any:
        sources.clear()
        found = bring(catching_up, peer_last, name)
        counts[_kind(sources, found)] += 1
        return found

    def transactions(find: Any, catching_up: CatchingUp, source: Sources, peer_last: int) -> Any:
        sources.append(source)
        return find(catching_up, source, peer_last)

    async def truncated(truncate: Any, history: History, zxid: int) -> None:
        before = history.last_zxid
        await truncate(history, zxid)
        counts["taken back from a log"] += history.last_zxid < before

    def exhausted(end: Any, leader: Leader) -> None:
        counts["epochs used up"] += 1
        end(leader)

    def reading(new: Any, local: Local) -> Any:
        counts["read-only servers"] += 1
        return new(local)

    with ExitStack() as stack:
        stack.enter_context(_watched(CatchingUp, "missing", missing))
        stack.enter_context(_watched(CatchingUp, "_transactions", transactions))
        stack.enter_context(_watched(History, "truncate", truncated))
        stack.enter_context(_watched(Leader, "_exhausted", exhausted))
        stack.enter_context(_watched(Local, "new_reading_replica", reading))
        yield


@contextmanager
def _watched(owner: type, name: str, watch: Callable[..., Any]) -> Iterator[None]:
    method = getattr(owner, name)
    setattr(owner, name, lambda *arguments: watch(method, *arguments))
    try:
        yield
    finally:
        setattr(owner, name, method)


def _kind(sources: list[Sources], found: tuple[list[bytes], int] | None) -> str:
    begins = int.from_bytes(found[0][0][:4]) if found is not None else None
    if not sources:
        if begins is None:
            return "SNAP at once"
        return "TRUNC" if begins == PacketType.TRUNC else "DIFF of nothing"
    from_memory = sources[0] is Sources.COMMITTED_LOG
    if begins is None:
        return "SNAP where histories part" if from_memory else "SNAP where the log does not help"
    if begins == PacketType.TRUNC:
        return "TRUNC and what followed"
    return "DIFF from memory" if from_memory else "DIFF from the log on disk"

"""The last transactions that were committed, kept at hand for learners that lack only these (``ZKDatabase``)."""

from collections import deque
from collections.abc import Iterator
from itertools import dropwhile, starmap
from typing import NamedTuple

from pyzkserver.state.transaction import Transaction

__all__ = ["CommitLog", "Committed"]

_BYTES = 64 << 20


class Committed(NamedTuple):
    """One of them."""

    txn: Transaction
    payload: bytes
    """What a PROPOSAL carries: header, body, and the digest if there is one."""


class CommitLog:
    """At most ``limit`` transactions (commitLogCount) and ``limit_bytes`` bytes of payload: the oldest ones go.

    They come without a gap: each zxid is the one before it plus 1, or the first of a later epoch.
    """

    def __init__(self, limit: int = 500, limit_bytes: int = _BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        # Plain pairs: every write comes by here, and few are ever asked for.
        self._entries: deque[tuple[Transaction, bytes]] = deque()
        self._bytes = 0
        self.max_zxid = 0
        """The newest one's; 0 when there is none."""

    @property
    def min_zxid(self) -> int:
        """The oldest one's; 0 when there is none."""
        return self._entries[0][0].zxid if self._entries else 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Committed]:
        return starmap(Committed, self._entries)

    def add(self, txn: Transaction, payload: bytes) -> None:
        """One more was committed.  One that is there already is passed over.  Raises ValueError at a gap."""
        zxid = txn.zxid
        entries, last = self._entries, self.max_zxid
        if zxid != last + 1 and entries:
            if zxid <= last:
                return
            if zxid >> 32 <= last >> 32:
                raise ValueError(f"0x{zxid:x} was committed after 0x{last:x}, and not what is between")
        entries.append((txn, payload))
        self.max_zxid = zxid
        self._bytes = size = self._bytes + len(payload)
        if len(entries) > self._limit or size > self._limit_bytes:
            self._forget()

    def _forget(self) -> None:
        entries = self._entries
        while len(entries) > self._limit or (self._bytes > self._limit_bytes and len(entries) > 1):
            self._bytes -= len(entries.popleft()[1])

    def after(self, zxid: int) -> Iterator[Committed]:
        """Those with a higher zxid, the oldest first.  Do not add while it goes on."""
        return dropwhile(lambda entry: entry.txn.zxid <= zxid, iter(self))

    def clear(self) -> None:
        """The state came from elsewhere: nothing of this leads to it."""
        self._entries.clear()
        self._bytes = self.max_zxid = 0

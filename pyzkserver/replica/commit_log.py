"""The last transactions that were committed, kept at hand for learners that lack only these (``ZKDatabase``)."""

from collections import deque
from collections.abc import Iterator
from itertools import dropwhile
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
        self._entries: deque[Committed] = deque()
        self._bytes = 0
        self.min_zxid = 0
        """The oldest one's; 0 when there is none."""
        self.max_zxid = 0
        """The newest one's; 0 when there is none."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Committed]:
        return iter(self._entries)

    def add(self, txn: Transaction, payload: bytes) -> None:
        """One more was committed.  One that is there already is passed over.  Raises ValueError at a gap."""
        zxid = txn.zxid
        if self._entries:
            if zxid <= self.max_zxid:
                return
            if zxid != self.max_zxid + 1 and zxid >> 32 <= self.max_zxid >> 32:
                raise ValueError(
                    f"0x{zxid:x} was committed after 0x{self.max_zxid:x}, and not what is between"
                )
        self._entries.append(Committed(txn, payload))
        self._bytes += len(payload)
        self.max_zxid = zxid
        while len(self._entries) > self._limit or (
            self._bytes > self._limit_bytes and len(self._entries) > 1
        ):
            self._bytes -= len(self._entries.popleft().payload)
        self.min_zxid = self._entries[0].txn.zxid

    def after(self, zxid: int) -> Iterator[Committed]:
        """Those with a higher zxid, the oldest first.  Do not add while it goes on."""
        return dropwhile(lambda entry: entry.txn.zxid <= zxid, self._entries)

    def clear(self) -> None:
        """The state came from elsewhere: nothing of this leads to it."""
        self._entries.clear()
        self._bytes = self.min_zxid = self.max_zxid = 0
